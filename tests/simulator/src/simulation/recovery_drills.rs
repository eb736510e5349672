//! Trouble that a recovered cluster must withstand. All drills but the first are for Extended mode.

use std::collections::BTreeSet;
use std::time::Duration;

use graft_election_core::{Handover, Message, PreVoteResponse, Round, State};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::Simulation;
use super::bounds::{POSITION_MAX, times_max};
use crate::faults::{Kind, MESSAGE_TIME_MAX, SAVE_TIME_MAX};
use crate::judgement::Violation;
use crate::{Condition, NodeIndex, Step};

/// For how many of its T_max a leader watches a follower before it gives way (rule H4).
const STEADY_TIMEOUTS: f64 = 10.0;

/// What happens to a node while it is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    Nothing,
    HearsOldAnswers,
    RaisesTerm,
}

impl Absence {
    fn draw(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..4) {
            0 => Self::Nothing,
            1 => Self::HearsOldAnswers,
            _ => Self::RaisesTerm,
        }
    }
}

impl Simulation {
    /// A node rivals the leader; a node that is cut off comes back; the leader closes; then most
    /// links are cut. In a cluster with priorities, a node of the highest one must come to lead
    /// instead.
    pub(super) fn run_drills(&mut self) -> Result<(), Violation> {
        if self.faults.kind == Kind::GoVoters {
            let may_return = self.setup.size > 2 && self.rng.random_bool(0.3);
            return if may_return { self.return_beside_a_lease() } else { Ok(()) };
        }
        // A leader counts a new id only from its next campaign on (rules V6, V9).
        let runs = |node| {
            self.world.condition(node) != Condition::Down
                && self.world.identity(node).generation == 1
        };
        let is_whole = self.world.nodes().all(runs) && self.world.node_count() == self.setup.size;
        if !is_whole || self.setup.size < 2 {
            return Ok(());
        }
        let is_extended = self.all_extended();
        // Where priorities differ, the leader may change without any trouble (rule H4).
        let first = self.world.settings(NodeIndex::new(0)).priority;
        if self.settings().any(|settings| settings.priority != first) {
            return if is_extended { self.wait_for_promotion() } else { Ok(()) };
        }
        if self.rng.random_bool(0.05) {
            return self.migrate();
        }
        if is_extended && self.setup.size > 2 && self.rng.random_bool(0.05) {
            self.lead_steadily()?;
        }
        if is_extended && self.rng.random_bool(0.05) {
            self.lead_with_slow_disks()?;
        }
        if self.rng.random_bool(0.05) {
            self.elect_with_equal_draws()?;
        }
        if self.setup.size > 2 && self.rng.random_bool(0.5) {
            self.rival_the_leader()?;
        }
        if !is_extended {
            return Ok(());
        }
        if self.setup.size > 2 {
            let absence = Absence::draw(&mut self.rng);
            self.cut_off_and_return(absence)?;
        }
        self.close_leader()?;
        if self.setup.size > 2 { self.leave_one_center() } else { Ok(()) }
    }

    /// A2: a node that comes back doesn't depose the leader; or only once if it has raised its term
    /// (T2), and then not for long (H5).
    fn cut_off_and_return(&mut self, absence: Absence) -> Result<(), Violation> {
        let Some((leader, term)) = self.leader() else { return Ok(()) };
        let others: Vec<_> = self.world.nodes().filter(|node| *node != leader).collect();
        let away = others[self.rng.random_range(0..others.len())];
        let earlier_round = self.rounds[away.get()];
        for other in self.world.nodes().filter(|node| *node != away) {
            self.apply(&Step::Position { node: other, position: POSITION_MAX });
            self.cut_both_ways(away, other);
        }
        if absence == Absence::RaisesTerm {
            let round = self.world.round(leader);
            let (leader, target) =
                (self.world.identity(leader).id(), self.world.identity(away).id());
            let handover = Handover { term, leader, target: Some(target), round };
            self.hear(away, Message::Handover(handover));
        }
        let rest = times_max(&self.world)[1] * 4;
        self.run_until(self.world.now().plus(rest))?;
        // The handover was made up, so nobody may hear the campaign that comes of it. Its disk may
        // be slow.
        while absence == Absence::RaisesTerm && self.may_campaign(away) {
            self.run_until(self.world.now().plus(rest))?;
        }
        if absence == Absence::HearsOldAnswers {
            self.hear_old_answers(away, &others, term, earlier_round);
        }
        let leases = self.figures.leases;
        self.apply(&Step::Heal);
        let is_ahead = self.world.view(away).is_some_and(|(_, its_term, _)| its_term > term);
        if is_ahead && absence != Absence::RaisesTerm {
            let what =
                format!("{away} was cut off in term {term}, and comes back with a higher one");
            return Err(Violation { rule: "A2", what });
        } else if is_ahead {
            // The next heartbeat is refused, and the leader asks for pre-votes, then for votes.
            let limit = self.answer_max(self.interval_max(), 4, 3);
            let took = self.until_new_leader(term, limit, "A2")?;
            self.figures.comeback = self.figures.comeback.max(took);
            // A campaign that began before this leader had won may still overtake it.
            let is_overtaken = self.leader_now().is_some_and(|(_, new)| {
                let mut terms = self.world.nodes().filter_map(|node| self.world.view(node));
                terms.any(|(_, its_term, _)| its_term > new)
            });
            self.run_until(self.world.now().plus(rest))?;
            let leaders = self.figures.leases - leases;
            if leaders > 1 + u64::from(is_overtaken) {
                let what =
                    format!("a node that came back with a higher term made {leaders} leaders");
                return Err(Violation { rule: "A2", what });
            }
            self.until_all_follow(self.world.now())?;
        } else if self.leader_now() != Some((leader, term)) {
            let what =
                format!("{leader}, which led in term {term}, lost it to a node that was cut off");
            return Err(Violation { rule: "A2", what });
        }
        self.until_all_follow(self.world.now())?;
        self.keeps_leader()
    }

    /// Whether a node asks for votes, or will once its record is stored.
    fn may_campaign(&self, node: NodeIndex) -> bool {
        let campaigns = self.world.view(node).is_some_and(|(state, ..)| state == State::Candidate);
        campaigns || self.world.condition(node) == Condition::Saving
    }

    /// The answers of others to an earlier round of pre-votes arrive only now (rule C1).
    fn hear_old_answers(
        &mut self,
        node: NodeIndex,
        others: &[NodeIndex],
        term: u64,
        round: Option<Round>,
    ) {
        for other in others.iter().filter(|other| **other != node) {
            let (voter, proposed_term) = (self.world.identity(*other).id(), term + 1);
            let answer = PreVoteResponse {
                term,
                granted: true,
                voter,
                proposed_term,
                round,
                list: None,
                life: None,
                wanted: None,
            };
            self.hear(node, Message::PreVoteResponse(answer));
        }
    }

    /// A node hears a message that nobody has just sent, if it waits for messages.
    fn hear(&mut self, node: NodeIndex, message: Message) {
        if self.world.condition(node) == Condition::Waiting {
            self.apply(&Step::Forge { message: Box::new(message), round_of: None, to: node });
            self.plan(node);
        }
    }

    /// H3: where no message is lost, a leader that closes has a successor at once.
    fn close_leader(&mut self) -> Result<(), Violation> {
        for node in self.world.nodes() {
            self.apply(&Step::Position { node, position: POSITION_MAX });
        }
        // By then the leader knows that all are up to date.
        let known_at = self.world.now().plus(self.answer_max(self.interval_max(), 1, 0));
        self.run_until(known_at)?;
        let Some((leader, term)) = self.leader() else { return Ok(()) };
        if self.world.condition(leader) != Condition::Waiting {
            return Ok(());
        }
        self.apply(&Step::Close(leader));
        self.plan(leader);
        // It hands over, the target asks for votes, and its first heartbeat is acknowledged.
        let others_suffice = self.setup.size > 2;
        let wait = if others_suffice { MESSAGE_TIME_MAX } else { self.interval_max() };
        let limit = self.answer_max(wait, 2, 2);
        let took = self.until_new_leader(term, limit, "H3")?;
        self.figures.succession = self.figures.succession.max(took);
        self.until_all_follow(self.world.now())?;
        self.keeps_leader()
    }

    /// H4: a leader gives way to a steady node of higher priority.
    fn wait_for_promotion(&mut self) -> Result<(), Violation> {
        // It takes long, and longer after an attempt that failed.
        if self.figures.promotions > 0 || self.rng.random_bool(0.75) {
            return Ok(());
        }
        for node in self.world.nodes() {
            self.apply(&Step::Position { node, position: POSITION_MAX });
        }
        let priority = |node: NodeIndex| self.world.settings(node).priority;
        let priorities: BTreeSet<u32> = self.world.nodes().map(priority).collect();
        let highest = priorities.last().copied().unwrap_or_default();
        let t_max = times_max(&self.world)[1];
        // A node whose last save failed tries again within T_max, and is steady from then on. The
        // leadership may rise through the priorities one by one.
        let steady = t_max.mul_f64((1.0 + STEADY_TIMEOUTS) * (1.0 + self.rho()));
        let limit = self.answer_max(steady + self.interval_max() * 2, 3, 2);
        let limit = limit * u32::try_from(priorities.len() - 1).unwrap_or(u32::MAX);
        let leads_highest = |this: &Self| {
            let leader = this.leader();
            leader.is_some_and(|(node, _)| this.world.settings(node).priority == highest)
        };
        let limit = self.world.now().plus(limit);
        self.until(leads_highest, limit, "H4", "no node of the highest priority leads")?;
        Ok(())
    }

    /// A4: one node reaches a quorum both ways, and the others reach hardly anyone else.
    fn leave_one_center(&mut self) -> Result<(), Violation> {
        let mut nodes: Vec<_> = self.world.nodes().collect();
        nodes.shuffle(&mut self.rng);
        let (center, others) = (nodes[0], &nodes[1..]);
        self.apply(&Step::Position { node: center, position: u16::from(u8::MAX) });
        let reached = self.rng.random_range(self.setup.size / 2..=others.len());
        let stray = if self.rng.random_bool(0.5) { 0.2 } else { 0.0 };
        for (from, to) in others.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to))) {
            let is_reached = to == center && others[..reached].contains(&from);
            if from == to || is_reached {
                continue;
            }
            for (from, to) in
                if to == center { vec![(from, to), (to, from)] } else { vec![(from, to)] }
            {
                if !self.rng.random_bool(stray) {
                    self.apply(&Step::Cut { from, to });
                }
            }
        }
        let cut_at = self.world.now();
        // Messages in flight arrive, and a leader that is cut off finds out.
        let rest = times_max(&self.world)[1];
        self.run_until(cut_at.plus(rest))?;
        let limit = cut_at.plus(rest + self.recovery_max());
        let is_led = |this: &Self| this.leader_now().is_some();
        let took =
            self.until(is_led, limit, "A4", "one node reaches a quorum, and nobody leads")?;
        self.figures.reunion = self.figures.reunion.max(rest + took);
        Ok(())
    }

    /// Waits until a node leads, with a lease, in a later term. Returns how long that takes.
    pub(super) fn until_new_leader(
        &mut self,
        term: u64,
        within: Duration,
        rule: &'static str,
    ) -> Result<Duration, Violation> {
        let leads = |this: &Self| this.leader_now().is_some_and(|(_, new)| new > term);
        let limit = self.world.now().plus(within);
        self.until(leads, limit, rule, "there is no new leader")
    }

    /// The longest time until this many questions have been answered one after the other, and
    /// records saved, the first `wait` included.
    fn answer_max(&self, wait: Duration, questions: u32, saves: u32) -> Duration {
        // A node that saves hears what has arrived only afterwards.
        wait + (MESSAGE_TIME_MAX + SAVE_TIME_MAX) * 2 * questions + SAVE_TIME_MAX * saves
    }
}
