//! A node's computer: its program, its clock and its disk.

use std::time::Duration;

use graft_election_core::{
    Config, ConfigError, ControlOutcome, Instant, ListId, Node, NodeId, Outgoing, Output,
    RecordedList, Unsaved, VoterList,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use self_cell::{MutBorrow, self_cell};

use crate::application::SimulatedApplication;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::go_voter::GoVoter;
use crate::setup::{VOTERS_MAX, VoteRecord};
use crate::{Change, Identity, Moment, NodeIndex, NodeSetup, Setup};

/// The core's node.
pub(crate) type CoreNode = Node<SmallRng, SimulatedApplication, VOTERS_MAX>;

/// What the core's node asks for.
pub(crate) type CoreOutput<'n> = Output<'n, SmallRng, SimulatedApplication, VOTERS_MAX>;

type OpenSave<'n> = Option<Unsaved<'n, SmallRng, SimulatedApplication, VOTERS_MAX>>;

self_cell!(
    /// A node that waits for its disk. Until the save ends, no input can reach it.
    struct SavingNode {
        owner: MutBorrow<Box<CoreNode>>,
        #[not_covariant]
        dependent: OpenSave,
    }
);

/// A node's computer: what runs on it, and what outlives that.
pub(crate) struct Machine {
    /// Which process it is, among those of its cluster.
    pub(crate) identity: Identity,
    /// Its name, which it may share with a process of another cluster, or with its double.
    pub(crate) id: NodeId,
    /// Which of the clusters on the medium it belongs to.
    pub(crate) cluster: usize,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) is_paused: bool,
    /// What runs beside its program.
    pub(crate) application: SimulatedApplication,
    /// What its program is started with.
    pub(crate) setup: NodeSetup,
    /// The list of voters for which its record was made, if it declares one of its own.
    pub(crate) listed: Option<Vec<NodeIndex>>,
    /// Every T_min, T_max and H that the node had, has, or will have from its next start on.
    pub(crate) all_times: Vec<[Duration; 3]>,
    starts: u64,
    /// What came of the last change of the voters that its program was asked for (rule R7).
    pub(crate) outcome: Option<ControlOutcome>,
    /// Its program keeps the node that runs from leading (rule O3).
    pub(crate) is_held_back: bool,
    /// The last program that ran was Go's, which leaves no id in the record.
    ran_go: bool,
    /// The seed of its random numbers at its next start, if it isn't the usual one.
    next_seed: Option<u64>,
    program: Program,
}

/// What a node's program is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It doesn't run.
    Down,
    /// It waits for an input.
    Waiting,
    /// It waits for its disk.
    Saving,
    /// It is paused: it runs, but does nothing.
    Paused,
}

#[derive(Default)]
enum Program {
    #[default]
    Down,
    Waiting(Box<CoreNode>),
    Saving(SavingNode),
    /// It is the Go original.
    Go(Box<GoVoter>),
}

struct NothingToSave;

impl Machine {
    pub(crate) fn new(index: NodeIndex, setup: &Setup) -> Self {
        let node = &setup.nodes[index.get()];
        let of_each = setup.nodes.len() / setup.clusters;
        let identity = Identity { index: NodeIndex::new(index.get() % of_each), generation: 1 };
        let id = node.double_of.map_or(identity, Identity::first).id();
        let voters = declared_voters(setup, node, &id);
        let record = VoteRecord { list: recorded(node, &voters), ..node.record.clone() };
        Self {
            identity,
            id,
            cluster: index.get() / of_each,
            clock: Clock::new(node.clock.as_micros() as u64, node.tick),
            disk: Disk::new(record),
            is_paused: false,
            all_times: vec![node.times],
            application: SimulatedApplication::at(node.position),
            setup: node.clone(),
            listed: node.voters.clone(),
            starts: 0,
            outcome: None,
            is_held_back: false,
            ran_go: false,
            next_seed: None,
            program: Program::Down,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        match self.program {
            Program::Down => Condition::Down,
            _ if self.is_paused => Condition::Paused,
            Program::Waiting(_) | Program::Go(_) => Condition::Waiting,
            Program::Saving(_) => Condition::Saving,
        }
    }

    /// The node, unless it is down, or Go's.
    pub(crate) fn node(&self) -> Option<&CoreNode> {
        match &self.program {
            Program::Down | Program::Go(_) => None,
            Program::Waiting(node) => Some(node),
            Program::Saving(saving) => {
                saving.with_dependent(|_, open| open.as_ref().map(Unsaved::node))
            }
        }
    }

    /// When the node's timer is due, whether or not its program can notice.
    pub(crate) fn due_at(&self) -> Moment {
        let deadline = match &self.program {
            Program::Go(voter) => Some(voter.deadline),
            _ => self.node().map(CoreNode::deadline),
        };
        deadline.map_or(Moment::NEVER, |deadline| self.clock.shows_at(deadline))
    }

    /// What runs on the machine of a Go node.
    pub(crate) fn go_voter(&self) -> Option<&GoVoter> {
        match &self.program {
            Program::Go(voter) => Some(voter),
            _ => None,
        }
    }

    /// Whether it is Go's, or will be at its next start if it is down.
    pub(crate) fn is_go(&self) -> bool {
        match self.program {
            Program::Down => self.setup.is_go,
            Program::Go(_) => true,
            Program::Waiting(_) | Program::Saving(_) => false,
        }
    }

    /// Gives a Go node an input. Whatever comes of it is stored at once.
    pub(crate) fn feed_go<T>(&mut self, input: impl FnOnce(&mut GoVoter) -> T) -> Option<T> {
        let Program::Go(voter) = &mut self.program else { return None };
        voter.position = self.application.progress();
        let outcome = input(voter);
        self.disk.begin_save(voter.record().clone());
        self.disk.complete_save();
        Some(outcome)
    }

    /// Starts the node's program with what is on its disk.
    pub(crate) fn start(
        &mut self,
        setup: &Setup,
        record: VoteRecord,
        now: Instant,
    ) -> Result<(), ConfigError> {
        let [election_timeout_min, election_timeout_max, heartbeat_interval] = self.setup.times;
        let voters = self.voters(setup);
        let size = match self.setup.voters {
            _ if self.setup.joins => 0,
            Some(_) => voters.len(),
            None => setup.size,
        };
        let config = Config {
            voters: &voters,
            joins: self.setup.joins,
            election_timeout_min,
            election_timeout_max,
            heartbeat_interval,
            mode: self.setup.mode,
            priority: self.setup.priority,
            obeys_operators: self.setup.obeys_operators,
            clock_tick: self.setup.tick,
            clock_drift_percent: self.setup.rho,
            ..Config::new("simulated", size)
        };
        if std::mem::take(&mut self.ran_go) {
            self.change_id();
        }
        self.starts += 1;
        let rng = self.random_numbers(setup);
        let node = Node::new(self.id.clone(), &config, record, self.application, rng, now)?;
        self.program = Program::Waiting(Box::new(node));
        self.is_paused = false;
        Ok(())
    }

    /// Starts a Go node, which comes back under another id (G8), and knows of a term and a vote
    /// alone.
    pub(crate) fn start_go(&mut self, setup: &Setup, record: VoteRecord, now: Instant) {
        if self.starts > 0 {
            self.change_id();
        }
        self.ran_go = true;
        self.starts += 1;
        let rng = self.random_numbers(setup);
        let VoteRecord { term, voted_for, .. } = record;
        let record = VoteRecord { term, voted_for, ..VoteRecord::default() };
        let voter = GoVoter::new(self.id.clone(), setup.size, self.setup.times, record, rng, now);
        self.program = Program::Go(Box::new(voter));
        self.is_paused = false;
    }

    fn change_id(&mut self) {
        self.identity.generation = self.identity.generation.saturating_add(1);
        self.id = self.identity.id();
    }

    fn random_numbers(&mut self, setup: &Setup) -> SmallRng {
        let place = (self.cluster * NodeIndex::COUNT_MAX + self.identity.index.get()) as u64;
        let usual = setup.seed ^ (place + 1) << 56 ^ self.starts << 40;
        SmallRng::seed_from_u64(self.next_seed.take().unwrap_or(usual))
    }

    /// The list of voters with which it starts; empty if it declares none.
    pub(crate) fn voters(&self, setup: &Setup) -> Vec<NodeId> {
        declared_voters(setup, &self.setup, &self.id)
    }

    /// Sets what the node is started with next time.
    pub(crate) fn change(&mut self, change: &Change) {
        match change {
            Change::Mode(mode) => self.setup.mode = *mode,
            Change::Priority(priority) => self.setup.priority = *priority,
            Change::Rho(rho) => self.setup.rho = *rho,
            Change::Voters(voters) => self.setup.voters = Some(voters.clone()),
            Change::Program { is_go } => self.setup.is_go = *is_go,
            Change::Draws(seed) => self.next_seed = Some(*seed),
        }
    }

    /// Rewrites the record of a node that is down for another list of voters (rule V6).
    pub(crate) fn rewrite(&mut self, term: u64, voters: &[NodeIndex], bound_for: u32) {
        self.setup.voters = Some(voters.to_vec());
        self.listed = Some(voters.to_vec());
        let voters: Vec<NodeId> = voters.iter().map(|voter| Identity::first(*voter).id()).collect();
        let id = self.id.clone();
        let list = VoterList::replaced_in(term, &voters).expect("nobody is listed twice");
        self.disk.rewrite(|record| record.with_list(&id, list, bound_for));
    }

    /// Gives a waiting node an input, after which it sends a message, or saves, or does neither.
    pub(crate) fn feed(
        &mut self,
        input: impl FnOnce(&mut CoreNode) -> CoreOutput<'_>,
    ) -> Option<Outgoing> {
        let Program::Waiting(node) = std::mem::take(&mut self.program) else {
            unreachable!("only a node that waits has inputs");
        };
        let mut sent = None;
        let fed = SavingNode::try_new_or_recover(MutBorrow::new(node), |node| {
            match input(node.borrow_mut()) {
                Output::Save(unsaved) => return Ok(Some(unsaved)),
                Output::Send(outgoing) => sent = Some(outgoing),
                Output::Idle => {}
            }
            Err(NothingToSave)
        });
        self.program = match fed {
            Ok(saving) => Program::Saving(saving),
            Err((node, NothingToSave)) => Program::Waiting(node.into_inner()),
        };
        sent
    }

    /// Ends a node's save. Returns the message that waited for it.
    pub(crate) fn end_save(&mut self, now: Instant, succeeded: bool) -> Option<Outgoing> {
        let Program::Saving(mut saving) = std::mem::take(&mut self.program) else {
            unreachable!("only a node that saves can end a save");
        };
        let outgoing = saving.with_dependent_mut(|_, open| {
            let unsaved = open.take()?;
            if succeeded { unsaved.saved(now) } else { None }
        });
        let mut node = saving.into_owner().into_inner();
        *node.application_mut() = self.application;
        self.program = Program::Waiting(node);
        outgoing
    }

    /// The node's program is gone.
    pub(crate) fn stop(&mut self) {
        self.program = Program::Down;
        (self.is_paused, self.is_held_back) = (false, false);
    }

    /// Gives the node an empty disk, and with it a new id (rule V9).
    pub(crate) fn lose_disk(&mut self) {
        self.change_id();
        self.disk.replace();
    }

    /// Sets the T_min, T_max and H that the node has from its next start on.
    pub(crate) fn set_times(&mut self, times: [Duration; 3]) {
        self.setup.times = times;
        self.all_times.push(times);
    }

    /// The node's application changes. A program that saves asks it nothing.
    pub(crate) fn change_application(&mut self, change: impl FnOnce(&mut SimulatedApplication)) {
        change(&mut self.application);
        if let Program::Waiting(node) = &mut self.program {
            *node.application_mut() = self.application;
        }
    }
}

/// N6: the list in the first record that somebody has made for a declared voter. A setup names the
/// list alone, and the record has its voters, too.
fn recorded(node: &NodeSetup, voters: &[NodeId]) -> Option<RecordedList<VOTERS_MAX>> {
    let named = node.record.list.as_ref().map(RecordedList::id);
    let term = match named {
        Some(id) if !id.has_voters_of(ListId::declared(voters)) => {
            return Some(RecordedList::Id(id));
        }
        Some(id) => id.term,
        None => 0,
    };
    VoterList::replaced_in(term, voters).ok().map(RecordedList::Whole)
}

/// The voters that a node declares, its own list or its cluster's.
fn declared_voters(setup: &Setup, node: &NodeSetup, id: &NodeId) -> Vec<NodeId> {
    let first = |index| Identity::first(NodeIndex::new(index)).id();
    let voters: Vec<NodeId> = match &node.voters {
        _ if node.joins => Vec::new(),
        Some(voters) => return voters.iter().map(|voter| Identity::first(*voter).id()).collect(),
        None if setup.declared => (0..setup.size).map(first).collect(),
        None => Vec::new(),
    };
    if voters.contains(id) { voters } else { Vec::new() }
}
