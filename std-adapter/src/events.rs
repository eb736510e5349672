use std::sync::Arc;
use std::time::{Duration, SystemTime};

use graft_election_core::{LeaderValue, NodeId, Reason, Refusal, Report, State};
use graft_election_proto::seal::SealFault;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::transport::ConnectionState;
use crate::vote_store::{LoadWarning, SharedError};

/// How many events a slow listener can fall behind before it loses the oldest.
pub const EVENTS_MAX: usize = 256;

/// A node at one instant: everything in it belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Status {
    /// The node's role.
    pub state: State,
    /// Why it has that role.
    pub reason: Reason,
    /// Its term.
    pub term: u64,
    /// The leader of that term, as far as the node knows.
    pub leader: Option<NodeId>,
    /// What that leader says beside that it leads (rule L7); empty if there is nothing.
    pub leader_value: LeaderValue,
    /// Whom the node voted for in that term.
    pub vote: Option<NodeId>,
    /// Whether an operator has paused the node: it votes, and doesn't lead (rule O3).
    pub is_paused: bool,
    /// How many arrivals the node has dropped since its start because they were malformed or
    /// impossible.
    pub dropped: u64,
    /// How well the node is connected to the others.
    pub connection: ConnectionState,
    /// The node's own id.
    pub id: NodeId,
    /// Its cluster.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize_shared"))]
    pub cluster: Arc<ClusterInfo>,
}

/// A cluster's name and how many voters it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ClusterInfo {
    /// Subject tokens joined by `.`, for example `health_manager`.
    pub name: String,
    /// How many voters there are; 0 if a node that joins is yet to be told.
    pub size: usize,
}

impl ClusterInfo {
    /// The cluster `name` of `size` voters; a node that is started with it checks both.
    pub fn new(name: impl Into<String>, size: usize) -> Self {
        Self { name: name.into(), size }
    }

    /// The cluster `name`, whose voters a node that [joins](crate::NodeBuilder::joining) is told by
    /// others.
    pub fn joining(name: impl Into<String>) -> Self {
        Self::new(name, 0)
    }
}

#[cfg(feature = "serde")]
fn serialize_shared<S: serde::Serializer>(
    cluster: &ClusterInfo,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(cluster, serializer)
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
        /// The state before.
        from: State,
        /// The state now.
        to: State,
    },
    /// The node follows another leader, or none, than before; `status.leader` says which.
    LeaderChanged,
    /// The leader says another value than before; `status.leader_value` says which.
    ValueChanged,
    /// An operator has paused the node, or ended that; `status.is_paused` says which.
    PauseChanged,
    /// The node has a lease from now on: it may act as the leader (rule L3).
    LeadershipGained {
        /// The fencing token.
        token: u64,
    },
    /// The node no longer has a lease.
    LeadershipLost {
        /// The fencing token that it had.
        token: u64,
    },
    /// The node refused its vote, its pre-vote, or to follow. The same refusal is reported again
    /// only after ten seconds; [`Node::counts`](crate::Node::counts) counts every one.
    Refused {
        /// Whom it refused.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// The connection to the other nodes works again, after a [`Fault::ConnectionLost`] or
    /// a [`Fault::ConnectionPartial`].
    ConnectionRestored,
    /// Something went wrong. The node goes on.
    Fault(Fault),
}

impl EventKind {
    /// Its name for programs. It stays the same from version to version.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StateChanged { .. } => "state_changed",
            Self::LeaderChanged => "leader_changed",
            Self::ValueChanged => "value_changed",
            Self::PauseChanged => "pause_changed",
            Self::LeadershipGained { .. } => "leadership_gained",
            Self::LeadershipLost { .. } => "leadership_lost",
            Self::Refused { .. } => "refused",
            Self::ConnectionRestored => "connection_restored",
            Self::Fault(_) => "fault",
        }
    }
}

/// What can go wrong while a node runs. [`ErrorChain`](crate::ErrorChain) prints it with its
/// causes.
///
/// A fault that may come with every message is reported again only after ten seconds, and no more
/// than ten a second are. What is reported last of the connection is how it is.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The connection to the other nodes is interrupted; the transport tries to restore it, and
    /// [`EventKind::ConnectionRestored`] reports that it has.
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// The connection to the other nodes is gone for good.
    #[error("connection closed: {0}")]
    ConnectionClosed(String),
    /// The connection to the other nodes works only in part: the node can't hear, or can't say,
    /// what an election needs. It does not campaign until [`EventKind::ConnectionRestored`].
    #[error("connection works only in part, so this node does not campaign: {0}")]
    ConnectionPartial(String),
    /// The connection to the other nodes works, but not as it should.
    #[error("connection impaired: {0}")]
    ConnectionImpaired(String),
    /// The stored vote was usable, but not as expected.
    #[error("{0}")]
    StoredVote(LoadWarning),
    /// The vote could not be stored: the node stays silent and tries again (rule C4).
    #[error("the vote was not stored")]
    Save(#[source] SharedError),
    /// The vote store panicked while it stored the vote; the node tries again (rule C4).
    #[error("the vote was not stored: the vote store panicked")]
    SaveInterrupted,
    /// The vote store has not stored the vote within this time, and goes on. The node does nothing
    /// else meanwhile, and when it is closed it does not wait for the store any longer.
    #[error("the vote is not stored after {0:?}: the disk hangs, or is very slow")]
    SaveUnfinished(Duration),
    /// At the start, storing the vote took `took`: more than `max`, a fifth of the least election
    /// timeout. Elections may take several attempts.
    #[error(
        "storing the vote took {took:?}, and more than {max:?}, a fifth of the least election \
         timeout, is too slow for quick elections: take longer election timeouts"
    )]
    SlowStore {
        /// How long it took.
        took: Duration,
        /// How long it may take.
        max: Duration,
    },
    /// A message could not be sent.
    #[error("a message was not sent")]
    Send(#[source] SharedError),
    /// The transport did not take a message within this time.
    #[error("a message was not sent within {0:?}")]
    SendTimedOut(Duration),
    /// An input showed that something is wrong in the cluster.
    #[error("{0}")]
    Report(Report),
    /// A message from there could not be read, and was dropped (rule V7). A Go node's is dropped if
    /// its position is longer than 64 bytes, for example.
    #[error("dropped a message from {from}")]
    Malformed {
        /// Where it came from: the subject, for example.
        from: String,
        /// What is wrong with it.
        #[source]
        error: SharedError,
    },
    /// A message was dropped since it doesn't show by the cluster's key that it is what it says
    /// (rule K3): its sender has no key, or another one, or somebody forges or replays messages.
    #[error(
        "dropped a message{}: {error}",
        sender.as_ref().map(|id| format!(" in the name of {id}")).unwrap_or_default()
    )]
    Unauthentic {
        /// In whose name it was said, if it names anybody.
        sender: Option<NodeId>,
        /// What is wrong with it.
        error: SealFault,
    },
    /// This node is in Graft mode, has declared voters, and has heard a Go node. Go nodes change
    /// their ids at each start, so they can't be declared. Reported once.
    #[error(
        "a Go node is heard, and can't be among the declared voters: this node gives it no vote, \
         and counts none of its own; declare no voters while any voter is a Go node"
    )]
    GoNodeUndeclared,
    /// The application did not answer within this time. The node went on with the last position it
    /// knew, or refused its vote.
    #[error("the application did not answer within {0:?}")]
    ApplicationStuck(Duration),
    /// The application panicked when it was asked. The node went on as if it were stuck.
    #[error("the application panicked")]
    ApplicationPanicked,
    /// The application's position has more bytes than a message carries. The node went on with the
    /// last one it knew.
    #[error("the application's position has {0} bytes, more than a message carries")]
    PositionTooLong(usize),
    /// So many faults, refusals and restored connections were not reported, since ten were in the
    /// same second. [`Node::counts`](crate::Node::counts) counts refusals nevertheless.
    #[error("{0} more events are not reported: ten a second are")]
    Withheld(u64),
    /// This listener was too slow, and this many of its oldest events are lost.
    #[error("{0} events were lost to a slow listener")]
    Missed(u64),
}

impl Fault {
    /// Its name for programs, or that of the report that it is about. It stays the same from
    /// version to version.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConnectionLost(_) => "connection_lost",
            Self::ConnectionClosed(_) => "connection_closed",
            Self::ConnectionPartial(_) => "connection_partial",
            Self::ConnectionImpaired(_) => "connection_impaired",
            Self::StoredVote(_) => "stored_vote",
            Self::Save(_) => "save_error",
            Self::SaveInterrupted => "save_interrupted",
            Self::SaveUnfinished(_) => "save_unfinished",
            Self::SlowStore { .. } => "slow_store",
            Self::Send(_) => "send_error",
            Self::SendTimedOut(_) => "send_timed_out",
            Self::Report(report) => report.name(),
            Self::Malformed { .. } => "malformed",
            Self::Unauthentic { error, .. } => error.name(),
            Self::GoNodeUndeclared => "go_node_undeclared",
            Self::ApplicationStuck(_) => "application_stuck",
            Self::ApplicationPanicked => "application_panicked",
            Self::PositionTooLong(_) => "position_too_long",
            Self::Withheld(_) => "withheld",
            Self::Missed(_) => "missed",
        }
    }
}

/// A node's events, in order. Dropping it costs the node nothing.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Arc<Event>>,
    last: Arc<Status>,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Arc<Event>>, status: Arc<Status>) -> Self {
        Self { receiver, last: status }
    }

    /// Waits for the next event; `None` when the node has closed and there are no more.
    ///
    /// The node never waits for its listeners. One that falls more than [`EVENTS_MAX`] events
    /// behind loses the oldest; how many is reported as [`Fault::Missed`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let received = self.receiver.recv().await;
        self.take(received)
    }

    /// Like [`next`](Self::next), for a thread outside of async code.
    pub(crate) fn blocking_next(&mut self) -> Option<Event> {
        let received = self.receiver.blocking_recv();
        self.take(received)
    }

    fn take(&mut self, received: Result<Arc<Event>, RecvError>) -> Option<Event> {
        match received {
            Ok(event) => {
                self.last = Arc::clone(&event.status);
                Some(Arc::unwrap_or_clone(event))
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
