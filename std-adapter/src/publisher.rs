//! The one place where anything about the node is made public.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use graft_election_core::{
    Instant, LeaderValue, Leadership, Message, NodeId, Reason, Refusal, Report, State,
};
use graft_election_proto::seal::SealFault;
use tokio::sync::{broadcast, watch};

use crate::clock::Clock;
use crate::codec::Opened;
use crate::core_node::CoreNode;
use crate::counts::{Counts, DropCause};
use crate::error_chain::ErrorChain;
use crate::events::{ClusterInfo, EVENTS_MAX, Event, EventKind, Events, Fault, Status};
use crate::news::{News, Turns};
use crate::observer::Hearsay;
use crate::transport::ConnectionState;
use crate::vote_store::SharedError;

/// The one writer of the node's status, lease, counts and events.
#[derive(Debug)]
pub(crate) struct Publisher {
    lease: watch::Sender<Option<Leadership>>,
    status: watch::Sender<Arc<Status>>,
    counts: watch::Sender<Counts>,
    events: broadcast::Sender<Arc<Event>>,
    hearsay: Arc<Mutex<Hearsay>>,
    clock: Clock,
    news: News,
    turns: Turns<EventKind>,
}

impl Publisher {
    pub(crate) fn new<const VOTERS: usize>(
        node: &CoreNode<VOTERS>,
        cluster: ClusterInfo,
        clock: Clock,
    ) -> Self {
        let status = Status {
            state: node.state(),
            reason: node.reason(),
            term: node.term(),
            leader: node.leader().cloned(),
            leader_value: LeaderValue::EMPTY,
            vote: node.vote().cloned(),
            is_paused: node.is_paused(),
            dropped: 0,
            connection: ConnectionState::default(),
            id: node.id().clone(),
            cluster: Arc::new(cluster),
        };
        let hearsay = Hearsay::new(&status.cluster.name, tokio::time::Instant::now());
        Self {
            lease: watch::Sender::new(None),
            status: watch::Sender::new(Arc::new(status)),
            counts: watch::Sender::new(Counts::starting()),
            events: broadcast::Sender::new(EVENTS_MAX),
            hearsay: Arc::new(Mutex::new(hearsay)),
            clock,
            news: News::default(),
            turns: Turns::default(),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.subscribe()
    }

    pub(crate) fn watch_lease(&self) -> watch::Receiver<Option<Leadership>> {
        self.lease.subscribe()
    }

    pub(crate) fn watch_counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    pub(crate) fn hearsay(&self) -> Arc<Mutex<Hearsay>> {
        Arc::clone(&self.hearsay)
    }

    pub(crate) fn listen(&self) -> Events {
        Events::new(self.events.subscribe(), self.status.borrow().clone())
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Publishes what changed about the node by `now`. Returns the lease that it held until now, if
    /// it holds that no longer.
    pub(crate) fn publish<const VOTERS: usize>(
        &mut self,
        node: &CoreNode<VOTERS>,
        now: Instant,
    ) -> Option<Leadership> {
        let lease = node.leadership(now);
        // Published first, for those who act on a lease that is lost.
        let before = self.lease.send_replace(lease);
        let (token_before, token) =
            (before.map(|lease| lease.token), lease.map(|lease| lease.token));
        let lost = before.filter(|_| token_before != token);
        if let Some(Leadership { token, .. }) = lost {
            self.emit(EventKind::LeadershipLost { token });
        }
        self.publish_status(node);
        if let Some(token) = token.filter(|_| token_before != token) {
            self.emit(EventKind::LeadershipGained { token });
        }
        lost
    }

    fn publish_status<const VOTERS: usize>(&mut self, node: &CoreNode<VOTERS>) {
        let before = self.status.borrow().clone();
        let after = Status {
            state: node.state(),
            reason: node.reason(),
            term: node.term(),
            leader: node.leader().cloned(),
            leader_value: said_by_leader(node).clone(),
            vote: node.vote().cloned(),
            is_paused: node.is_paused(),
            ..(*before).clone()
        };
        if after != *before {
            self.change(&before, after);
        }
    }

    fn change(&self, before: &Status, after: Status) {
        let (from, to) = (before.state, after.state);
        // A closed node never has a leader, so that is not worth an event.
        let leader_changed = before.leader != after.leader && to != State::Closed;
        let value_changed = before.leader_value != after.leader_value && after.leader.is_some();
        let pause_changed = before.is_paused != after.is_paused;
        self.counts.send_modify(|counts| counts.count_change(before, &after));
        self.status.send_replace(Arc::new(after));
        if from != to {
            self.emit(EventKind::StateChanged { from, to });
        }
        if leader_changed {
            self.emit(EventKind::LeaderChanged);
        }
        if value_changed {
            self.emit(EventKind::ValueChanged);
        }
        if pause_changed {
            self.emit(EventKind::PauseChanged);
        }
    }

    /// Counts an arrival that could not be read, and reports it if it says `from` where it came.
    pub(crate) fn malformed(&mut self, now: Instant, from: Option<String>, error: SharedError) {
        self.count_dropped(DropCause::Malformed);
        if let Some(from) = from
            && self.news.remember(now, from.clone())
        {
            self.fault(Fault::Malformed { from, error });
        }
    }

    /// Counts and reports an arrival that its seal doesn't vouch for.
    pub(crate) fn unauthentic(&mut self, now: Instant, sender: Option<NodeId>, error: SealFault) {
        self.count_dropped(error.into());
        self.lock_hearsay().note_unauthentic(error);
        self.recurring(now, Fault::Unauthentic { sender, error });
    }

    /// Notes if what others said has a seal that this node can't check.
    pub(crate) fn note_unverified(&self, opened: &Opened) {
        self.lock_hearsay().note_unverified(opened, tokio::time::Instant::now());
    }

    fn lock_hearsay(&self) -> MutexGuard<'_, Hearsay> {
        self.hearsay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an arrival that was dropped.
    fn count_dropped(&self, cause: DropCause) {
        self.counts.send_modify(|counts| counts.count_drop(cause));
        self.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            status.dropped = status.dropped.saturating_add(1);
        });
    }

    /// Takes in what was said in the cluster: what this node heard, and what it says itself.
    pub(crate) fn hear(&self, message: &Message) {
        let acknowledged_in = self.lock_hearsay().hear(message, tokio::time::Instant::now());
        let leads = self.status.borrow().state == State::Leader;
        if let Some(took) = acknowledged_in.filter(|_| leads) {
            self.counts.send_modify(|counts| counts.acknowledgements.add(took));
        }
    }

    /// Counts a message that was not sent, and reports it.
    pub(crate) fn unsent(&mut self, now: Instant, cause: DropCause, fault: Fault) {
        self.counts.send_modify(|counts| counts.count_drop(cause));
        self.recurring(now, fault);
    }

    /// Counts a save that took so long, or failed.
    pub(crate) fn saved(&self, took: Option<Duration>) {
        self.counts.send_modify(|counts| match took {
            Some(took) => counts.saves.add(took),
            None => counts.saves_failed += 1,
        });
    }

    /// Publishes how well the node is connected from now on.
    pub(crate) fn connection(&self, connection: ConnectionState) {
        self.lock_hearsay().note_connection(connection, tokio::time::Instant::now());
        self.status.send_modify(|status| Arc::make_mut(status).connection = connection);
    }

    pub(crate) fn connection_restored(&mut self) {
        self.turn("restored".to_owned(), EventKind::ConnectionRestored);
    }

    /// Reports what has become of the connection, if that isn't the same as before.
    pub(crate) fn connection_fault(&mut self, fault: Fault) {
        self.turn(ErrorChain(&fault).to_string(), EventKind::Fault(fault));
    }

    fn turn(&mut self, text: String, kind: EventKind) {
        let now = self.clock.now();
        if let Some(kind) = self.turns.admit(&mut self.news, now, text, kind) {
            self.emit(kind);
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.tell(EventKind::Fault(fault));
    }

    /// Reports what the node found wrong with an input.
    pub(crate) fn report(&mut self, now: Instant, report: &Report) {
        if let Report::TermOutOfRange { .. } = report {
            self.count_dropped(DropCause::TermOutOfRange);
        }
        self.recurring(now, Fault::Report(report.clone()));
    }

    /// Reports whom the node refused, and why.
    pub(crate) fn refusal(&mut self, now: Instant, node: NodeId, refusal: Refusal) {
        self.counts.send_modify(|counts| counts.count_refusal(refusal));
        if self.news.remember(now, format!("{node}: {refusal}")) {
            self.tell(EventKind::Refused { node, refusal });
        }
    }

    /// Reports a fault that may last, but not each time that it shows.
    pub(crate) fn recurring(&mut self, now: Instant, fault: Fault) {
        if self.news.remember(now, ErrorChain(&fault).to_string()) {
            self.fault(fault);
        }
    }

    /// Tells how much was not told in the last second, and how the connection is after that.
    pub(crate) fn tell_withheld(&mut self) {
        let now = self.clock.now();
        if let Some(withheld) = self.news.take_withheld(now) {
            self.emit(EventKind::Fault(Fault::Withheld(withheld)));
            if let Some(kind) = self.turns.take_held(now) {
                self.emit(kind);
            }
        }
    }

    /// Tells what others can make happen, as far as there is room.
    fn tell(&mut self, kind: EventKind) {
        if self.news.admits(self.clock.now()) {
            self.emit(kind);
        }
    }

    fn emit(&self, kind: EventKind) {
        let status = self.status.borrow().clone();
        trace(&status, &kind);
        // The only error is that nobody listens.
        let _ = self.events.send(Arc::new(Event { at: SystemTime::now(), status, kind }));
    }
}

/// What the leader says, this node if it leads (rule L7).
fn said_by_leader<const VOTERS: usize>(node: &CoreNode<VOTERS>) -> &LeaderValue {
    match node.state() {
        State::Leader => node.application().value(),
        _ => node.leader_value(),
    }
}

/// Traces an event, with the names that programs know it by.
fn trace(status: &Status, kind: &EventKind) {
    let Status { id, term, leader, reason, .. } = status;
    let (cluster, event) = (&*status.cluster.name, kind.name());
    match kind {
        EventKind::StateChanged { from, to } => {
            let (from_name, to_name, reason) = (from.name(), to.name(), reason.name());
            tracing::info!(
                cluster, %id, term, event, from = from_name, to = to_name, reason, "{from} -> {to}"
            );
        }
        EventKind::LeaderChanged => match leader {
            Some(leader) => {
                tracing::info!(cluster, %id, term, event, %leader, "leader is {leader}");
            }
            None => tracing::info!(cluster, %id, term, event, "no leader is known"),
        },
        EventKind::ValueChanged => {
            let value = status.leader_value.to_string();
            tracing::info!(cluster, %id, term, event, ?value, "the leader says {value:?}");
        }
        EventKind::PauseChanged => {
            let paused = status.is_paused;
            let text = if paused { "paused by an operator" } else { "resumed by an operator" };
            tracing::info!(cluster, %id, term, event, paused, "{text}");
        }
        EventKind::LeadershipGained { token } => {
            tracing::info!(cluster, %id, term, event, token, "lease gained");
        }
        EventKind::LeadershipLost { token } => {
            tracing::info!(cluster, %id, term, event, token, "lease lost");
        }
        EventKind::Refused { node, refusal } => {
            let reason = refusal.name();
            tracing::info!(cluster, %id, term, event, %node, reason, "refused {node}: {refusal}");
        }
        EventKind::ConnectionRestored => {
            tracing::info!(cluster, %id, term, event, "connection restored");
        }
        EventKind::Fault(fault) => {
            let reason = fault.name();
            tracing::warn!(cluster, %id, term, event, reason, "{}", ErrorChain(fault));
        }
    }
}

impl Drop for Publisher {
    /// A node that is torn down without closing, because its runtime ended or its transport
    /// panicked, must no longer be taken for a leader.
    fn drop(&mut self) {
        if let Some(withheld) = self.news.take_rest() {
            self.emit(EventKind::Fault(Fault::Withheld(withheld)));
        }
        if let Some(Leadership { token, .. }) = self.lease.send_replace(None) {
            self.emit(EventKind::LeadershipLost { token });
        }
        let before = self.status.borrow().clone();
        if before.state != State::Closed {
            let (state, reason) = (State::Closed, Reason::Closed);
            self.change(&before, Status { state, reason, leader: None, ..(*before).clone() });
        }
    }
}
