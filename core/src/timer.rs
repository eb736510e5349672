//! How long a node waits, and how long it is bound.

use rand_core::Rng;

use crate::role::Role;
use crate::{Application, Instant, Node};

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    pub(crate) fn is_bound(&self, now: Instant) -> bool {
        now < self.bound_until
    }

    /// Sets the timer of a node that waits for a leader or for votes; other roles have none.
    pub(crate) fn restart_timer(&mut self, at: Instant) {
        match &mut self.role {
            Role::Follower { election_at, .. }
            | Role::PreCandidate { election_at, .. }
            | Role::Candidate { election_at, .. } => *election_at = at,
            Role::Leader { .. } | Role::Closing { .. } | Role::Closed => {}
        }
    }

    pub(crate) fn draw_election_timeout(&mut self, now: Instant) -> Instant {
        self.timing.draw_election_timeout(&mut self.rng, now)
    }

    /// An instant drawn evenly from the `span` microseconds that follow `earliest`.
    pub(crate) fn draw(&mut self, earliest: Instant, span: u32) -> Instant {
        earliest.plus_drawn(&mut self.rng, span)
    }
}
