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
    GO_CLUSTER_KINDS, GO_NODE_KINDS, JOIN_TIME_MAX, NatsError, NatsServers, Refusal, Refused,
    Route, Said, Source, Subjects, TRIAL_MARK, Unreadable, Watched, connect_watched,
    subject_of_go_node, subscribe,
};
use crate::transport::Connection;

/// The header that names the line from which a bridge carried a message to NATS. Nodes, Go's among
/// them, don't look at it.
const LINE_HEADER: &str = "Graft-Line";

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
    everyone: Listening,
    refused: Refused,
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
    /// It is time to try again what the server refuses.
    Retry,
}

/// While this lives, the bridge is subscribed to these subjects: everyone's, or those of a node on
/// the line.
#[derive(Debug, Default)]
pub(super) struct Listening {
    subscriptions: Vec<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    subject: String,
    source: Source,
    to: Recipient,
    /// Dropping it ends the subscription.
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
            options_with_echo = configure(options.name("graft bridge"))?;
            Ok(options_with_echo.clone().no_echo())
        })
        .await?;
        let subjects = Subjects::new(cluster);
        prove(servers, options_with_echo, &subjects, id).await?;
        let mut own = Self {
            client,
            connection,
            subjects,
            mode: Mode::Extended,
            line_name: line_name.to_owned(),
            received: SelectAll::new(),
            everyone: Listening::default(),
            refused: Refused::new(),
        };
        let mut of_everyone = vec![(own.subjects.for_everyone(), Source::Everyone)];
        of_everyone
            .extend(GO_CLUSTER_KINDS.map(|kind| (own.subjects.of_go(kind), Source::Go(kind))));
        own.everyone = own.listen(of_everyone, &Recipient::Everyone).await?;
        // So that little is missed of what is said once the bridge has started.
        let _ = timeout(SEND_TIME_MAX, own.client.flush()).await;
        Ok(own)
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
    pub(super) fn read(&self, received: &Received) -> Result<Option<Said>, Unreadable> {
        self.subjects.read(received.source, &received.message)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> NatsEvent {
        loop {
            tokio::select! {
                Some(received) = self.received.next() => {
                    return NatsEvent::Received(Box::new(received));
                }
                change = self.connection.change(&self.client) => {
                    if let Some(change) = self.take_change(change) {
                        return NatsEvent::Connection(change);
                    }
                }
                _ = self.refused.retry.tick(), if self.refused.complaint.is_some() => {
                    if !self.refused.subjects.is_empty() {
                        return NatsEvent::Retry;
                    }
                    if self.is_connected() {
                        self.refused.complaint = None;
                        return NatsEvent::Connection(Connection::Restored);
                    }
                }
            }
        }
    }

    /// What there is to report of a change of the connection.
    fn take_change(&mut self, change: Connection) -> Option<Connection> {
        match change {
            Connection::Impaired(complaint) => match Refusal::read(&complaint) {
                Some(refusal) if refusal.is_subscription => {
                    if self.does_without(refusal.subject) {
                        tracing::debug!("{complaint}");
                        return None;
                    }
                    self.refused.note(refusal, &complaint);
                    Some(Connection::Partial(complaint))
                }
                _ => Some(Connection::Impaired(complaint)),
            },
            // The client subscribes again by itself, and the server may refuse that again.
            Connection::Restored if self.refused.complaint.is_some() => {
                self.refused.retry.reset();
                self.refused.complaint.clone().map(Connection::Partial)
            }
            change => Some(change),
        }
    }

    /// Whether a bridge for nodes in Extended mode does without a subject, since only Go nodes
    /// speak there. Of the bridge's subjects, theirs are those without a wildcard.
    fn does_without(&self, subject: &str) -> bool {
        self.mode == Mode::Extended && !subject.contains('*')
    }

    /// Subscribes again to what the server has ended, of everyone's subjects and of those that are
    /// `listened` to.
    pub(super) async fn try_again<'l>(
        &mut self,
        listened: impl Iterator<Item = &'l mut Listening>,
    ) {
        let refused = std::mem::take(&mut self.refused.subjects);
        let mut everyone = std::mem::take(&mut self.everyone);
        self.listen_again(&mut everyone, &refused).await;
        self.everyone = everyone;
        for listening in listened {
            self.listen_again(listening, &refused).await;
        }
    }

    /// Subscribes again to those subjects that were `refused`. What fails here is tried again.
    async fn listen_again(&mut self, listening: &mut Listening, refused: &[String]) {
        for own in &mut listening.subscriptions {
            if !refused.contains(&own.subject) {
                continue;
            }
            let subscribing = self.subscribe(own.subject.clone(), own.source, &own.to);
            match timeout(SEND_TIME_MAX, subscribing).await {
                Ok(Ok(subscription)) => *own = subscription,
                Ok(Err(_)) | Err(_) => self.refused.subjects.push(own.subject.clone()),
            }
        }
    }

    /// Listens to what is sent to `node` alone. The server handles a connection's requests in
    /// order, so every answer to what is published from now on is heard.
    pub(super) async fn listen_for(&mut self, node: &NodeId) -> Result<Listening, Outcome> {
        let mut of_node = vec![(self.subjects.for_node(node), Source::One)];
        let of_go = GO_NODE_KINDS.map(|kind| (subject_of_go_node(node, kind), Source::Go(kind)));
        of_node.extend(of_go);
        let to = Recipient::Node(node.clone());
        match timeout(SEND_TIME_MAX, self.listen(of_node, &to)).await {
            Ok(Ok(listening)) => Ok(listening),
            Ok(Err(_)) | Err(_) => Err(Outcome::Refused),
        }
    }

    async fn listen(
        &mut self,
        subjects: Vec<(String, Source)>,
        to: &Recipient,
    ) -> Result<Listening, NatsError> {
        let mut listening = Listening::default();
        for (subject, source) in subjects {
            listening.subscriptions.push(self.subscribe(subject, source, to).await?);
        }
        Ok(listening)
    }

    async fn subscribe(
        &mut self,
        subject: String,
        source: Source,
        to: &Recipient,
    ) -> Result<Subscription, NatsError> {
        let subscriber = subscribe(&self.client, subject.clone()).await?;
        let (until, ended) = oneshot::channel();
        let receiver = to.clone();
        let read = move |message| Received { to: receiver.clone(), source, message };
        self.received.push(subscriber.map(read).take_until(ended).boxed());
        Ok(Subscription { subject, source, to: to.clone(), _until: until })
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
