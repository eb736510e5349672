//! A transport of one's own: nodes that talk over UDP.
//!
//! ```sh
//! cargo run --example custom_transport
//! ```
//!
//! A datagram goes to all nodes, and says for whom it is:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the number of the message's [`Kind`], which never changes its meaning |
//! | 1 | the length of the recipient's id; zero if the message is for everyone |
//! | as many | the recipient's id |
//! | the rest | the message, as the [`Codec`] writes it: sealed, if the cluster has a key |
//!
//! UDP may lose, delay, duplicate and reorder datagrams, all of which the election expects. It must
//! not change messages, and UDP's checksum sees to that. A cluster is known by its addresses here;
//! a transport that carries several tells them apart by [`Member::cluster`].
//!
//! Anyone who can send datagrams to these ports can vote, unless the nodes have a key
//! ([`NodeBuilder::keys`](graft_election::NodeBuilder::keys)).

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::select_all;
use graft_election::core::{Message, Outgoing, Recipient};
use graft_election::proto::seal::SEALED_MAX;
use graft_election::proto::{Kind, decode};
use graft_election::{
    Arrival, ClusterInfo, Codec, Connection, Member, MemoryVotes, Node, NodeId, Transport,
};
use tokio::net::UdpSocket;

/// More than any datagram has: its two numbers, an id, and a message.
const DATAGRAM_MAX: usize = 2 + u8::MAX as usize + SEALED_MAX;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    play(&mut io::stdout()).await
}

/// One node's access to a cluster of fixed addresses.
pub struct UdpTransport {
    /// Bound before the node joins, so nothing that is sent from then on is missed.
    socket: UdpSocket,
    /// Where all nodes of the cluster are. It may include this one, which ignores what it says
    /// itself.
    nodes: Vec<SocketAddr>,
    /// Who this is, once it has joined.
    own: Option<NodeId>,
    /// Writes what the node says, and judges what others say.
    codec: Codec,
}

impl UdpTransport {
    /// A transport that receives through `socket`, for a cluster whose nodes are at `nodes`.
    pub fn new(socket: UdpSocket, nodes: Vec<SocketAddr>) -> Self {
        Self { socket, nodes, own: None, codec: Codec::new() }
    }
}

impl Transport for UdpTransport {
    type Error = io::Error;

    async fn join(&mut self, member: &Member<'_>) -> io::Result<()> {
        self.own = Some(member.id.clone());
        self.codec = member.codec.clone();
        Ok(())
    }

    /// Cancel-safe, since `recv_from` is, and nothing else is waited for.
    async fn receive(&mut self) -> Arrival {
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            let (length, from) = match self.socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    return Arrival::Connection(Connection::Impaired(error.to_string()));
                }
            };
            match read_datagram(buffer.get(..length).unwrap_or_default()) {
                Ok((Recipient::Node(to), ..)) if self.own.as_ref() != Some(&to) => {}
                Ok((to, message, payload)) => return self.codec.open(message, &to, payload),
                // The node counts it, and drops it.
                Err(error) => {
                    let from = Some(from.to_string());
                    return Arrival::Malformed { from, error: Arc::new(error) };
                }
            }
        }
    }

    /// Sends to everyone, even what is for one node: so two processes of one id hear each other,
    /// and find out (rule N5).
    async fn send(&mut self, outgoing: &Outgoing) -> io::Result<()> {
        let datagram = write_datagram(&self.codec, outgoing)?;
        let mut sent = Ok(());
        for node in &self.nodes {
            // One node that can't be reached doesn't keep the others from hearing.
            sent = self.socket.send_to(&datagram, node).await.map(drop).and(sent);
        }
        sent
    }

    /// Nothing waits to be sent here, and the socket is closed when the node drops its transport.
    async fn leave(&mut self) {}
}

fn write_datagram(codec: &Codec, outgoing: &Outgoing) -> io::Result<Vec<u8>> {
    let to = match &outgoing.to {
        Recipient::Everyone => "",
        Recipient::Node(id) => id.as_str(),
    };
    let length = u8::try_from(to.len()).map_err(io::Error::other)?;
    let mut buffer = [0; SEALED_MAX];
    let payload = codec.encode(outgoing, &mut buffer).map_err(io::Error::other)?;
    let mut datagram = vec![Kind::of(&outgoing.message).number(), length];
    datagram.extend_from_slice(to.as_bytes());
    datagram.extend_from_slice(payload);
    Ok(datagram)
}

/// Anything may arrive at a port, so whatever can't be read is an error and never a panic.
fn read_datagram(datagram: &[u8]) -> io::Result<(Recipient, Message, &[u8])> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let [kind, length, rest @ ..] = datagram else {
        return Err(invalid("the datagram is too short"));
    };
    let kind = Kind::from_number(*kind).ok_or_else(|| invalid("the kind is unknown"))?;
    let (to, payload) = rest
        .split_at_checked(usize::from(*length))
        .ok_or_else(|| invalid("the recipient's id is cut off"))?;
    let to = match str::from_utf8(to).map_err(io::Error::other)? {
        "" => Recipient::Everyone,
        id => Recipient::Node(NodeId::new(id).map_err(io::Error::other)?),
    };
    Ok((to, decode(kind, payload).map_err(io::Error::other)?, payload))
}

/// Runs three nodes on this machine, closes the one that leads, and prints who leads next.
///
/// # Errors
///
/// If a socket can't be bound, a node doesn't start, or `output` can't be written to.
pub async fn play(output: &mut impl Write) -> Result<(), Failure> {
    let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        addresses.push(socket.local_addr()?);
        sockets.push(socket);
    }
    let mut nodes = Vec::new();
    for (id, socket) in ["n1", "n2", "n3"].into_iter().zip(sockets) {
        let transport = UdpTransport::new(socket, addresses.clone());
        let node = Node::builder(ClusterInfo::new("udp", 3)).id(NodeId::new(id)?);
        nodes.push(node.start(transport, MemoryVotes::new()).await?);
    }
    while nodes.len() > 1 {
        let waits = nodes.iter().map(|node| Box::pin(node.wait_for_leadership()));
        let (leadership, index, _) = select_all(waits).await;
        let token = leadership.ok_or("a node has closed")?.token();
        let leader = nodes.swap_remove(index);
        writeln!(output, "{} leads with token {token}, and closes", leader.id())?;
        leader.close().await;
    }
    writeln!(output, "one node of three is left, which can't lead alone")?;
    for node in nodes {
        node.close().await;
    }
    Ok(())
}

type Failure = Box<dyn Error + Send + Sync>;
