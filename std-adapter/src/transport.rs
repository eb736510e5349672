use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use graft_election_core::{ControlRequest, Mode, NodeId, Outgoing};
use graft_election_proto::seal::SealFault;

use crate::codec::{Codec, Opened};
use crate::printable::Printable;
use crate::vote_store::SharedError;

/// A way for the nodes of a cluster to exchange messages.
///
/// A node owns its transport and calls one method at a time. A transport may lose, delay, duplicate
/// and reorder messages: the election expects that. It must not change messages, nor keep them for
/// later when it knows that they can't be sent now: late messages only cost time.
///
/// Messages become bytes, and are taken from them, by the [`Codec`] of the [`Member`], which seals
/// and opens them where the cluster has a key.
pub trait Transport: Send + 'static {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Joins the cluster as this member. Every message that is sent to the cluster or to this node
    /// after this has returned is received, so that the node hears the answers when it campaigns.
    /// Called once.
    fn join(&mut self, member: &Member<'_>)
    -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether it is certain, once this has joined, that no other process has joined with the
    /// node's id, not even at the same moment: by a name, say, that only one process can hold. A
    /// node that has never run need not wait then for another to answer (rule N5), so the first
    /// leader is elected at once and not after the least election timeout. Where nothing can be
    /// said, as by default, it waits.
    fn has_id_to_itself(&self) -> bool {
        false
    }

    /// Waits for the next arrival. It must be cancel-safe: a call that is dropped loses nothing. A
    /// transport that can no longer receive reports that once, and then waits for ever.
    fn receive(&mut self) -> impl Future<Output = Arrival> + Send;

    /// Sends a message to everyone in the cluster, or to one node, without waiting until it is
    /// received. A node may receive its own messages. Where two processes can have one id, each
    /// must receive what the other sends, to that id as well: so they find out (rule N5). A call
    /// that takes longer than a heartbeat interval is dropped, and should then send nothing.
    fn send(&mut self, outgoing: &Outgoing)
    -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Leaves the cluster, once everything that was sent has gone out. Called once, last, and
    /// dropped after a second. A node that is torn down with its runtime drops its transport
    /// without this call.
    fn leave(&mut self) -> impl Future<Output = ()> + Send;
}

/// A way to hear what the nodes of a cluster say to each other, without being one of them.
pub trait Listen: Send + 'static {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Begins to listen to this cluster: to what is for everyone, and to what is for one node, as
    /// far as the medium lets others hear that; `codec` judges what is heard. Nothing is ever sent.
    /// Called once.
    fn listen(
        &mut self,
        cluster: &str,
        codec: &Codec,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits for what is heard next. It must be cancel-safe: a call that is dropped loses nothing.
    fn hear(&mut self) -> impl Future<Output = Arrival> + Send;
}

/// A way to ask the nodes of a cluster for something, without being one of them.
pub trait Ask: Listen {
    /// Sends an operator's request to the cluster that is listened to, so that the node that it is
    /// for hears it, without waiting until it does.
    fn ask(
        &mut self,
        request: &ControlRequest,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Who joins a cluster over a transport.
#[derive(Clone, Copy, Debug)]
pub struct Member<'m> {
    /// The cluster's name.
    pub cluster: &'m str,
    /// The node's id.
    pub id: &'m NodeId,
    /// The node's mode: where Go nodes can be, a node of Graft mode has to speak as they do.
    pub mode: Mode,
    /// Writes the node's messages and judges those of others.
    pub codec: &'m Codec,
}

/// What a transport received.
#[derive(Debug)]
pub enum Arrival {
    /// A message that could be read, and that [`Codec::open`] has let pass.
    Message(Opened),
    /// A message that [`Codec::open`] has not let pass, since it doesn't show by the cluster's key
    /// that it is what it says. It is counted, reported and dropped (rule K3).
    Unauthentic {
        /// In whose name it was said; an operator's requests and Go nodes' answers name nobody.
        sender: Option<NodeId>,
        /// What is wrong with it.
        error: SealFault,
    },
    /// A message that could not be read: it is counted and dropped (rule V7).
    Malformed {
        /// Where it came from, if that makes it worth a report. The same place is reported once in
        /// ten seconds.
        from: Option<String>,
        /// What is wrong with it.
        error: SharedError,
    },
    /// The connection to the other nodes has changed.
    Connection(Connection),
}

impl Arrival {
    pub(crate) fn malformed(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Malformed { from: None, error: Arc::new(error) }
    }

    pub(crate) fn malformed_from(
        from: impl Display,
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Malformed { from: Some(from.to_string()), error: Arc::new(error) }
    }
}

/// How a transport's connection to the other nodes has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It works again.
    Restored,
    /// It is interrupted; the transport tries to restore it.
    Lost(String),
    /// It is gone for good.
    Closed(String),
    /// It works only in part: the node can't hear, or can't say, what an election needs. The
    /// transport tries to restore it, and reports [`Restored`](Self::Restored) then; until then the
    /// node does not campaign.
    Partial(String),
    /// It works, but not as it should. A transport may report this as often as it notices: the node
    /// passes it on once in ten seconds.
    Impaired(String),
}

/// How well a node is connected to the other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum ConnectionState {
    /// It can hear and say what an election needs, as far as its transport knows.
    #[default]
    Connected,
    /// It can't hear, or can't say, part of that.
    Partial,
    /// The connection is interrupted.
    Lost,
    /// The connection is gone for good.
    Closed,
}

impl ConnectionState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Connected, Self::Partial, Self::Lost, Self::Closed];

    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Partial => "partial",
            Self::Lost => "lost",
            Self::Closed => "closed",
        }
    }
}

impl Connection {
    /// The state in which it leaves the connection; `None` if that stays the same.
    pub(crate) fn state(&self) -> Option<ConnectionState> {
        match self {
            Self::Restored => Some(ConnectionState::Connected),
            Self::Lost(_) => Some(ConnectionState::Lost),
            Self::Closed(_) => Some(ConnectionState::Closed),
            Self::Partial(_) => Some(ConnectionState::Partial),
            Self::Impaired(_) => None,
        }
    }

    /// Its name for programs: that of the [`Fault`](crate::Fault) or of the
    /// [`EventKind`](crate::EventKind) that it becomes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Restored => "connection_restored",
            Self::Lost(_) => "connection_lost",
            Self::Closed(_) => "connection_closed",
            Self::Partial(_) => "connection_partial",
            Self::Impaired(_) => "connection_impaired",
        }
    }
}

impl Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Restored => f.write_str("connection restored"),
            Self::Lost(why) => write!(f, "connection lost: {}", Printable(why)),
            Self::Closed(why) => write!(f, "connection closed: {}", Printable(why)),
            Self::Partial(why) => write!(f, "connection works only in part: {}", Printable(why)),
            Self::Impaired(why) => write!(f, "connection impaired: {}", Printable(why)),
        }
    }
}
