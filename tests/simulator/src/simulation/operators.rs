//! Operators, who tell nodes to hand over, to pause and to resume (rules O1 to O4), several of them
//! at once, and whose requests may come late or twice.

use graft_election_core::{
    ControlAction, ControlRequest, ControlResponse, Message, NodeId, Round, State,
};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::{Action, Simulation};
use crate::faults::{Faults, Odds};
use crate::judgement::Violation;
use crate::{Condition, Event, Figures, NodeIndex, Observer, Setup, Step};

/// What sets the random numbers of a world's operators apart from those of its faults.
const SALT: u64 = 0x6f70_6572_6174_6f72;

/// How many answers of each node are remembered: an operator may know an old one.
const ANSWERS_MAX: usize = 3;

/// How many requests may come late.
const REQUESTS_MAX: usize = 16;

/// What operators know, and what they have asked.
pub(super) struct Operators {
    /// Their own, so that a world without operators is the same as if there were no such thing.
    rng: SmallRng,
    /// What each node last answered, the latest last.
    answers: Vec<Vec<ControlResponse>>,
    /// Requests that the network may hold back or double, and to which node they are on their way.
    requests: Vec<(NodeIndex, ControlRequest)>,
}

impl Operators {
    /// Those of the world of a seed, with so many nodes.
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ SALT);
        Self { rng, answers: vec![Vec::new(); nodes], requests: Vec::new() }
    }

    /// How often one of them does something.
    pub(super) fn draw_odds(&mut self) -> Odds {
        Faults::draw_operators(&mut self.rng)
    }

    /// In some of the worlds in which operators do something, some nodes refuse it (rule O1).
    pub(super) fn draw_disobedient(&mut self, setup: &mut Setup, odds: Odds) {
        if odds == Odds::NEVER || self.rng.random_bool(0.7) {
            return;
        }
        for node in &mut setup.nodes {
            node.obeys_operators = self.rng.random_bool(0.7);
        }
    }

    fn hear(&mut self, node: NodeIndex, response: &ControlResponse) {
        let answers = &mut self.answers[node.get()];
        if answers.len() == ANSWERS_MAX {
            answers.remove(0);
        }
        answers.push(response.clone());
    }

    fn draw_round(&mut self) -> Round {
        Round::new(self.rng.next_u32() | 1).expect("it is odd")
    }

    /// What an operator asks who knows this answer of the node, and the ids of all.
    fn draw_request(&mut self, known: ControlResponse, ids: &[NodeId]) -> ControlRequest {
        let rng = &mut self.rng;
        let action = match rng.random_range(0..10) {
            0..=3 => ControlAction::HandOver,
            4..=6 if !known.is_paused => ControlAction::Pause,
            7 => ControlAction::Pause,
            _ => ControlAction::Resume,
        };
        let term = match (action, rng.random_range(0..8)) {
            (ControlAction::HandOver, 0) => known.term + 1,
            (ControlAction::HandOver, 1) => known.term.saturating_sub(1),
            (ControlAction::HandOver, _) => known.term,
            (_, 0) => rng.random_range(0..1_000),
            _ => 0,
        };
        let target = (action == ControlAction::HandOver && rng.random_bool(0.6))
            .then(|| ids[rng.random_range(0..ids.len())].clone());
        let round = self.draw_round();
        let ControlResponse { node, last, life, .. } = known;
        ControlRequest {
            term,
            node,
            target,
            action,
            round,
            last,
            life: Some(life),
            list: None,
            wanted: None,
        }
    }

    /// Takes note of a request that may come once more.
    fn remember(&mut self, to: NodeIndex, request: &ControlRequest) {
        if self.requests.len() == REQUESTS_MAX {
            let forgotten = self.rng.random_range(0..REQUESTS_MAX);
            self.requests.swap_remove(forgotten);
        }
        self.requests.push((to, request.clone()));
    }
}

/// Hears what becomes of a step, for the figures and for the operators.
pub(super) struct Listeners<'a> {
    pub(super) figures: &'a mut Figures,
    pub(super) operators: &'a mut Operators,
}

impl Observer for Listeners<'_> {
    fn observe(&mut self, event: Event<'_>) {
        if let Event::Sent { from, outgoing, .. } = &event
            && let Message::ControlResponse(response) = &outgoing.message
        {
            self.operators.hear(*from, response);
        }
        self.figures.observe(event);
    }
}

impl Simulation {
    /// Lets an operator do something now and then.
    pub(super) fn operate(&mut self) {
        if !self.faults.operators.happens(&mut self.operators.rng) {
            return;
        }
        let late = self.operators.requests.len();
        if late > 0 && self.operators.rng.random_bool(0.3) {
            let (to, request) =
                self.operators.requests[self.operators.rng.random_range(0..late)].clone();
            return self.tell(to, request);
        }
        let leads = |node: &NodeIndex| {
            self.world.view(*node).is_some_and(|(state, ..)| state == State::Leader)
        };
        let leader = self.world.nodes().find(leads);
        let rng = &mut self.operators.rng;
        let any = NodeIndex::new(rng.random_range(0..self.world.node_count()));
        let to = leader.filter(|_| rng.random_bool(0.5)).unwrap_or(any);
        let request = self.draw_request(to);
        self.operators.remember(to, &request);
        let is_held_back = self.operators.rng.random_bool(0.2);
        if !is_held_back {
            self.tell(to, request);
        }
    }

    fn draw_request(&mut self, to: NodeIndex) -> ControlRequest {
        let answers = &self.operators.answers[to.get()];
        let count = answers.len();
        let rng = &mut self.operators.rng;
        if count == 0 || rng.random_bool(0.3) {
            return self.question(to);
        }
        // Another operator may know an older answer.
        let known = if rng.random_bool(0.7) { count - 1 } else { rng.random_range(0..count) };
        let known = answers[known].clone();
        let ids: Vec<_> = self.world.nodes().map(|node| self.world.named(node).id()).collect();
        self.operators.draw_request(known, &ids)
    }

    fn question(&mut self, to: NodeIndex) -> ControlRequest {
        ControlRequest {
            term: 0,
            node: self.world.named(to).id(),
            target: None,
            action: ControlAction::Ask,
            round: self.operators.draw_round(),
            last: None,
            life: None,
            list: None,
            wanted: None,
        }
    }

    /// A node hears a request, if it can.
    fn tell(&mut self, to: NodeIndex, request: ControlRequest) {
        if self.world.condition(to) == Condition::Waiting && !self.world.is_go(to) {
            let message = Box::new(Message::ControlRequest(request));
            self.apply(&Step::Forge { message, round_of: None, to });
            self.plan(to);
        }
    }

    /// After the faults, operators let some of the paused nodes lead again, and in a cluster whose
    /// nodes could not lead otherwise all of them (A6).
    pub(super) fn resume_some(&mut self) -> Result<(), Violation> {
        for cluster in 0..self.setup.clusters {
            let is_meant = |node: &NodeIndex| self.world.cluster(*node) == cluster;
            let paused: Vec<_> = self.paused_nodes().into_iter().filter(is_meant).collect();
            let can_lead =
                |node: NodeIndex| is_meant(&node) && self.runs(node) && self.is_eligible(node);
            let has_other = self.world.nodes().any(can_lead);
            for node in paused {
                if !has_other || self.operators.rng.random_bool(0.3) {
                    self.resume(node)?;
                }
            }
        }
        Ok(())
    }

    /// All nodes may lead again.
    pub(super) fn resume_all(&mut self) -> Result<(), Violation> {
        self.paused_nodes().into_iter().try_for_each(|node| self.resume(node))
    }

    /// Nodes that take part, and that an operator has paused.
    pub(super) fn paused_nodes(&self) -> Vec<NodeIndex> {
        let is_paused = |node: &NodeIndex| self.runs(*node) && self.world.is_paused(*node);
        self.world.nodes().filter(is_paused).collect()
    }

    /// Whether a node has a program, or soon will.
    pub(super) fn runs(&self, node: NodeIndex) -> bool {
        !matches!(self.plans[node.get()].action, Action::Rest)
    }

    /// An operator asks the node how it is, and resumes it.
    fn resume(&mut self, node: NodeIndex) -> Result<(), Violation> {
        self.until_waiting(node)?;
        let question = self.question(node);
        self.tell(node, question);
        self.until_waiting(node)?;
        let known = self.operators.answers[node.get()].last().cloned();
        let resumed = known.map(|ControlResponse { last, life, .. }| ControlRequest {
            action: ControlAction::Resume,
            last,
            life: Some(life),
            ..self.question(node)
        });
        if let Some(request) = resumed {
            self.tell(node, request);
        }
        self.until_waiting(node)?;
        if self.world.is_paused(node) {
            let what = format!("{node} is still paused after it was resumed");
            return Err(Violation { rule: "O3", what });
        }
        Ok(())
    }
}
