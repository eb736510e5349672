//! How the vote record becomes durable before anything is said that depends on it.

use rand_core::Rng;

use crate::output::Next;
use crate::role::Role;
use crate::{Application, Instant, Node, Outgoing, Output, Reason, Unsaved, VoteRecord};

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    pub(crate) fn set_record(&mut self, record: VoteRecord) {
        self.record = record;
        self.unsaved = true;
    }

    /// The driver has let go of the record. If it is still not durable, the node stays silent and
    /// does not campaign (rules C4, C5).
    pub(crate) fn record_released(&mut self) {
        if !self.unsaved {
            return;
        }
        self.save_failed = true;
        if let Role::Candidate { election_at, .. } = self.role {
            self.follow_no_one(election_at, Reason::SaveFailed);
        }
    }

    /// The one place through which outputs leave, so that nothing is said before it is stored (rule
    /// T1, invariant I6) and a save that failed is asked for again (rule C4).
    pub(crate) fn settle(&mut self, next: Next) -> Output<'_, R, S, VOTERS> {
        if self.unsaved {
            return Output::Save(Unsaved::new(self, next));
        }
        match next {
            Next::Send(outgoing) => Output::Send(outgoing),
            // A campaign always raises the term, so it has something to save.
            Next::Nothing | Next::Campaign => Output::Idle,
        }
    }

    /// The record has become durable: a candidate's own vote counts, and what waited may go out.
    pub(crate) fn record_saved(&mut self, now: Instant, next: Next) -> Option<Outgoing> {
        // A slow save must not use up the time that others have to answer or to be heard.
        let asked_at = self.latest;
        let now = self.advance_clock(now);
        self.restart_timer(self.deadline().later_by(asked_at, now));
        // The report stays: it is about the input that led to this save.
        self.unsaved = false;
        self.save_failed = false;
        let next = if let Next::Campaign = next { self.ask_for_votes(now) } else { next };
        match next {
            Next::Send(outgoing) => Some(outgoing),
            Next::Nothing | Next::Campaign => None,
        }
    }
}
