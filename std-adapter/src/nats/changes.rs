//! What happens to a connection, kept until somebody asks: no more than is worth telling, however
//! long that takes and however much happens meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Event;
use tokio::sync::Notify;

use crate::transport::Connection;

/// How many losses and returns are kept. If there are more, those in the middle are left out.
const TURNS_MAX: usize = 4;

/// How many different impairments are kept. More are not.
const IMPAIRMENTS_MAX: usize = 16;

/// What happened to a connection since somebody asked. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    turns: VecDeque<Connection>,
    impairments: VecDeque<String>,
    /// Nothing more can happen.
    is_over: bool,
}

/// Takes in what happens; once it is dropped nothing more does.
#[derive(Debug)]
pub(super) struct Sender(pub(super) Changes);

impl Changes {
    /// Waits for the next change; `None` once there are no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Connection> {
        loop {
            {
                let mut state = self.lock();
                if let Some(turn) = state.turns.pop_front() {
                    return Some(turn);
                }
                if let Some(why) = state.impairments.pop_front() {
                    return Some(Connection::Impaired(why));
                }
                if state.is_over {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    pub(super) fn send(&self, event: Event) {
        let mut state = self.0.lock();
        match event {
            Event::Connected => state.turn(Connection::Restored),
            Event::Disconnected => state.turn(Connection::Lost("disconnected".into())),
            Event::Closed => state.turn(Connection::Closed("connection closed".into())),
            Event::LameDuckMode | Event::SlowConsumer(_) => state.impair(event.to_string()),
            Event::ServerError(error) => state.impair(words_of(&error)),
            Event::ClientError(error) => state.impair(words_of(&error)),
            Event::Draining => return,
        }
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

impl State {
    fn turn(&mut self, change: Connection) {
        // The first of a pair that is left out may be the end of something, and its last is not
        // the latest.
        if self.turns.len() >= TURNS_MAX {
            self.turns.drain(1..3);
        }
        self.turns.push_back(change);
    }

    fn impair(&mut self, why: String) {
        if self.impairments.len() < IMPAIRMENTS_MAX && !self.impairments.contains(&why) {
            self.impairments.push_back(why);
        }
    }
}

/// What the server or the client says, without what the client puts before it.
fn words_of(error: &impl ToString) -> String {
    let words = error.to_string();
    words.strip_prefix("nats: ").map(str::to_owned).unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn however_much_happens_little_is_kept_and_the_latest_is_the_last() {
        let mut changes = Changes::default();
        let sender = Sender(changes.clone());
        for sid in 0..10_000 {
            sender.send(Event::Disconnected);
            sender.send(Event::SlowConsumer(sid));
            sender.send(Event::Connected);
        }
        sender.send(Event::Disconnected);
        drop(sender);
        let mut told = Vec::new();
        while let Some(change) = changes.next().await {
            told.push(change);
        }
        assert_eq!(told.len(), 3 + IMPAIRMENTS_MAX);
        let lost = Connection::Lost("disconnected".into());
        assert_eq!(told[..3], [lost.clone(), Connection::Restored, lost]);
    }
}
