//! What can be seen of a node from outside.

use rand_core::Rng;

use crate::role::Role;
use crate::{Application, Instant, Node, NodeId, Reason, Refusal, Report, State, VoteRecord};

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    /// When to call [`handle_timeout`](Self::handle_timeout) next, unless another input comes
    /// first.
    pub fn deadline(&self) -> Instant {
        self.role.deadline()
    }

    /// The node's own id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What the node is to its cluster. While it hands over in order to close, it is a follower.
    pub fn state(&self) -> State {
        self.role.state()
    }

    /// Why the node is in its [`state`](Self::state).
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The node's term: 0 before its first election.
    pub fn term(&self) -> u64 {
        self.record.term
    }

    /// The leader of the node's term, as far as it knows.
    pub fn leader(&self) -> Option<&NodeId> {
        match &self.role {
            Role::Follower { leader, .. } => leader.as_ref(),
            Role::Leader { .. } => Some(&self.id),
            Role::PreCandidate { .. }
            | Role::Candidate { .. }
            | Role::Closing { .. }
            | Role::Closed => None,
        }
    }

    /// Whom the node voted for in its term.
    pub fn vote(&self) -> Option<&NodeId> {
        self.record.voted_for.as_ref()
    }

    /// The vote record as it stands; stored or about to be.
    pub fn record(&self) -> &VoteRecord {
        &self.record
    }

    /// What was wrong with the latest input, if anything was. It stays until the next input; a save
    /// is none.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Why the latest input was refused, if it was. It stays until the next input.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The application.
    pub fn application_mut(&mut self) -> &mut S {
        &mut self.application
    }
}
