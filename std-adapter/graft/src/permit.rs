//! What permits this node's COMMAND to run, and for how long.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use graft_election::{Leadership, Mode, Node, State, Status};
use tokio::sync::watch;

use crate::machine_clock::now;

/// A leadership, as far as the node's mode can tell.
#[derive(Debug)]
pub(crate) enum Permit {
    /// Extended mode: nobody else leads while the lease lasts.
    Lease {
        leadership: Leadership,
        /// How long before the end of the lease the COMMAND must be gone.
        margin: Duration,
    },
    /// Graft mode: as far as the node knows, it leads in this term.
    Term { term: u64, status: watch::Receiver<Arc<Status>> },
}

impl Permit {
    /// Waits until the node leads, or forever if it closes. Under a lease the COMMAND must be gone
    /// `margin` before its end. Cancel-safe.
    pub(crate) async fn next(node: &Node, mode: Mode, margin: Duration) -> Self {
        let next = match mode {
            Mode::Extended => {
                let leadership = node.wait_for_leadership().await;
                leadership.map(|leadership| Self::Lease { leadership, margin })
            }
            Mode::Graft => {
                let mut status = node.watch();
                let leads = status.wait_for(|status| status.state == State::Leader).await;
                let term = leads.map(|status| status.term).ok();
                term.map(|term| Self::Term { term, status })
            }
        };
        match next {
            Some(permit) => permit,
            None => pending().await,
        }
    }

    /// The fencing token.
    pub(crate) fn token(&self) -> u64 {
        match self {
            Self::Lease { leadership, .. } => leadership.token(),
            Self::Term { term, .. } => *term,
        }
    }

    /// Waits until the COMMAND should end. Cancel-safe.
    pub(crate) async fn ending(&self) {
        match self {
            Self::Lease { leadership, .. } => leadership.ending().await,
            Self::Term { term, status } => {
                let leads =
                    |status: &Arc<Status>| status.state == State::Leader && status.term == *term;
                // An error means that the node is gone.
                let _ = status.clone().wait_for(|status| !leads(status)).await;
            }
        }
    }

    /// Waits until the COMMAND must be gone. In Graft mode that is forever, because nobody knows
    /// when another node begins to lead. Cancel-safe.
    pub(crate) async fn expired(&self) {
        match self {
            Self::Lease { leadership, margin } => leadership.ending_within(*margin).await,
            Self::Term { .. } => pending().await,
        }
    }

    /// When the COMMAND must be gone, on the [clock](crate::machine_clock) of this machine, if
    /// there is a limit.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        // Read before what is left of the lease, so that an interruption in between shortens it.
        let now = now();
        Some(now + self.time_left()?)
    }

    /// How long the COMMAND may run from now on, if there is a limit.
    fn time_left(&self) -> Option<Duration> {
        match self {
            Self::Lease { leadership, margin } => {
                Some(leadership.remaining().saturating_sub(*margin))
            }
            Self::Term { .. } => None,
        }
    }
}
