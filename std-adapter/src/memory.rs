use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use graft_election_core::{ControlRequest, Message, NodeId, Outgoing, Recipient};
use graft_election_proto::seal::{SEALED_MAX, SealError};
use graft_election_proto::{Kind, decode};
use tokio::sync::mpsc;

use crate::codec::Codec;
use crate::transport::{Arrival, Ask, Listen, Member, Transport};

/// How many messages may wait for one node; more are lost, as on a real network.
const INBOX_MAX: usize = 1024;

/// A network within one process, for tests and demonstrations. Messages arrive at once and in
/// order, unless it is split or a node is silenced. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    members: Arc<Mutex<BTreeMap<NodeId, Place>>>,
    listeners: Arc<Mutex<Vec<Listener>>>,
}

/// Somebody who hears a cluster, wherever the network is split.
#[derive(Debug)]
struct Listener {
    cluster: String,
    inbox: mpsc::Sender<Packet>,
}

/// A message on its way.
#[derive(Clone, Debug)]
struct Packet {
    kind: Kind,
    to: Recipient,
    payload: Vec<u8>,
}

impl Packet {
    fn new(codec: &Codec, outgoing: &Outgoing) -> Result<Self, SealError> {
        let payload = codec.encode(outgoing, &mut [0; SEALED_MAX])?.to_vec();
        Ok(Self { kind: Kind::of(&outgoing.message), to: outgoing.to.clone(), payload })
    }

    fn open(self, codec: &Codec) -> Arrival {
        let Self { kind, to, payload } = self;
        match decode(kind, &payload) {
            Ok(message) => codec.open(message, &to, &payload),
            Err(error) => Arrival::malformed(error),
        }
    }
}

/// A node's place on the network.
#[derive(Debug)]
struct Place {
    cluster: String,
    inbox: mpsc::Sender<Packet>,
    /// Messages stay within a group.
    group: usize,
    is_silent: bool,
}

impl MemoryNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A transport for one node of this network.
    pub fn transport(&self) -> MemoryTransport {
        MemoryTransport {
            network: self.clone(),
            own: None,
            heard: None,
            cluster: String::new(),
            codec: Codec::new(),
            fails_to_join: false,
        }
    }

    /// Splits the network: the nodes of each group hear only each other, and so do those that are
    /// in no group.
    pub fn split(&self, groups: &[&[NodeId]]) {
        for (id, member) in self.lock().iter_mut() {
            let group = groups.iter().position(|group| group.contains(id));
            member.group = group.map_or(0, |index| index + 1);
        }
    }

    /// Undoes a split.
    pub fn restore(&self) {
        self.split(&[]);
    }

    /// Whether everything that node `id` sends is lost from now on.
    pub fn silence(&self, id: &NodeId, is_silent: bool) {
        if let Some(member) = self.lock().get_mut(id) {
            member.is_silent = is_silent;
        }
    }

    /// How many nodes are on the network: those that have joined and not left.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no node is on the network.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Place>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, from: &NodeId, packet: &Packet) {
        let members = self.lock();
        let Some(sender) = members.get(from).filter(|sender| !sender.is_silent) else {
            return;
        };
        self.lock_listeners().retain(|listener| {
            if listener.cluster == sender.cluster {
                let _ = listener.inbox.try_send(packet.clone());
            }
            !listener.inbox.is_closed()
        });
        for (id, member) in members.iter() {
            let is_meant = match &packet.to {
                Recipient::Everyone => id != from && member.cluster == sender.cluster,
                Recipient::Node(node) => id == node,
            };
            if is_meant && member.group == sender.group {
                // A full inbox loses the message.
                let _ = member.inbox.try_send(packet.clone());
            }
        }
    }
}

/// One node's access to a [`MemoryNetwork`].
#[derive(Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    own: Option<(NodeId, mpsc::Receiver<Packet>)>,
    /// What it hears, if it is nobody's on the network.
    heard: Option<mpsc::Receiver<Packet>>,
    /// Of which cluster.
    cluster: String,
    codec: Codec,
    fails_to_join: bool,
}

impl MemoryTransport {
    /// A transport that fails to join, so that its node fails to start.
    pub fn failing_to_join(mut self) -> Self {
        self.fails_to_join = true;
        self
    }
}

/// Why a [`MemoryTransport`] could not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryJoinError {
    /// It was made with [`failing_to_join`](MemoryTransport::failing_to_join).
    #[error("the transport was made to fail")]
    ToldToFail,
    /// A node of this id is there already.
    #[error("another node {0} is on this network already; each needs an id of its own")]
    IdTaken(NodeId),
    /// A message could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Transport for MemoryTransport {
    type Error = MemoryJoinError;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), MemoryJoinError> {
        let id = member.id;
        if self.fails_to_join {
            return Err(MemoryJoinError::ToldToFail);
        }
        let mut members = self.network.lock();
        if members.contains_key(id) {
            return Err(MemoryJoinError::IdTaken(id.clone()));
        }
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let cluster = member.cluster.to_owned();
        members.insert(id.clone(), Place { cluster, inbox, group: 0, is_silent: false });
        drop(members);
        self.own = Some((id.clone(), messages));
        self.codec = member.codec.clone();
        Ok(())
    }

    /// An id that is taken is an error.
    fn has_id_to_itself(&self) -> bool {
        self.own.is_some()
    }

    async fn receive(&mut self) -> Arrival {
        if let Some((_, messages)) = &mut self.own
            && let Some(packet) = messages.recv().await
        {
            return packet.open(&self.codec);
        }
        std::future::pending().await
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), MemoryJoinError> {
        if let Some((id, _)) = &self.own {
            self.network.deliver(id, &Packet::new(&self.codec, outgoing)?);
        }
        Ok(())
    }

    async fn leave(&mut self) {
        if let Some((id, _)) = self.own.take() {
            self.network.lock().remove(&id);
        }
    }
}

impl Listen for MemoryTransport {
    type Error = Infallible;

    async fn listen(&mut self, cluster: &str, codec: &Codec) -> Result<(), Infallible> {
        self.cluster = cluster.to_owned();
        self.codec = codec.clone();
        let (inbox, heard) = mpsc::channel(INBOX_MAX);
        self.network.lock_listeners().push(Listener { cluster: cluster.to_owned(), inbox });
        self.heard = Some(heard);
        Ok(())
    }

    async fn hear(&mut self) -> Arrival {
        match &mut self.heard {
            Some(heard) => match heard.recv().await {
                Some(packet) => packet.open(&self.codec),
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Ask for MemoryTransport {
    async fn ask(&mut self, request: &ControlRequest) -> Result<(), Infallible> {
        let members = self.network.lock();
        if let Some(member) = members.get(&request.node).filter(|it| it.cluster == self.cluster) {
            let message = Message::ControlRequest(request.clone());
            let outgoing = Outgoing { to: Recipient::Everyone, message };
            // A full inbox loses the message. A request needs no number, so that it is sealed.
            if let Ok(packet) = Packet::new(&self.codec, &outgoing) {
                let _ = member.inbox.try_send(packet);
            }
        }
        Ok(())
    }
}

impl Drop for MemoryTransport {
    /// A node that is torn down without closing is gone from the network all the same.
    fn drop(&mut self) {
        if let Some((id, _)) = self.own.take() {
            self.network.lock().remove(&id);
        }
    }
}
