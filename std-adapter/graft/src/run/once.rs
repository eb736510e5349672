//! A job that is to be done once in its cluster: whoever has done it tells the others.

use std::future::pending;
use std::time::Duration;

use graft_election::Status;
use tokio::time::{Instant, sleep_until};

use crate::quorum::NO_LEADER_TIMEOUTS;

/// What a leader says with its leadership once the job is done.
pub(crate) const DONE: &str = "graft-run: done";

/// Whether the job is done, and for how long this node stays to say so.
#[derive(Debug)]
pub(crate) struct Once {
    /// Nodes that start later than others are to learn it, too, which takes a leader and a quorum.
    stay: Duration,
    leave_at: Option<Instant>,
}

impl Once {
    /// For a node with this greatest election timeout.
    pub(crate) fn new(election_timeout_max: Duration) -> Self {
        Self { stay: election_timeout_max * NO_LEADER_TIMEOUTS, leave_at: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.leave_at.is_some()
    }

    /// The job is done.
    pub(crate) fn finish(&mut self) {
        self.leave_at.get_or_insert_with(|| Instant::now() + self.stay);
    }

    /// Waits until the node need no longer stay, or forever if the job isn't done. Cancel-safe.
    pub(crate) async fn leave(&self) {
        match self.leave_at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }
}

/// Whether the leader says that the job is done.
pub(crate) fn says_done(status: &Status) -> bool {
    status.leader.is_some() && status.leader_value.as_bytes() == DONE.as_bytes()
}
