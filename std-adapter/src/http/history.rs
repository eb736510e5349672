//! How the node's role, term and leader have changed in the last hour.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use graft_election_core::{NodeId, Reason, State};
use humantime::format_rfc3339_micros;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::answer::Answer;
use crate::events::{Event, Status};

/// How long a change is remembered.
const MEMORY: Duration = Duration::from_secs(3600);

/// How many changes are remembered.
const CHANGES_MAX: usize = 500;

/// The last second of the year 9999: RFC 3339 has no room for more digits.
const TIMESTAMP_MAX: Duration = Duration::from_secs(253_402_300_799);

/// The changes so far. Nothing runs for it: the events wait, as many as a slow listener may leave
/// waiting, until somebody asks.
#[derive(Debug)]
pub(super) struct History {
    state: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    events: broadcast::Receiver<Arc<Event>>,
    /// By their time. The first is what there was when the hour began.
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Change {
    at: SystemTime,
    status: Arc<Status>,
}

#[derive(Debug, Serialize)]
struct Told<'c> {
    ts: String,
    changes: Vec<ToldChange<'c>>,
}

/// What the node was from then on.
#[derive(Debug, Serialize)]
struct ToldChange<'c> {
    at: String,
    state: State,
    reason: Reason,
    term: u64,
    leader: Option<&'c NodeId>,
}

impl History {
    pub(super) fn new(events: broadcast::Receiver<Arc<Event>>, status: &Arc<Status>) -> Self {
        let first = Change { at: SystemTime::now(), status: Arc::clone(status) };
        Self { state: Mutex::new(Changes { events, changes: VecDeque::from([first]) }) }
    }

    pub(super) fn answer(&self) -> Answer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        state.take_in();
        state.forget(now);
        let told = state.changes.iter().map(|Change { at, status }| ToldChange {
            at: timestamp(*at),
            state: status.state,
            reason: status.reason,
            term: status.term,
            leader: status.leader.as_ref(),
        });
        Answer::json(&Told { ts: timestamp(now), changes: told.collect() })
    }
}

impl Changes {
    /// Takes in what has happened since the last time.
    fn take_in(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    let status = Arc::clone(&event.status);
                    self.note(Change { at: event.at, status });
                }
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn note(&mut self, change: Change) {
        let key = |status: &Status| (status.state, status.term, status.leader.clone());
        let last = self.changes.back().map(|last| key(&last.status));
        if last == Some(key(&change.status)) {
            return;
        }
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// Forgets what was over before the hour began.
    fn forget(&mut self, now: SystemTime) {
        let is_old = |change: &Change| now.duration_since(change.at).is_ok_and(|age| age > MEMORY);
        while self.changes.get(1).is_some_and(is_old) {
            self.changes.pop_front();
        }
    }
}

/// An instant for programs: as RFC 3339 has it, in UTC, to the microsecond.
pub(super) fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    format_rfc3339_micros(UNIX_EPOCH + since.min(TIMESTAMP_MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterInfo, MemoryNetwork, MemoryVotes, Node};

    #[tokio::test(start_paused = true)]
    async fn what_was_over_an_hour_ago_is_forgotten() {
        let node = Node::builder(ClusterInfo::new("c", 1))
            .start(MemoryNetwork::new().transport(), MemoryVotes::new())
            .await
            .unwrap();
        let reader = node.reader();
        let (status, hour) = (reader.status(), MEMORY);
        let mut changes = Changes { events: reader.listen(), changes: VecDeque::new() };
        let begin = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for term in 1..=3 {
            let status = Arc::new(Status { term, ..(*status).clone() });
            changes.note(Change { at: begin + hour * u32::try_from(term).unwrap(), status });
        }
        let terms = |changes: &Changes| -> Vec<u64> {
            changes.changes.iter().map(|change| change.status.term).collect()
        };
        changes.forget(begin + hour * 3 + hour / 2);
        assert_eq!(terms(&changes), [2, 3], "the second was true until the third began");
        changes.forget(begin + hour * 5);
        assert_eq!(terms(&changes), [3]);
    }
}
