//! The cluster over NATS.

mod connection;
mod servers;
mod subjects;

use std::io;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, PublishError, Subscriber, ToServerAddrs};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use graft_election_core::{Mode, NodeId, Outgoing};
use graft_election_proto::{ENCODED_MAX, EncodeError, Kind, encode};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::transport::{Arrival, Connection, Member, Transport};

pub(crate) use connection::{Watched, connect_watched};
pub use servers::{NatsConnectError, NatsServers, NatsServersError};
pub(crate) use subjects::{
    GO_CLUSTER_KINDS, GO_NODE_KINDS, Route, Source, Subjects, origin_of, subject_of_go_node,
};
#[cfg(feature = "bridge")]
pub(crate) use subjects::{Unreadable, is_for_everyone};

/// How long the server may take to show that all subscriptions are in place.
const JOIN_TIME_MAX: Duration = Duration::from_secs(5);

/// In place of a kind in the subjects of what a node says to itself when it joins. It is no kind,
/// so everyone else ignores it.
const JOIN: &str = "join";

/// The cluster over NATS (protocol, section 3): a node `id` publishes to
/// `graft.<cluster>.<kind>.<id>` for everyone and to `graft.<cluster>.<kind>.<id>.<receiver>` for
/// one node, so that a server's permissions can bind each voter's name to its credentials.
///
/// In [`Mode::Graft`] it says what the Go original says on the Go original's subjects:
/// `graft.<cluster>.<kind>` and `graft.<id>.<kind>`. Nodes of both modes listen to both. A server
/// may refuse Go's to a node in Extended mode, which then hears no Go node and nobody in Graft
/// mode.
///
/// While the connection is down nothing is sent, and nothing is kept to be sent later: a late
/// heartbeat or vote would only do harm.
#[derive(Debug)]
pub struct NatsTransport {
    client: Client,
    connection: Watched,
    membership: Option<Membership>,
}

struct Membership {
    subjects: Subjects,
    id: NodeId,
    mode: Mode,
    inbox: SelectAll<BoxStream<'static, (Source, async_nats::Message)>>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("subjects", &self.subjects)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl NatsTransport {
    /// Connects to the server at `addrs`, for example `"nats://127.0.0.1:4222"`, or to one of
    /// several. The connection belongs to the transport and is closed with the node.
    ///
    /// A URL may name a login, as [`NatsServers`] describes. One server that is `tls://` has all
    /// spoken to over TLS, and nothing else.
    ///
    /// It notices a silent server within three seconds, connects again without delay, and keeps at
    /// most 128 messages of a subject waiting.
    ///
    /// # Errors
    ///
    /// [`NatsConnectError`] if no server takes the connection: it says what each answered.
    pub async fn connect(addrs: impl ToServerAddrs) -> Result<Self, NatsConnectError> {
        Self::connect_to(&NatsServers::new(addrs)?, Ok).await
    }

    /// Connects like [`connect`](Self::connect), with the options that `configure` adds to those
    /// that an election needs. The event callback is the transport's own, whatever is set. So is
    /// the login, if the URLs of several servers name different ones.
    ///
    /// ```no_run
    /// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
    /// use graft_election::NatsTransport;
    ///
    /// let credentials = std::fs::read_to_string("node.creds")?;
    /// let transport = NatsTransport::connect_with_options("tls://connect.ngs.global", |options| {
    ///     options.require_tls(true).credentials(&credentials)
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What `configure` returns, and those of [`connect`](Self::connect).
    pub async fn connect_with_options(
        addrs: impl ToServerAddrs,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
    ) -> Result<Self, NatsConnectError> {
        Self::connect_to(&NatsServers::new(addrs)?, configure).await
    }

    /// Connects like [`connect_with_options`](Self::connect_with_options) to servers that were
    /// parsed already.
    ///
    /// # Errors
    ///
    /// What `configure` returns, and those of [`connect`](Self::connect).
    pub async fn connect_to(
        servers: &NatsServers,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
    ) -> Result<Self, NatsConnectError> {
        let (client, connection) = connect_watched(servers, configure).await?;
        Ok(Self { client, connection, membership: None })
    }

    /// Uses a connection that belongs to someone else. It is never closed; the node only gives back
    /// its own subscriptions. Only its owner's event callback learns why it was lost.
    pub fn from_client(client: Client) -> Self {
        Self { client, connection: Watched::borrowed(), membership: None }
    }
}

impl Transport for NatsTransport {
    type Error = NatsError;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), NatsError> {
        let subjects = Subjects::new(member.cluster);
        let mut inbox = SelectAll::new();
        for kind in GO_CLUSTER_KINDS {
            inbox.push(listen(&self.client, subjects.of_go(kind), Source::Go(kind)).await?);
        }
        for kind in GO_NODE_KINDS {
            let subject = subject_of_go_node(member.id, kind);
            inbox.push(listen(&self.client, subject, Source::Go(kind)).await?);
        }
        inbox.push(listen(&self.client, subjects.for_everyone(), Source::Everyone).await?);
        inbox.push(listen(&self.client, subjects.for_node(member.id), Source::One).await?);
        let (id, mode) = (member.id.clone(), member.mode);
        let mut membership = Membership { subjects, id, mode, inbox };
        self.wait_for_own_messages(&mut membership).await?;
        self.membership = Some(membership);
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        let Some(membership) = &mut self.membership else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                heard = membership.inbox.next(), if !membership.inbox.is_empty() => match heard {
                    Some((source, message)) => {
                        if let Some(arrival) = membership.read(source, &message) {
                            return arrival;
                        }
                    }
                    None => {
                        self.connection = Watched::Gone;
                        let why = "all subscriptions ended".into();
                        return Arrival::Connection(Connection::Closed(why));
                    }
                },
                change = self.connection.change(&self.client) => match change {
                    Connection::Impaired(why) if membership.does_without(&why) => {
                        tracing::debug!(id = %membership.id, "{why}");
                    }
                    change => return Arrival::Connection(change),
                },
            }
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), NatsError> {
        let Some(membership) = &self.membership else {
            return Err(NatsError::NotJoined);
        };
        if self.client.connection_state() != State::Connected {
            return Err(NatsError::Disconnected);
        }
        let kind = Kind::of(&outgoing.message);
        let mut buffer = [0; ENCODED_MAX];
        let payload = encode(&outgoing.message, &mut buffer)?.to_vec().into();
        let Membership { subjects, id, mode, .. } = membership;
        match subjects.route(*mode, id, &outgoing.to, kind) {
            Route { subject, reply: Some(reply) } => {
                self.client.publish_with_reply(subject, reply, payload).await?;
            }
            Route { subject, reply: None } => self.client.publish(subject, payload).await?,
        }
        Ok(())
    }

    async fn leave(&mut self) {
        self.membership = None;
        // What can no longer be sent is lost with the connection.
        let _ = self.client.flush().await;
        self.connection.close(&self.client).await;
    }
}

impl NatsTransport {
    /// Waits until messages of the node to everyone and to itself have come back: the server
    /// handles a connection's requests in order, so all subscriptions are in place by then. A flush
    /// doesn't show that.
    async fn wait_for_own_messages(
        &mut self,
        membership: &mut Membership,
    ) -> Result<(), NatsError> {
        let mut nonce = [0; 16];
        SysRng.try_fill_bytes(&mut nonce).map_err(|error| NatsError::Random(Box::new(error)))?;
        let mut complaint = None;
        let came_back = self.say_join_and_listen(membership, &nonce, &mut complaint);
        match tokio::time::timeout(JOIN_TIME_MAX, came_back).await {
            Ok(came_back) => came_back,
            Err(_) => Err(NatsError::NotSubscribed { complaint }),
        }
    }

    async fn say_join_and_listen(
        &mut self,
        membership: &mut Membership,
        nonce: &[u8],
        complaint: &mut Option<String>,
    ) -> Result<(), NatsError> {
        let Membership { subjects, id, .. } = &*membership;
        let own = [subjects.to_everyone(JOIN, id), subjects.to_node(JOIN, id, id)];
        let mut awaited = own.to_vec();
        publish_each(&self.client, &own, nonce).await?;
        while !awaited.is_empty() {
            tokio::select! {
                heard = membership.inbox.next() => match heard {
                    // What else is said already is for a node that has joined.
                    Some((_, message)) if message.payload == nonce => {
                        awaited.retain(|subject| *subject != *message.subject);
                    }
                    Some(_) => {}
                    None => return Err(NatsError::NotSubscribed { complaint: complaint.take() }),
                },
                change = self.connection.change(&self.client) => match change {
                    Connection::Impaired(why) if membership.does_without(&why) => {}
                    Connection::Impaired(why) => *complaint = Some(why),
                    Connection::Restored => publish_each(&self.client, &own, nonce).await?,
                    Connection::Lost(_) | Connection::Closed(_) | Connection::Partial(_) => {}
                },
            }
        }
        Ok(())
    }
}

impl Membership {
    /// What a message comes to, if it is one of this cluster.
    fn read(&self, source: Source, message: &async_nats::Message) -> Option<Arrival> {
        match self.subjects.read(source, message) {
            Ok(Some((_, message))) => Some(Arrival::Message(message)),
            Ok(None) => None,
            Err(error) => Some(Arrival::malformed_from(origin_of(source, message), error)),
        }
    }

    /// Whether the server only refuses what a node in Extended mode needs no more: a subscription
    /// to one of Go's subjects.
    fn does_without(&self, complaint: &str) -> bool {
        let to_everyone = GO_CLUSTER_KINDS.map(|kind| self.subjects.of_go(kind));
        let to_node = GO_NODE_KINDS.map(|kind| subject_of_go_node(&self.id, kind));
        self.mode == Mode::Extended
            && complaint.contains("Permissions Violation for Subscription")
            && to_everyone.iter().chain(&to_node).any(|it| complaint.contains(&format!("\"{it}\"")))
    }
}

async fn publish_each(
    client: &Client,
    subjects: &[String],
    payload: &[u8],
) -> Result<(), NatsError> {
    for subject in subjects {
        client.publish(subject.clone(), payload.to_vec().into()).await?;
    }
    Ok(())
}

async fn listen(
    client: &Client,
    subject: String,
    source: Source,
) -> Result<BoxStream<'static, (Source, async_nats::Message)>, NatsError> {
    let subscriber = subscribe(client, subject).await?;
    Ok(subscriber.map(move |message| (source, message)).boxed())
}

pub(crate) async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, NatsError> {
    let subscribed = client.subscribe(subject.clone()).await;
    subscribed.map_err(|error| NatsError::Subscribe { subject, error })
}

/// What can go wrong with the NATS transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// A subscription was not made.
    #[error("could not subscribe to {subject}")]
    Subscribe {
        /// The subject.
        subject: String,
        /// The client's reason.
        #[source]
        error: async_nats::SubscribeError,
    },
    /// No message of the node to itself came back: the server doesn't answer or doesn't permit it,
    /// or the connection was made with `no_echo`.
    #[error(
        "the server did not show within {JOIN_TIME_MAX:?} that the subscriptions are in place{}",
        complaint.as_ref().map(|words| format!(" ({words})")).unwrap_or_default()
    )]
    NotSubscribed {
        /// What the server complained of last.
        complaint: Option<String>,
    },
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The transport has not joined a cluster, or has left it. Go calls it `ErrNotInitialized`.
    #[error("the transport has not joined a cluster")]
    NotJoined,
    /// The connection is down. The message is not kept.
    #[error("the connection is down")]
    Disconnected,
    /// The client refused the message.
    #[error("could not publish")]
    Publish(#[from] PublishError),
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
