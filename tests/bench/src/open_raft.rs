//! openraft, with its log in memory. Its nodes are tasks of tokio, on one thread, which call each
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Adaptor;
use openraft::{Config, Raft, RaftNetwork, RaftNetworkFactory};
use openraft_memstore::{MemStore, TypeConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::meter::{Contestant, Play};
use crate::{ELECTION, REPEATED, ROUND};

const NAME: &str = "openraft";

/// The node that leads.
const FIRST: u64 = 1;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

type Voter = Raft<TypeConfig>;
type Failed<E = RaftError<u64>> = RPCError<u64, (), E>;

pub fn contestants(voters: usize) -> Vec<Contestant> {
    let cluster = Cluster::led(voters);
    let elected = cluster.network.calls.load(Ordering::Relaxed);
    cluster.run_rounds(1);
    let round_takes = cluster.network.calls.load(Ordering::Relaxed) - elected;
    // A call is a message and its answer.
    let contestant = |scene, calls: usize, prepare: fn(usize) -> Play| {
        Contestant::new(NAME, voters, scene, Some(2 * calls), move |_| prepare(voters))
    };
    vec![contestant(ELECTION, elected, election), contestant(ROUND, round_takes, round)]
}

/// Who is where, and how many calls were answered.
#[derive(Clone, Default)]
struct Network {
    voters: Arc<Mutex<BTreeMap<u64, Voter>>>,
    calls: Arc<AtomicUsize>,
    called: Arc<Notify>,
}

struct Cluster {
    runtime: Runtime,
    network: Network,
    size: usize,
}

impl Cluster {
    /// Nodes that know of nobody, and whose timers never run out.
    fn new(size: usize) -> Self {
        let runtime =
            Builder::new_current_thread().enable_time().build().expect("there is a runtime");
        let network = Network::default();
        runtime.block_on(async {
            for id in (FIRST..).take(size) {
                let config = Config { enable_tick: false, ..Config::default() };
                let config = Arc::new(config.validate().expect("the settings are sound"));
                let (log, machine) = Adaptor::new(MemStore::new_async().await);
                let voter = Raft::new(id, config, network.clone(), log, machine).await;
                let voter = voter.expect("it starts");
                network.voters.lock().expect("nobody panics").insert(id, voter);
            }
        });
        Self { runtime, network, size }
    }

    fn led(size: usize) -> Self {
        let cluster = Self::new(size);
        cluster.elect();
        cluster
    }

    /// The first node is told who the voters are, campaigns, and leads. Ends when all know.
    fn elect(&self) {
        let voters = self.network.voters.lock().expect("nobody panics").clone();
        let ids: BTreeSet<u64> = voters.keys().copied().collect();
        self.runtime.block_on(async {
            voters[&FIRST].initialize(ids).await.expect("it has no log");
            for voter in voters.values() {
                let mut metrics = voter.metrics();
                let is_led = metrics.wait_for(|it| it.current_leader == Some(FIRST));
                let is_led = timeout(PATIENCE, is_led).await.expect("it is elected");
                is_led.expect("it runs");
            }
        });
    }

    /// The leader's heartbeats, and all answers.
    fn run_rounds(&self, rounds: u64) {
        let leader = self.network.voters.lock().expect("nobody panics")[&FIRST].clone();
        self.runtime.block_on(async {
            for _ in 0..rounds {
                let calls = &self.network.calls;
                let enough = calls.load(Ordering::Relaxed) + self.size - 1;
                leader.trigger().heartbeat().await.expect("it runs");
                while calls.load(Ordering::Relaxed) < enough {
                    let called = timeout(PATIENCE, self.network.called.notified()).await;
                    called.expect("it is answered");
                }
            }
        });
    }
}

fn election(voters: usize) -> Play {
    let cluster = Cluster::new(voters);
    Box::new(move || {
        cluster.elect();
        1
    })
}

fn round(voters: usize) -> Play {
    let cluster = Cluster::led(voters);
    let times = REPEATED / 10;
    Box::new(move || {
        cluster.run_rounds(times);
        times
    })
}

/// The way to one node.
struct Way {
    network: Network,
    to: u64,
}

impl Way {
    fn voter(&self) -> Result<Voter, Unreachable> {
        let voters = self.network.voters.lock().expect("nobody panics");
        let is_gone = std::io::Error::from(std::io::ErrorKind::NotConnected);
        voters.get(&self.to).cloned().ok_or_else(|| Unreachable::new(&is_gone))
    }

    fn note_call(&self) {
        self.network.calls.fetch_add(1, Ordering::Relaxed);
        self.network.called.notify_one();
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, (): &()) -> Way {
        Way { network: self.clone(), to: target }
    }
}

impl RaftNetwork<TypeConfig> for Way {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed> {
        let answer = self.voter()?.append_entries(rpc).await;
        self.note_call();
        answer.map_err(|error| unreachable!("{error}"))
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<RaftError<u64, InstallSnapshotError>>> {
        unreachable!("there is nothing in the log")
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, Failed> {
        let answer = self.voter()?.vote(rpc).await;
        self.note_call();
        answer.map_err(|error| unreachable!("{error}"))
    }
}
