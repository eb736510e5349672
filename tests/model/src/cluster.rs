//! The clusters that are searched.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election_core::{
    AlwaysGrant, Config, Instant, Mode, Node, NodeId, Outgoing, Recipient, RecordedList, Round,
    VoteRecord, VoterList,
};

use crate::clock::{Clock, EARLY, LATE, Moment};
use crate::voter::{Disk, LIVES_APART, NoDice, ROUNDS_MAX, id, name, number};

/// The clusters that are searched whenever everything is tested. Each planted defect that the model
/// must notice shows in one of them.
pub const QUICK_CLUSTERS: &[Cluster] = &[
    Cluster { term_max: 3, leaving: true, ..Cluster::new(Kind::Graft, 2) },
    Cluster { witness: false, ..Cluster::with_witness(Kind::GraftVoter, 1) },
    Cluster {
        disturbances_max: Some(1),
        leaving: true,
        ..Cluster::with_witness(Kind::Extended, 1)
    },
    Cluster::with_witness(Kind::SlowClock, 2),
    Cluster::with_witness(Kind::CoarseClock, 3),
    Cluster::with_others(Others::Cluster, 4),
    Cluster::with_others(Others::Double, 3),
];

/// The clusters that are searched after them, those that take longest last.
pub const CLUSTERS: &[Cluster] = &[
    Cluster { term_max: 1, leaving: true, ..Cluster::new(Kind::Graft, 4) },
    Cluster { term_max: 2, declared: false, ..Cluster::new(Kind::Graft, 3) },
    Cluster { term_max: 2, leaving: true, timeout_steps: 2, ..Cluster::new(Kind::Extended, 2) },
    Cluster { witness: false, ..Cluster::with_witness(Kind::Extended, 1) },
    Cluster { leaving: true, timeout_steps: 2, ..Cluster::new(Kind::Extended, 3) },
    Cluster { term_max: 2, leaving: true, ..Cluster::new(Kind::Graft, 3) },
    Cluster { disturbances_max: Some(1), ..Cluster::with_witness(Kind::Extended, 2) },
    Cluster { term_max: 3, ..Cluster::new(Kind::Graft, 3) },
];

/// The large clusters, which are searched on demand.
pub const LARGE_CLUSTERS: &[Cluster] = &[
    Cluster { term_max: 2, ..Cluster::new(Kind::Graft, 4) },
    Cluster { term_max: 3, ..Cluster::new(Kind::Extended, 2) },
    Cluster { witness: false, ..Cluster::with_witness(Kind::Extended, 2) },
    Cluster::with_witness(Kind::CoarseVoter, 4),
    Cluster { term_max: 3, ..Cluster::with_witness(Kind::Extended, 1) },
];

/// How long a step of time lasts, in microseconds.
const STEP: u64 = 4;

/// The heartbeat interval, in microseconds. It is shorter than a step, so that leases can be short.
const HEARTBEAT_INTERVAL: u64 = 2;

/// When a node starts: some time after its clock's origin.
const START: Instant = Instant::from_micros(1 << 32);

/// A cluster to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many nodes there are, the others of their ids included: 1 to
    /// [`NODES_MAX`](crate::NODES_MAX).
    pub nodes: usize,
    /// The highest term; a campaign for a higher one is beyond the model.
    pub term_max: u8,
    /// Whether the nodes know the list of all voters (rule V6).
    pub declared: bool,
    /// Whether nodes are told to hand over and to close (rules H1 to H3).
    pub leaving: bool,
    /// Whether the last node never campaigns (rule H4).
    pub witness: bool,
    /// In which modes they are, and what their clocks are like.
    pub kind: Kind,
    /// Who else has their ids.
    pub others: Others,
    /// How many steps of time T_min lasts.
    pub timeout_steps: u8,
    /// How often in all nodes may crash, fail to save or be told to leave, if that is bounded.
    pub disturbances_max: Option<u8>,
}

/// In which modes the nodes of a cluster are, and what their clocks are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All are in Graft mode. Time is nothing but an order of events.
    Graft,
    /// All are in Extended mode, and their clocks are exact.
    Extended,
    /// All but the last are in Extended mode, which is in Graft mode.
    GraftVoter,
    /// All are in Extended mode. The first one's clock runs at half the speed of the others', which
    /// is as much as rho allows.
    SlowClock,
    /// All are in Extended mode. The first one's clock shows every second step only.
    CoarseClock,
    /// The same, but it is the last one's clock.
    CoarseVoter,
}

/// Who else has the ids of a cluster's nodes (rules N1 to N5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    Nobody,
    /// The last node is another process of the first one's id.
    Double,
    /// Half of the nodes are a cluster of their own. Its ids are those of the others, whom its
    /// answers reach, too.
    Cluster,
}

impl Cluster {
    /// Declared nodes that nobody tells to leave, in terms 0 and 1.
    pub const fn new(kind: Kind, nodes: usize) -> Self {
        Self {
            nodes,
            term_max: 1,
            declared: true,
            leaving: false,
            witness: false,
            kind,
            others: Others::Nobody,
            timeout_steps: 1,
            disturbances_max: None,
        }
    }

    /// Nodes in Extended mode, of which some have the ids of others, in terms 0 and 1 and without
    /// disturbances.
    const fn with_others(others: Others, nodes: usize) -> Self {
        Self { others, disturbances_max: Some(0), ..Self::new(Kind::Extended, nodes) }
    }

    /// Two nodes that may lead, and a witness, in terms 0 to 2 and without disturbances.
    const fn with_witness(kind: Kind, timeout_steps: u8) -> Self {
        Self {
            term_max: 2,
            witness: true,
            timeout_steps,
            disturbances_max: Some(0),
            ..Self::new(kind, 3)
        }
    }

    /// The numbers of the nodes.
    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.nodes
    }

    /// How many voters the nodes know of.
    pub(crate) fn size(&self) -> usize {
        match self.others {
            Others::Nobody => self.nodes,
            Others::Double => self.nodes - 1,
            Others::Cluster => self.nodes / 2,
        }
    }

    /// The node's name: that of its id, with a mark if it is another's, too.
    pub(crate) fn name(&self, node: usize) -> String {
        let mark = if node < self.size() { "" } else { "'" };
        format!("{}{mark}", name(node % self.size()))
    }

    /// Whether the node is the first of its id or another.
    fn party(&self, node: usize) -> u8 {
        u8::from(node >= self.size())
    }

    /// Which of two clusters the node belongs to.
    pub(crate) fn side(&self, node: usize) -> usize {
        usize::from(self.others == Others::Cluster && node >= self.size())
    }

    /// The node that has this id, and has drawn this round.
    pub(crate) fn process(&self, id: &NodeId, round: Option<Round>) -> Result<usize> {
        let first = number(id)?;
        let is_first = round.is_none_or(|round| round.number() < LIVES_APART);
        Ok(if is_first { first } else { first + self.size() })
    }

    /// Whether the node has drawn this round, or may do so.
    pub(crate) fn is_own(&self, node: usize, round: Round) -> bool {
        u32::from(self.party(node)) == round.number() / LIVES_APART
    }

    /// Whether the node hears the message. Messages for everyone reach their sender, too, and all
    /// of its own cluster; those for one node reach whoever has its id.
    pub(crate) fn hears(&self, node: usize, outgoing: &Outgoing) -> Result<bool> {
        match (&outgoing.to, outgoing.message.sender()) {
            (Recipient::Everyone, Some(sender)) => {
                let sender = self.process(sender, outgoing.message.round())?;
                Ok(self.side(sender) == self.side(node))
            }
            (Recipient::Everyone, None) => Ok(true),
            (Recipient::Node(id), _) => {
                let id = number(id).context("a message is for no node")?;
                Ok(id == node % self.size())
            }
        }
    }

    /// Whether time passes, step by step.
    pub(crate) fn is_timed(&self) -> bool {
        self.kind != Kind::Graft
    }

    /// Whether the two nodes differ only by their names.
    pub(crate) fn are_alike(&self, one: usize, other: usize) -> bool {
        let is_odd = |node| self.oddity(node).is_some() || self.is_witness(node);
        // Two processes of one id are of two lives, and the lower one gives way (N5).
        let are_alone = self.others == Others::Nobody;
        one == other || are_alone && !is_odd(one) && !is_odd(other)
    }

    /// The node's clock.
    pub(crate) fn clock(&self, node: usize) -> Clock {
        match (self.kind, self.oddity(node)) {
            (Kind::Graft, _) => Clock { advance: 1, steps: 1 },
            (_, Some(Kind::SlowClock)) => Clock { advance: STEP / 2, steps: 1 },
            (_, Some(Kind::CoarseClock | Kind::CoarseVoter)) => {
                Clock { advance: 2 * STEP, steps: 2 }
            }
            _ => Clock { advance: STEP, steps: 1 },
        }
    }

    /// The age from which on all messages are alike, on the clock of the node that sent them first.
    pub(crate) fn age_max(&self, node: usize) -> u64 {
        let clock = self.clock(node);
        (self.election_timeout_min() + self.clock_tick(node)).div_ceil(clock.advance) + 1
    }

    /// The node as it starts with what it has stored, at this phase of its clock.
    pub(crate) fn start(&self, node: usize, disk: Disk, phase: u8) -> Result<Moment> {
        let ids: Vec<NodeId> = (0..self.size()).map(id).collect::<Result<_>>()?;
        let config = self.config(node, if self.declared { &ids } else { &[] });
        let voted_for = disk.vote.and_then(|vote| ids.get(usize::from(vote))).cloned();
        let list = self.declared.then(|| VoterList::declared(&ids)).transpose()?;
        let list = list.map(RecordedList::Whole);
        // A node that has a term has made promises. One in Graft mode stores that with the first
        // one alone, which would only add states.
        let promises = self.is_timed() && (disk.term > 0 || self.is_graft(node));
        let bound_for = if promises { u32::try_from(self.election_timeout_min())? } else { 0 };
        let term = disk.term.into();
        let record = VoteRecord { term, voted_for, list, bound_for, is_paused: false, starts: 0 };
        let now = if self.is_timed() { START } else { EARLY };
        // Nothing binds a node that never stored a term, so starting late only lets it do more.
        let started_at = if !self.is_timed() && disk.term == 0 { LATE } else { now };
        let id = id(node % self.size())?;
        let dice = NoDice::of(&id, self.party(node));
        let mut voter = Node::new(id, &config, record, AlwaysGrant, dice, started_at)?;
        // It has asked whether its id is its own alone, and nobody answered (N5): no other process
        // has it, or none heard the question.
        voter.end_inquiry();
        voter.exhaust_standing_back();
        voter.set_rounds_drawn(ROUNDS_MAX);
        Ok(Moment { node, voter, now, phase, doubt: None })
    }

    fn config<'c>(&self, node: usize, voters: &'c [NodeId]) -> Config<'c> {
        let priority = if self.is_witness(node) { 0 } else { Config::PRIORITY };
        let config = Config { voters, priority, ..Config::new("model", self.size()) };
        if !self.is_timed() {
            return Config { mode: Mode::Graft, ..config };
        }
        let election_timeout_min = Duration::from_micros(self.election_timeout_min());
        Config {
            mode: if self.is_graft(node) { Mode::Graft } else { Mode::Extended },
            election_timeout_min,
            // Every timer is drawn as the shortest. A longer one is the same as one that is late.
            election_timeout_max: 2 * election_timeout_min,
            heartbeat_interval: Duration::from_micros(HEARTBEAT_INTERVAL),
            clock_drift_percent: if self.kind == Kind::SlowClock { 50 } else { 0 },
            clock_tick: Duration::from_micros(self.clock_tick(node)),
            ..config
        }
    }

    /// Whether the node alone is in Graft mode.
    fn is_graft(&self, node: usize) -> bool {
        self.oddity(node) == Some(Kind::GraftVoter)
    }

    /// Whether the node never campaigns.
    fn is_witness(&self, node: usize) -> bool {
        self.witness && node + 1 == self.nodes
    }

    /// In what the node differs from the others.
    fn oddity(&self, node: usize) -> Option<Kind> {
        let odd = match self.kind {
            Kind::Graft | Kind::Extended => return None,
            Kind::GraftVoter | Kind::CoarseVoter => self.nodes - 1,
            Kind::SlowClock | Kind::CoarseClock => 0,
        };
        (node == odd).then_some(self.kind)
    }

    /// In microseconds.
    fn election_timeout_min(&self) -> u64 {
        u64::from(self.timeout_steps) * STEP
    }

    /// What the node's configuration says of its clock's least step: a clock that shows every step
    /// is exact.
    fn clock_tick(&self, node: usize) -> u64 {
        let clock = self.clock(node);
        if clock.steps > 1 { clock.advance } else { 0 }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let voters = if self.declared { "declared" } else { "undeclared" };
        write!(f, "{} {voters} nodes", self.size())?;
        f.write_str(match self.others {
            Others::Nobody => "",
            Others::Double => " and a double of the first",
            Others::Cluster => " and another cluster of their ids",
        })?;
        write!(f, ", {}, terms 0 to {}", self.kind, self.term_max)?;
        if self.witness {
            f.write_str(", one a witness")?;
        }
        if self.leaving {
            f.write_str(", handing over and closing")?;
        }
        if self.is_timed() {
            let steps = if self.timeout_steps == 1 { "step" } else { "steps" };
            write!(f, ", T_min of {} {steps}", self.timeout_steps)?;
        }
        match self.disturbances_max {
            Some(0) => f.write_str(", no disturbance"),
            Some(1) => f.write_str(", at most 1 disturbance"),
            Some(max) => write!(f, ", at most {max} disturbances"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graft => "Graft mode",
            Self::Extended => "Extended mode",
            Self::GraftVoter => "one in Graft mode",
            Self::SlowClock => "one with a slow clock",
            Self::CoarseClock => "one with a coarse clock",
            Self::CoarseVoter => "the last with a coarse clock",
        })
    }
}
