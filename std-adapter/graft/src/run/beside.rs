//! What accompanies the node, and holds nothing up: the leader file, and the script that learns of
//! changes.

use anyhow::Error;
use graft_election::{Event, Mode, Node, Status};
use tokio::sync::mpsc;

use super::on_change::OnChange;

/// They are there, or not.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) leader_file_faults: Option<mpsc::Receiver<Error>>,
    pub(crate) on_change: Option<OnChange>,
}

/// What went wrong with one of them.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Its machine name.
    pub(crate) reason: &'static str,
    pub(crate) error: Error,
}

impl Beside {
    /// The node has started.
    pub(crate) fn started(&mut self, status: &Status) {
        if let Some(on_change) = &mut self.on_change {
            on_change.started(status);
        }
    }

    /// Takes in what has happened to the node.
    pub(crate) fn see(&mut self, event: &Event, mode: Mode) {
        if let Some(on_change) = &mut self.on_change {
            on_change.see(event, mode);
        }
    }

    /// The node has closed.
    pub(crate) fn closed(&mut self, status: &Status) {
        if let Some(on_change) = &mut self.on_change {
            on_change.closed(status);
        }
    }

    /// Goes on with all of it, and waits until something is done, or has gone wrong. Cancel-safe.
    pub(crate) async fn next(&mut self, node: &Node) -> Result<(), Fault> {
        let leader_file = async {
            match &mut self.leader_file_faults {
                Some(faults) => faults.recv().await,
                None => None,
            }
        };
        let on_change = async {
            match &mut self.on_change {
                Some(on_change) => on_change.next(node).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(error) = leader_file => Err(Fault { reason: "leader_file_failed", error }),
            ended = on_change => ended.map_err(|failure| {
                let error = Error::new(failure).context("the script for changes failed");
                Fault { reason: "on_change_failed", error }
            }),
        }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.on_change.as_ref().is_none_or(OnChange::is_done)
    }
}
