use std::collections::HashMap;

use graft_election_core::{Reason, Refusal, State};

use crate::events::Status;

/// How often things have happened to a node since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counts {
    /// Terms in which it asked for votes, by the reason. Pre-votes, which change nothing, are not
    /// counted.
    pub campaigns: HashMap<Reason, u64>,
    /// Campaigns that made it the leader.
    pub elections_won: u64,
    /// Leaderships that ended, by the reason.
    pub step_downs: HashMap<Reason, u64>,
    /// Votes, pre-votes and heartbeats that it refused, by the reason.
    pub refusals: HashMap<Refusal, u64>,
    /// Jobs of [`Node::run_while_leader`](crate::Node::run_while_leader) that failed or panicked.
    pub jobs_failed: u64,
}

impl Counts {
    pub(crate) fn count_change(&mut self, before: &Status, after: &Status) {
        let (from, to) = (before.state, after.state);
        // Without pre-votes, one candidacy may follow another.
        if to == State::Candidate && (from != to || before.term != after.term) {
            *self.campaigns.entry(after.reason).or_default() += 1;
        }
        if from == to {
            return;
        }
        if to == State::Leader {
            self.elections_won += 1;
        }
        if from == State::Leader {
            *self.step_downs.entry(after.reason).or_default() += 1;
        }
    }

    pub(crate) fn count_refusal(&mut self, refusal: Refusal) {
        *self.refusals.entry(refusal).or_default() += 1;
    }
}
