//! An application whose position decides who may lead: no node that lacks what a majority has.
//!
//! ```sh
//! cargo run --example application
//! ```
//!
//! The library replicates no data; an application that does needs a leader with all that was
//! acknowledged. It acknowledges an entry once a majority of the replicas has it. A leader has the
//! votes of a majority, too, so one of its voters has the entry. If each voter grants its vote only
//! to candidates that have all that it has itself, the leader has it.
//!
//! # What a position is
//!
//! How many entries there are is not enough: two leaders may each have written an entry of the same
//! number, and a node that has the older one would pass for one that has the newer. So the position
//! is the token under which the last entry was written, and then its number. Both are big-endian,
//! so that positions are in the order of their bytes.

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::select_all;
use graft_election::{Application, ClusterInfo, MemoryNetwork, MemoryVotes, Node, NodeId};

/// How long a position is: two numbers of 64 bits.
const POSITION_LEN: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    play(&mut std::io::stdout()).await
}

/// The last entry that a replica has. A real one would have the entries as well.
#[derive(Clone, Copy, Default)]
struct Entry {
    token: u64,
    number: u64,
}

/// A node's copy of the data.
#[derive(Default)]
struct Replica {
    last: Mutex<Entry>,
}

impl Replica {
    fn last(&self) -> Entry {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, entry: Entry) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }
}

/// The node calls both on a thread of their own, afresh in each election, and doesn't wait for long
/// (half a heartbeat interval). So they only look at what is in memory.
impl Application for Replica {
    fn position(&self) -> Vec<u8> {
        let Entry { token, number } = self.last();
        [token.to_be_bytes(), number.to_be_bytes()].concat()
    }

    /// A position of another length is one of another version of this program.
    fn grants_vote(&self, position: &[u8]) -> bool {
        position.len() == POSITION_LEN && *position >= *self.position()
    }
}

/// Has the leader of three nodes hand over to one that lacks an entry, and again when that has
/// caught up; prints who leads.
///
/// # Errors
///
/// If a node doesn't start, or `output` can't be written to.
pub async fn play(output: &mut impl Write) -> Result<(), Failure> {
    let network = MemoryNetwork::new();
    let (mut nodes, mut replicas) = (Vec::new(), Vec::new());
    for (id, number) in [("n1", 1), ("n2", 1), ("n3", 0)] {
        let replica = Arc::new(Replica::default());
        replica.append(Entry { token: 0, number });
        let node = Node::builder(ClusterInfo::new("ledger", 3))
            .id(NodeId::new(id)?)
            .application(Arc::clone(&replica))
            .start(network.transport(), MemoryVotes::new())
            .await?;
        nodes.push(node);
        replicas.push(replica);
    }
    let n3 = NodeId::new("n3")?;
    let (leader, token) = wait_for_leader(&nodes).await?;
    writeln!(output, "{} leads with token {token}, and hands over to n3", leader.id())?;
    leader.hand_over(Some(n3.clone())).await;

    let (mut leader, token) = wait_for_leader(&nodes).await?;
    writeln!(output, "{} leads with token {token}, since n3 lacks an entry", leader.id())?;
    replicas.iter().for_each(|replica| replica.append(Entry { token, number: 2 }));
    writeln!(output, "all have the next entry, and n3 has caught up")?;
    while leader.id() != n3 {
        leader.hand_over(Some(n3.clone())).await;
        let (next, token) = wait_for_leader(&nodes).await?;
        writeln!(output, "{} leads with token {token}", next.id())?;
        leader = next;
    }
    for node in nodes {
        node.close().await;
    }
    Ok(())
}

/// The node that leads, and its token.
async fn wait_for_leader(nodes: &[Node]) -> Result<(&Node, u64), Failure> {
    let waits = nodes.iter().map(|node| {
        Box::pin(async move { node.wait_for_leadership().await.map(|lease| (node, lease.token())) })
    });
    let (leader, ..) = select_all(waits).await;
    leader.ok_or_else(|| "a node has closed".into())
}

type Failure = Box<dyn Error + Send + Sync>;
