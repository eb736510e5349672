//! How a COMMAND that ends is started again.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A COMMAND that ran for as long had no trouble to start.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// How long the pause after the first early end is. Each one that follows is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// After how many early ends in a row the node hands over.
const EARLY_ENDS: u32 = 5;

/// The runs of a COMMAND that is started again whenever it ends.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    started_at: Option<Instant>,
    /// How many runs in a row have ended early, under whichever leadership.
    early_ends: u32,
    /// When the next run may start.
    next_at: Option<Instant>,
}

/// What is to be done about a COMMAND that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again when the pause is over.
    Restart { pause: Duration },
    /// Let another node try.
    HandOver,
}

impl Keep {
    /// COMMAND has started.
    pub(crate) fn started(&mut self, now: Instant) {
        self.started_at = Some(now);
    }

    /// COMMAND has ended by itself.
    pub(crate) fn ended(&mut self, now: Instant) -> Next {
        let ran_for = self.started_at.take().map(|at| now.saturating_duration_since(at));
        if ran_for.is_some_and(|time| time >= GOOD_RUN) {
            self.early_ends = 0;
            return Next::Restart { pause: Duration::ZERO };
        }
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(self.early_ends)).min(PAUSE_MAX);
        self.early_ends = self.early_ends.saturating_add(1);
        self.next_at = Some(now + pause);
        match self.early_ends % EARLY_ENDS {
            0 => Next::HandOver,
            _ => Next::Restart { pause },
        }
    }

    /// Waits until the next run may start. Cancel-safe.
    pub(crate) async fn pause(&self) {
        if let Some(at) = self.next_at {
            sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_secs(1);

    /// The next run, which takes `time`.
    fn run(keep: &mut Keep, time: Duration) -> Next {
        let start_at = keep.next_at.unwrap_or_else(Instant::now);
        keep.started(start_at);
        keep.ended(start_at + time)
    }

    #[test]
    fn pauses_grow_and_each_fifth_early_end_hands_over() {
        let mut keep = Keep::default();
        for round in 0..3_u32 {
            for number in 0..4 {
                let pause = (PAUSE_MIN * 2_u32.pow(round * 5 + number)).min(PAUSE_MAX);
                assert_eq!(run(&mut keep, RUN), Next::Restart { pause });
            }
            assert_eq!(run(&mut keep, RUN), Next::HandOver);
        }
    }

    #[test]
    fn the_pause_is_kept_after_a_handover() {
        let mut keep = Keep::default();
        for _ in 0..4 {
            run(&mut keep, RUN);
        }
        let start_at = keep.next_at.unwrap();
        assert_eq!(run(&mut keep, RUN), Next::HandOver);
        assert_eq!(keep.next_at.unwrap(), start_at + RUN + PAUSE_MIN * 16);
    }

    #[test]
    fn a_good_run_makes_up_for_the_bad_ones() {
        let mut keep = Keep::default();
        for _ in 0..4 {
            run(&mut keep, RUN);
        }
        assert_eq!(run(&mut keep, GOOD_RUN), Next::Restart { pause: Duration::ZERO });
        assert_eq!(run(&mut keep, RUN), Next::Restart { pause: PAUSE_MIN });
    }
}
