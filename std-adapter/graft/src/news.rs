//! A node's events, as far as they are printed: others can make a node go through any number of
//! terms and leaders, and nobody reads thousands of lines a second.

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
    /// An event that comes after the count of those that are not printed.
    last: Option<Event>,
}

impl News {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, second_began_at: Instant::now(), told: 0, withheld: None, last: None }
    }

    /// Waits for the next event to print; `None` when the node has closed and there are no more.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        if let Some(last) = self.last.take() {
            return Some(last);
        }
        loop {
            let second_ends_at = self.second_began_at + SECOND;
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) if is_closed(&event) && self.withheld.is_some() => {
                        self.last = Some(event);
                        return self.take_withheld();
                    }
                    Some(event) if self.admits(&event) => return Some(event),
                    Some(event) => self.withhold(event),
                    None => return self.take_withheld(),
                },
                () = sleep_until(second_ends_at), if self.withheld.is_some() => {
                    return self.take_withheld();
                }
            }
        }
    }

    fn admits(&mut self, event: &Event) -> bool {
        if let EventKind::Fault(Fault::Withheld(_) | Fault::Missed(_)) = event.kind {
            return false;
        }
        let now = Instant::now();
        if now >= self.second_began_at + SECOND {
            (self.second_began_at, self.told) = (now, 0);
        }
        let is_admitted = self.told < PER_SECOND || is_essential(event);
        self.told += u32::from(is_admitted);
        is_admitted
    }

    fn withhold(&mut self, event: Event) {
        let count = match event.kind {
            EventKind::Fault(Fault::Withheld(count) | Fault::Missed(count)) => count,
            _ => 1,
        };
        let before = self.withheld.take().map_or(0, |(count, _)| count);
        self.withheld = Some((before.saturating_add(count), event.status));
    }

    fn take_withheld(&mut self) -> Option<Event> {
        let (count, status) = self.withheld.take()?;
        let kind = EventKind::Fault(Fault::Withheld(count));
        Some(Event { at: SystemTime::now(), status, kind })
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
