//! Whether the others have had a chance to hear the question with which a node starts (rule N5).

use std::time::Duration;

use graft_election_core::Instant;

/// Follows the first question of a node until its answers can no longer count.
#[derive(Debug)]
pub(crate) struct StartQuestion {
    /// For how long answers count: the least election timeout.
    span: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has not been sent.
    Unsent,
    /// It was sent over a link that works, and answers count until then.
    Sent { until: Instant },
    /// It, or an answer to it, was lost with the link.
    Lost,
    /// Nobody answered in time, or it was asked again already.
    Over,
}

impl StartQuestion {
    pub(crate) const fn new(span: Duration) -> Self {
        Self { span, state: State::Unsent }
    }

    /// There is nothing to ask: no other process has the node's id.
    pub(crate) const fn needless() -> Self {
        Self { span: Duration::ZERO, state: State::Over }
    }

    /// A question was given to the transport at `now`.
    pub(crate) fn sent(&mut self, now: Instant, is_sent: bool) {
        if self.state == State::Unsent {
            let until = now.saturating_add(self.span);
            self.state = if is_sent { State::Sent { until } } else { State::Lost };
        }
    }

    /// The link was lost at `now`.
    pub(crate) fn link_lost(&mut self, now: Instant) {
        self.state = match self.state {
            State::Sent { until } if until <= now => State::Over,
            State::Over => State::Over,
            State::Unsent | State::Sent { .. } | State::Lost => State::Lost,
        };
    }

    /// The link works again; returns whether the question has to be asked again.
    pub(crate) fn link_is_up(&mut self) -> bool {
        let is_lost = self.state == State::Lost;
        if is_lost {
            self.state = State::Unsent;
        }
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn n5_a_question_that_nobody_could_hear_is_asked_again_once_the_link_is_up() {
        let mut question = StartQuestion::new(SPAN);
        question.sent(at(0), false);
        assert!(question.link_is_up());
        question.sent(at(10), true);
        assert!(!question.link_is_up(), "it was heard");
    }

    #[test]
    fn n5_a_question_that_was_needless_at_the_start_remains_so() {
        let mut question = StartQuestion::needless();
        question.link_lost(at(10));
        assert!(!question.link_is_up());
    }

    #[test]
    fn n5_a_link_that_is_lost_while_answers_count_may_have_lost_one() {
        let mut question = StartQuestion::new(SPAN);
        question.sent(at(0), true);
        question.link_lost(at(499));
        assert!(question.link_is_up());
    }

    #[test]
    fn n5_a_link_that_is_lost_later_is_no_reason_to_ask_again() {
        let mut question = StartQuestion::new(SPAN);
        question.sent(at(0), true);
        question.link_lost(at(500));
        assert!(!question.link_is_up());
        question.sent(at(600), false);
        assert!(!question.link_is_up(), "another question");
    }
}
