//! The start of a node.

use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use graft_election_core::{Config, ConfigError, ControlOutcome, LeaderValue, Mode, NodeId};
use graft_election_proto::seal::{Keys, next_start};
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use tokio::sync::{mpsc, watch};

use super::Node;
use crate::application::Application;
use crate::application_queries::ApplicationQueries;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::core_node::{CoreNode, Mailbox, VOTERS_FEW, VOTERS_MAX, VoteRecord, VoterList};
use crate::driver::Driver;
use crate::error::StartError;
use crate::events::{ClusterInfo, Events, Fault};
use crate::leadership::Leases;
use crate::publisher::Publisher;
use crate::start_question::StartQuestion;
use crate::transport::{Member, Transport};
use crate::vote_store::{LoadWarning, SaveVote, StoredVote, VoteStore};

/// How many requests to hand over may wait; callers beyond that wait to be let in.
const REQUESTS_MAX: usize = 1;

/// What part of the least election timeout storing the vote may take. A vote takes two saves, the
/// candidate's and the voter's, and pre-votes, messages and a busy machine need the rest.
const STORE_SHARE: u32 = 5;

/// A node's settings, before it starts.
pub struct NodeBuilder {
    cluster: ClusterInfo,
    id: Option<NodeId>,
    voters: Vec<NodeId>,
    election_timeout: (Duration, Duration),
    heartbeat_interval: Duration,
    mode: Mode,
    priority: u32,
    clock_drift_percent: u8,
    obeys_operators: bool,
    joins: bool,
    allows_changes: bool,
    is_held_back: bool,
    value: LeaderValue,
    application: Option<Arc<dyn Application>>,
    listener: Option<Listener>,
    seed: Option<u64>,
    makes_first_record: bool,
    keys: Option<Keys>,
}

/// Reads a node's events on a thread of its own.
type Listener = Box<dyn FnOnce(Events) + Send>;

impl Node {
    /// The settings of a node of `cluster`; [`NodeBuilder::start`] starts it.
    pub fn builder(cluster: ClusterInfo) -> NodeBuilder {
        NodeBuilder {
            cluster,
            id: None,
            voters: Vec::new(),
            election_timeout: (Config::ELECTION_TIMEOUT_MIN, Config::ELECTION_TIMEOUT_MAX),
            heartbeat_interval: Config::HEARTBEAT_INTERVAL,
            mode: Mode::Extended,
            priority: Config::PRIORITY,
            clock_drift_percent: Config::CLOCK_DRIFT_PERCENT,
            obeys_operators: true,
            joins: false,
            allows_changes: false,
            is_held_back: false,
            value: LeaderValue::EMPTY,
            application: None,
            listener: None,
            seed: None,
            makes_first_record: false,
            keys: None,
        }
    }
}

impl NodeBuilder {
    /// The node's id. Without it, the id that is stored with the vote is used, or a new random one
    /// of 26 hexadecimal digits. It is stored with the vote from the node's start on.
    pub fn id(self, id: NodeId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The ids of all voters, this node's included. Only a declared list keeps more nodes than the
    /// cluster's size from voting (rule V6). A declared voter needs a vote record to start from:
    /// see [`first_record`](Self::first_record). The list stays with the record, and a node that is
    /// given another doesn't start; `graft voters` changes it while all voters are stopped. Go
    /// nodes change their ids at each start, so a cluster that still has some can't declare one.
    pub fn voters(self, voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..self }
    }

    /// Has the node take the list of voters from whoever leads, and vote once it has been
    /// [added](Node::change_voters) to it (rules R1, R11). It declares neither voters nor their
    /// number: [`ClusterInfo::joining`]. The list stays with its record, so a voter that was added
    /// goes on joining at each later start.
    pub fn joining(self) -> Self {
        Self { joins: true, ..self }
    }

    /// Whether [operators](crate::Operator) may change the voters while the node leads (rule R7);
    /// by default they may not. The node then has room for [`VOTERS_MAX`] voters, and takes some
    /// tens of kibibytes more.
    pub fn allow_changes(self, allows: bool) -> Self {
        Self { allows_changes: allows, ..self }
    }

    /// Whether the node is [held back](Node::hold_back) from its start on.
    pub fn held_back(self, is_held_back: bool) -> Self {
        Self { is_held_back, ..self }
    }

    /// How long a follower waits for a leader: `min` and a little more, where it has promised its
    /// vote to one (rule C1); otherwise, and always in Graft mode, a random time between `min` and
    /// `max`. 500 ms to 1 s by default.
    pub fn election_timeout(self, min: Duration, max: Duration) -> Self {
        Self { election_timeout: (min, max), ..self }
    }

    /// How often a leader says that it leads: every 100 ms by default.
    pub fn heartbeat_interval(self, interval: Duration) -> Self {
        Self { heartbeat_interval: interval, ..self }
    }

    /// Makes the first vote record of this id, where the [voters](Self::voters) are declared. Their
    /// nodes don't start without a record: it may be lost, and a voter that forgot its vote could
    /// vote twice in one term, and elect a second leader (rule N6).
    ///
    /// So call this at the very first start of an id, never by default. It is an error if there is
    /// a record: a program that always called this would start without one, too. For the program
    /// `graft`, `graft voters --init` makes the record.
    pub fn first_record(self) -> Self {
        Self { makes_first_record: true, ..self }
    }

    /// Whether there are Go nodes in the cluster: [`Mode::Graft`]. [`Mode::Extended`] by default. A
    /// running cluster changes its mode node by node.
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The node's preference for leading: 1 by default. In Extended mode a leader gives way to a
    /// steady follower of higher priority. A node of priority 0, a *witness*, votes and never
    /// campaigns (rule H4).
    pub fn priority(self, priority: u32) -> Self {
        Self { priority, ..self }
    }

    /// By how many percent the rates of two nodes' clocks may differ: 10 by default. A lease is
    /// that much shorter than the least election timeout (rule L3).
    pub fn clock_drift_percent(self, percent: u8) -> Self {
        Self { clock_drift_percent: percent, ..self }
    }

    /// Whether the node does what operators ask: to hand over, to pause and to resume (rule O1). By
    /// default it does; who may ask is for the transport's permissions to say.
    pub fn obeys_operators(self, obeys: bool) -> Self {
        Self { obeys_operators: obeys, ..self }
    }

    /// What the node says with its leadership; [`Node::set_value`] changes it later (rule L7).
    pub fn value(self, value: LeaderValue) -> Self {
        Self { value, ..self }
    }

    /// The application that decides which candidates are up to date enough to lead. Without one,
    /// every candidate is.
    pub fn application(self, application: impl Application) -> Self {
        Self { application: Some(Arc::new(application)), ..self }
    }

    /// Has `listener` read the node's events from its start, on a thread of its own.
    pub(crate) fn listener(self, listener: impl FnOnce(Events) + Send + 'static) -> Self {
        Self { listener: Some(Box::new(listener)), ..self }
    }

    /// The cluster's key, or two while it is being replaced (rules K1 to K4). Then the node seals
    /// all that it says, and drops what isn't sealed. Each node, observer and operator of the
    /// cluster needs it; Go nodes can't have it, so it is an error in Graft mode.
    pub fn keys(self, keys: Keys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Makes the node's random numbers repeatable, for tests and demonstrations. Each node and each
    /// start needs another seed: two processes of one id and one seed can't be told apart (rule
    /// N4).
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Starts the node on the current tokio runtime: loads its vote, joins the cluster over
    /// `transport`, and takes part from then on.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong; nothing is left running and no vote is lost.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn start(
        self,
        transport: impl Transport,
        votes: impl VoteStore,
    ) -> Result<Node, StartError> {
        self.config().check(VOTERS_MAX)?;
        if self.keys.is_some() && self.mode == Mode::Graft {
            return Err(StartError::KeyInGraftMode);
        }
        let (votes, stored) = on_blocking_thread(votes, |votes| votes.load()).await;
        let loaded =
            self.take_in(votes, stored.map_err(|error| StartError::Load(Box::new(error)))?)?;
        // A list may have more voters than are declared: that is read from the record. It may also
        // come to have more.
        let may_grow = self.joins || self.allows_changes;
        let is_small = !may_grow && self.config().check(VOTERS_FEW).is_ok();
        let small = loaded.record.with_room_for::<VOTERS_FEW>().ok().filter(|_| is_small);
        match small {
            Some(record) => self.join(transport, loaded, record).await,
            None => {
                let record = loaded.record.clone();
                self.join::<_, _, VOTERS_MAX>(transport, loaded, record).await
            }
        }
    }

    /// Makes of what the store has kept what the node begins with.
    fn take_in<V>(&self, votes: V, stored: StoredVote) -> Result<Loaded<V>, StartError> {
        let StoredVote { record, id: kept, warnings } = stored;
        let id = choose_id(self.id.as_ref(), kept.as_ref())?;
        let is_drawn = self.id.is_none() && kept.is_none();
        let (record, is_first) = self.choose_record(&id, record)?;
        let record = self.count_start(record)?;
        let is_new = kept.is_none() || is_first;
        Ok(Loaded { votes, id, record, is_drawn, is_new, warnings })
    }

    /// Joins the cluster with a `record` that has room for its voters.
    async fn join<T: Transport, V: VoteStore, const VOTERS: usize>(
        self,
        mut transport: T,
        loaded: Loaded<V>,
        record: graft_election_core::VoteRecord<VOTERS>,
    ) -> Result<Node, StartError> {
        let Loaded { votes, id, record: own_record, is_drawn, is_new, warnings } = loaded;
        let codec = Codec::of_node(&self.cluster.name, self.keys.as_ref(), &id, record.starts);
        let seed = self.seed.map_or_else(random_seed, Ok)?;
        let clock = Clock::start();
        // A trial, before other nodes can notice this one. The node itself is made after it has
        // joined, since its timer starts then.
        self.core_node(&id, record.clone(), seed, &clock)?;
        let queries =
            ApplicationQueries::start(self.application.clone(), self.heartbeat_interval / 2)
                .map_err(StartError::Thread)?;
        let (cluster, mode) = (&*self.cluster.name, self.mode);
        let member = Member { cluster, id: &id, mode, codec: &codec };
        transport.join(&member).await.map_err(|error| StartError::Join(Box::new(error)))?;
        // Before the node says anything, so that the store is its own even if it never votes; and
        // after it has joined, since an id that can't join may have been a mistake.
        let began = Instant::now();
        let own_id = id.clone();
        let (votes, saved) =
            on_blocking_thread(votes, move |votes| votes.save(&own_id, &own_record)).await;
        let took = began.elapsed();
        let mut faults: Vec<_> = warnings.into_iter().map(Fault::StoredVote).collect();
        match saved {
            Ok(()) => faults.extend(self.slow_store(took)),
            Err(error) if is_new => {
                return Err(StartError::Save(Box::new(error)));
            }
            // With a count that may come back, others would take what this life says for replayed.
            Err(error) if self.keys.is_some() => {
                return Err(StartError::SaveStart(Box::new(error)));
            }
            Err(error) => faults.push(Fault::Save(Arc::new(error))),
        }
        let mut node = self.core_node(&id, record, seed, &clock)?;
        node.application_mut().set_value(self.value.clone());
        let never_promised = !node.record().may_have_promised();
        let start_question = if never_promised && (is_drawn || transport.has_id_to_itself()) {
            node.handle_no_double(clock.now());
            StartQuestion::needless()
        } else {
            StartQuestion::new(self.election_timeout.0)
        };
        let votes = Arc::new(Mutex::new(votes));
        self.run(Joined { node, transport, votes, queries, clock, start_question }, faults)
    }

    /// The record to start from, and whether it is made now.
    fn choose_record(
        &self,
        id: &NodeId,
        record: VoteRecord,
    ) -> Result<(VoteRecord, bool), StartError> {
        if !self.makes_first_record || self.voters.is_empty() {
            return Ok((record, false));
        }
        if record != VoteRecord::default() {
            return Err(StartError::RecordExists { id: id.to_string() });
        }
        let list = VoterList::declared(&self.voters).map_err(ConfigError::from)?;
        Ok((VoteRecord::first(list), true))
    }

    /// Counts this start in the record, if the node has a key (rule K2).
    fn count_start(&self, record: VoteRecord) -> Result<VoteRecord, StartError> {
        if self.keys.is_none() {
            return Ok(record);
        }
        let starts = match record.starts {
            // So that the first one has the number of the minute.
            0 => minutes_since_1970().saturating_sub(1),
            starts => starts,
        };
        let starts = next_start(starts).ok_or(StartError::NoStartLeft)?;
        Ok(VoteRecord { starts, ..record })
    }

    /// What there is to report of a store that took that long.
    fn slow_store(&self, took: Duration) -> Option<Fault> {
        let max = self.election_timeout.0 / STORE_SHARE;
        (took > max).then_some(Fault::SlowStore { took, max })
    }

    /// Starts the tasks of a node that has joined its cluster.
    fn run<T: Transport, const VOTERS: usize>(
        self,
        joined: Joined<T, VOTERS>,
        faults: Vec<Fault>,
    ) -> Result<Node, StartError> {
        let Joined { node, transport, votes, queries, clock, start_question } = joined;
        let mut publisher = Publisher::new(&node, self.cluster, clock.clone());
        let (closing, close) = watch::channel(false);
        let (finish, finished) = watch::channel(());
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let holds = Arc::new(watch::Sender::default());
        let handle = Node {
            status: publisher.watch(),
            counts: publisher.watch_counts(),
            hearsay: publisher.hearsay(),
            leases: Leases {
                lease: publisher.watch_lease(),
                holds: Arc::clone(&holds),
                clock: clock.clone(),
                heartbeat_interval: self.heartbeat_interval,
            },
            mode: self.mode,
            election_timeout_max: self.election_timeout.1,
            next_job_at: Mutex::new(tokio::time::Instant::now()),
            requests,
            first_events: Mutex::new(Some(publisher.listen())),
            events: publisher.subscribe(),
            closing,
            finished,
        };
        if let Some(listener) = self.listener {
            let events = publisher.listen();
            std::thread::Builder::new()
                .name("graft-handler".to_owned())
                .spawn(move || listener(events))
                .map_err(StartError::Thread)?;
        }
        for fault in faults {
            publisher.fault(fault);
        }
        let driver = Driver {
            node,
            transport,
            votes,
            queries,
            publisher,
            clock,
            send_time_max: self.heartbeat_interval,
            closing: Some(close),
            requests: requested,
            holds,
            lost: None,
            overdue_messages: 0,
            is_partial: false,
            is_abandoned: false,
            start_question,
            change_outcome: ControlOutcome::NotLeading,
            looks_for_go_nodes: self.mode == Mode::Graft && !self.voters.is_empty(),
        };
        tokio::spawn(async move {
            driver.run().await;
            drop(finish);
        });
        Ok(handle)
    }

    fn config(&self) -> Config<'_> {
        let (min, max) = self.election_timeout;
        Config {
            voters: &self.voters,
            mode: self.mode,
            priority: self.priority,
            clock_drift_percent: self.clock_drift_percent,
            obeys_operators: self.obeys_operators,
            joins: self.joins,
            allows_changes: self.allows_changes,
            is_held_back: self.is_held_back,
            election_timeout_min: min,
            election_timeout_max: max,
            heartbeat_interval: self.heartbeat_interval,
            ..Config::new(&self.cluster.name, self.cluster.size)
        }
    }

    fn core_node<const VOTERS: usize>(
        &self,
        id: &NodeId,
        record: graft_election_core::VoteRecord<VOTERS>,
        seed: u64,
        clock: &Clock,
    ) -> Result<CoreNode<VOTERS>, ConfigError> {
        let (config, rng) = (self.config(), StdRng::seed_from_u64(seed));
        CoreNode::new(id.clone(), &config, record, Mailbox::EMPTY, rng, clock.now())
    }
}

/// What a node begins with.
struct Loaded<V> {
    votes: V,
    id: NodeId,
    record: VoteRecord,
    /// Nobody has had the id before.
    is_drawn: bool,
    /// It isn't the node's yet.
    is_new: bool,
    warnings: Vec<LoadWarning>,
}

/// A node that has joined its cluster, and all that it runs on.
struct Joined<T, const VOTERS: usize> {
    node: CoreNode<VOTERS>,
    transport: T,
    votes: Arc<Mutex<dyn SaveVote>>,
    queries: ApplicationQueries,
    clock: Clock,
    start_question: StartQuestion,
}

/// Does what may block, for as long as a disk hangs, where it holds nothing up.
async fn on_blocking_thread<V: Send + 'static, T: Send + 'static>(
    mut votes: V,
    act: impl FnOnce(&mut V) -> T + Send + 'static,
) -> (V, T) {
    let acting = tokio::task::spawn_blocking(move || {
        let done = act(&mut votes);
        (votes, done)
    });
    match acting.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The id that was given or is stored with the vote, which must be the same; otherwise a new one.
fn choose_id(given: Option<&NodeId>, kept: Option<&NodeId>) -> Result<NodeId, StartError> {
    match (given, kept) {
        (Some(given), Some(kept)) if given != kept => {
            Err(StartError::OtherId { given: given.to_string(), kept: kept.to_string() })
        }
        (Some(id), _) | (None, Some(id)) => Ok(id.clone()),
        (None, None) => random_id(),
    }
}

/// The wall clock, which needs not be right: a new record only has to begin above those that the
/// node had before, if there were any.
fn minutes_since_1970() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 60).unwrap_or_default()
}

/// A new id as the Go original makes it: 13 random bytes in hexadecimal digits.
pub(crate) fn random_id() -> Result<NodeId, StartError> {
    let mut bytes = [0; 13];
    SysRng.try_fill_bytes(&mut bytes).map_err(random_error)?;
    let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string can't fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    NodeId::new(&digits).map_err(random_error)
}

fn random_seed() -> Result<u64, StartError> {
    SysRng.try_next_u64().map_err(random_error)
}

fn random_error(error: impl Error + Send + Sync + 'static) -> StartError {
    StartError::Random(Box::new(error))
}
