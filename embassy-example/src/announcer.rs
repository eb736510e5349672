//! Turns what can be seen of a node into calls of its observer.

use graft_election_core::{Application, Node, NodeId, State};
use rand_core::Rng;

use crate::{Observer, StateChange};

/// Keeps what the observer heard last, so that it hears only of changes.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    state: State,
    leader: Option<(NodeId, u64)>,
}

impl Announcer {
    /// Announces the report and the changes that an input brought about.
    pub(crate) fn announce<R: Rng, A: Application, T, V, const VOTERS: usize>(
        &mut self,
        node: &Node<R, A, VOTERS>,
        observer: &mut impl Observer<T, V>,
    ) {
        if let Some(report) = node.report() {
            observer.reported(report);
        }
        self.announce_changes(node, observer);
    }

    /// Announces the changes and leaves the report for later.
    pub(crate) fn announce_changes<R: Rng, A: Application, T, V, const VOTERS: usize>(
        &mut self,
        node: &Node<R, A, VOTERS>,
        observer: &mut impl Observer<T, V>,
    ) {
        if self.state != node.state() {
            observer.state_changed(StateChange {
                from: self.state,
                to: node.state(),
                reason: node.reason(),
                term: node.term(),
            });
            self.state = node.state();
        }
        let leader = node.leader().map(|leader| (leader.clone(), node.term()));
        if self.leader != leader {
            observer.leader_changed(node.leader(), node.term());
            self.leader = leader;
        }
    }
}
