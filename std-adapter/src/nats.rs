//! The cluster over NATS.

mod connection;
mod subjects;

use std::io;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectOptions, PublishError, Subscriber, ToServerAddrs};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use graft_election_core::{Message, NodeId, Outgoing, Recipient, VoteResponse};
use graft_election_proto::{ENCODED_MAX, EncodeError, Kind, decode, encode};

use crate::transport::{Arrival, Connection, Transport};

pub(crate) use connection::{Watched, connect_watched, default_options};
pub(crate) use subjects::{CLUSTER_KINDS, NODE_KINDS, reply_kind, subject};

/// How long the server may take to show that all subscriptions are in place.
const JOIN_TIME_MAX: Duration = Duration::from_secs(5);

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

impl NatsTransport {
    /// Connects to the server at `addrs`, for example `"nats://127.0.0.1:4222"`. The connection
    /// belongs to the transport and is closed with the node.
    ///
    /// It notices a silent server within three seconds, connects again without delay, and keeps at
    /// most 128 messages of a subject waiting.
    ///
    /// # Errors
    ///
    /// Those of [`async_nats::connect`].
    pub async fn connect(addrs: impl ToServerAddrs) -> Result<Self, ConnectError> {
        Self::connect_with_options(addrs, Ok).await
    }

    /// Connects like [`connect`](Self::connect), with the options that `configure` adds to those
    /// that an election needs. The event callback is the transport's own, whatever is set.
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
    /// What `configure` returns, and those of [`async_nats::connect_with_options`].
    pub async fn connect_with_options(
        addrs: impl ToServerAddrs,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
    ) -> Result<Self, ConnectError> {
        let options = configure(default_options())?;
        let (client, connection) = connect_watched(addrs, options).await?;
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
        // What can no longer be sent is lost with the connection.
        let _ = self.client.flush().await;
        self.connection.close(&self.client).await;
    }
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

/// Waits until a message of the node to itself has come back: the server handles a connection's
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
    #[error("the server did not show within {JOIN_TIME_MAX:?} that the subscriptions are in place")]
    NotSubscribed,
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
