//! Nodes to watch.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use graft_election::{
    ClusterInfo, Codec, Config, EventKind, Events, Fault, Member, MemoryNetwork, MemoryVotes, Mode,
    Node, NodeBuilder, NodeId, State, Status,
};
use tokio::time::{Instant, timeout};

/// Far longer than anything that is waited for takes, on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The id `name`.
pub fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a node id")
}

/// Who joins `cluster` as the node `id`, in Extended mode.
pub fn member<'m>(cluster: &'m str, id: &'m NodeId) -> Member<'m> {
    static CODEC: Codec = Codec::new();
    Member { cluster, id, mode: Mode::Extended, codec: &CODEC }
}

/// A node `name` of a cluster of `size` called `c`.
pub fn builder(name: &str, size: usize) -> NodeBuilder {
    Node::builder(ClusterInfo::new("c", size)).id(id(name))
}

/// Such a node among Go nodes, which neither ask for pre-votes nor grant any.
pub fn graft_builder(name: &str, size: usize) -> NodeBuilder {
    builder(name, size).mode(Mode::Graft)
}

/// Waits until a node that has just started may help to elect someone: it first asks whether its
/// id is its own alone (N5). Its own campaign may follow soon.
pub async fn wait_for_question() {
    // One tick of the clock comes on top.
    tokio::time::sleep(Config::ELECTION_TIMEOUT_MIN + Duration::from_millis(1)).await;
}

/// Waits until `condition` holds for the node's status.
#[track_caller]
pub fn wait_until(
    node: &Node,
    condition: impl FnMut(&Arc<Status>) -> bool,
) -> impl Future<Output = Arc<Status>> {
    let caller = std::panic::Location::caller();
    let mut status = node.watch();
    async move {
        let waited = timeout(PATIENCE, status.wait_for(condition)).await;
        let waited = waited.map(|status| status.map(|status| Arc::clone(&status)));
        match waited {
            Ok(Ok(status)) => status,
            Ok(Err(_)) => panic!("the node at {caller} is gone"),
            Err(_) => panic!("waited in vain at {caller}: {:?}", status.borrow()),
        }
    }
}

/// Waits for the next of `events` that is the one meant.
pub async fn wait_for_event(events: &mut Events, mut is_meant: impl FnMut(&EventKind) -> bool) {
    let found = async {
        while let Some(event) = events.next().await {
            if is_meant(&event.kind) {
                return;
            }
        }
        panic!("the node closed");
    };
    timeout(PATIENCE, found).await.expect("the event is reported");
}

/// Waits for the next fault among `events` that is the one meant.
pub async fn wait_for_fault(events: &mut Events, mut is_meant: impl FnMut(&Fault) -> bool) {
    wait_for_event(events, |kind| matches!(kind, EventKind::Fault(fault) if is_meant(fault))).await;
}

/// Waits until the node reports that it is connected again.
pub async fn wait_for_restored(events: &mut Events) {
    wait_for_event(events, |kind| matches!(kind, EventKind::ConnectionRestored)).await;
}

/// Waits until all `nodes` are in one term and agree on its leader; returns that one's place.
pub async fn wait_for_agreement(nodes: &[&Node]) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut watches: Vec<_> = nodes.iter().map(|node| node.watch()).collect();
    loop {
        let statuses: Vec<_> =
            watches.iter_mut().map(|watch| Arc::clone(&watch.borrow_and_update())).collect();
        if let Some(place) = agreed_leader(&statuses) {
            return place;
        }
        assert!(Instant::now() < deadline, "no agreement: {statuses:#?}");
        let changes = watches.iter_mut().map(|watch| Box::pin(watch.changed()));
        let (changed, ..) = timeout(PATIENCE, futures_util::future::select_all(changes))
            .await
            .unwrap_or_else(|_| panic!("no agreement: {statuses:#?}"));
        changed.expect("all nodes live");
    }
}

fn agreed_leader(statuses: &[Arc<Status>]) -> Option<usize> {
    let place = statuses.iter().position(|status| status.state == State::Leader)?;
    let leader = statuses.get(place)?;
    let agrees = |status: &Arc<Status>| {
        status.term == leader.term
            && status.leader.as_ref() == Some(&leader.id)
            && (status.state == State::Follower || status.id == leader.id)
    };
    statuses.iter().all(agrees).then_some(place)
}

/// Nodes of one process on a network that can be split, with votes that outlive them.
#[derive(Debug)]
pub struct MemoryCluster {
    /// The network between them.
    pub network: MemoryNetwork,
    /// The nodes, in the order of their names.
    pub nodes: Vec<Node>,
    votes: Vec<MemoryVotes>,
    size: usize,
    mode: Mode,
}

impl MemoryCluster {
    /// A cluster of `size` of which nobody has started yet.
    pub fn empty(size: usize) -> Self {
        let (network, mode) = (MemoryNetwork::new(), Mode::Extended);
        Self { network, nodes: Vec::new(), votes: Vec::new(), size, mode }
    }

    /// Nodes that start from now on are in this mode.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// A cluster of `size`, all started.
    pub async fn start(size: usize) -> Self {
        Self::start_in(Mode::Extended, size).await
    }

    /// A cluster of `size`, all started in `mode`.
    pub async fn start_in(mode: Mode, size: usize) -> Self {
        let mut cluster = Self::empty(size);
        cluster.set_mode(mode);
        for _ in 0..size {
            cluster.start_next().await;
        }
        cluster
    }

    /// Starts the next node, called `n1`, `n2`, ….
    pub async fn start_next(&mut self) {
        self.votes.push(MemoryVotes::new());
        let node = self.start_node(self.nodes.len()).await;
        self.nodes.push(node);
    }

    /// Ends the node at `place` without a word of farewell, as a crash does.
    pub async fn kill(&self, place: usize) {
        self.network.silence(&self.nodes[place].id(), true);
        self.nodes[place].close().await;
    }

    /// Starts the node at `place`, which has ended, again with its votes.
    pub async fn restart(&mut self, place: usize) {
        self.nodes[place] = self.start_node(place).await;
    }

    /// Waits until all nodes that are open agree on a leader; returns its place.
    pub async fn wait_for_leader(&self) -> usize {
        let open: Vec<_> = self.nodes.iter().filter(|node| node.state() != State::Closed).collect();
        let leader = open[wait_for_agreement(&open).await].id();
        self.place_of(&leader)
    }

    /// The ids of the nodes at `places`.
    pub fn ids(&self, places: &[usize]) -> Vec<NodeId> {
        places.iter().map(|place| self.nodes[*place].id()).collect()
    }

    fn place_of(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id() == *id).expect("one of the nodes")
    }

    async fn start_node(&self, place: usize) -> Node {
        builder(&format!("n{}", place + 1), self.size)
            .mode(self.mode)
            .start(self.network.transport(), self.votes[place].clone())
            .await
            .expect("the node starts")
    }
}

/// The faults that have been reported so far and not read yet.
pub fn faults_of(events: &mut Events) -> Vec<String> {
    let mut faults = Vec::new();
    while let Some(Some(event)) = futures_util::FutureExt::now_or_never(events.next()) {
        if let EventKind::Fault(fault) = event.kind {
            faults.push(format!("{fault:?}"));
        }
    }
    faults
}
