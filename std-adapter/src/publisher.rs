use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use graft_election_core::{Instant, Leadership, NodeId, Reason, Refusal, Report, State};
use tokio::sync::{broadcast, watch};

use crate::counts::Counts;
use crate::driver::CoreNode;
use crate::events::{ClusterInfo, EVENTS_MAX, Event, EventKind, Events, Fault, Status};

/// A fault that goes on is told again only after this time, however often it shows.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How many faults that go on are remembered: those of some peers, and not all that an attacker can
/// think of.
const RECURRING_MAX: usize = 32;

/// Tells the world what becomes of the node: the one writer of its status and events.
#[derive(Debug)]
pub(crate) struct Publisher {
    lease: watch::Sender<Option<Leadership>>,
    status: watch::Sender<Arc<Status>>,
    counts: watch::Sender<Counts>,
    events: broadcast::Sender<Event>,
    /// The words of the recurring faults that were told, and when, the oldest first.
    told: VecDeque<(String, Instant)>,
}

impl Publisher {
    pub(crate) fn new(node: &CoreNode, cluster: ClusterInfo, vote_path: Option<PathBuf>) -> Self {
        let status = Status {
            state: node.state(),
            reason: node.reason(),
            term: node.term(),
            leader: node.leader().cloned(),
            vote: node.vote().cloned(),
            dropped: 0,
            id: node.id().clone(),
            cluster: Arc::new(cluster),
            vote_path: vote_path.map(Arc::new),
        };
        Self {
            lease: watch::Sender::new(None),
            status: watch::Sender::new(Arc::new(status)),
            counts: watch::Sender::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            told: VecDeque::new(),
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

    pub(crate) fn listen(&self) -> Events {
        Events::new(self.events.subscribe(), self.status.borrow().clone())
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Publishes the node as it stands at `now`, if anything changed. A lease that it held until now
    /// and holds no longer is returned.
    pub(crate) fn publish(&mut self, node: &CoreNode, now: Instant) -> Option<Leadership> {
        let lease = node.leadership(now);
        // The first to know of a lost lease are those who act on it.
        let before = self.lease.send_replace(lease);
        let (token_before, token) =
            (before.map(|lease| lease.token), lease.map(|lease| lease.token));
        let lost = before.filter(|_| token_before != token);
        if let Some(Leadership { token, .. }) = lost {
            self.tell(EventKind::LeadershipLost { token });
        }
        self.publish_status(node);
        if let Some(token) = token.filter(|_| token_before != token) {
            self.tell(EventKind::LeadershipGained { token });
        }
        lost
    }

    fn publish_status(&mut self, node: &CoreNode) {
        let before = self.status.borrow().clone();
        let after = Status {
            state: node.state(),
            reason: node.reason(),
            term: node.term(),
            leader: node.leader().cloned(),
            vote: node.vote().cloned(),
            ..(*before).clone()
        };
        if after != *before {
            self.change(&before, after);
        }
    }

    fn change(&self, before: &Status, after: Status) {
        let (from, to) = (before.state, after.state);
        // That a closed node has no leader goes without saying.
        let leader_changed = before.leader != after.leader && to != State::Closed;
        self.counts.send_modify(|counts| counts.count_change(before, &after));
        self.status.send_replace(Arc::new(after));
        if from != to {
            self.tell(EventKind::StateChanged { from, to });
        }
        if leader_changed {
            self.tell(EventKind::LeaderChanged);
        }
    }

    /// Counts an arrival that was dropped.
    pub(crate) fn count_dropped(&mut self) {
        self.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            status.dropped = status.dropped.saturating_add(1);
        });
    }

    pub(crate) fn fault(&self, fault: Fault) {
        tracing::warn!(id = %self.status.borrow().id, "{fault}");
        self.tell(EventKind::Fault(fault));
    }

    /// Tells what the node found wrong with an input.
    pub(crate) fn report(&mut self, now: Instant, report: &Report) {
        if let Report::TermOutOfRange { .. } | Report::DuplicateId { .. } = report {
            self.count_dropped();
        }
        self.recurring(now, Fault::Report(report.clone()));
    }

    /// Tells whom the node refused, and why.
    pub(crate) fn refusal(&mut self, now: Instant, node: NodeId, refusal: Refusal) {
        self.counts.send_modify(|counts| counts.count_refusal(refusal));
        if self.is_news(now, format!("{node}: {refusal}")) {
            self.tell(EventKind::Refused { node, refusal });
        }
    }

    /// Tells what became of the leader's job.
    pub(crate) fn job_failed(&mut self, fault: Fault) {
        self.counts.send_modify(|counts| counts.jobs_failed += 1);
        self.fault(fault);
    }

    /// Tells of a fault that may go on for long, but not every time.
    pub(crate) fn recurring(&mut self, now: Instant, fault: Fault) {
        if self.is_news(now, fault.to_string()) {
            self.fault(fault);
        }
    }

    /// Whether these words were not told in a while. From now on they were.
    fn is_news(&mut self, now: Instant, words: String) -> bool {
        self.told.retain(|(_, at)| now.saturating_since(*at) < TELL_AGAIN_AFTER);
        if self.told.iter().any(|(told, _)| *told == words) {
            return false;
        }
        if self.told.len() == RECURRING_MAX {
            self.told.pop_front();
        }
        self.told.push_back((words, now));
        true
    }

    fn tell(&self, kind: EventKind) {
        let status = self.status.borrow().clone();
        let (id, term) = (&status.id, status.term);
        match &kind {
            EventKind::StateChanged { from, to } => {
                tracing::info!(%id, term, reason = %status.reason, "{from} -> {to}");
            }
            EventKind::LeadershipGained { token } => tracing::info!(%id, token, "lease gained"),
            EventKind::LeadershipLost { token } => tracing::info!(%id, token, "lease lost"),
            EventKind::Refused { node, refusal } => {
                tracing::info!(%id, term, reason = %refusal, "refused {node}");
            }
            EventKind::LeaderChanged | EventKind::Fault(_) => {}
        }
        // The only error is that nobody listens.
        let _ = self.events.send(Event { at: SystemTime::now(), status, kind });
    }
}

impl Drop for Publisher {
    /// A node that is torn down without closing, because its runtime ended or its transport
    /// panicked, must not be taken for a leader any more.
    fn drop(&mut self) {
        if let Some(Leadership { token, .. }) = self.lease.send_replace(None) {
            self.tell(EventKind::LeadershipLost { token });
        }
        let before = self.status.borrow().clone();
        if before.state != State::Closed {
            let (state, reason) = (State::Closed, Reason::Closed);
            self.change(&before, Status { state, reason, leader: None, ..(*before).clone() });
        }
    }
}
