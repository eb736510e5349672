//! Whether the node may campaign, as far as this program has a say in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use graft_election::Node;
use tokio::sync::watch;

/// Why the node must not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hindrance {
    /// Its check fails, or has not passed yet.
    Check,
    /// Its COMMAND has ended early too often.
    Command,
}

/// Holds the node back while something hinders it, and doesn't wait for its disk.
#[derive(Debug)]
pub(crate) struct Candidacy {
    hindrances: BTreeSet<Hindrance>,
    is_held_back: watch::Sender<bool>,
}

impl Candidacy {
    /// What hinders the node so far; it was started so.
    pub(crate) fn start(node: Arc<Node>, hindrances: BTreeSet<Hindrance>) -> Self {
        let (is_held_back, mut told) = watch::channel(!hindrances.is_empty());
        tokio::spawn(async move {
            while told.changed().await.is_ok() {
                let is_held_back = *told.borrow_and_update();
                node.hold_back(is_held_back).await;
            }
        });
        Self { hindrances, is_held_back }
    }

    /// Keeps the node from leading until this is over. One that leads hands over first.
    pub(crate) fn hinder(&mut self, by: Hindrance) {
        self.hindrances.insert(by);
        self.tell();
    }

    /// This no longer hinders the node.
    pub(crate) fn free(&mut self, from: Hindrance) {
        self.hindrances.remove(&from);
        self.tell();
    }

    /// Whether this hinders the node.
    pub(crate) fn is_hindered(&self, by: Hindrance) -> bool {
        self.hindrances.contains(&by)
    }

    fn tell(&self) {
        self.is_held_back.send_replace(!self.hindrances.is_empty());
    }
}
