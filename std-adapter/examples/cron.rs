//! Something that is done once in the cluster at each tick of the clock, whichever node leads.
//!
//! ```sh
//! cargo run --example cron
//! ```
//!
//! Every node runs this program; only the leader's job is at work, under its lease. Ticks are
//! counted from 1970, so all nodes give the same number to the same moment, as far as their clocks
//! agree.
//!
//! # Why once
//!
//! The lease alone doesn't ensure it. A leader may be paused just before it begins a tick, or its
//! successor's clock may be behind, so that a tick comes round again there. So the store where the
//! work is recorded is asked first. It refuses a token lower than the highest it has seen, which
//! excludes a leader that was paused, and a tick that isn't later than the last, which excludes a
//! tick that comes round again.
//!
//! A tick is recorded before its work is done, so it is done at most once: a leader that crashes in
//! between leaves it out, and so does a moment without a leader. Work that must not be left out
//! belongs in the same transaction as the record, and a new leader begins with the tick after the
//! last one recorded.

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use graft_election::{ClusterInfo, Leadership, MemoryNetwork, MemoryVotes, Node, NodeId};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The time from one tick to the next, in milliseconds.
const PERIOD: u64 = 200;

/// How many ticks are shown before the leader is closed, and how many after.
const TICKS_SHOWN: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    play(&mut std::io::stdout()).await
}

/// A tick that was run.
struct Ran {
    tick: u64,
    by: NodeId,
    token: u64,
}

/// Stands for a table in a database: the last tick, and in whose leadership it was begun.
#[derive(Default)]
struct Ledger {
    last: Mutex<(u64, u64)>,
}

impl Ledger {
    /// Records `tick` under `token`; false if a later leader has been here, or the tick was begun
    /// before. A database does it in one statement: `UPDATE ... WHERE token <= $1 AND tick < $2`.
    fn begin(&self, token: u64, tick: u64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.0 <= token && last.1 < tick;
        if is_due {
            *last = (token, tick);
        }
        is_due
    }
}

/// The job of the leader: it is dropped when the lease ends, and gives the leadership up by itself
/// only if nobody wants its ticks any more.
async fn run_ticks(
    leadership: Leadership,
    id: NodeId,
    ledger: Arc<Ledger>,
    ran: UnboundedSender<Ran>,
) {
    loop {
        let (token, tick) = (leadership.token(), next_tick().await);
        if ledger.begin(token, tick) {
            // Here the work is done.
            if ran.send(Ran { tick, by: id.clone(), token }).is_err() {
                return;
            }
        }
    }
}

/// Waits for the next tick, and returns its number.
async fn next_tick() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = now.as_secs() * 1_000 + u64::from(now.subsec_millis());
    let tick = now / PERIOD + 1;
    tokio::time::sleep(Duration::from_millis(tick * PERIOD - now)).await;
    tick
}

/// Runs three nodes, closes the one that leads after a few ticks, and prints who ran which tick.
///
/// # Errors
///
/// If a node doesn't start, or `output` can't be written to.
pub async fn play(output: &mut impl Write) -> Result<(), Failure> {
    let (network, ledger) = (MemoryNetwork::new(), Arc::new(Ledger::default()));
    let (ran, mut ticks) = unbounded_channel();
    let mut nodes = Vec::new();
    for id in ["n1", "n2", "n3"] {
        let id = NodeId::new(id)?;
        let node = Node::builder(ClusterInfo::new("cron", 3)).id(id.clone());
        let node = Arc::new(node.start(network.transport(), MemoryVotes::new()).await?);
        nodes.push(Arc::clone(&node));
        let (ledger, ran) = (Arc::clone(&ledger), ran.clone());
        tokio::spawn(async move {
            // When the node closes, this returns `RunError::Closed`.
            let job =
                |leadership| run_ticks(leadership, id.clone(), Arc::clone(&ledger), ran.clone());
            node.run_while_leader(job).await
        });
    }

    let mut shown = 0;
    while let Some(Ran { tick, by, token }) = ticks.recv().await {
        writeln!(output, "tick {tick} is run by {by} with token {token}")?;
        shown += 1;
        if shown == 2 * TICKS_SHOWN {
            break;
        }
        if shown == TICKS_SHOWN
            && let Some(leader) = nodes.iter().find(|node| node.id() == by)
        {
            leader.close().await;
            writeln!(output, "{by} closes, and hands over")?;
        }
    }
    for node in nodes {
        node.close().await;
    }
    Ok(())
}

type Failure = Box<dyn Error + Send + Sync>;
