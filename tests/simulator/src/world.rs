mod effects;

use std::fmt;
use std::time::Duration;

use graft_election_core::{ControlOutcome, Leadership, Round, State};

use crate::checker::Checker;
use crate::clock::Clock;
use crate::judgement::Violation;
use crate::machine::{Condition, CoreNode, Machine};
use crate::setup::VoteRecord;
use crate::{
    Answers, Event, FlightKey, Identity, Moment, Network, NodeIndex, NodeSetup, Observer, Pick,
    Setup, Step,
};

/// Nodes that still send messages after this many deliveries will never stop.
const DELIVERIES_MAX: usize = 10_000;

/// Nodes, and the world around them.
///
/// Only [`apply`](Self::apply) changes it. The same steps always change it in the same way, and the
/// [`Observer`] hears everything that comes of each.
pub struct World {
    setup: Setup,
    now: Moment,
    machines: Vec<Machine>,
    network: Network,
    /// The judges of the clusters.
    checkers: Vec<Checker>,
    /// The last round that each node spoke of as its own (rule N1).
    rounds: Vec<Option<Round>>,
}

/// Why a step can't happen now. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotHappen {
    /// There is no such node.
    NoSuchNode(NodeIndex),
    /// No such message is in flight.
    NotInFlight(Pick),
    /// The node is doing something else.
    Unfit(NodeIndex, Condition),
    /// The node is Go's, and nobody tells it anything.
    IsGo(NodeIndex),
    /// The node has no timer that could run out.
    NoDeadline(NodeIndex),
    /// No clock's rate may be that far off.
    DriftTooGreat,
    /// The nodes never stop sending messages.
    NeverSettles,
}

impl World {
    /// A world in which all nodes have just started.
    pub fn new(setup: Setup, observer: &mut impl Observer) -> Self {
        let indexes = (0..setup.nodes.len()).map(NodeIndex::new);
        let machines: Vec<_> = indexes.map(|index| Machine::new(index, &setup)).collect();
        let mut world = Self {
            now: Moment::default(),
            network: Network::new(),
            checkers: (0..setup.clusters).map(|_| Checker::new(&setup)).collect(),
            rounds: vec![None; machines.len()],
            setup,
            machines,
        };
        for index in 0..world.machines.len() {
            world.start(NodeIndex::new(index), observer);
        }
        world
    }

    /// Lets something happen.
    ///
    /// # Errors
    ///
    /// [`CannotHappen`] says why it can't.
    pub fn apply(&mut self, step: &Step, observer: &mut impl Observer) -> Result<(), CannotHappen> {
        let had_violation = self.violation().is_some();
        self.network.forget_departures();
        self.happen(step, observer)?;
        if let Some(violation) = self.violation().filter(|_| !had_violation) {
            observer.observe(Event::Violated(violation));
        }
        Ok(())
    }

    /// Real time.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// How many nodes there are, running or not.
    pub fn node_count(&self) -> usize {
        self.machines.len()
    }

    /// What a node's program is doing.
    pub fn condition(&self, node: NodeIndex) -> Condition {
        self.machines[node.get()].condition()
    }

    /// When a node's timer is due; [`Moment::NEVER`] while the node is down.
    pub fn due_at(&self, node: NodeIndex) -> Moment {
        self.machines[node.get()].due_at()
    }

    /// A node's state, term and leader; `None` while it is down.
    pub fn view(&self, node: NodeIndex) -> Option<(State, u64, Option<Identity>)> {
        let machine = &self.machines[node.get()];
        if let Some(voter) = machine.go_voter() {
            let ((state, _, term), leader) = (voter.view(), voter.leader.as_ref());
            return Some((state, term, leader.and_then(Identity::of)));
        }
        let program = machine.node()?;
        Some((program.state(), program.term(), program.leader().and_then(Identity::of)))
    }

    /// Whether a node is Go's.
    pub(crate) fn is_go(&self, node: NodeIndex) -> bool {
        self.machines[node.get()].is_go()
    }

    /// Who a node is now: that changes when its disk is replaced.
    pub fn identity(&self, node: NodeIndex) -> Identity {
        self.machines[node.get()].identity
    }

    /// Whose id a node has: that of another if it is its double.
    pub fn named(&self, node: NodeIndex) -> Identity {
        let machine = &self.machines[node.get()];
        machine.setup.double_of.map_or(machine.identity, Identity::first)
    }

    /// Whether a node runs, and doubts neither its id nor its list (rules N3, N5, V6).
    pub(crate) fn takes_part(&self, node: NodeIndex) -> bool {
        let machine = &self.machines[node.get()];
        machine.condition() != Condition::Down
            && self.checkers[machine.cluster].takes_part(machine.identity, self.local(node))
    }
    /// Which of the clusters on the medium a node belongs to.
    pub fn cluster(&self, node: NodeIndex) -> usize {
        self.machines[node.get()].cluster
    }

    /// Whether a node's disk has a valid record.
    pub fn has_record(&self, node: NodeIndex) -> bool {
        self.machines[node.get()].disk.record().is_some()
    }

    /// What is on a node's disk.
    pub(crate) fn record(&self, node: NodeIndex) -> Option<&VoteRecord> {
        self.machines[node.get()].disk.record()
    }

    /// Whether an operator has paused a node (rule O3). Go knows of no such thing.
    pub(crate) fn is_paused(&self, node: NodeIndex) -> bool {
        let machine = &self.machines[node.get()];
        if machine.is_go() {
            return false;
        }
        let stored = || machine.disk.record().is_some_and(|record| record.is_paused);
        machine.node().map_or_else(stored, CoreNode::is_paused)
    }

    /// Whether a node's own program keeps it from leading (rule O3).
    pub(crate) fn is_held_back(&self, node: NodeIndex) -> bool {
        self.machines[node.get()].is_held_back
    }

    /// How a node's application answers.
    pub(crate) fn answers(&self, node: NodeIndex) -> Answers {
        self.machines[node.get()].application.answers()
    }

    /// The list of voters for which a node's record was made, if the node declares one of its own.
    pub(crate) fn listed(&self, node: NodeIndex) -> Option<&[NodeIndex]> {
        self.machines[node.get()].listed.as_deref()
    }

    /// A node that runs with another list than that of its record (rule V6).
    pub(crate) fn mislisted(&self) -> Option<Identity> {
        self.checkers.iter().find_map(Checker::mislisted)
    }

    /// The last round that a node spoke of as its own (rule N1).
    pub fn round(&self, node: NodeIndex) -> Option<Round> {
        self.rounds[node.get()]
    }

    /// The messages in flight.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Appends the keys of the messages that the last step sent to `departures`.
    pub fn take_departures(&mut self, departures: &mut Vec<FlightKey>) {
        self.network.take_departures(departures);
    }

    /// The first rule that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.checkers.iter().find_map(Checker::violation)
    }

    fn happen(&mut self, step: &Step, observer: &mut impl Observer) -> Result<(), CannotHappen> {
        match step {
            Step::Advance(span) => {
                self.now = self.now.plus(*span);
                Ok(())
            }
            Step::TimeOut(node) => self.time_out(*node, observer),
            Step::Deliver(pick) => self.deliver(*pick, observer),
            Step::Drop(pick) => self.drop_messages(*pick, observer),
            Step::Duplicate(pick) => self.duplicate_messages(*pick),
            Step::Settle => self.settle(observer),
            Step::Forge { message, round_of, to } => self.forge(message, *round_of, *to, observer),
            Step::Save(node) => self.end_save_under_way(*node, Ok(()), observer),
            Step::FailSave { node, written } => {
                self.end_save_under_way(*node, Err(Written(*written)), observer)
            }
            Step::Disk { node, mode } => {
                self.machine(*node)?.disk.mode = *mode;
                Ok(())
            }
            Step::Crash { node, remains } => self.crash(*node, *remains, observer),
            Step::Restart(node) => self.restart(*node, observer),
            Step::Replace(node) => self.replace(*node, observer),
            Step::Pause(node) => self.pause(*node),
            Step::Resume(node) => self.resume(*node),
            Step::NoDouble(node) => self.has_no_double(*node, observer),
            Step::HandOver { node, to } => self.hand_over(*node, *to, observer),
            Step::ChangeVoters { node, adds, voter } => {
                self.change_voters(*node, *adds, *voter, observer)
            }
            Step::Close(node) => self.close(*node, observer),
            Step::HoldBack { node, is_held_back } => self.hold_back(*node, *is_held_back, observer),
            Step::Cut { from, to } => self.set_cut(*from, *to, true),
            Step::Mend { from, to } => self.set_cut(*from, *to, false),
            Step::Partition(groups) => self.partition(groups),
            Step::Heal => {
                let all: Vec<_> = self.nodes().collect();
                self.partition(&[all])
            }
            Step::Leap { node, by } => self.leap(*node, *by),
            Step::Drift { node, millionths } => self.drift(*node, *millionths),
            Step::Times { node, times } => {
                self.machine(*node)?.set_times(*times);
                Ok(())
            }
            Step::Change { node, change } => {
                self.machine(*node)?.change(change);
                Ok(())
            }
            Step::Rewrite { node, term, voters } => {
                self.expect(*node, Condition::Down)?;
                let records = self.machines.iter().filter_map(|machine| machine.disk.record());
                let bound_for = records.map(|record| record.bound_for).max().unwrap_or_default();
                self.machine(*node)?.rewrite(*term, voters, bound_for);
                Ok(())
            }
            Step::Position { node, position } => {
                self.machine(*node)?.change_application(|it| it.advance(*position));
                Ok(())
            }
            Step::Answers { node, answers } => {
                self.machine(*node)?.change_application(|it| it.answer(*answers));
                Ok(())
            }
        }
    }

    fn drop_messages(
        &mut self,
        pick: Pick,
        observer: &mut impl Observer,
    ) -> Result<(), CannotHappen> {
        for key in self.picked(pick)? {
            if let Some(flight) = self.network.take(key) {
                observer.observe(Event::Lost(&flight));
            }
        }
        Ok(())
    }

    fn duplicate_messages(&mut self, pick: Pick) -> Result<(), CannotHappen> {
        for key in self.picked(pick)? {
            if let Some(flight) = self.network.flight(key).cloned() {
                self.network.send(flight.from, flight.to, flight.message);
            }
        }
        Ok(())
    }

    fn pause(&mut self, node: NodeIndex) -> Result<(), CannotHappen> {
        let condition = self.machine(node)?.condition();
        if matches!(condition, Condition::Down | Condition::Paused) {
            return Err(CannotHappen::Unfit(node, condition));
        }
        self.machine(node)?.is_paused = true;
        Ok(())
    }

    fn resume(&mut self, node: NodeIndex) -> Result<(), CannotHappen> {
        self.expect(node, Condition::Paused)?;
        self.machine(node)?.is_paused = false;
        Ok(())
    }

    fn leap(&mut self, node: NodeIndex, by: Duration) -> Result<(), CannotHappen> {
        self.machine(node)?.clock.leap(by);
        self.change_lease(node);
        Ok(())
    }

    fn drift(&mut self, node: NodeIndex, millionths: i32) -> Result<(), CannotHappen> {
        if millionths.unsigned_abs() > Clock::DRIFT_MAX {
            return Err(CannotHappen::DriftTooGreat);
        }
        let now = self.now;
        self.machine(node)?.clock.set_drift(now, millionths);
        self.change_lease(node);
        Ok(())
    }

    /// A node's clock has changed, so its lease ends at another moment.
    fn change_lease(&mut self, node: NodeIndex) {
        let machine = &self.machines[node.get()];
        self.checkers[machine.cluster].has_no_lease(machine.identity, self.now);
        self.look_at_lease(node);
    }

    /// What came of the last change of the voters that a node was asked for.
    pub(crate) fn outcome(&self, node: NodeIndex) -> Option<ControlOutcome> {
        self.machines[node.get()].outcome
    }

    /// The record of a node that runs, as its program has it.
    pub(crate) fn running_record(&self, node: NodeIndex) -> Option<&VoteRecord> {
        self.machines[node.get()].node().map(|node| node.record())
    }

    /// What a node is started with: what its program runs with, unless that was changed since.
    pub(crate) fn settings(&self, node: NodeIndex) -> &NodeSetup {
        &self.machines[node.get()].setup
    }

    /// Every T_min, T_max and H that a node ever had.
    pub(crate) fn all_times(&self) -> impl Iterator<Item = [Duration; 3]> {
        self.machines.iter().flat_map(|machine| machine.all_times.iter().copied())
    }

    /// Whether several nodes led in this term.
    pub(crate) fn saw_leaders_beside(&self, term: u64) -> bool {
        self.checkers.iter().any(|checker| checker.saw_leaders_beside(term))
    }

    /// Whether two nodes led in one term, as may happen where I1 isn't judged.
    pub(crate) fn saw_two_leaders(&self) -> bool {
        self.checkers.iter().any(Checker::saw_two_leaders)
    }

    /// A node's lease, if it is valid now.
    pub fn leadership(&self, node: NodeIndex) -> Option<Leadership> {
        self.machines[node.get()].node()?.leadership(self.local(node))
    }

    /// How much of a node's lease is left on the node's own clock, if it is valid now.
    pub(crate) fn lease_left(&self, node: NodeIndex) -> Option<Duration> {
        let leadership = self.leadership(node)?;
        Some(leadership.valid_until.saturating_since(self.local(node)))
    }

    /// All nodes, running or not.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.machines.len()).map(NodeIndex::new)
    }

    fn machine(&mut self, node: NodeIndex) -> Result<&mut Machine, CannotHappen> {
        self.machines.get_mut(node.get()).ok_or(CannotHappen::NoSuchNode(node))
    }

    fn expect(&mut self, node: NodeIndex, expected: Condition) -> Result<(), CannotHappen> {
        let condition = self.machine(node)?.condition();
        if condition == expected { Ok(()) } else { Err(CannotHappen::Unfit(node, condition)) }
    }

    fn set_cut(&mut self, from: NodeIndex, to: NodeIndex, cut: bool) -> Result<(), CannotHappen> {
        self.machine(from)?;
        self.machine(to)?;
        self.network.set_cut(from, to, cut);
        Ok(())
    }

    fn partition(&mut self, groups: &[Vec<NodeIndex>]) -> Result<(), CannotHappen> {
        for node in groups.iter().flatten() {
            self.machine(*node)?;
        }
        for from in self.nodes() {
            for to in self.nodes().filter(|to| *to != from) {
                let together =
                    groups.iter().any(|group| group.contains(&from) && group.contains(&to));
                self.network.set_cut(from, to, !together);
            }
        }
        Ok(())
    }
}

/// Whether a save that failed has written the record all the same.
#[derive(Clone, Copy, Debug)]
struct Written(bool);

impl fmt::Display for CannotHappen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(node) => write!(f, "there is no node {node}"),
            Self::NotInFlight(pick) => write!(f, "no such message is in flight: {pick}"),
            Self::Unfit(node, Condition::Down) => write!(f, "{node} doesn't run"),
            Self::Unfit(node, Condition::Waiting) => write!(f, "{node} runs, and saves nothing"),
            Self::Unfit(node, Condition::Saving) => write!(f, "{node} waits for its disk"),
            Self::Unfit(node, Condition::Paused) => write!(f, "{node} is paused"),
            Self::IsGo(node) => write!(f, "{node} is Go's, and isn't told anything"),
            Self::NoDeadline(node) => write!(f, "{node} waits for nothing"),
            Self::DriftTooGreat => {
                write!(f, "a clock is off by at most {}ppm", Clock::DRIFT_MAX)
            }
            Self::NeverSettles => {
                write!(f, "the nodes still talk after {DELIVERIES_MAX} messages")
            }
        }
    }
}

impl std::error::Error for CannotHappen {}
