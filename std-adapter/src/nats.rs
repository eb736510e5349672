use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectOptions, PublishError, Subscriber, ToServerAddrs};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use graft_election_core::{Message, NodeId, Outgoing, Recipient, VoteResponse};
use graft_election_proto::{ENCODED_MAX, EncodeError, Kind, decode, encode};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use crate::transport::{Arrival, Connection, Transport};

/// What every node of a cluster hears.
pub(crate) const CLUSTER_KINDS: [Kind; 4] =
    [Kind::VoteRequest, Kind::Heartbeat, Kind::PreVoteRequest, Kind::Handover];

/// What one node alone hears. The vote response is last: joining waits for one of its own.
pub(crate) const NODE_KINDS: [Kind; 3] =
    [Kind::HeartbeatResponse, Kind::PreVoteResponse, Kind::VoteResponse];

/// How long the server may take to show that all subscriptions are in place.
const JOIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How often a connection that belongs to someone else is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A server that says nothing for three of these is taken for lost.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The cluster over NATS, with the subjects of the Go original (protocol, section 3):
/// `graft.<cluster>.<kind>` for everyone and `graft.<id>.<kind>` for one node.
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
    cluster: String,
    id: NodeId,
    payloads: SelectAll<BoxStream<'static, (Kind, async_nats::Message)>>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("cluster", &self.cluster)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// How the transport hears of its connection.
#[derive(Debug)]
pub(crate) enum Watched {
    /// The transport's own connection tells, and ends with it.
    Own { events: mpsc::UnboundedReceiver<async_nats::Event>, is_connected: bool },
    /// Someone else's is looked at now and then.
    Borrowed { poll: Interval, is_connected: bool },
    /// There is no more to hear.
    Gone,
}

impl NatsTransport {
    /// Connects to the server at `addrs`, for example `"nats://127.0.0.1:4222"`. The connection
    /// belongs to the transport and is closed with the node.
    ///
    /// # Errors
    ///
    /// Those of [`async_nats::connect`].
    pub async fn connect(addrs: impl ToServerAddrs) -> Result<Self, ConnectError> {
        Self::connect_with_options(addrs, default_options()).await
    }

    /// Connects as `options` say, except for their event callback, which the transport sets. A
    /// `ping_interval` well below the default of a minute lets it notice a silent server in time.
    ///
    /// # Errors
    ///
    /// Those of [`async_nats::connect_with_options`].
    pub async fn connect_with_options(
        addrs: impl ToServerAddrs,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let (client, connection) = connect_watched(addrs, options).await?;
        Ok(Self { client, connection, membership: None })
    }

    /// Uses a connection that belongs to someone else. It is never closed; the node only gives back
    /// its own subscriptions. Why it was lost is known to its owner's event callback alone.
    pub fn from_client(client: Client) -> Self {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let connection = Watched::Borrowed { poll, is_connected: true };
        Self { client, connection, membership: None }
    }
}

impl Transport for NatsTransport {
    type Error = NatsError;

    async fn join(&mut self, cluster: &str, id: &NodeId) -> Result<(), NatsError> {
        let mut payloads: SelectAll<BoxStream<'static, _>> = SelectAll::new();
        for kind in CLUSTER_KINDS {
            let subscriber = subscribe(&self.client, cluster, kind).await?;
            payloads.push(subscriber.map(move |message| (kind, message)).boxed());
        }
        for kind in NODE_KINDS {
            let mut subscriber = subscribe(&self.client, id.as_str(), kind).await?;
            if kind == Kind::VoteResponse {
                wait_for_own_message(&self.client, id, &mut subscriber).await?;
            }
            payloads.push(subscriber.map(move |message| (kind, message)).boxed());
        }
        self.membership =
            Some(Membership { cluster: cluster.to_owned(), id: id.clone(), payloads });
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        let Some(membership) = &mut self.membership else {
            return std::future::pending().await;
        };
        tokio::select! {
            payload = membership.payloads.next(), if !membership.payloads.is_empty() => {
                match payload.map(|(kind, message)| decode(kind, &message.payload)) {
                    Some(Ok(message)) => Arrival::Message(message),
                    Some(Err(error)) => Arrival::Malformed(Box::new(error)),
                    None => {
                        self.connection = Watched::Gone;
                        Arrival::Connection(Connection::Closed("all subscriptions ended".into()))
                    }
                }
            }
            change = self.connection.change(&self.client) => Arrival::Connection(change),
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
        let subject = match &outgoing.to {
            Recipient::Everyone => subject(&membership.cluster, kind),
            Recipient::Node(node) => subject(node.as_str(), kind),
        };
        match reply_kind(kind) {
            Some(reply_kind) => {
                let reply = self::subject(membership.id.as_str(), reply_kind);
                self.client.publish_with_reply(subject, reply, payload).await?;
            }
            None => self.client.publish(subject, payload).await?,
        }
        Ok(())
    }

    async fn leave(&mut self) {
        self.membership = None;
        // What can't be sent any more is lost with the connection.
        let _ = self.client.flush().await;
        if let Watched::Own { events, .. } = &mut self.connection {
            let _ = self.client.drain().await;
            while let Some(event) = events.recv().await {
                if matches!(event, async_nats::Event::Closed) {
                    break;
                }
            }
        }
        self.connection = Watched::Gone;
    }
}

impl Watched {
    /// Waits for the next change. Cancel-safe.
    pub(crate) async fn change(&mut self, client: &Client) -> Connection {
        loop {
            match self {
                Self::Own { events, is_connected } => match events.recv().await {
                    // The first connection was no secret.
                    Some(async_nats::Event::Connected) if *is_connected => {}
                    Some(event) => {
                        if let Some(change) = connection_change(event) {
                            match change {
                                Connection::Restored => *is_connected = true,
                                Connection::Lost(_) => *is_connected = false,
                                Connection::Closed(_) | Connection::Impaired(_) => {}
                            }
                            return change;
                        }
                    }
                    None => *self = Self::Gone,
                },
                Self::Borrowed { poll, is_connected } => {
                    poll.tick().await;
                    let was_connected = *is_connected;
                    *is_connected = client.connection_state() == State::Connected;
                    match (was_connected, *is_connected) {
                        (false, true) => return Connection::Restored,
                        (true, false) => return Connection::Lost("disconnected".into()),
                        _ => {}
                    }
                }
                Self::Gone => return std::future::pending().await,
            }
        }
    }
}

/// The options of a connection that notices in time what an election must know.
pub(crate) fn default_options() -> ConnectOptions {
    ConnectOptions::new()
        .name("graft")
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(reconnect_delay)
}

/// A connection as `options` say, and how it changes.
pub(crate) async fn connect_watched(
    addrs: impl ToServerAddrs,
    options: ConnectOptions,
) -> Result<(Client, Watched), ConnectError> {
    let (sender, events) = mpsc::unbounded_channel();
    let options = options.event_callback(move |event| {
        // After the connection's owner is gone nobody wants to know.
        let _ = sender.send(event);
        std::future::ready(())
    });
    let client = async_nats::connect_with_options(addrs, options).await?;
    let is_connected = client.connection_state() == State::Connected;
    Ok((client, Watched::Own { events, is_connected }))
}

pub(crate) async fn subscribe(
    client: &Client,
    name: &str,
    kind: Kind,
) -> Result<Subscriber, NatsError> {
    let subject = subject(name, kind);
    let subscribed = client.subscribe(subject.clone()).await;
    subscribed.map_err(|error| NatsError::Subscribe { subject, error })
}

/// Waits until a message of the node to itself has come back: the server takes a connection's
/// requests in order, so all subscriptions are in place by then. A flush doesn't show that.
async fn wait_for_own_message(
    client: &Client,
    id: &NodeId,
    responses: &mut Subscriber,
) -> Result<(), NatsError> {
    let voter = Some(id.clone());
    let message = Message::VoteResponse(VoteResponse { term: 0, granted: false, voter });
    let mut buffer = [0; ENCODED_MAX];
    let payload = encode(&message, &mut buffer)?;
    client.publish(subject(id.as_str(), Kind::VoteResponse), payload.to_vec().into()).await?;
    let came_back = async {
        while let Some(message) = responses.next().await {
            if message.payload == payload {
                return true;
            }
        }
        false
    };
    match tokio::time::timeout(JOIN_TIME_MAX, came_back).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(NatsError::NotSubscribed),
    }
}

fn connection_change(event: async_nats::Event) -> Option<Connection> {
    use async_nats::Event;
    match event {
        Event::Connected => Some(Connection::Restored),
        Event::Disconnected => Some(Connection::Lost("disconnected".into())),
        Event::Closed => Some(Connection::Closed("connection closed".into())),
        Event::LameDuckMode | Event::SlowConsumer(_) => {
            Some(Connection::Impaired(event.to_string()))
        }
        Event::ServerError(error) => Some(Connection::Impaired(error.to_string())),
        Event::ClientError(error) => Some(Connection::Impaired(error.to_string())),
        Event::Draining => None,
    }
}

/// How long to wait before the connection is tried again: an election can't wait for long.
fn reconnect_delay(attempts: usize) -> Duration {
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    Duration::from_millis(20).saturating_mul(attempts).min(Duration::from_millis(500))
}

pub(crate) fn subject(name: &str, kind: Kind) -> String {
    format!("graft.{name}.{kind}")
}

/// What answers a message of this kind, where Go sets a reply subject.
pub(crate) fn reply_kind(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::VoteRequest => Some(Kind::VoteResponse),
        Kind::PreVoteRequest => Some(Kind::PreVoteResponse),
        Kind::VoteResponse
        | Kind::Heartbeat
        | Kind::HeartbeatResponse
        | Kind::PreVoteResponse
        | Kind::Handover => None,
    }
}

/// What can go wrong with the NATS transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// A subscription was not made.
    #[error("could not subscribe to {subject}: {error}")]
    Subscribe {
        /// To what.
        subject: String,
        /// Why.
        error: async_nats::SubscribeError,
    },
    /// No message of the node to itself came back: the server doesn't answer, doesn't permit it,
    /// or the connection was made with `no_echo`.
    #[error("the server did not show within {JOIN_TIME_MAX:?} that the subscriptions are in place")]
    NotSubscribed,
    /// The transport has not joined a cluster, or has left it. Go calls it `ErrNotInitialized`.
    #[error("the transport has not joined a cluster")]
    NotJoined,
    /// The connection is down. The message is not kept.
    #[error("the connection is down")]
    Disconnected,
    /// The client refused the message.
    #[error("could not publish: {0}")]
    Publish(#[from] PublishError),
    /// The message could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
