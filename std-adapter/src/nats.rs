//! The cluster over NATS.

mod audience;
mod changes;
mod connection;
mod membership;
mod refused;
mod servers;
mod subjects;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, PublishError, Subscriber, ToServerAddrs};
use graft_election_core::{ControlRequest, Message, Outgoing};
use graft_election_proto::seal::{SEALED_MAX, SealError};

use crate::codec::Codec;
use crate::transport::{Arrival, Ask, Connection, Listen, Member, Transport};
use audience::Audience;
use membership::Membership;

pub(crate) use connection::{Watched, connect_watched};
pub(crate) use membership::JOIN_TIME_MAX;
#[cfg(feature = "bridge")]
pub(crate) use refused::{Refusal, Refused};
pub use servers::{NatsConnectError, NatsServers, NatsServersError};
pub(crate) use subjects::{
    GO_CLUSTER_KINDS, GO_NODE_KINDS, Route, Source, Subjects, subject_of_go_node,
};
#[cfg(feature = "bridge")]
pub(crate) use subjects::{Said, TRIAL_MARK, Unreadable, named_in};

/// The cluster over NATS (protocol, section 3): a node `id` publishes to
/// `graft.<cluster>.<kind>.<id>` for everyone and to `graft.<cluster>.<kind>.<id>.<receiver>` for
/// one node, so that a server's permissions can bind each voter's name to its credentials.
///
/// In [`Mode::Graft`](crate::Mode::Graft) it says what the Go original says on the Go original's
/// subjects: `graft.<cluster>.<kind>` and `graft.<id>.<kind>`. Nodes of both modes listen to both.
/// A server may refuse Go's to a node in Extended mode, which then hears no Go node and nobody in
/// Graft mode.
///
/// When it joins, the node says on each of its subjects something that everyone else ignores: a
/// server that refuses one of them is an error. What is refused later is reported and tried again,
/// and the node does not campaign until it is permitted. A node that campaigns tries its subjects
/// again, since a server may also keep messages from it without a word.
///
/// While the connection is down nothing is sent, and nothing is kept to be sent later: a late
/// heartbeat or vote would only do harm.
#[derive(Debug)]
pub struct NatsTransport {
    client: Client,
    connection: Watched,
    membership: Option<Membership>,
    audience: Option<Audience>,
}

impl NatsTransport {
    /// Connects to the server at `addrs`, for example `"nats://127.0.0.1:4222"`, or to one of
    /// several. The connection belongs to the transport and is closed with the node.
    ///
    /// A URL may name a login, as [`NatsServers`] describes. One server that is `tls://` has all
    /// spoken to over TLS, and nothing else.
    ///
    /// It notices a silent server within three seconds, connects again without delay, and keeps at
    /// most 64 messages of a subject waiting, as many as there may be voters.
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
        Ok(Self { client, connection, membership: None, audience: None })
    }

    /// The names of the clusters that are heard within `time`.
    ///
    /// # Errors
    ///
    /// [`NatsError::Refused`] if the server doesn't permit to subscribe to `graft.>`;
    /// [`NatsError::Disconnected`] if the connection is lost meanwhile; [`NatsError::Subscribe`] if
    /// the client has closed it.
    pub async fn clusters(&mut self, time: Duration) -> Result<BTreeSet<String>, NatsError> {
        audience::clusters(&self.client, &mut self.connection, time).await
    }

    /// Uses a connection that belongs to someone else. It is never closed; the node only gives back
    /// its own subscriptions. Only its owner's event callback learns why it was lost.
    pub fn from_client(client: Client) -> Self {
        Self { client, connection: Watched::borrowed(), membership: None, audience: None }
    }
}

impl Transport for NatsTransport {
    type Error = NatsError;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), NatsError> {
        let mut membership = Membership::new(&self.client, member).await?;
        membership.prove(&mut self.connection).await?;
        self.membership = Some(membership);
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        let Some(membership) = &mut self.membership else {
            return std::future::pending().await;
        };
        let arrival = membership.receive(&mut self.connection).await;
        if let Arrival::Connection(Connection::Closed(_)) = &arrival {
            self.connection = Watched::Gone;
        }
        arrival
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), NatsError> {
        let Some(membership) = &mut self.membership else {
            return Err(NatsError::NotJoined);
        };
        if self.client.connection_state() != State::Connected {
            return Err(NatsError::Disconnected);
        }
        // Whoever hears no leader may be deaf.
        if let Message::VoteRequest(_) | Message::PreVoteRequest(_) = outgoing.message {
            membership.check().await;
        }
        let mut buffer = [0; SEALED_MAX];
        let payload = membership.codec().encode(outgoing, &mut buffer)?.to_vec().into();
        match membership.route(outgoing) {
            Route { subject, reply: Some(reply) } => {
                self.client.publish_with_reply(subject, reply, payload).await?;
            }
            Route { subject, reply: None } => self.client.publish(subject, payload).await?,
        }
        Ok(())
    }

    async fn leave(&mut self) {
        if let Some(membership) = self.membership.take() {
            membership.end().await;
        }
        // What can no longer be sent is lost with the connection.
        let _ = self.client.flush().await;
        self.connection.close(&self.client).await;
    }
}

impl Listen for NatsTransport {
    type Error = NatsError;

    /// Listens to our subjects of the cluster and to Go's, for which it needs the permission to
    /// subscribe and no other. It does without Go's, `graft.*.heartbeat_response` for example.
    async fn listen(&mut self, cluster: &str, codec: &Codec) -> Result<(), NatsError> {
        self.audience = Some(Audience::new(&self.client, cluster, codec).await?);
        Ok(())
    }

    async fn hear(&mut self) -> Arrival {
        let Some(audience) = &mut self.audience else {
            return std::future::pending().await;
        };
        let arrival = audience.hear(&mut self.connection).await;
        if let Arrival::Connection(Connection::Closed(_)) = &arrival {
            self.connection = Watched::Gone;
        }
        arrival
    }
}

impl Ask for NatsTransport {
    async fn ask(&mut self, request: &ControlRequest) -> Result<(), NatsError> {
        match &self.audience {
            Some(audience) => audience.ask(request).await,
            None => Err(NatsError::NotJoined),
        }
    }
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
    /// The server does not let the node hear or say what an election needs.
    #[error("the server refuses what is needed: {complaint}")]
    Refused {
        /// What the server says.
        complaint: String,
    },
    /// Not all messages of the node to itself came back: the server doesn't answer, keeps what is
    /// published on a subject from the node, or the connection was made with `no_echo`.
    #[error(
        "the server did not show within {JOIN_TIME_MAX:?} that the subscriptions are in place: \
         what the node says on {subject} does not come back{}",
        complaint.as_ref().map(|words| format!(" ({words})")).unwrap_or_default()
    )]
    NotSubscribed {
        /// The first of the subjects whose messages did not come back.
        subject: String,
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
    /// The message could not be encoded or sealed.
    #[error(transparent)]
    Encode(#[from] SealError),
}
