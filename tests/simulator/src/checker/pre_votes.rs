//! Which answers to its requests for pre-votes a node may count (rules C1, C2).

use std::time::Duration;

use graft_election_core::{Instant, PreVoteResponse, Round, VoteRequest};

use crate::Identity;

/// The round of pre-votes that a node asks in, and who has granted one.
#[derive(Clone, Debug, Default)]
pub(super) struct PreVotes {
    round: Option<Round>,
    asked_at: Instant,
    /// Its candidacy has ended, or it has stood back for another candidate (rule C1a).
    is_over: bool,
    /// The term for which it would campaign.
    term: u64,
    /// Nobody, for a forged id.
    granted_by: Vec<Option<Identity>>,
}

impl PreVotes {
    /// The node asks at `at`. Whether it may do so in that round: a new one, or the last one if
    /// less than T_min has passed and the candidacy is the same.
    pub(super) fn ask(&mut self, request: &VoteRequest, at: Instant, t_min: Duration) -> bool {
        if request.round == self.round {
            let is_fresh = at < self.asked_at.saturating_add(t_min);
            return self.round.is_some() && is_fresh && !self.is_over;
        }
        let (round, term) = (request.round, request.term);
        *self = Self { round, asked_at: at, term, ..Self::default() };
        true
    }

    /// The round of which answers are awaited.
    pub(super) fn awaited(&self) -> Option<Round> {
        self.round.filter(|_| !self.is_over)
    }

    /// A voter answers.
    pub(super) fn hear(&mut self, voter: Option<Identity>, response: &PreVoteResponse) {
        let is_answer = response.round == self.round && response.proposed_term == self.term;
        if response.granted && is_answer && !self.granted_by.contains(&voter) {
            self.granted_by.push(voter);
        }
    }

    /// The node no longer asks.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// How many would vote for it in that term, itself included.
    pub(super) fn count(&self, term: u64) -> usize {
        if self.term == term { self.granted_by.len() + 1 } else { 1 }
    }
}
