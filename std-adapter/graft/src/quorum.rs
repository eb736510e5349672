//! Whether the cluster still has a leader, as far as this node knows.

use std::time::Duration;

use graft_election::Status;
use tokio::time::Instant;

/// After how many of the greatest election timeouts without a leader the quorum counts as lost.
/// Some may pass in any election, and while a node is starved.
pub(crate) const NO_LEADER_TIMEOUTS: u32 = 10;

/// Notices when the node loses its leader, and no other follows.
#[derive(Debug)]
pub(crate) struct QuorumWatch {
    patience: Duration,
    had_leader: bool,
    lost_at: Option<Instant>,
}

impl QuorumWatch {
    /// For a node with this greatest election timeout.
    pub(crate) fn new(election_timeout_max: Duration) -> Self {
        Self {
            patience: election_timeout_max * NO_LEADER_TIMEOUTS,
            had_leader: false,
            lost_at: None,
        }
    }

    /// Takes in what the node is from now on.
    pub(crate) fn see(&mut self, status: &Status) {
        if status.leader.is_some() {
            (self.had_leader, self.lost_at) = (true, None);
        } else if self.had_leader && self.lost_at.is_none() {
            self.lost_at = Some(Instant::now());
        }
    }

    /// Whether the node had a leader, and by the instant `at` had long had none, and none since.
    pub(crate) fn is_lost(&self, at: Instant) -> bool {
        let is_long = |lost_at| at.saturating_duration_since(lost_at) > self.patience;
        self.lost_at.is_some_and(is_long)
    }
}
