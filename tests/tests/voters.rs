//! Voters come and go while the cluster runs, in virtual time (rules R1 to R12).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use graft_election::core::ControlOutcome;
use graft_election::{
    Change, ClusterInfo, MemoryNetwork, MemoryVotes, Node, NodeBuilder, NodeId, Operator,
    OperatorError,
};
use graft_election_tests::cluster::{PATIENCE, id};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

/// Of which the first three are the voters at the beginning.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// How many changes are made.
const CHANGES: usize = 200;

/// The nodes of a cluster, running or not.
struct Cluster {
    network: MemoryNetwork,
    disks: BTreeMap<NodeId, MemoryVotes>,
    nodes: BTreeMap<NodeId, Arc<Node>>,
}

impl Cluster {
    async fn start() -> Self {
        let network = MemoryNetwork::new();
        let mut cluster = Self { network, disks: BTreeMap::new(), nodes: BTreeMap::new() };
        for name in NAMES {
            cluster.run(&id(name), true).await;
        }
        cluster
    }

    /// Starts a node with what is on its disk.
    async fn run(&mut self, name: &NodeId, is_first: bool) {
        let first = [NAMES[0], NAMES[1], NAMES[2]].map(id);
        let builder: NodeBuilder = if first.contains(name) {
            let builder = Node::builder(ClusterInfo::new("c", 3)).voters(first);
            if is_first { builder.first_record() } else { builder }
        } else {
            Node::builder(ClusterInfo::joining("c")).joining()
        };
        let disk = self.disks.entry(name.clone()).or_default().clone();
        let builder = builder.id(name.clone()).allow_changes(true);
        let node = builder.start(self.network.transport(), disk).await.unwrap();
        self.nodes.insert(name.clone(), Arc::new(node));
    }

    async fn restart(&mut self, name: &NodeId) {
        self.nodes.remove(name).unwrap().close().await;
        self.run(name, false).await;
    }

    async fn operator(&self) -> Operator<graft_election::MemoryTransport> {
        Operator::connect(self.network.transport(), "c").await.unwrap().patience(PATIENCE)
    }
}

/// What was seen of the leases.
#[derive(Debug, Default)]
struct Leases {
    latest: u64,
    held_at: Option<Instant>,
    longest_gap: Duration,
}

impl Leases {
    /// I4, I5: two nodes never have a lease at once, and no token goes back.
    fn look(&mut self, nodes: &BTreeMap<NodeId, Arc<Node>>) {
        let held: Vec<_> =
            nodes.iter().filter_map(|(name, node)| Some((name, node.leadership()?))).collect();
        assert!(held.len() < 2, "I4: {held:?}");
        let Some((name, leadership)) = held.first() else { return };
        let token = leadership.token();
        assert!(token >= self.latest, "I5: {name} has token {token} after {}", self.latest);
        let now = Instant::now();
        let gap = self.held_at.map_or(Duration::ZERO, |at| now - at);
        (self.latest, self.held_at) = (token, Some(now));
        self.longest_gap = self.longest_gap.max(gap);
    }
}

/// Has one voter come or go, however often the leader changes meanwhile.
async fn change(operator: &mut Operator<graft_election::MemoryTransport>, change: &Change) {
    let end = Instant::now() + PATIENCE;
    loop {
        match operator.change_voters(change, |_: ControlOutcome| {}).await {
            Ok(()) => return,
            Err(OperatorError::NoAnswer { .. } | OperatorError::Contested { .. })
                if Instant::now() < end => {}
            Err(error) => panic!("{change:?}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i4_voters_come_and_go_two_hundred_times_while_leaders_are_cut_off_and_restarted() {
    let mut rng = StdRng::seed_from_u64(17);
    let mut cluster = Cluster::start().await;
    let mut operator = cluster.operator().await;
    let seen = Arc::new(Mutex::new(Leases::default()));
    let watched = Arc::new(Mutex::new(cluster.nodes.clone()));
    let (leases, nodes) = (Arc::clone(&seen), Arc::clone(&watched));
    let watching = tokio::spawn(async move {
        loop {
            leases.lock().unwrap().look(&nodes.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut took = Vec::new();
    for _ in 0..CHANGES {
        let known = operator.voters().await.unwrap();
        // The leader is cut off for a while, or its program starts anew, in the midst of it.
        match rng.random_range(0..6) {
            0 => {
                let (network, leader) = (cluster.network.clone(), known.leader.clone());
                network.silence(&leader, true);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    network.silence(&leader, false);
                });
            }
            1 => {
                cluster.restart(&known.leader).await;
                *watched.lock().unwrap() = cluster.nodes.clone();
            }
            _ => {}
        }
        let is_voter = |name: &&NodeId| known.voters.contains(name);
        let (voters, others): (Vec<_>, Vec<_>) = cluster.disks.keys().partition(is_voter);
        let adds = voters.len() < 2 || !others.is_empty() && rng.random_bool(0.5);
        // Who was a voter at the beginning, and is none, doesn't ask to come back (R11).
        let come: Vec<_> = others.into_iter().filter(|it| it.as_str() > NAMES[2]).collect();
        let adds = adds && !come.is_empty();
        let voter = if adds { come.choose(&mut rng) } else { voters.choose(&mut rng) };
        let voter = (*voter.unwrap()).clone();
        let began = Instant::now();
        change(&mut operator, &Change { adds, voter: voter.clone(), list: None }).await;
        took.push(began.elapsed());
        let now = operator.voters().await.unwrap();
        assert_eq!(now.voters.contains(&voter), adds, "{now:?}");
        assert!(!watching.is_finished());
    }
    watching.abort();
    took.sort();
    let seen = seen.lock().unwrap();
    let (median, worst) = (took[CHANGES / 2], took[CHANGES - 1]);
    println!(
        "{CHANGES} changes: median {median:?}, 95 % {:?}, worst {worst:?}; token {}, longest time \
         without a lease {:?}",
        took[CHANGES * 95 / 100],
        seen.latest,
        seen.longest_gap
    );
    assert!(seen.latest > 10, "leaders were to change");
}
