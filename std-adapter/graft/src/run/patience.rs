//! How long a node waits to lead before it gives up.

use std::future::pending;
use std::time::Duration;

use anyhow::{Error, anyhow};
use graft_election::{NodeId, Status};
use tokio::time::{Instant, sleep_until};

use crate::quorum::NO_LEADER_TIMEOUTS;

/// How long a node may take to lead for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Forever,
    For(Duration),
    /// Until another node leads, or until nobody has led for long.
    UntilOtherLeads {
        election_timeout_max: Duration,
    },
}

/// Notices when the time is up.
#[derive(Debug)]
pub(crate) struct Patience {
    wait: Wait,
    give_up_at: Option<Instant>,
    /// Another node that leads.
    other: Option<NodeId>,
}

impl Patience {
    /// It begins now.
    pub(crate) fn new(wait: Wait) -> Self {
        let time = match wait {
            Wait::Forever => None,
            Wait::For(time) => Some(time),
            Wait::UntilOtherLeads { election_timeout_max } => {
                Some(election_timeout_max * NO_LEADER_TIMEOUTS)
            }
        };
        // A time that the clock can't tell is none.
        let give_up_at = time.and_then(|time| Instant::now().checked_add(time));
        Self { wait, give_up_at, other: None }
    }

    /// The node leads, and so it has not waited in vain.
    pub(crate) fn end(&mut self) {
        *self = Self { wait: Wait::Forever, give_up_at: None, other: None };
    }

    /// Takes in what the node is from now on.
    pub(crate) fn see(&mut self, status: &Status) {
        self.other = status.leader.clone().filter(|leader| *leader != status.id);
        if self.other.is_some()
            && let Wait::UntilOtherLeads { .. } = self.wait
        {
            self.give_up_at = Some(Instant::now());
        }
    }

    /// Waits until the time is up, and tells why, or forever. Cancel-safe.
    pub(crate) async fn over(&self) -> Error {
        match self.give_up_at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
        match (&self.other, self.wait) {
            (Some(other), _) => anyhow!("gave up: node {other} leads"),
            (None, Wait::For(time)) => anyhow!("gave up: no node led after {time:?}"),
            (None, _) => anyhow!("gave up: no node led for long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_node_that_has_led_is_not_asked_again() {
        let mut patience = Patience::new(Wait::For(Duration::ZERO));
        assert_eq!(patience.over().await.to_string(), "gave up: no node led after 0ns");
        patience.end();
        assert!(patience.over().now_or_never().is_none());
    }
}
