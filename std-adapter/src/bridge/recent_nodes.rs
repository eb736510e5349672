use std::time::Duration;

use graft_election_core::NodeId;
use tokio::time::Instant;

/// How many nodes of one side are remembered: far more than vote.
const NODES_MAX: usize = 64;

/// How long a silent node is remembered. It may come back on the other side.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The nodes that were heard on one side in the last minute, each with what is kept for it.
#[derive(Debug)]
pub(super) struct RecentNodes<T> {
    nodes: Vec<(NodeId, Instant, T)>,
}

impl<T> RecentNodes<T> {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    pub(super) fn contains(&self, node: &NodeId, now: Instant) -> bool {
        self.nodes.iter().any(|(known, heard_at, _)| known == node && is_recent(*heard_at, now))
    }

    /// Whether a node was heard within this time.
    pub(super) fn heard_within(&self, span: Duration, node: &NodeId, now: Instant) -> bool {
        let is_it = |(known, heard_at, _): &(NodeId, Instant, T)| {
            known == node && now.saturating_duration_since(*heard_at) < span
        };
        self.nodes.iter().any(is_it)
    }

    /// What is kept for a node that was heard.
    pub(super) fn kept_mut(&mut self, node: &NodeId, now: Instant) -> Option<&mut T> {
        let is_it = |(known, heard_at, _): &&mut (NodeId, Instant, T)| {
            known == node && is_recent(*heard_at, now)
        };
        self.nodes.iter_mut().find(is_it).map(|(.., kept)| kept)
    }

    /// What is kept for each of them.
    pub(super) fn all_kept_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.nodes.iter_mut().map(|(.., kept)| kept)
    }

    /// Notes that a node was heard; false if it is not among them.
    pub(super) fn hear(&mut self, node: &NodeId, now: Instant) -> bool {
        let found = self.nodes.iter_mut().find(|(known, ..)| known == node);
        found.map(|(_, heard_at, _)| *heard_at = now).is_some()
    }

    /// Adds a node that was heard. Nodes that were silent for too long are removed, and if that
    /// leaves no room, so is the one that was silent for longest.
    pub(super) fn add(&mut self, node: NodeId, now: Instant, kept: T) {
        self.nodes.retain(|(known, heard_at, _)| *known != node && is_recent(*heard_at, now));
        if self.nodes.len() >= NODES_MAX {
            let heard_at = |index: &usize| self.nodes.get(*index).map(|(_, heard_at, _)| *heard_at);
            if let Some(silent) = (0..self.nodes.len()).min_by_key(heard_at) {
                self.nodes.swap_remove(silent);
            }
        }
        self.nodes.push((node, now, kept));
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.nodes.retain(|(known, ..)| known != node);
    }
}

fn is_recent(heard_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(heard_at) < SILENCE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> NodeId {
        NodeId::new(&format!("n{number}")).unwrap()
    }

    #[test]
    fn the_node_that_was_silent_for_longest_is_replaced() {
        let now = Instant::now();
        let mut nodes = RecentNodes::new();
        for number in 0..NODES_MAX {
            nodes.add(id(number), now + Duration::from_millis(number as u64), ());
        }
        let later = now + Duration::from_secs(1);
        assert!(nodes.hear(&id(0), later));
        nodes.add(id(NODES_MAX), later, ());
        assert!(nodes.contains(&id(0), later));
        assert!(!nodes.contains(&id(1), later));
        assert!(nodes.contains(&id(NODES_MAX), later));
    }

    #[test]
    fn a_node_that_is_not_heard_for_a_minute_is_forgotten() {
        let now = Instant::now();
        let mut nodes = RecentNodes::new();
        nodes.add(id(1), now, ());
        assert!(nodes.contains(&id(1), now + SILENCE_MAX - Duration::from_millis(1)));
        assert!(!nodes.contains(&id(1), now + SILENCE_MAX));
    }
}
