use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graft_election_core::{Config, Mode, NodeId, State};
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::counts::Counts;
use crate::driver::{Answers, CoreNode, Driver, HandoverWish, VOTERS_MAX};
use crate::error::StartError;
use crate::events::{ClusterInfo, Event, Events, Fault, Status};
use crate::handler::{self, Handler};
use crate::judge::Judge;
use crate::leadership::{Leadership, Leases};
use crate::publisher::Publisher;
use crate::transport::Transport;
use crate::vote_store::{StoredVote, VoteStore};

/// A running voter of a cluster.
///
/// All methods take `&self`: share it in an [`Arc`]. Dropping it closes the node as
/// [`close`](Self::close) does, but without waiting. A node ends with its runtime, and then it is
/// closed too, but can't hand over.
#[derive(Debug)]
pub struct Node {
    status: watch::Receiver<Arc<Status>>,
    counts: watch::Receiver<Counts>,
    leases: Leases,
    mode: Mode,
    election_timeout_max: Duration,
    wishes: mpsc::Sender<HandoverWish>,
    /// Taken by the first who asks, so that it misses nothing.
    first_events: Mutex<Option<Events>>,
    events: broadcast::Receiver<Event>,
    closing: watch::Sender<bool>,
    /// Loses its sender when the driver is gone.
    finished: watch::Receiver<()>,
}

impl Node {
    /// Starts to describe a node of `cluster`; [`NodeBuilder::start`] makes it live.
    pub fn builder(cluster: ClusterInfo) -> NodeBuilder {
        NodeBuilder {
            cluster,
            id: None,
            voters: Vec::new(),
            election_timeout: (Config::ELECTION_TIMEOUT_MIN, Config::ELECTION_TIMEOUT_MAX),
            heartbeat_interval: Config::HEARTBEAT_INTERVAL,
            quarantine: None,
            mode: Mode::Extended,
            priority: Config::PRIORITY,
            clock_drift_percent: Config::CLOCK_DRIFT_PERCENT,
            handler: None,
            seed: None,
        }
    }

    /// The node's own id.
    pub fn id(&self) -> NodeId {
        self.status.borrow().id.clone()
    }

    /// The cluster's name and size.
    pub fn cluster_info(&self) -> ClusterInfo {
        (*self.status.borrow().cluster).clone()
    }

    /// What the node is to its cluster.
    pub fn state(&self) -> State {
        self.status.borrow().state
    }

    /// The leader of the node's term, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.status.borrow().leader.clone()
    }

    /// The node's term.
    pub fn current_term(&self) -> u64 {
        self.status.borrow().term
    }

    /// Whom the node voted for in its term.
    pub fn current_vote(&self) -> Option<NodeId> {
        self.status.borrow().vote.clone()
    }

    /// Where the node's vote is stored, if in a file. Closing changes neither it nor the file.
    pub fn vote_path(&self) -> Option<Arc<std::path::PathBuf>> {
        self.status.borrow().vote_path.clone()
    }

    /// All of the above at one and the same instant.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// The node's status as a value to watch: always the latest, changes in between may be missed.
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// The node's events, in order and complete. The first call returns all since the start, later
    /// ones those from then on.
    pub fn events(&self) -> Events {
        let first = self.first_events.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| Events::new(self.events.resubscribe(), self.status()))
    }

    /// How often things happened since the node's start.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// The right to act as the leader, if the node has it at this moment by its clock (rule L3).
    ///
    /// None while the node doesn't lead; before a quorum has acknowledged it; from the moment on
    /// that it hands over; and always in [`Mode::Graft`], where there is no lease: Go nodes promise
    /// nothing, so that a leader can't know whether there is another.
    pub fn leadership(&self) -> Option<Leadership> {
        self.leases.current()
    }

    /// Waits until the node has a [`leadership`](Self::leadership) that isn't about to end. None if
    /// it closes. In [`Mode::Graft`] it never has one. Cancel-safe.
    ///
    /// [`run_while_leader`](Self::run_while_leader) does this, and what must follow.
    pub async fn wait_for_leadership(&self) -> Option<Leadership> {
        self.leases.next().await
    }

    /// Hands the leadership over, to node `to` or, without one, to the follower that is fit to lead
    /// and answered last (rule H1). True if this node led, and has said that it doesn't any more.
    ///
    /// It waits for those who hold a [`Leadership`], but not beyond the end of the lease. Go nodes
    /// don't hear it, so among them it only stops this node from leading.
    pub async fn hand_over(&self, to: Option<NodeId>) -> bool {
        self.wish(to, None, None).await
    }

    /// Gives the leadership of `token` up, because its job is done or failed.
    pub(crate) async fn give_up(&self, token: u64, fault: Option<Fault>) {
        self.wish(None, Some(token), fault).await;
    }

    async fn wish(&self, to: Option<NodeId>, token: Option<u64>, fault: Option<Fault>) -> bool {
        let (done, is_done) = oneshot::channel();
        let wish = HandoverWish { to, token, fault, done };
        // A node that has closed leads no more.
        self.wishes.send(wish).await.is_ok() && is_done.await.unwrap_or(false)
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.leases.heartbeat_interval
    }

    pub(crate) fn election_timeout_max(&self) -> Duration {
        self.election_timeout_max
    }

    /// Closes the node and waits until it is closed. A leader hands over first, which takes up to
    /// two heartbeat intervals (rule H3), after it has waited for those who hold a [`Leadership`].
    /// So long, too, a node that has handed over stays for its successor.
    ///
    /// A save that has begun is finished. Subscriptions and the vote file's lock are given back; a
    /// connection that was handed in is left open. The stored vote stays: the node needs it when it
    /// comes back (rule V1). It may be called again and from several tasks; all of them wait.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let mut finished = self.finished.clone();
        // Nothing is ever sent: the driver's end drops the sender.
        while finished.changed().await.is_ok() {}
    }
}

/// What a node is to be, before it starts.
pub struct NodeBuilder {
    cluster: ClusterInfo,
    id: Option<NodeId>,
    voters: Vec<NodeId>,
    election_timeout: (Duration, Duration),
    heartbeat_interval: Duration,
    quarantine: Option<Duration>,
    mode: Mode,
    priority: u32,
    clock_drift_percent: u8,
    handler: Option<Arc<dyn Handler>>,
    seed: Option<u64>,
}

impl NodeBuilder {
    /// The node's id. Without it the id that is kept with the stored vote is used, or a new random
    /// one of 26 hexadecimal digits is made. It is kept with the vote from the node's start on.
    pub fn id(self, id: NodeId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The ids of all voters, this node's included. Only a declared list keeps more nodes than the
    /// cluster's size from voting (rule V6); Go nodes change their ids at each start, so a cluster
    /// that still has some can't declare it.
    pub fn voters(self, voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..self }
    }

    /// How long a follower waits for a leader: drawn anew between `min` and `max` each time.
    /// 500 ms to 1 s unless changed.
    pub fn election_timeout(self, min: Duration, max: Duration) -> Self {
        Self { election_timeout: (min, max), ..self }
    }

    /// How often a leader says that it leads: 100 ms unless changed.
    pub fn heartbeat_interval(self, interval: Duration) -> Self {
        Self { heartbeat_interval: interval, ..self }
    }

    /// How long a node that comes back helps to elect no one (rule V3): the least election timeout
    /// unless changed. Needed once after the least election timeout was lowered: the old one.
    pub fn quarantine(self, quarantine: Duration) -> Self {
        Self { quarantine: Some(quarantine), ..self }
    }

    /// Whether there are Go nodes in the cluster: [`Mode::Graft`]. [`Mode::Extended`] unless changed.
    /// A running cluster changes its mode node by node.
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// How gladly the node leads: 1 unless changed. In Extended mode a leader gives way to a steady
    /// follower of higher priority. A node of priority 0, a *witness*, votes and never campaigns
    /// (rule H4).
    pub fn priority(self, priority: u32) -> Self {
        Self { priority, ..self }
    }

    /// By how many hundredths the rates of two nodes' clocks may differ, 10 unless changed. A lease
    /// is that much shorter than the least election timeout (rule L3).
    pub fn clock_drift_percent(self, percent: u8) -> Self {
        Self { clock_drift_percent: percent, ..self }
    }

    /// Who hears of the node's events and has a say in its votes.
    pub fn handler(self, handler: impl Handler) -> Self {
        Self { handler: Some(Arc::new(handler)), ..self }
    }

    /// Makes the node's random timeouts repeatable, for tests and demonstrations. Nodes of one
    /// cluster need different seeds.
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
        mut transport: impl Transport,
        mut votes: impl VoteStore,
    ) -> Result<Node, StartError> {
        let (min, max) = self.election_timeout;
        let config = Config {
            voters: &self.voters,
            mode: self.mode,
            priority: self.priority,
            clock_drift_percent: self.clock_drift_percent,
            election_timeout_min: min,
            election_timeout_max: max,
            heartbeat_interval: self.heartbeat_interval,
            quarantine: self.quarantine.unwrap_or(min),
            ..Config::new(&self.cluster.name, self.cluster.size)
        };
        config.check(VOTERS_MAX)?;
        let StoredVote { record, id: kept, warnings } = votes.load()?;
        let is_kept = kept.is_some();
        let id = match (self.id, kept) {
            (Some(given), Some(kept)) if given != kept => {
                return Err(StartError::OtherId {
                    given: given.to_string(),
                    kept: kept.to_string(),
                });
            }
            (Some(id), _) | (None, Some(id)) => id,
            (None, None) => random_id()?,
        };
        let seed = match self.seed {
            Some(seed) => seed,
            None => SysRng.try_next_u64().map_err(random_error)?,
        };
        let clock = Clock::start();
        let make_node = |record| {
            let rng = StdRng::seed_from_u64(seed);
            CoreNode::new(id.clone(), &config, record, Answers::UNASKED, rng, clock.now())
        };
        // Checked before the cluster hears of the node; made after, since its timer starts then.
        make_node(record.clone())?;
        let judge = Judge::start(self.handler.clone(), self.heartbeat_interval / 2)
            .map_err(StartError::Thread)?;
        let vote_path = votes.path().map(Path::to_path_buf);
        transport
            .join(&self.cluster.name, &id)
            .await
            .map_err(|error| StartError::Join(Box::new(error)))?;
        if !is_kept {
            // Before it says anything, so that the store is this node's even if it never votes; and
            // not before it has joined, since an id that can't join may have been a mistake.
            votes.save(&id, &record)?;
        }
        let node = make_node(record)?;

        let publisher = Publisher::new(&node, self.cluster, vote_path);
        let (closing, told_to_close) = watch::channel(false);
        let (finish, finished) = watch::channel(());
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let holds = Arc::new(watch::Sender::default());
        let handle = Node {
            status: publisher.watch(),
            counts: publisher.watch_counts(),
            leases: Leases {
                lease: publisher.watch_lease(),
                holds: Arc::clone(&holds),
                clock: clock.clone(),
                heartbeat_interval: self.heartbeat_interval,
            },
            mode: self.mode,
            election_timeout_max: max,
            wishes,
            first_events: Mutex::new(Some(publisher.listen())),
            events: publisher.subscribe(),
            closing,
            finished,
        };
        if let Some(handler) = self.handler {
            let events = publisher.listen();
            std::thread::Builder::new()
                .name("graft-handler".to_owned())
                .spawn(move || handler::tell(&*handler, events))
                .map_err(StartError::Thread)?;
        }
        for warning in warnings {
            publisher.fault(Fault::StoredVote(warning));
        }
        let driver = Driver {
            node,
            transport,
            votes: Arc::new(Mutex::new(votes)),
            judge,
            publisher,
            clock,
            send_time_max: self.heartbeat_interval,
            closing: Some(told_to_close),
            wishes: wished,
            holds,
            lost: None,
            overdue_messages: 0,
        };
        tokio::spawn(async move {
            driver.run().await;
            drop(finish);
        });
        Ok(handle)
    }
}

/// How many wishes to hand over may wait; more wait to be told.
const WISHES_MAX: usize = 1;

/// A new id as the Go original makes it: 13 random bytes in hexadecimal digits.
pub(crate) fn random_id() -> Result<NodeId, StartError> {
    let mut bytes = [0; 13];
    SysRng.try_fill_bytes(&mut bytes).map_err(random_error)?;
    let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string can't fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    NodeId::new(&digits).map_err(|error| StartError::Random(Box::new(error)))
}

fn random_error(error: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Random(Box::new(error))
}
