//! The bridge's side of NATS.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Subscriber, ToServerAddrs};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use graft_election_core::{NodeId, Recipient};
use graft_election_proto::Kind;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::BridgeError;
use super::counts::Fate;
use crate::nats::{
    CLUSTER_KINDS, NODE_KINDS, NatsError, Watched, connect_watched, default_options, reply_kind,
    subject, subscribe,
};
use crate::transport::Connection;

/// The header that names the bridge which carried a message to NATS. Nodes, Go's among them, don't
/// look at it.
const BRIDGE_HEADER: &str = "Graft-Bridge";

/// What a bridge says to other bridges has this name among the cluster's subjects.
const BEACON: &str = "bridge";

/// How many messages of a subject may wait for the bridge. It never lets them wait for long.
const WAITING_MAX: usize = 64;

/// How long the client may take to accept what it is given.
const SEND_TIME_MAX: Duration = Duration::from_millis(100);

/// A connection to NATS on which the cluster, and the nodes on the line, are heard.
pub(super) struct Server {
    client: Client,
    connection: Watched,
    cluster: String,
    bridge: NodeId,
    received: SelectAll<BoxStream<'static, Received>>,
    beacons: Subscriber,
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
pub(super) enum Happening {
    Received(Box<Received>),
    /// A bridge hears these on its line.
    Beacon {
        bridge: NodeId,
        heard: String,
    },
    Changed(Connection),
}

/// While this lives, NATS is listened to in the place of a node on the line.
#[derive(Debug)]
pub(super) struct Listening {
    /// It ends the subscriptions by being dropped.
    _until: oneshot::Sender<()>,
}

impl Server {
    /// Connects to `addrs` and listens to the cluster.
    pub(super) async fn connect(
        addrs: impl ToServerAddrs,
        cluster: &str,
        bridge: NodeId,
    ) -> Result<Self, BridgeError> {
        let options =
            default_options().name("graft bridge").no_echo().subscription_capacity(WAITING_MAX);
        let (client, connection) = connect_watched(addrs, options).await?;
        let mut received = SelectAll::new();
        for kind in CLUSTER_KINDS {
            received.push(listen(&client, cluster, kind, Recipient::Everyone).await?);
        }
        let subject = beacon_subject(cluster);
        let beacons = client.subscribe(subject.clone()).await;
        let beacons = beacons.map_err(|error| NatsError::Subscribe { subject, error })?;
        Ok(Self { client, connection, cluster: cluster.to_owned(), bridge, received, beacons })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Happening {
        loop {
            tokio::select! {
                Some(received) = self.received.next() => {
                    return Happening::Received(Box::new(received));
                }
                Some(message) = self.beacons.next() => {
                    let heard = str::from_utf8(&message.payload);
                    if let (Some(bridge), Ok(heard)) = (bridge_of(&message), heard) {
                        return Happening::Beacon { bridge, heard: heard.to_owned() };
                    }
                }
                change = self.connection.change(&self.client) => return Happening::Changed(change),
            }
        }
    }

    /// Listens to what is sent to `node` alone. The server takes a connection's requests in order:
    /// what answers anything that is published from now on is heard.
    pub(super) async fn listen_for(&mut self, node: &NodeId) -> Result<Listening, Fate> {
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
            Ok(Err(_)) | Err(_) => Err(Fate::Refused),
        }
    }

    /// Publishes what `sender` sent on the line.
    pub(super) async fn publish(
        &mut self,
        sender: &NodeId,
        to: &Recipient,
        kind: Kind,
        payload: Vec<u8>,
    ) -> Fate {
        let headers = self.headers();
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
            Ok(Ok(())) => Fate::Carried,
            Ok(Err(_)) | Err(_) => Fate::Refused,
        }
    }

    /// Tells other bridges of this one, and whom it hears on its line.
    pub(super) async fn publish_beacon(&mut self, heard: String) {
        if !self.is_connected() {
            return;
        }
        let subject = beacon_subject(&self.cluster);
        let publishing =
            self.client.publish_with_headers(subject, self.headers(), heard.into_bytes().into());
        // One that is lost is followed by the next.
        let _ = timeout(SEND_TIME_MAX, publishing).await;
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(BRIDGE_HEADER, self.bridge.as_str());
        headers
    }

    /// Ends the connection after what was published has gone out.
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

    /// The bridge that carried the message to NATS; none if a node sent it there.
    pub(super) fn bridge(&self) -> Option<NodeId> {
        bridge_of(&self.message)
    }
}

fn bridge_of(message: &Message) -> Option<NodeId> {
    let header = message.headers.as_ref()?.get(BRIDGE_HEADER)?;
    NodeId::new(header.as_str()).ok()
}

fn beacon_subject(cluster: &str) -> String {
    format!("graft.{cluster}.{BEACON}")
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
