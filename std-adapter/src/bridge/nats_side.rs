//! The bridge's side of NATS.

use std::io;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, HeaderMap, Message};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use graft_election_core::{Mode, NodeId, Recipient};
use graft_election_proto::Kind;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::counts::Outcome;
use super::error::BridgeError;
use crate::nats::{
    GO_CLUSTER_KINDS, GO_NODE_KINDS, JOIN_TIME_MAX, NatsError, NatsServers, Refusal, Route, Source,
    Subjects, TRIAL_MARK, Unreadable, Watched, connect_watched, subject_of_go_node, subscribe,
};
use crate::transport::Connection;

/// The header that names the line from which a bridge carried a message to NATS. Nodes, Go's among
/// them, don't look at it.
const LINE_HEADER: &str = "Graft-Line";

/// How many messages of a subject may wait for the bridge, which never lets them wait for long.
const WAITING_MAX: usize = 64;

/// How long the client may take to accept what it is given.
const SEND_TIME_MAX: Duration = Duration::from_millis(100);

/// A connection to NATS that hears the cluster, and what is meant for the nodes on the line.
pub(super) struct NatsSide {
    client: Client,
    connection: Watched,
    subjects: Subjects,
    mode: Mode,
    line_name: String,
    received: SelectAll<BoxStream<'static, Received>>,
}

/// A message from NATS.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) to: Recipient,
    source: Source,
    message: Message,
}

/// What happened on NATS.
#[derive(Debug)]
pub(super) enum NatsEvent {
    Received(Box<Received>),
    Connection(Connection),
}

/// While this lives, the bridge is subscribed to the subjects of a node on the line.
#[derive(Debug)]
pub(super) struct Listening {
    /// Dropping it ends the subscriptions.
    _until: oneshot::Sender<()>,
}

impl NatsSide {
    /// Connects to one of the `servers` and listens to the cluster as bridge `id`, for the line of
    /// this name.
    pub(super) async fn connect(
        servers: &NatsServers,
        configure: impl FnOnce(ConnectOptions) -> io::Result<ConnectOptions>,
        (cluster, id): (&str, &NodeId),
        line_name: &str,
    ) -> Result<Self, BridgeError> {
        let mut options_with_echo = ConnectOptions::new();
        let (client, connection) = connect_watched(servers, |options| {
            let options = options.name("graft bridge").subscription_capacity(WAITING_MAX);
            options_with_echo = configure(options)?;
            Ok(options_with_echo.clone().no_echo())
        })
        .await?;
        let mut received = SelectAll::new();
        let (subjects, to) = (Subjects::new(cluster), &Recipient::Everyone);
        prove(servers, options_with_echo, &subjects, id).await?;
        received.push(listen(&client, subjects.for_everyone(), Source::Everyone, to).await?);
        for kind in GO_CLUSTER_KINDS {
            received.push(listen(&client, subjects.of_go(kind), Source::Go(kind), to).await?);
        }
        // So that little is missed of what is said once the bridge has started.
        let _ = timeout(SEND_TIME_MAX, client.flush()).await;
        let (mode, line_name) = (Mode::Extended, line_name.to_owned());
        Ok(Self { client, connection, subjects, mode, line_name, received })
    }

    pub(super) fn line_name(&self) -> &str {
        &self.line_name
    }

    pub(super) fn set_line_name(&mut self, name: &NodeId) {
        name.as_str().clone_into(&mut self.line_name);
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Reads what was received; `None` if it is no message of the cluster.
    pub(super) fn read(
        &self,
        received: &Received,
    ) -> Result<Option<(Kind, graft_election_core::Message)>, Unreadable> {
        self.subjects.read(received.source, &received.message)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> NatsEvent {
        tokio::select! {
            Some(received) = self.received.next() => NatsEvent::Received(Box::new(received)),
            change = self.connection.change(&self.client) => NatsEvent::Connection(change),
        }
    }

    /// Listens to what is sent to `node` alone. The server handles a connection's requests in
    /// order, so every answer to what is published from now on is heard.
    pub(super) async fn listen_for(&mut self, node: &NodeId) -> Result<Listening, Outcome> {
        let listening = async {
            let (client, to) = (&self.client, &Recipient::Node(node.clone()));
            let mut streams = SelectAll::new();
            streams.push(listen(client, self.subjects.for_node(node), Source::One, to).await?);
            for kind in GO_NODE_KINDS {
                let subject = subject_of_go_node(node, kind);
                streams.push(listen(client, subject, Source::Go(kind), to).await?);
            }
            Ok::<_, NatsError>(streams)
        };
        match timeout(SEND_TIME_MAX, listening).await {
            Ok(Ok(streams)) => {
                let (until, ended) = oneshot::channel();
                self.received.push(streams.take_until(ended).boxed());
                Ok(Listening { _until: until })
            }
            Ok(Err(_)) | Err(_) => Err(Outcome::Refused),
        }
    }

    /// Publishes what `sender` sent on the line.
    pub(super) async fn publish(
        &mut self,
        sender: &NodeId,
        to: &Recipient,
        kind: Kind,
        payload: Vec<u8>,
    ) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(LINE_HEADER, self.line_name.as_str());
        let (client, payload) = (&self.client, payload.into());
        let route = self.subjects.route(self.mode, sender, to, kind);
        let publishing = async {
            match route {
                Route { subject, reply: Some(reply) } => {
                    client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
                Route { subject, reply: None } => {
                    client.publish_with_headers(subject, headers, payload).await
                }
            }
        };
        match timeout(SEND_TIME_MAX, publishing).await {
            Ok(Ok(())) => Outcome::Carried,
            Ok(Err(_)) | Err(_) => Outcome::Refused,
        }
    }

    /// Closes the connection once everything published has been sent.
    pub(super) async fn close(&mut self) {
        // What can't be sent any more is lost with the connection.
        let _ = timeout(SEND_TIME_MAX, self.client.flush()).await;
        let _ = self.client.drain().await;
    }
}

impl Received {
    pub(super) fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    /// Whether a bridge carried the message to NATS from the line of this name.
    pub(super) fn comes_from_line(&self, name: &str) -> bool {
        let headers = self.message.headers.as_ref();
        headers
            .and_then(|headers| headers.get(LINE_HEADER))
            .is_some_and(|line| line.as_str() == name)
    }
}

/// Shows that the server lets the bridge listen to the cluster, over a connection that hears what
/// the bridge says itself. Whether it may say that doesn't matter, since it speaks only in the
/// names of others: the server's refusal comes after what it says of the subscription, too.
async fn prove(
    servers: &NatsServers,
    options: ConnectOptions,
    subjects: &Subjects,
    id: &NodeId,
) -> Result<(), BridgeError> {
    let (client, mut connection) = connect_watched(servers, |_| Ok(options)).await?;
    let mut heard = subscribe(&client, subjects.for_everyone()).await?;
    let said = subjects.to_everyone(Kind::Who.name(), id);
    let trial = vec![TRIAL_MARK].into();
    client.publish(said.clone(), trial).await.map_err(NatsError::Publish)?;
    let answer = async {
        loop {
            tokio::select! {
                Some(message) = heard.next() => {
                    if *message.subject == said {
                        return Ok(());
                    }
                }
                change = connection.change(&client) => {
                    let Connection::Impaired(complaint) = change else { continue };
                    match Refusal::read(&complaint) {
                        Some(refusal) if refusal.is_subscription => {
                            return Err(NatsError::Refused { complaint });
                        }
                        Some(refusal) if refusal.subject == said => return Ok(()),
                        _ => {}
                    }
                }
            }
        }
    };
    let answered = timeout(JOIN_TIME_MAX, answer).await;
    connection.close(&client).await;
    let unanswered = NatsError::NotSubscribed { subject: said, complaint: None };
    Ok(answered.unwrap_or(Err(unanswered))?)
}

async fn listen(
    client: &Client,
    subject: String,
    source: Source,
    to: &Recipient,
) -> Result<BoxStream<'static, Received>, NatsError> {
    let (subscriber, to) = (subscribe(client, subject).await?, to.clone());
    Ok(subscriber.map(move |message| Received { to: to.clone(), source, message }).boxed())
}
