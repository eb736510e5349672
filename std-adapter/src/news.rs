//! What is worth telling: neither the same thing again and again, nor very much at once, whatever
//! an attacker or a broken peer makes up.

use std::collections::VecDeque;
use std::time::Duration;

use graft_election_core::Instant;

/// A fault that lasts is told again only after this time, however often it shows.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How many lasting faults are remembered: enough for some peers.
const REMEMBERED_MAX: usize = 32;

/// How much is told in a second.
const PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Decides what is told, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The texts of the recurring faults that were told, and when, the oldest first.
    remembered: VecDeque<(String, Instant)>,
    second_began: Instant,
    told: u32,
    withheld: u64,
}

impl News {
    /// Remembers that `text` is told `now`; false if it was told a short while ago.
    pub(crate) fn remember(&mut self, now: Instant, text: String) -> bool {
        self.remembered.retain(|(_, at)| now.saturating_since(*at) < TELL_AGAIN_AFTER);
        if self.remembered.iter().any(|(told, _)| *told == text) {
            return false;
        }
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back((text, now));
        true
    }

    /// Whether there is room for one thing more; if there is none, it is counted.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.second_began) >= SECOND {
            (self.second_began, self.told) = (now, 0);
        }
        let has_room = self.told < PER_SECOND;
        if has_room {
            self.told += 1;
        } else {
            self.withheld = self.withheld.saturating_add(1);
        }
        has_room
    }

    /// How many things were not told, if it is time to say so.
    pub(crate) fn take_withheld(&mut self, now: Instant) -> Option<u64> {
        let is_over = now.saturating_since(self.second_began) >= SECOND;
        (self.withheld > 0 && is_over).then(|| std::mem::take(&mut self.withheld))
    }

    /// How many things were not told, at the end.
    pub(crate) fn take_rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.withheld)).filter(|withheld| *withheld > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn ten_things_are_told_in_a_second_and_the_rest_is_counted() {
        let mut news = News::default();
        let told = (0..322).filter(|_| news.admits(at(5_000))).count();
        assert_eq!((told, news.take_withheld(at(5_999))), (10, None));
        assert_eq!(news.take_withheld(at(6_000)), Some(312));
        assert_eq!(news.take_withheld(at(6_000)), None);
        assert!(news.admits(at(6_000)));
        assert_eq!(news.take_rest(), None);
    }

    #[test]
    fn the_same_is_told_again_after_ten_seconds() {
        let mut news = News::default();
        assert!(news.remember(at(0), "a".into()));
        assert!(!news.remember(at(9_999), "a".into()));
        assert!(news.remember(at(9_999), "b".into()));
        assert!(news.remember(at(10_000), "a".into()));
    }
}
