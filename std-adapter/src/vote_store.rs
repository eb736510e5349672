//! Where a node keeps its vote.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use graft_election_core::{NodeId, NodeIdError};

use crate::core_node::VoteRecord;

/// Where a node keeps its vote record and, with it, its own id.
///
/// Both methods may block. A store belongs to one node: two nodes that share one break rule V1.
pub trait VoteStore: Send + 'static {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Reads what was saved last; a node that never saved gets the default. Called once, at start.
    ///
    /// # Errors
    ///
    /// Whenever the answer is not certain: a node that guesses may vote twice in a term (rule V1).
    fn load(&mut self) -> Result<StoredVote, Self::Error>;

    /// Keeps `record` and `id` together, in place of what was kept before. Both are durable when
    /// this returns (rule T1).
    ///
    /// # Errors
    ///
    /// If they may not be durable. What is kept then is either the old record or the new one,
    /// complete (rule C4).
    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), Self::Error>;
}

/// An error of any store or transport, as events carry it.
pub type SharedError = Arc<dyn Error + Send + Sync>;

/// All that the driver needs of a vote store, whichever it is.
pub(crate) trait SaveVote: Send {
    /// Like [`VoteStore::save`].
    fn save_vote(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), SharedError>;
}

impl<V: VoteStore> SaveVote for V {
    fn save_vote(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), SharedError> {
        self.save(id, record).map_err(|error| Arc::new(error) as SharedError)
    }
}

/// What a store has kept for a node. The default is a new node's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredVote {
    /// The record to start from.
    pub record: VoteRecord,
    /// The id of the node that cast the vote; `None` if it never started, or was a Go node.
    pub id: Option<NodeId>,
    /// What an operator should know about the record.
    pub warnings: Vec<LoadWarning>,
}

/// Something odd about a stored vote. A node may start from it nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadWarning {
    /// The file is empty. A new Go node leaves it so until its first election, but so may a Go node
    /// that was killed while saving; then its vote is lost (rule V9).
    NoState,
    /// The node voted for a name that is not a node id, as Go nodes may. It can't be asked for that
    /// vote again, so the node starts from the next term, in which it is free to vote.
    VoteSpent {
        /// The term of that vote.
        term: u64,
        /// Why the name is not a node id.
        reason: NodeIdError,
    },
}

impl fmt::Display for LoadWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoState => f.write_str(
                "the vote file is empty: if this node has voted before, its vote is lost",
            ),
            Self::VoteSpent { term, reason } => write!(
                f,
                "the vote of term {term} is not for a node id, so the next term is taken: {reason}"
            ),
        }
    }
}

/// A vote store in memory, for tests and demonstrations: it forgets everything when the program
/// ends.
///
/// Clones share one memory, so a node that is restarted with a clone finds its vote again.
#[derive(Clone, Debug, Default)]
pub struct MemoryVotes {
    stored: Arc<Mutex<StoredVote>>,
}

impl MemoryVotes {
    /// The store of a node that has never voted.
    pub fn new() -> Self {
        Self::default()
    }
}

impl VoteStore for MemoryVotes {
    type Error = Infallible;

    fn load(&mut self) -> Result<StoredVote, Infallible> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(stored.clone())
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), Infallible> {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) =
            StoredVote { record: record.clone(), id: Some(id.clone()), warnings: Vec::new() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_a_restarted_node_finds_its_vote_again_in_a_clone() {
        let id = NodeId::new("a").unwrap();
        let record = VoteRecord {
            term: 3,
            voted_for: Some(NodeId::new("b").unwrap()),
            ..VoteRecord::default()
        };
        let mut votes = MemoryVotes::new();
        assert_eq!(votes.load().unwrap(), StoredVote::default());

        votes.clone().save(&id, &record).unwrap();

        let stored = votes.load().unwrap();
        assert_eq!((stored.record, stored.id), (record, Some(id)));
    }
}
