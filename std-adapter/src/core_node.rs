//! The core's node as this adapter runs it, and what its parts share of it.

use graft_election_core::{Application, LeaderValue, Node, Position};
use rand::rngs::StdRng;

/// The most voters that a cluster of this crate's nodes can have.
pub const VOTERS_MAX: usize = 64;

/// How many voters a node has room for if its cluster has no more, as almost all have.
pub(crate) const VOTERS_FEW: usize = 7;

/// A vote record of this adapter's nodes.
pub type VoteRecord = graft_election_core::VoteRecord<VOTERS_MAX>;

/// A list of voters of this adapter's nodes.
pub type VoterList = graft_election_core::VoterList<VOTERS_MAX>;

/// What a vote record of this adapter's nodes knows of their list of voters.
pub type RecordedList = graft_election_core::RecordedList<VOTERS_MAX>;

/// The election itself, with the random source of this adapter.
pub(crate) type CoreNode<const VOTERS: usize> = Node<StdRng, Mailbox, VOTERS>;

/// Where the application's answers wait for the core.
///
/// The core can't wait for an application, so the driver asks before each input and leaves the
/// answers here. A grant is kept together with the position that was asked about: should an answer
/// ever meet another question than its own, the vote is refused.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    position: Position,
    granted: Option<Position>,
    value: LeaderValue,
}

impl Mailbox {
    /// Nothing has been asked yet.
    pub(crate) const EMPTY: Self =
        Self { position: Position::EMPTY, granted: None, value: LeaderValue::EMPTY };

    /// How far this node's application has come.
    pub(crate) fn set_position(&mut self, position: Position) {
        self.position = position;
    }

    /// The one position at which the application would accept a leader; `None` if it refused, did
    /// not answer or was not asked.
    pub(crate) fn set_granted(&mut self, position: Option<Position>) {
        self.granted = position;
    }

    /// What this node says while it leads (rule L7).
    pub(crate) fn value(&self) -> &LeaderValue {
        &self.value
    }

    pub(crate) fn set_value(&mut self, value: LeaderValue) {
        self.value = value;
    }
}

impl Application for Mailbox {
    fn position(&mut self) -> Position {
        self.position.clone()
    }

    fn grants_vote(&mut self, position: &[u8]) -> bool {
        self.granted.as_ref().is_some_and(|granted| granted.as_bytes() == position)
    }

    fn leader_value(&mut self) -> LeaderValue {
        self.value.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_few_voters_takes_little_memory() {
        let bytes = size_of::<CoreNode<VOTERS_FEW>>();
        assert!(bytes * 5 < size_of::<CoreNode<VOTERS_MAX>>(), "{bytes} bytes");
    }

    #[test]
    fn v4_a_grant_is_for_the_position_that_was_asked_about_and_no_other() {
        let position = |bytes: &[u8]| Position::new(bytes).unwrap();
        let mut mailbox = Mailbox::EMPTY;
        assert!(!mailbox.grants_vote(b""), "nothing was asked");
        mailbox.set_granted(Some(position(b"1")));
        assert!(mailbox.grants_vote(b"1"));
        assert!(!mailbox.grants_vote(b"2") && !mailbox.grants_vote(b""));
        mailbox.set_granted(None);
        assert!(!mailbox.grants_vote(b"1"));
    }
}
