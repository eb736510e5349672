//! What happened so far: who led, and how long each election took.

use std::time::{Duration, Instant};

/// The first leader, the first loss of one, and the leader after that.
#[derive(Debug)]
pub(crate) struct Story {
    began_at: Instant,
    pub(crate) first: Option<Led>,
    /// Who leads now, unless its power was cut.
    current: Option<Led>,
    pub(crate) lost: Option<Lost>,
    pub(crate) next: Option<Led>,
}

/// A leader on whom all boards with power agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Led {
    pub(crate) leader: String,
    pub(crate) term: u64,
    /// How long after the start, or after its predecessor was lost.
    pub(crate) after: Duration,
}

/// A leader whose power was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) leader: String,
    term: u64,
    at: Instant,
}

impl Story {
    /// A story that begins now.
    pub(crate) fn begin() -> Self {
        let began_at = Instant::now();
        Self { began_at, first: None, current: None, lost: None, next: None }
    }

    /// The time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began_at.elapsed()
    }

    /// Notes that all boards with power agree on this leader.
    pub(crate) fn leads(&mut self, leader: &str, term: u64) {
        let since = self.lost.as_ref().map_or(self.began_at, |lost| lost.at);
        let led = Led { leader: leader.to_owned(), term, after: since.elapsed() };
        if self.lost.as_ref().is_some_and(|lost| term > lost.term) {
            self.next.get_or_insert_with(|| led.clone());
        }
        self.first.get_or_insert_with(|| led.clone());
        self.current = Some(led);
    }

    /// Notes that this board's power is cut.
    pub(crate) fn loses(&mut self, board: &str) {
        if let Some(Led { leader, term, .. }) = self.current.take_if(|led| led.leader == board) {
            self.lost.get_or_insert(Lost { leader, term, at: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(led: &Option<Led>) -> Option<(&str, u64)> {
        led.as_ref().map(|led| (led.leader.as_str(), led.term))
    }

    #[test]
    fn the_next_leader_is_the_one_after_the_first_loss_of_one() {
        let mut story = Story::begin();
        story.loses("b");
        story.leads("a", 1);
        story.leads("b", 2);
        story.loses("a");
        assert_eq!((brief(&story.first), &story.lost), (Some(("a", 1)), &None));
        story.loses("b");
        assert_eq!(story.lost.as_ref().map(|lost| lost.leader.as_str()), Some("b"));
        story.leads("b", 2);
        assert_eq!(brief(&story.next), None, "that was logged before the power cut");
        story.leads("c", 3);
        story.loses("c");
        story.leads("a", 4);
        assert_eq!((brief(&story.first), brief(&story.next)), (Some(("a", 1)), Some(("c", 3))));
        assert_eq!(story.lost.map(|lost| lost.leader), Some("b".to_owned()));
    }
}
