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

/// How something is that may change often, a connection for instance: what is told of it last is
/// how it is, whatever was withheld before.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    /// The text of what was told last, and when.
    told: Option<(String, Instant)>,
    /// What it has turned to since, for which there was no room.
    held: Option<(String, T)>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { told: None, held: None }
    }
}

impl<T> Turns<T> {
    /// Hands `turn` back if it is to be told now. The same is not told twice in a row before ten
    /// seconds have passed.
    pub(crate) fn admit(
        &mut self,
        news: &mut News,
        now: Instant,
        text: String,
        turn: T,
    ) -> Option<T> {
        let was_withheld = self.held.take().is_some();
        let is_told = |(told, at): &(String, Instant)| {
            *told == text && now.saturating_since(*at) < TELL_AGAIN_AFTER
        };
        if self.told.as_ref().is_some_and(is_told) {
            // It has turned back.
            news.withheld = news.withheld.saturating_add(was_withheld.into());
            return None;
        }
        if news.admits(now) {
            self.told = Some((text, now));
            return Some(turn);
        }
        self.held = Some((text, turn));
        None
    }

    /// How it is, if that was withheld: to be told once the second is over, after the count of what
    /// was withheld, among which it is.
    pub(crate) fn take_held(&mut self, now: Instant) -> Option<T> {
        let (text, turn) = self.held.take()?;
        self.told = Some((text, now));
        Some(turn)
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
    fn what_is_told_last_of_a_connection_is_how_it_is() {
        let (mut news, mut turns) = (News::default(), Turns::default());
        let mut told = Vec::new();
        for turn in (0..1_001).map(|number| if number % 2 == 0 { "down" } else { "up" }) {
            told.extend(turns.admit(&mut news, at(0), turn.into(), turn));
        }
        assert_eq!((told.len(), told.last()), (10, Some(&"up")));
        assert_eq!(news.take_withheld(at(1_000)), Some(991));
        assert_eq!(turns.take_held(at(1_000)), Some("down"));
        assert_eq!(turns.take_held(at(1_000)), None);
        assert_eq!(turns.admit(&mut news, at(2_000), "down".into(), "down"), None);
        assert_eq!(turns.admit(&mut news, at(2_000), "up".into(), "up"), Some("up"));
    }

    #[test]
    fn how_it_was_is_not_told_once_it_is_as_before() {
        let (mut news, mut turns) = (News::default(), Turns::default());
        assert_eq!(turns.admit(&mut news, at(0), "up".into(), "up"), Some("up"));
        while news.admits(at(0)) {}
        assert_eq!(turns.admit(&mut news, at(0), "down".into(), "down"), None);
        assert_eq!(turns.admit(&mut news, at(0), "up".into(), "up"), None);
        assert_eq!(turns.take_held(at(1_000)), None);
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
