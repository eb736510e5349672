//! Whether the node may campaign, as far as this program has a say in it.

use std::sync::Arc;

use graft_election::{Mode, Node};
use tokio::sync::watch;

use crate::permit::Permit;

/// Keeps the node from leading, and has it hand over, without waiting for its disk.
#[derive(Debug)]
pub(crate) struct Candidacy {
    is_held_back: watch::Sender<bool>,
}

impl Candidacy {
    pub(crate) fn start(node: Arc<Node>, mode: Mode) -> Self {
        let (sender, mut is_held_back) = watch::channel(false);
        tokio::spawn(async move {
            while is_held_back.wait_for(|is_held_back| *is_held_back).await.is_ok() {
                tokio::select! {
                    permit = Permit::next(&node, mode, std::time::Duration::ZERO) => {
                        drop(permit);
                        node.hand_over(None).await;
                    }
                    _ = is_held_back.changed() => {}
                }
            }
        });
        Self { is_held_back: sender }
    }

    /// Keeps the node from leading, or no longer does. One that leads hands over first.
    pub(crate) fn hold_back(&self, is_held_back: bool) {
        self.is_held_back.send_replace(is_held_back);
    }
}
