use std::error::Error;
use std::future::Future;

use graft_election_core::{Message, NodeId, Outgoing};

/// A way for the nodes of a cluster to hear each other.
///
/// The driver owns its transport and calls one method at a time. A transport may lose, delay,
/// duplicate and reorder messages: the election expects that. It must not change them, nor keep them
/// for later once it knows that they can't be sent now: late messages only cost time.
pub trait Transport: Send + 'static {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Joins `cluster` as node `id`. When it returns, every message sent to the cluster or to this
    /// node from then on is received, so that the node can't campaign unheard. Called once.
    fn join(
        &mut self,
        cluster: &str,
        id: &NodeId,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits for the next arrival. It is cancel-safe: a call that is dropped loses nothing. A
    /// transport that can't receive any more says so once and then waits for ever.
    fn receive(&mut self) -> impl Future<Output = Arrival> + Send;

    /// Sends a message to everyone in the cluster, or to one node, without waiting for either. A
    /// node may hear its own messages. A call that takes longer than a heartbeat interval is
    /// dropped, and should then send nothing any more.
    fn send(&mut self, outgoing: &Outgoing)
    -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Leaves the cluster, after what was sent has gone out. Called once, last, and dropped after a
    /// second. A node that is torn down with its runtime drops the transport without this call.
    fn leave(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a transport received.
#[derive(Debug)]
pub enum Arrival {
    /// A message that could be read.
    Message(Message),
    /// One that could not, and why: it is counted and forgotten (rule V7).
    Malformed(Box<dyn Error + Send + Sync>),
    /// The way to the other nodes has changed.
    Connection(Connection),
}

/// How a transport's way to the other nodes stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It works again.
    Restored,
    /// It is interrupted; the transport tries to restore it.
    Lost(String),
    /// It is gone for good.
    Closed(String),
    /// It works, but there is trouble. A transport may say so as often as it notices: the node tells
    /// it only once in a while.
    Impaired(String),
}

impl std::fmt::Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Restored => f.write_str("connection restored"),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Closed(why) => write!(f, "connection closed: {why}"),
            Self::Impaired(why) => write!(f, "connection impaired: {why}"),
        }
    }
}
