//! Which messages were heard a moment ago, by what is in them.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use graft_election_proto::Kind;
use tokio::time::Instant;

/// How many messages are remembered: what a line carries in that time, several times over.
const MESSAGES_MAX: usize = 512;

/// How long a message takes to come back over the slowest line, with all that waits before it.
const AGE_MAX: Duration = Duration::from_secs(2);

/// How often a message comes back: a line may echo it, and so may a spare bridge.
const TIMES: u8 = 3;

/// The messages that were heard on one side.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hasher: RandomState,
    heard: VecDeque<Heard>,
}

#[derive(Debug)]
struct Heard {
    hash: u64,
    at: Instant,
    times_left: u8,
}

impl Echoes {
    /// Remembers a message.
    pub(super) fn hear(&mut self, kind: Kind, payload: &[u8], now: Instant) {
        self.forget_old(now);
        if self.heard.len() >= MESSAGES_MAX {
            self.heard.pop_front();
        }
        let hash = self.hash(kind, payload);
        self.heard.push_back(Heard { hash, at: now, times_left: TIMES });
    }

    /// Whether the message was heard, and can be back: each of them only so many times, since
    /// another node may say the very same.
    pub(super) fn is_back(&mut self, kind: Kind, payload: &[u8], now: Instant) -> bool {
        self.forget_old(now);
        let hash = self.hash(kind, payload);
        let is_it = |heard: &&mut Heard| heard.hash == hash && heard.times_left > 0;
        let found = self.heard.iter_mut().find(is_it);
        found.map(|heard| heard.times_left -= 1).is_some()
    }

    fn hash(&self, kind: Kind, payload: &[u8]) -> u64 {
        self.hasher.hash_one((kind.number(), payload))
    }

    fn forget_old(&mut self, now: Instant) {
        let is_old = |heard: &Heard| now.saturating_duration_since(heard.at) >= AGE_MAX;
        while self.heard.front().is_some_and(is_old) {
            self.heard.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_for_a_while_and_only_so_many_times() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        assert!(!echoes.is_back(Kind::Who, b"a", now));
        echoes.hear(Kind::Who, b"a", now);
        assert!(!echoes.is_back(Kind::Here, b"a", now));
        assert!(!echoes.is_back(Kind::Who, b"b", now));
        for _ in 0..TIMES {
            assert!(echoes.is_back(Kind::Who, b"a", now));
        }
        assert!(!echoes.is_back(Kind::Who, b"a", now));
        echoes.hear(Kind::Who, b"a", now);
        assert!(!echoes.is_back(Kind::Who, b"a", now + AGE_MAX));
    }

    #[test]
    fn a_flood_makes_no_more_than_so_many_be_remembered() {
        let (mut echoes, now) = (Echoes::default(), Instant::now());
        for number in 0..10 * MESSAGES_MAX {
            echoes.hear(Kind::Who, &number.to_be_bytes(), now);
        }
        assert_eq!(echoes.heard.len(), MESSAGES_MAX);
    }
}
