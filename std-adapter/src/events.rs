use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use graft_election_core::{NodeId, Reason, Refusal, Report, State};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::transport::Connection;
use crate::vote_file::SaveError;
use crate::vote_store::LoadWarning;

/// How many events a slow listener can fall behind before it loses the oldest.
pub const EVENTS_MAX: usize = 1024;

/// A node at one instant: everything in it belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What the node is to its cluster.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Its term.
    pub term: u64,
    /// The leader of that term, as far as it knows.
    pub leader: Option<NodeId>,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// How many arrivals it dropped since its start because they were malformed or impossible.
    pub dropped: u64,
    /// The node's own id.
    pub id: NodeId,
    /// Its cluster.
    pub cluster: Arc<ClusterInfo>,
    /// Where its vote is stored, if in a file.
    pub vote_path: Option<Arc<PathBuf>>,
}

/// A cluster's name and how many voters it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Subject tokens joined by `.`, for example `health_manager`.
    pub name: String,
    /// How many voters there are.
    pub size: usize,
}

impl ClusterInfo {
    /// The cluster `name` of `size` voters; a node that is started with it checks both.
    pub fn new(name: impl Into<String>, size: usize) -> Self {
        Self { name: name.into(), size }
    }
}

/// Something that happened to a node.
#[derive(Clone, Debug)]
pub struct Event {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// The node just after it.
    pub status: Arc<Status>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// The node's state changed; `status.reason` says why.
    StateChanged {
        /// What it was before.
        from: State,
        /// What it is now.
        to: State,
    },
    /// The node follows another leader, or none, than before; `status.leader` says which.
    LeaderChanged,
    /// The node has a lease from now on: it may act as the leader (rule L3).
    LeadershipGained {
        /// The fencing token.
        token: u64,
    },
    /// The node has no lease any more.
    LeadershipLost {
        /// The fencing token that it had.
        token: u64,
    },
    /// The node refused its vote, its pre-vote, or to follow. The same refusal is told again only
    /// after a while; [`Node::counts`](crate::Node::counts) has them all.
    Refused {
        /// Whom it refused.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// Something went wrong, or the connection changed. The node goes on.
    Fault(Fault),
}

/// What can go wrong while a node runs.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The way to the other nodes changed, for worse or for better. The same impairment is told
    /// again only after a while.
    #[error("{0}")]
    Connection(Connection),
    /// The stored vote was usable, but not as expected.
    #[error("{0}")]
    StoredVote(LoadWarning),
    /// The vote could not be stored: the node stays silent and tries again (rule C4).
    #[error("the vote was not stored: {0}")]
    Save(#[source] Arc<SaveError>),
    /// The vote store broke down while it stored the vote; the node tries again.
    #[error("the vote was not stored: the vote store broke down")]
    SaveInterrupted,
    /// A message could not be sent. The same fault is told again only after a while.
    #[error("a message was not sent: {0}")]
    Send(#[source] Arc<dyn Error + Send + Sync>),
    /// The transport did not take a message within this time.
    #[error("a message was not sent within {0:?}")]
    SendTimedOut(Duration),
    /// A message brought something wrong to light.
    #[error("{0}")]
    Report(Report),
    /// The handler did not answer within this time. The node went on with the last position it
    /// knew, or without giving its vote.
    #[error("the handler did not answer within {0:?}")]
    HandlerStuck(Duration),
    /// The handler panicked when it was asked. The node went on as if it were stuck.
    #[error("the handler panicked")]
    HandlerPanicked,
    /// The handler's position has more bytes than a message carries; the last one is used.
    #[error("the handler's position has {0} bytes, more than a message carries")]
    PositionTooLong(usize),
    /// The job of [`Node::run_while_leader`](crate::Node::run_while_leader) returned this error. The
    /// node hands its leadership over.
    #[error("the leader's job failed: {0}")]
    JobFailed(String),
    /// That job panicked with these words. The node hands its leadership over.
    #[error("the leader's job panicked: {0}")]
    JobPanicked(String),
    /// This listener was too slow: so many of the oldest events are lost to it.
    #[error("{0} events were lost to a slow listener")]
    Missed(u64),
}

/// A node's events, in order. Dropping it costs the node nothing.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    last: Arc<Status>,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>, status: Arc<Status>) -> Self {
        Self { receiver, last: status }
    }

    /// Waits for the next event; `None` when the node has closed and all are told.
    ///
    /// The node never waits for its listeners. One that falls more than [`EVENTS_MAX`] events behind
    /// loses the oldest, and hears so: [`Fault::Missed`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let received = self.receiver.recv().await;
        self.take(received)
    }

    /// Like [`next`](Self::next), for a thread outside of async code.
    pub(crate) fn blocking_next(&mut self) -> Option<Event> {
        let received = self.receiver.blocking_recv();
        self.take(received)
    }

    fn take(&mut self, received: Result<Event, RecvError>) -> Option<Event> {
        match received {
            Ok(event) => {
                self.last = Arc::clone(&event.status);
                Some(event)
            }
            Err(RecvError::Lagged(missed)) => Some(Event {
                at: SystemTime::now(),
                status: Arc::clone(&self.last),
                kind: EventKind::Fault(Fault::Missed(missed)),
            }),
            Err(RecvError::Closed) => None,
        }
    }
}
