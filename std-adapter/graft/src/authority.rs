//! What allows this node's COMMAND to run.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use graft_election::{Config, Leadership, Mode, Node, State, Status};
use tokio::sync::watch;

/// A leadership as far as the mode knows of one.
#[derive(Debug)]
pub(crate) enum Authority {
    /// Extended mode: nobody else leads while the lease lasts.
    Lease(Leadership),
    /// Graft mode: the node leads in this term, as far as it knows.
    Term { term: u64, status: watch::Receiver<Arc<Status>> },
}

impl Authority {
    /// Waits until the node leads; for ever if it closes. Cancel-safe.
    pub(crate) async fn next(node: &Node, mode: Mode) -> Self {
        let next = match mode {
            Mode::Extended => node.wait_for_leadership().await.map(Self::Lease),
            Mode::Graft => {
                let mut status = node.watch();
                let leads = status.wait_for(|status| status.state == State::Leader).await;
                let term = leads.map(|status| status.term).ok();
                term.map(|term| Self::Term { term, status })
            }
        };
        match next {
            Some(authority) => authority,
            None => pending().await,
        }
    }

    /// The fencing token.
    pub(crate) fn token(&self) -> u64 {
        match self {
            Self::Lease(leadership) => leadership.token(),
            Self::Term { term, .. } => *term,
        }
    }

    /// Waits until the COMMAND should end. Cancel-safe.
    pub(crate) async fn ending(&self) {
        match self {
            Self::Lease(leadership) => leadership.ending().await,
            Self::Term { term, status } => {
                // An error says that the node is gone.
                let leads =
                    |status: &Arc<Status>| status.state == State::Leader && status.term == *term;
                let _ = status.clone().wait_for(|status| !leads(status)).await;
            }
        }
    }

    /// Waits until the COMMAND must be gone: for ever in Graft mode, where nobody knows when another
    /// leads. Cancel-safe.
    pub(crate) async fn over(&self) {
        match self {
            Self::Lease(leadership) => leadership.ending_within(MARGIN).await,
            Self::Term { .. } => pending().await,
        }
    }

    /// How long the COMMAND may run on by what is known now, if there is a limit.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        match self {
            Self::Lease(leadership) => Some(leadership.remaining().saturating_sub(MARGIN)),
            Self::Term { .. } => None,
        }
    }
}

/// How long before the end of the lease the COMMAND must be gone: half a heartbeat interval.
const MARGIN: Duration = Duration::from_millis(50);
const _: () = assert!(2 * MARGIN.as_millis() == Config::HEARTBEAT_INTERVAL.as_millis());
