mod effects;

use std::fmt;
use std::time::Duration;

use graft_election_core::{Leadership, NodeId, State};

use crate::checker::Checker;
use crate::clock::Clock;
use crate::station::{Condition, Station};
use crate::{
    Event, FlightKey, Identity, Moment, Network, NodeIndex, Observer, Pick, Setup, Step, Violation,
};

/// Nodes, and the world around them.
///
/// It changes by [`apply`](Self::apply) alone, the same steps change it in the same way, and the
/// [`Observer`] is told all that comes of each.
pub struct World {
    setup: Setup,
    voters: Vec<NodeId>,
    now: Moment,
    stations: Vec<Station>,
    network: Network,
    checker: Checker,
}

/// Why a step can't happen now; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotHappen {
    /// There is no such node.
    NoSuchNode(NodeIndex),
    /// No such message is in flight.
    NotInFlight(Pick),
    /// The node is doing something else.
    Unfit(NodeIndex, Condition),
    /// The node waits for nothing.
    NoDeadline(NodeIndex),
    /// The clock can't be so far off.
    DriftTooGreat,
    /// The messages never come to an end.
    NeverSettles,
}

/// After how many deliveries nodes that still talk will never stop.
const DELIVERIES_MAX: usize = 10_000;

impl World {
    /// A world in which all nodes have just started.
    pub fn new(setup: Setup, observer: &mut impl Observer) -> Self {
        let indexes = (0..setup.nodes.len()).map(NodeIndex::new);
        let stations: Vec<_> = indexes.map(|index| Station::new(index, &setup)).collect();
        let voters = if setup.declared { &stations[..setup.size] } else { &[] };
        let mut world = Self {
            voters: voters.iter().map(|station| station.id.clone()).collect(),
            now: Moment::default(),
            network: Network::new(),
            checker: Checker::new(&setup),
            setup,
            stations,
        };
        for index in 0..world.stations.len() {
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
        if let Some(violation) = self.checker.violation().filter(|_| !had_violation) {
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
        self.stations.len()
    }

    /// What a node's program is doing.
    pub fn condition(&self, node: NodeIndex) -> Condition {
        self.stations[node.get()].condition()
    }

    /// When a node's timer is due; never, while it is down.
    pub fn due_at(&self, node: NodeIndex) -> Moment {
        self.stations[node.get()].due_at()
    }

    /// A node's state, term and leader: nothing, if it is down.
    pub fn view(&self, node: NodeIndex) -> Option<(State, u64, Option<Identity>)> {
        let program = self.stations[node.get()].node()?;
        Some((program.state(), program.term(), program.leader().and_then(Identity::of)))
    }

    /// Who a node is at present.
    pub fn identity(&self, node: NodeIndex) -> Identity {
        self.stations[node.get()].identity
    }

    /// Whether what is on a node's disk is a record.
    pub fn has_record(&self, node: NodeIndex) -> bool {
        self.stations[node.get()].disk.record().is_some()
    }

    /// The messages in flight.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Moves the keys of the messages that the last step sent to the end of `departures`.
    pub fn take_departures(&mut self, departures: &mut Vec<FlightKey>) {
        self.network.take_departures(departures);
    }

    /// The first rule that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.checker.violation()
    }

    fn happen(&mut self, step: &Step, observer: &mut impl Observer) -> Result<(), CannotHappen> {
        match step {
            Step::Advance(span) => self.now = self.now.plus(*span),
            Step::TimeOut(node) => self.time_out(*node, observer)?,
            Step::Deliver(pick) => self.deliver(*pick, observer)?,
            Step::Drop(pick) => {
                for key in self.picked(*pick)? {
                    if let Some(flight) = self.network.take(key) {
                        observer.observe(Event::Lost(&flight));
                    }
                }
            }
            Step::Duplicate(pick) => {
                for key in self.picked(*pick)? {
                    if let Some(flight) = self.network.flight(key).cloned() {
                        self.network.send(flight.from, flight.to, flight.message);
                    }
                }
            }
            Step::Settle => self.settle(observer)?,
            Step::Save(node) => {
                self.expect(*node, Condition::Saving)?;
                self.end_save(*node, Ok(()), observer);
            }
            Step::FailSave { node, written } => {
                self.expect(*node, Condition::Saving)?;
                self.end_save(*node, Err(Written(*written)), observer);
            }
            Step::Disk { node, mode } => self.station(*node)?.disk.mode = *mode,
            Step::Crash { node, remains } => self.crash(*node, *remains, observer)?,
            Step::Restart(node) => {
                self.expect(*node, Condition::Down)?;
                self.start(*node, observer);
            }
            Step::Replace(node) => {
                self.expect(*node, Condition::Down)?;
                self.station(*node)?.lose_disk();
                self.start(*node, observer);
            }
            Step::Pause(node) => {
                let condition = self.station(*node)?.condition();
                if matches!(condition, Condition::Down | Condition::Paused) {
                    return Err(CannotHappen::Unfit(*node, condition));
                }
                self.station(*node)?.is_paused = true;
            }
            Step::Resume(node) => {
                self.expect(*node, Condition::Paused)?;
                self.station(*node)?.is_paused = false;
            }
            Step::HandOver { node, to } => {
                self.expect(*node, Condition::Waiting)?;
                let to = match to {
                    Some(to) => Some(self.station(*to)?.id.clone()),
                    None => None,
                };
                let now = self.local(*node);
                self.feed(*node, |program| program.hand_over(now, to), observer);
            }
            Step::Close(node) => {
                self.expect(*node, Condition::Waiting)?;
                let now = self.local(*node);
                self.checker.closes(self.identity(*node), now);
                self.feed(*node, |program| program.close(now), observer);
            }
            Step::Cut { from, to } => self.set_cut(*from, *to, true)?,
            Step::Mend { from, to } => self.set_cut(*from, *to, false)?,
            Step::Partition(groups) => self.partition(groups)?,
            Step::Heal => {
                let all: Vec<_> = self.nodes().collect();
                self.partition(&[all])?;
            }
            Step::Leap { node, by } => {
                self.station(*node)?.clock.leap(*by);
                self.change_lease(*node);
            }
            Step::Drift { node, millionths } => {
                if millionths.unsigned_abs() > Clock::DRIFT_MAX {
                    return Err(CannotHappen::DriftTooGreat);
                }
                let now = self.now;
                self.station(*node)?.clock.set_drift(now, *millionths);
                self.change_lease(*node);
            }
            Step::Times { node, times } => self.station(*node)?.set_times(*times),
            Step::Position { node, position } => self.station(*node)?.set_position(*position),
            Step::Forge { message, to } => {
                self.expect(*to, Condition::Waiting)?;
                self.hear(*to, (**message).clone(), observer);
            }
        }
        Ok(())
    }

    /// A node's clock has changed, so its lease ends at another moment.
    fn change_lease(&mut self, node: NodeIndex) {
        self.checker.has_no_lease(self.identity(node));
        self.look_at_lease(node);
    }

    /// Every T_min, T_max and H that a node ever had.
    pub(crate) fn all_times(&self) -> impl Iterator<Item = [Duration; 3]> {
        self.stations.iter().flat_map(|station| station.all_times.iter().copied())
    }

    /// Whether two nodes led in one term, as may happen where I1 isn't judged.
    pub(crate) fn has_rivals(&self) -> bool {
        self.checker.has_rivals()
    }

    /// A node's lease, if it is valid now.
    pub fn leadership(&self, node: NodeIndex) -> Option<Leadership> {
        self.stations[node.get()].node()?.leadership(self.local(node))
    }

    /// How long a node's lease lasts yet on the node's own clock, if it is valid now.
    pub(crate) fn lease_left(&self, node: NodeIndex) -> Option<Duration> {
        let leadership = self.leadership(node)?;
        Some(leadership.valid_until.saturating_since(self.local(node)))
    }

    /// All nodes, running or not.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.stations.len()).map(NodeIndex::new)
    }

    fn station(&mut self, node: NodeIndex) -> Result<&mut Station, CannotHappen> {
        self.stations.get_mut(node.get()).ok_or(CannotHappen::NoSuchNode(node))
    }

    fn expect(&mut self, node: NodeIndex, expected: Condition) -> Result<(), CannotHappen> {
        let condition = self.station(node)?.condition();
        if condition == expected { Ok(()) } else { Err(CannotHappen::Unfit(node, condition)) }
    }

    fn set_cut(&mut self, from: NodeIndex, to: NodeIndex, cut: bool) -> Result<(), CannotHappen> {
        self.station(from)?;
        self.station(to)?;
        self.network.set_cut(from, to, cut);
        Ok(())
    }

    fn partition(&mut self, groups: &[Vec<NodeIndex>]) -> Result<(), CannotHappen> {
        for node in groups.iter().flatten() {
            self.station(*node)?;
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

/// A save that failed may have been written all the same.
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
            Self::Unfit(node, Condition::Paused) => write!(f, "{node} stands still"),
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
