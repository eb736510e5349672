//! OmniPaxos, with its log in memory. Its nodes all ask each other, at each election timeout.

use omnipaxos::messages::Message;
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::{ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;

use crate::meter::{Contestant, Play};
use crate::{ELECTION, REPEATED, ROUND};

const NAME: &str = "OmniPaxos";

/// How many of its timeouts an election takes at most.
const TIMEOUTS_MAX: usize = 20;

pub fn contestants(voters: usize) -> Vec<Contestant> {
    let mut cluster = Cluster::new(voters);
    cluster.elect();
    let elected = cluster.heard;
    // The first round still has to do with the election.
    cluster.run_round();
    let before = cluster.heard;
    cluster.run_round();
    let round_takes = cluster.heard - before;
    let contestant = |scene, messages, prepare: fn(usize) -> Play| {
        Contestant::new(NAME, voters, scene, Some(messages), move |_| prepare(voters))
    };
    vec![contestant(ELECTION, elected, election), contestant(ROUND, round_takes, round)]
}

/// What is in the log: nothing ever is.
#[derive(Clone, Debug)]
struct Nothing;

impl Entry for Nothing {
    type Snapshot = NoSnapshot;
}

struct Cluster {
    nodes: Vec<OmniPaxos<Nothing, MemoryStorage<Nothing>>>,
    said: Vec<Message<Nothing>>,
    heard: usize,
}

impl Cluster {
    fn new(size: usize) -> Self {
        let nodes: Vec<u64> = (1..).take(size).collect();
        let node = |pid: &u64| {
            let config = OmniPaxosConfig {
                cluster_config: ClusterConfig {
                    configuration_id: 1,
                    nodes: nodes.clone(),
                    flexible_quorum: None,
                },
                server_config: ServerConfig {
                    pid: *pid,
                    election_tick_timeout: 1,
                    ..ServerConfig::default()
                },
            };
            config.build(MemoryStorage::default()).expect("the settings are sound")
        };
        Self { nodes: nodes.iter().map(node).collect(), said: Vec::new(), heard: 0 }
    }

    /// Lets timeouts pass until all know the leader, and it may act.
    fn elect(&mut self) {
        for _ in 0..TIMEOUTS_MAX {
            self.run_round();
            if self.is_led() {
                return;
            }
        }
        unreachable!("nobody leads");
    }

    fn is_led(&self) -> bool {
        let leaders = self.nodes.iter().map(OmniPaxos::get_current_leader);
        leaders.clone().all(|leader| matches!(leader, Some((_, true))))
    }

    /// A timeout of every node, and all that comes of it.
    fn run_round(&mut self) {
        for node in &mut self.nodes {
            node.tick();
            node.take_outgoing_messages(&mut self.said);
        }
        while let Some(message) = self.said.pop() {
            self.heard += 1;
            let node = &mut self.nodes[message.get_receiver() as usize - 1];
            node.handle_incoming(message);
            node.take_outgoing_messages(&mut self.said);
        }
    }
}

fn election(voters: usize) -> Play {
    let mut cluster = Cluster::new(voters);
    Box::new(move || {
        cluster.elect();
        1
    })
}

fn round(voters: usize) -> Play {
    let mut cluster = Cluster::new(voters);
    cluster.elect();
    let times = REPEATED / 10;
    Box::new(move || {
        (0..times).for_each(|_| cluster.run_round());
        times
    })
}
