//! What somebody who only listens hears on NATS.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use graft_election_core::{Config, ControlRequest, Message, NodeId, Outgoing, Recipient};
use graft_election_proto::Kind;
use graft_election_proto::seal::SEALED_MAX;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::refused::Refusal;
use super::{GO_CLUSTER_KINDS, GO_NODE_KINDS, NatsError, Source, Subjects, Watched, subscribe};
use crate::codec::Codec;
use crate::transport::{Arrival, Connection};

/// How many messages wait at most: what 64 voters say in a second and a half.
const INBOX_MAX: usize = 1024;

/// How many nodes may have spoken as Go nodes do.
const GO_NODES_MAX: usize = 128;

/// The subjects of all clusters.
const ALL_CLUSTERS: &str = "graft.>";

/// The subscriptions of a listener. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Audience {
    client: Client,
    subjects: Subjects,
    codec: Codec,
    inbox: mpsc::Receiver<Heard>,
    heard: mpsc::Sender<Heard>,
    tasks: JoinSet<()>,
    /// Who spoke on Go's subjects of the cluster: what is said to them there is the cluster's, too.
    go_nodes: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Heard {
    /// Whom Go's subject for one node names.
    receiver: Option<NodeId>,
    is_for_go: bool,
    arrival: Arrival,
}

impl Audience {
    /// Listens to what is said in a cluster, on our subjects and on Go's.
    pub(super) async fn new(
        client: &Client,
        cluster: &str,
        codec: &Codec,
    ) -> Result<Self, NatsError> {
        let (heard, inbox) = mpsc::channel(INBOX_MAX);
        let mut audience = Self {
            client: client.clone(),
            subjects: Subjects::new(cluster),
            codec: codec.clone(),
            inbox,
            heard,
            tasks: JoinSet::new(),
            go_nodes: BTreeSet::new(),
        };
        for (subject, source) in audience.needed().into_iter().chain(audience.of_go()) {
            audience.listen(subject, source).await?;
        }
        Ok(audience)
    }

    /// Sends what an operator asks.
    pub(super) async fn ask(&self, request: &ControlRequest) -> Result<(), NatsError> {
        let message = Message::ControlRequest(request.clone());
        let outgoing = Outgoing { to: Recipient::Everyone, message };
        let mut buffer = [0; SEALED_MAX];
        let payload = self.codec.encode(&outgoing, &mut buffer)?.to_vec();
        let subject = self.subjects.to_everyone(Kind::ControlRequest.name(), &request.node);
        let published = self.client.publish(subject, payload.into()).await;
        published.map_err(NatsError::Publish)
    }

    /// Waits for what is heard next. Cancel-safe.
    pub(super) async fn hear(&mut self, connection: &mut Watched) -> Arrival {
        loop {
            tokio::select! {
                Some(heard) = self.inbox.recv() => {
                    if let Some(arrival) = self.take(heard) {
                        return arrival;
                    }
                }
                change = connection.change(&self.client) => {
                    if let Some(change) = self.judge(change) {
                        return Arrival::Connection(change);
                    }
                }
            }
        }
    }

    fn needed(&self) -> [(String, Source); 2] {
        let everyone = (self.subjects.for_everyone(), Source::Everyone);
        [everyone, (self.subjects.for_any_node(), Source::One)]
    }

    fn of_go(&self) -> impl Iterator<Item = (String, Source)> + use<> {
        let to_everyone = GO_CLUSTER_KINDS.map(|kind| (self.subjects.of_go(kind), kind));
        let to_one = GO_NODE_KINDS.map(|kind| (format!("graft.*.{kind}"), kind));
        to_everyone.into_iter().chain(to_one).map(|(subject, kind)| (subject, Source::Go(kind)))
    }

    async fn listen(&mut self, subject: String, source: Source) -> Result<(), NatsError> {
        let mut messages = subscribe(&self.client, subject).await?;
        let (subjects, codec) = (self.subjects.clone(), self.codec.clone());
        let heard = self.heard.clone();
        self.tasks.spawn(async move {
            while let Some(message) = messages.next().await {
                if let Some(news) = Heard::read(&subjects, &codec, source, &message) {
                    // Somebody who listens too slowly misses something.
                    let _ = heard.try_send(news);
                }
            }
        });
        Ok(())
    }

    /// What was said in this cluster; any cluster's nodes can be named on Go's subjects.
    fn take(&mut self, heard: Heard) -> Option<Arrival> {
        if let Some(receiver) = &heard.receiver {
            return self.go_nodes.contains(receiver).then_some(heard.arrival);
        }
        if heard.is_for_go
            && self.go_nodes.len() < GO_NODES_MAX
            && let Arrival::Message(message) = &heard.arrival
        {
            self.go_nodes.extend(message.sender().cloned());
        }
        Some(heard.arrival)
    }

    /// What there is to tell of a change. A listener may do without Go's subjects; who publishes is
    /// an operator, who can't do without that.
    fn judge(&self, change: Connection) -> Option<Connection> {
        let Connection::Impaired(why) = change else { return Some(change) };
        let Some(refusal) = Refusal::read(&why) else { return Some(Connection::Impaired(why)) };
        if self.of_go().any(|(subject, _)| subject == refusal.subject) {
            return None;
        }
        let is_needed = !refusal.is_subscription
            || self.needed().iter().any(|(subject, _)| subject == refusal.subject);
        Some(if is_needed { Connection::Partial(why) } else { Connection::Impaired(why) })
    }
}

impl Heard {
    fn read(
        subjects: &Subjects,
        codec: &Codec,
        source: Source,
        message: &async_nats::Message,
    ) -> Option<Self> {
        let is_to_one = matches!(source, Source::Go(kind) if GO_NODE_KINDS.contains(&kind));
        let receiver = message.subject.split('.').nth(1).filter(|_| is_to_one);
        let receiver = receiver.map(|name| NodeId::from_bytes(name.as_bytes())).transpose().ok()?;
        let arrival = subjects.arrival(codec, source, message)?;
        Some(Self { receiver, is_for_go: matches!(source, Source::Go(_)), arrival })
    }
}

/// The names of the clusters that are heard within `time`.
pub(super) async fn clusters(
    client: &Client,
    connection: &mut Watched,
    time: Duration,
) -> Result<BTreeSet<String>, NatsError> {
    let end = Instant::now() + time;
    let mut messages = subscribe(client, ALL_CLUSTERS.to_owned()).await?;
    let mut clusters = BTreeSet::new();
    let is_refused = |why: &str| Refusal::read(why).is_some_and(|it| it.subject == ALL_CLUSTERS);
    loop {
        tokio::select! {
            Some(message) = messages.next() => {
                let named = Subjects::cluster_of(&message.subject);
                clusters.extend(named.filter(|name| Config::check_cluster(name).is_ok()));
            }
            change = connection.change(client) => match change {
                Connection::Impaired(why) if is_refused(&why) => {
                    return Err(NatsError::Refused { complaint: why });
                }
                Connection::Lost(_) | Connection::Closed(_) => return Err(NatsError::Disconnected),
                _ => {}
            },
            () = sleep_until(end) => return Ok(clusters),
        }
    }
}
