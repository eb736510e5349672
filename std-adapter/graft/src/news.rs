//! A node's events, as far as they are printed: others can make a node go through any number of
//! terms and leaders, and nobody reads thousands of lines a second. What is left out is how things
//! came about, never how they are in the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use graft_election::{Event, EventKind, Events, Fault, State, Status};
use tokio::time::{Instant, sleep_until};

/// How many events are printed in a second, except for those that must be.
const PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// The events that are printed, and how many others there were.
#[derive(Debug)]
pub(crate) struct News {
    events: Events,
    second_began_at: Instant,
    /// How many events of this second are printed.
    told: u32,
    /// How many events are not printed, and what the node was at the last of them.
    withheld: Option<(u64, Arc<Status>)>,
    /// The last of those that say how something is now: they are printed at the second's end.
    latest: Vec<Event>,
    /// What is to be printed next.
    due: VecDeque<Event>,
}

/// What an event may say of a node that stays so until another event.
#[derive(PartialEq, Eq)]
enum Topic {
    State,
    Leader,
    Value,
    Pause,
    Connection,
}

impl News {
    pub(crate) fn new(events: Events) -> Self {
        Self {
            events,
            second_began_at: Instant::now(),
            told: 0,
            withheld: None,
            latest: Vec::new(),
            due: VecDeque::new(),
        }
    }

    /// Waits for the next event to print; `None` when the node has closed and there are no more.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            let holds_back = self.withheld.is_some() || !self.latest.is_empty();
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => self.take(event),
                    None if holds_back => self.end_second(),
                    None => return None,
                },
                () = sleep_until(self.second_began_at + SECOND), if holds_back => self.end_second(),
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        if now >= self.second_began_at + SECOND || is_closed(&event) {
            self.end_second();
            (self.second_began_at, self.told) = (now, 0);
        }
        if let EventKind::Fault(Fault::Withheld(count) | Fault::Missed(count)) = event.kind {
            self.withhold(count, event.status);
            return;
        }
        let topic = Topic::of(&event.kind);
        // It is not so any more.
        let is_outdated = |it: &mut Event| topic.is_some() && Topic::of(&it.kind) == topic;
        let outdated = self.latest.extract_if(.., is_outdated).next();
        if let Some(outdated) = outdated {
            self.withhold(1, outdated.status);
        }
        if self.told < PER_SECOND || is_essential(&event) {
            self.told += 1;
            self.due.push_back(event);
        } else if topic.is_some() {
            self.latest.push(event);
        } else {
            self.withhold(1, event.status);
        }
    }

    fn withhold(&mut self, more: u64, status: Arc<Status>) {
        let before = self.withheld.take().map_or(0, |(count, _)| count);
        self.withheld = Some((before.saturating_add(more), status));
    }

    fn end_second(&mut self) {
        if let Some((count, status)) = self.withheld.take() {
            let kind = EventKind::Fault(Fault::Withheld(count));
            self.due.push_back(Event { at: SystemTime::now(), status, kind });
        }
        self.due.extend(self.latest.drain(..));
    }
}

impl Topic {
    fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::StateChanged { .. } => Some(Self::State),
            EventKind::LeaderChanged => Some(Self::Leader),
            EventKind::ValueChanged => Some(Self::Value),
            EventKind::PauseChanged => Some(Self::Pause),
            EventKind::ConnectionRestored
            | EventKind::Fault(
                Fault::ConnectionLost(_) | Fault::ConnectionClosed(_) | Fault::ConnectionPartial(_),
            ) => Some(Self::Connection),
            _ => None,
        }
    }
}

/// Whether it says who may act, or that the node has closed.
fn is_essential(event: &Event) -> bool {
    match event.kind {
        EventKind::LeadershipGained { .. } | EventKind::LeadershipLost { .. } => true,
        // In Graft mode there is no lease, and the leader acts.
        EventKind::StateChanged { from, to } => {
            from == State::Leader || matches!(to, State::Leader | State::Closed)
        }
        _ => false,
    }
}

fn is_closed(event: &Event) -> bool {
    matches!(event.kind, EventKind::StateChanged { to: State::Closed, .. })
}
