use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use graft_election_core::{Instant, Reason, Report, State};
use tokio::sync::{broadcast, watch};

use crate::driver::CoreNode;
use crate::events::{ClusterInfo, EVENTS_MAX, Event, EventKind, Events, Status, Trouble};

/// A fault that goes on is told again only after this time, however often it shows.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How many faults that go on are remembered: those of some peers, and not all that an attacker can
/// think of.
const RECURRING_MAX: usize = 32;

/// Tells the world what becomes of the node: the one writer of its status and events.
#[derive(Debug)]
pub(crate) struct Publisher {
    status: watch::Sender<Arc<Status>>,
    events: broadcast::Sender<Event>,
    /// The words of the recurring faults that were told, and when, the oldest first.
    told: VecDeque<(String, Instant)>,
}

impl Publisher {
    pub(crate) fn new(node: &CoreNode, cluster: ClusterInfo, log_path: Option<PathBuf>) -> Self {
        let status = Status {
            state: node.state(),
            reason: node.reason(),
            term: node.term(),
            leader: node.leader().cloned(),
            vote: node.vote().cloned(),
            dropped: 0,
            id: node.id().clone(),
            cluster: Arc::new(cluster),
            log_path: log_path.map(Arc::new),
        };
        Self {
            status: watch::Sender::new(Arc::new(status)),
            events: broadcast::Sender::new(EVENTS_MAX),
            told: VecDeque::new(),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.subscribe()
    }

    pub(crate) fn listen(&self) -> Events {
        Events::new(self.events.subscribe(), self.status.borrow().clone())
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Publishes the node as it stands, if anything changed.
    pub(crate) fn publish(&mut self, node: &CoreNode) {
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

    pub(crate) fn trouble(&self, trouble: Trouble) {
        tracing::warn!(id = %self.status.borrow().id, "{trouble}");
        self.tell(EventKind::Trouble(trouble));
    }

    /// Tells what the node found wrong with an input.
    pub(crate) fn report(&mut self, now: Instant, report: &Report) {
        if let Report::TermOutOfRange { .. } | Report::DuplicateId { .. } = report {
            self.count_dropped();
        }
        self.recurring(now, Trouble::Report(report.clone()));
    }

    /// Tells of a fault that may go on for long, but not every time.
    pub(crate) fn recurring(&mut self, now: Instant, trouble: Trouble) {
        self.told.retain(|(_, at)| now.saturating_since(*at) < TELL_AGAIN_AFTER);
        let words = trouble.to_string();
        if self.told.iter().any(|(told, _)| *told == words) {
            return;
        }
        if self.told.len() == RECURRING_MAX {
            self.told.pop_front();
        }
        self.told.push_back((words, now));
        self.trouble(trouble);
    }

    fn tell(&self, kind: EventKind) {
        let status = self.status.borrow().clone();
        if let EventKind::StateChanged { from, to } = kind {
            tracing::info!(
                id = %status.id, term = status.term, reason = %status.reason, "{from} -> {to}"
            );
        }
        // The only error is that nobody listens.
        let _ = self.events.send(Event { at: SystemTime::now(), status, kind });
    }
}

impl Drop for Publisher {
    /// A node that is torn down without closing, because its runtime ended or its transport
    /// panicked, must not be taken for a leader any more.
    fn drop(&mut self) {
        let before = self.status.borrow().clone();
        if before.state != State::Closed {
            let (state, reason) = (State::Closed, Reason::Closed);
            self.change(&before, Status { state, reason, leader: None, ..(*before).clone() });
        }
    }
}
