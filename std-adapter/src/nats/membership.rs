//! A node's subscriptions, and what the server refuses to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use graft_election_core::{Mode, NodeId, Outgoing};
use graft_election_proto::Kind;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::refused::{Refusal, Refused};
use super::subjects::TRIAL_MARK;
use super::{
    GO_CLUSTER_KINDS, GO_NODE_KINDS, NatsError, Route, Source, Subjects, Watched,
    subject_of_go_node, subscribe,
};
use crate::codec::Codec;
use crate::transport::{Arrival, Connection, Member};

/// How long the server may take to show that all subscriptions are in place.
pub(crate) const JOIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How many messages wait for the node at most.
const INBOX_MAX: usize = 256;

/// How long a trial is.
const TRIAL_MAX: usize = 1 + 16 + 4;

/// How often the trial of a check is said before the node takes itself for deaf.
const TRIES_MAX: u32 = 5;

/// How soon a check may follow another.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// A cluster's member, and what it hears.
pub(super) struct Membership {
    client: Client,
    subjects: Subjects,
    id: NodeId,
    mode: Mode,
    codec: Codec,
    subscriptions: Vec<Subscription>,
    /// What the tasks that listen have heard: they take it from the client at once, so that many
    /// messages, or large ones, don't fill the memory while the node is busy or its disk hangs.
    inbox: mpsc::Receiver<Heard>,
    /// Where they put it.
    heard: mpsc::WeakSender<Heard>,
    /// How many messages there was no room for.
    dropped: Arc<AtomicU64>,
    trials: Trials,
    /// The latest trial, unless the server has complained since it began.
    trial: Option<Trial>,
    /// How often the trial of a check is still said, if it does not come back.
    tries_left: u32,
    checked_at: Option<Instant>,
    /// What the server refuses of what the node needs. Trials are repeated when that is tried
    /// again.
    refused: Refused,
    /// Whether what is wrong must be reported again, since the connection was lost meanwhile.
    must_report: bool,
    /// Whether all subscriptions have ended.
    is_closed: bool,
}

/// What was heard.
enum Heard {
    Arrival(Arrival),
    /// A trial, perhaps of this node.
    Trial {
        subject: String,
        payload: Vec<u8>,
    },
}

struct Subscription {
    subject: String,
    source: Source,
    /// Dropping it ends the subscription.
    until: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What the node says to itself on each of its subjects, to learn whether the server lets it speak
/// and hear there. Since the server handles a connection's requests in order, all subscriptions are
/// in place once it has come back. A flush doesn't show that.
#[derive(Clone)]
struct Trial {
    payload: Vec<u8>,
    /// The subjects from which it has not come back.
    awaited: Vec<String>,
}

/// Makes trials, each unlike any other of any node.
struct Trials {
    nonce: [u8; 16],
    made: u32,
}

impl Membership {
    /// Subscribes to all that the member has to hear.
    pub(super) async fn new(client: &Client, member: &Member<'_>) -> Result<Self, NatsError> {
        let subjects = Subjects::new(member.cluster);
        let (id, mode) = (member.id, member.mode);
        let (heard, inbox) = mpsc::channel(INBOX_MAX);
        let mut membership = Self {
            client: client.clone(),
            subjects: subjects.clone(),
            id: id.clone(),
            mode,
            codec: member.codec.clone(),
            subscriptions: Vec::new(),
            inbox,
            heard: heard.downgrade(),
            dropped: Arc::default(),
            trials: Trials::new()?,
            trial: None,
            tries_left: 0,
            checked_at: None,
            refused: Refused::new(),
            must_report: false,
            is_closed: false,
        };
        for kind in GO_CLUSTER_KINDS {
            membership.listen(subjects.of_go(kind), Source::Go(kind)).await?;
        }
        for kind in GO_NODE_KINDS {
            membership.listen(subject_of_go_node(id, kind), Source::Go(kind)).await?;
        }
        membership.listen(subjects.for_everyone(), Source::Everyone).await?;
        membership.listen(subjects.for_node(id), Source::One).await?;
        Ok(membership)
    }

    /// Shows that the server lets the node speak and hear.
    pub(super) async fn prove(&mut self, connection: &mut Watched) -> Result<(), NatsError> {
        let mut complaint = None;
        let proven = async {
            // The second time is for the server's complaints about the subscriptions, which take
            // another way through the client than messages, and may be behind.
            for _ in 0..2 {
                self.begin_trial();
                self.await_trial(connection, &mut complaint).await?;
            }
            Ok(())
        };
        match timeout(JOIN_TIME_MAX, proven).await {
            Ok(proven) => proven,
            Err(_) => Err(self.not_subscribed(complaint)),
        }
    }

    async fn await_trial(
        &mut self,
        connection: &mut Watched,
        complaint: &mut Option<String>,
    ) -> Result<(), NatsError> {
        self.refused.retry.reset_immediately();
        while !self.has_heard_trial() {
            tokio::select! {
                heard = self.inbox.recv() => match heard {
                    Some(Heard::Trial { subject, payload }) => self.hear_trial(&subject, &payload),
                    // What else is said already is for a node that has joined.
                    Some(Heard::Arrival(_)) => {}
                    None => return Err(self.not_subscribed(complaint.take())),
                },
                change = connection.change(&self.client) => match change {
                    Connection::Impaired(why) => match Refusal::read(&why) {
                        Some(refusal) if self.does_without(refusal) => {}
                        Some(refusal) if self.needs(refusal) => {
                            return Err(NatsError::Refused { complaint: why });
                        }
                        _ => *complaint = Some(why),
                    },
                    Connection::Restored => self.say_trial().await?,
                    Connection::Lost(_) | Connection::Closed(_) | Connection::Partial(_) => {}
                },
                _ = self.refused.retry.tick() => self.say_trial().await?,
            }
        }
        Ok(())
    }

    fn not_subscribed(&self, complaint: Option<String>) -> NatsError {
        NatsError::NotSubscribed { subject: self.awaited_subject(), complaint }
    }

    /// The first subject from which the trial has not come back.
    fn awaited_subject(&self) -> String {
        let awaited = self.trial.as_ref().and_then(|trial| trial.awaited.first());
        awaited.cloned().unwrap_or_default()
    }

    /// Waits for what happens next. Cancel-safe: what is lost is said again.
    pub(super) async fn receive(&mut self, connection: &mut Watched) -> Arrival {
        loop {
            if self.must_report {
                self.must_report = false;
                return Arrival::Connection(Connection::Partial(self.reported_complaint()));
            }
            if self.dropped.swap(0, Ordering::Relaxed) > 0 {
                let why = "messages come faster than the node takes them, and are dropped";
                return Arrival::Connection(Connection::Impaired(why.into()));
            }
            tokio::select! {
                heard = self.inbox.recv(), if !self.is_closed => match heard {
                    Some(Heard::Trial { subject, payload }) => self.hear_trial(&subject, &payload),
                    Some(Heard::Arrival(arrival)) => return arrival,
                    None => {
                        self.is_closed = true;
                        let why = "all subscriptions ended".into();
                        return Arrival::Connection(Connection::Closed(why));
                    }
                },
                change = connection.change(&self.client) => {
                    if let Some(change) = self.take_change(change) {
                        return Arrival::Connection(change);
                    }
                }
                _ = self.refused.retry.tick(), if self.awaits_trial() => {
                    if let Some(change) = self.take_trial().await {
                        return Arrival::Connection(change);
                    }
                }
            }
        }
    }

    /// Whether it matters what has become of the trial.
    fn awaits_trial(&self) -> bool {
        self.refused.complaint.is_some() || self.tries_left > 0
    }

    /// Takes in what has become of the trial, and says it again, or another one.
    async fn take_trial(&mut self) -> Option<Connection> {
        if self.has_heard_trial() {
            self.tries_left = 0;
            return self.refused.complaint.take().map(|_| Connection::Restored);
        }
        if self.refused.complaint.is_some() {
            self.try_again().await;
            return None;
        }
        self.tries_left -= 1;
        if self.tries_left > 0 {
            // What can't be said now is said again.
            let _ = self.say_trial().await;
            return None;
        }
        let subject = self.awaited_subject();
        let complaint = format!("what the node says on {subject} does not come back");
        self.refused.complaint = Some(complaint.clone());
        Some(Connection::Partial(complaint))
    }

    /// Begins to check that the server lets the node hear and speak, unless it did that a short
    /// while ago: a server whose permissions have changed may keep messages back without a word.
    pub(super) async fn check(&mut self) {
        let is_recent = |at: Instant| at.elapsed() < CHECK_INTERVAL;
        if self.refused.complaint.is_some() || self.checked_at.is_some_and(is_recent) {
            return;
        }
        self.checked_at = Some(Instant::now());
        self.tries_left = TRIES_MAX;
        self.refused.retry.reset();
        self.begin_trial();
        let _ = self.say_trial().await;
    }

    /// What there is to report of a change of the connection.
    fn take_change(&mut self, change: Connection) -> Option<Connection> {
        match change {
            Connection::Impaired(why) => match Refusal::read(&why) {
                Some(refusal) if self.does_without(refusal) => {
                    tracing::debug!(id = %self.id, "{why}");
                    None
                }
                Some(refusal) if self.needs(refusal) => {
                    self.refused.note(refusal, &why);
                    self.trial = None;
                    Some(Connection::Partial(why))
                }
                _ => Some(Connection::Impaired(why)),
            },
            Connection::Restored => {
                self.must_report = self.refused.complaint.is_some();
                Some(Connection::Restored)
            }
            Connection::Lost(_) => {
                (self.tries_left, self.checked_at) = (0, None);
                Some(change)
            }
            change => Some(change),
        }
    }

    fn reported_complaint(&self) -> String {
        self.refused.complaint.clone().unwrap_or_default()
    }

    /// Whether the latest trial has come back, and the server has not complained since it began.
    fn has_heard_trial(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.awaited.is_empty())
    }

    /// Notes that the trial came back, if this is it.
    fn hear_trial(&mut self, subject: &str, payload: &[u8]) {
        if let Some(trial) = &mut self.trial
            && payload == trial.payload
        {
            trial.awaited.retain(|awaited| awaited != subject);
        }
    }

    /// Subscribes again to what the server has ended, and begins another trial. What fails here is
    /// tried again. Cancel-safe.
    async fn try_again(&mut self) {
        while let Some(subject) = self.refused.subjects.last().cloned() {
            let is_it = |subscription: &Subscription| subscription.subject == subject;
            if let Some(index) = self.subscriptions.iter().position(is_it) {
                let Ok(subscriber) = subscribe(&self.client, subject.clone()).await else { return };
                let Subscription { source, .. } = self.subscriptions.swap_remove(index);
                self.hear_from(subscriber, subject, source);
            }
            self.refused.subjects.pop();
        }
        self.begin_trial();
        let _ = self.say_trial().await;
    }

    async fn listen(&mut self, subject: String, source: Source) -> Result<(), NatsError> {
        let subscriber = subscribe(&self.client, subject.clone()).await?;
        self.hear_from(subscriber, subject, source);
        Ok(())
    }

    fn hear_from(&mut self, subscriber: Subscriber, subject: String, source: Source) {
        // Without a sender all subscriptions have ended, and the client with them.
        let Some(heard) = self.heard.upgrade() else { return };
        let (until, ended) = oneshot::channel();
        let (subjects, codec) = (self.subjects.clone(), self.codec.clone());
        let dropped = Arc::clone(&self.dropped);
        let mut messages = subscriber.take_until(ended);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if let Some(news) = Heard::read(&subjects, &codec, source, &message)
                    && heard.try_send(news).is_err()
                {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        self.subscriptions.push(Subscription { subject, source, until, task });
    }

    /// Gives the subscriptions back.
    pub(super) async fn end(self) {
        for Subscription { until, task, .. } in self.subscriptions {
            drop(until);
            // It only fails if the runtime ends.
            let _ = task.await;
        }
    }

    fn begin_trial(&mut self) {
        let awaited = self.subjects.routes_to_itself(self.mode, &self.id);
        self.trial = Some(Trial { payload: self.trials.next_payload(), awaited });
    }

    /// Says the trial wherever it has not come back from.
    async fn say_trial(&mut self) -> Result<(), NatsError> {
        let (client, trial) = (self.client.clone(), self.trial.clone());
        let Some(Trial { payload, awaited }) = trial else { return Ok(()) };
        for subject in awaited {
            client.publish(subject, payload.clone().into()).await?;
        }
        Ok(())
    }

    /// Writes what the node says.
    pub(super) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Where to publish a message.
    pub(super) fn route(&self, outgoing: &Outgoing) -> Route {
        let kind = Kind::of(&outgoing.message);
        self.subjects.route(self.mode, &self.id, &outgoing.to, kind)
    }

    /// Whether what the server refuses is needed. A message to another node isn't, which may be
    /// none that the server knows.
    fn needs(&self, refusal: Refusal<'_>) -> bool {
        if refusal.is_subscription {
            let is_own = |own: &Subscription| own.subject == refusal.subject;
            !self.does_without(refusal) && self.subscriptions.iter().any(is_own)
        } else {
            let own = self.subjects.routes_to_itself(self.mode, &self.id);
            own.iter().any(|own| own == refusal.subject)
        }
    }

    /// Whether the server only refuses what a node in Extended mode needs no more: a subscription
    /// to one of Go's subjects.
    fn does_without(&self, refusal: Refusal<'_>) -> bool {
        let to_everyone = GO_CLUSTER_KINDS.map(|kind| self.subjects.of_go(kind));
        let to_node = GO_NODE_KINDS.map(|kind| subject_of_go_node(&self.id, kind));
        self.mode == Mode::Extended
            && refusal.is_subscription
            && to_everyone.iter().chain(&to_node).any(|it| it == refusal.subject)
    }
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("subjects", &self.subjects)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Heard {
    /// What a message comes to, if it is one of this cluster. Nothing of it is kept that could be
    /// large.
    fn read(
        subjects: &Subjects,
        codec: &Codec,
        source: Source,
        message: &async_nats::Message,
    ) -> Option<Self> {
        let (subject, payload) = (&message.subject, &message.payload);
        if payload.first() == Some(&TRIAL_MARK) {
            let is_small = payload.len() <= TRIAL_MAX;
            return is_small
                .then(|| Self::Trial { subject: subject.to_string(), payload: payload.to_vec() });
        }
        subjects.arrival(codec, source, message).map(Self::Arrival)
    }
}

impl Trials {
    fn new() -> Result<Self, NatsError> {
        let mut nonce = [0; 16];
        SysRng.try_fill_bytes(&mut nonce).map_err(|error| NatsError::Random(Box::new(error)))?;
        Ok(Self { nonce, made: 0 })
    }

    fn next_payload(&mut self) -> Vec<u8> {
        self.made = self.made.wrapping_add(1);
        [&[TRIAL_MARK], &self.nonce[..], &self.made.to_be_bytes()].concat()
    }
}
