//! The bridge's side of NATS.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, ToServerAddrs};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use graft_election_core::{NodeId, Recipient};
use graft_election_proto::Kind;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::counts::Outcome;
use super::error::BridgeError;
use crate::nats::{
    CLUSTER_KINDS, NODE_KINDS, NatsError, Watched, connect_watched, default_options, reply_kind,
    subject, subscribe,
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
    cluster: String,
    line_name: String,
    received: SelectAll<BoxStream<'static, Received>>,
}

/// A message from NATS.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) kind: Kind,
    pub(super) to: Recipient,
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
    /// Connects to `addrs` and listens to the cluster, for the line of this name.
    pub(super) async fn connect(
        addrs: impl ToServerAddrs,
        cluster: &str,
        line_name: &str,
    ) -> Result<Self, BridgeError> {
        let options =
            default_options().name("graft bridge").no_echo().subscription_capacity(WAITING_MAX);
        let (client, connection) = connect_watched(addrs, options).await?;
        let mut received = SelectAll::new();
        for kind in CLUSTER_KINDS {
            received.push(listen(&client, cluster, kind, Recipient::Everyone).await?);
        }
        let (cluster, line_name) = (cluster.to_owned(), line_name.to_owned());
        Ok(Self { client, connection, cluster, line_name, received })
    }

    pub(super) fn line_name(&self) -> &str {
        &self.line_name
    }

    pub(super) fn set_line_name(&mut self, name: &NodeId) {
        name.as_str().clone_into(&mut self.line_name);
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
            let mut streams = SelectAll::new();
            for kind in NODE_KINDS {
                let to = Recipient::Node(node.clone());
                streams.push(listen(&self.client, node.as_str(), kind, to).await?);
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
        let name = match to {
            Recipient::Everyone => &self.cluster,
            Recipient::Node(node) => node.as_str(),
        };
        let (subject, payload) = (subject(name, kind), payload.into());
        let publishing = async {
            match reply_kind(kind) {
                Some(reply_kind) => {
                    let reply = self::subject(sender.as_str(), reply_kind);
                    let client = &self.client;
                    client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
                None => self.client.publish_with_headers(subject, headers, payload).await,
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

async fn listen(
    client: &Client,
    name: &str,
    kind: Kind,
    to: Recipient,
) -> Result<BoxStream<'static, Received>, NatsError> {
    let subscriber = subscribe(client, name, kind).await?;
    Ok(subscriber.map(move |message| Received { kind, to: to.clone(), message }).boxed())
}
