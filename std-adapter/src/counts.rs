use std::collections::HashMap;
use std::time::Duration;

use graft_election_core::{Reason, Refusal, State};
use graft_election_proto::seal::SealFault;
use tokio::time::Instant;

use crate::events::Status;
use crate::times::Times;

/// How often things have happened to a node since its start, and how long they took.
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
    /// How often it took another node for the leader than before, or none, by the reason of its
    /// state then.
    pub leader_changes: HashMap<Reason, u64>,
    /// For how long it has known no leader. One that has fallen silent is known for an election
    /// timeout.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "leaderless_seconds", serialize_with = "crate::serialize::seconds")
    )]
    pub leaderless: Duration,
    /// Since when it has known none, as far as that isn't part of `leaderless`.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) leaderless_since: Option<Instant>,
    /// Votes, pre-votes and heartbeats that it refused, by the reason.
    pub refusals: HashMap<Refusal, u64>,
    /// Messages that it dropped, by the cause.
    pub drops: HashMap<DropCause, u64>,
    /// How long after its heartbeats the acknowledgements came, of all followers.
    pub acknowledgements: Times,
    /// How long storing its vote took, each time that it could be stored.
    pub saves: Times,
    /// How often its vote could not be stored.
    pub saves_failed: u64,
}

/// Why a node dropped a message, that it had received or was to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum DropCause {
    /// It could not be read.
    Malformed,
    /// Its term is impossible.
    TermOutOfRange,
    /// It has no seal of the cluster's key (rule K3).
    Unsealed,
    /// Its seal is wrong.
    WrongSeal,
    /// It was heard before.
    Replayed,
    /// It is of an earlier life of its sender.
    EarlierLife,
    /// It could not be sent.
    SendError,
    /// The transport did not take it in time.
    SendTimedOut,
}

impl DropCause {
    /// All causes.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::TermOutOfRange,
        Self::Unsealed,
        Self::WrongSeal,
        Self::Replayed,
        Self::EarlierLife,
        Self::SendError,
        Self::SendTimedOut,
    ];

    /// Its name for programs: that of the fault that reports it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TermOutOfRange => "term_out_of_range",
            Self::Unsealed => SealFault::Unsealed.name(),
            Self::WrongSeal => SealFault::WrongSeal.name(),
            Self::Replayed => SealFault::Replayed.name(),
            Self::EarlierLife => SealFault::EarlierLife.name(),
            Self::SendError => "send_error",
            Self::SendTimedOut => "send_timed_out",
        }
    }
}

impl From<SealFault> for DropCause {
    fn from(error: SealFault) -> Self {
        match error {
            SealFault::Unsealed => Self::Unsealed,
            SealFault::WrongSeal => Self::WrongSeal,
            SealFault::Replayed => Self::Replayed,
            SealFault::EarlierLife => Self::EarlierLife,
        }
    }
}

impl Counts {
    /// Those of a node that starts now, and knows no leader.
    pub(crate) fn starting() -> Self {
        Self { leaderless_since: Some(Instant::now()), ..Self::default() }
    }

    /// The same, with all the time that has passed so far.
    pub(crate) fn until_now(mut self) -> Self {
        self.add_leaderless();
        self
    }

    pub(crate) fn count_change(&mut self, before: &Status, after: &Status) {
        let (from, to) = (before.state, after.state);
        self.count_leader(before, after);
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

    /// A closed node never has a leader, so that counts no more.
    fn count_leader(&mut self, before: &Status, after: &Status) {
        let is_closed = after.state == State::Closed;
        if before.leader != after.leader && !is_closed {
            *self.leader_changes.entry(after.reason).or_default() += 1;
        }
        self.add_leaderless();
        let is_leaderless = after.leader.is_none() && !is_closed;
        self.leaderless_since = is_leaderless.then(Instant::now);
    }

    fn add_leaderless(&mut self) {
        if let Some(since) = self.leaderless_since.take() {
            self.leaderless += since.elapsed();
        }
    }

    pub(crate) fn count_refusal(&mut self, refusal: Refusal) {
        *self.refusals.entry(refusal).or_default() += 1;
    }

    pub(crate) fn count_drop(&mut self, cause: DropCause) {
        *self.drops.entry(cause).or_default() += 1;
    }
}
