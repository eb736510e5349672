use graft_election_core::{NodeId, VoteRecord};

use super::incarnation::Incarnation;

/// What a node has said and stored, which binds it for ever, however often its program restarts.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The highest term that it has said or stored.
    pub(super) floor: u64,
    /// The last record that was seen on its disk.
    pub(super) stored: VoteRecord,
    /// Its votes, by rising terms.
    votes: Vec<(u64, NodeId)>,
    /// Its program, as last seen.
    pub(super) incarnation: Option<Incarnation>,
}

impl History {
    /// Notes a vote.
    ///
    /// # Errors
    ///
    /// The other candidate for whom it voted in that term.
    pub(super) fn vote(&mut self, term: u64, candidate: &NodeId) -> Result<(), NodeId> {
        match self.votes.binary_search_by_key(&term, |(term, _)| *term) {
            Ok(index) if self.votes[index].1 == *candidate => Ok(()),
            Ok(index) => Err(self.votes[index].1.clone()),
            Err(index) => {
                self.votes.insert(index, (term, candidate.clone()));
                Ok(())
            }
        }
    }

    /// Whether it voted for the candidate in that term.
    pub(super) fn voted_for(&self, term: u64, candidate: &NodeId) -> bool {
        let index = self.votes.binary_search_by_key(&term, |(term, _)| *term);
        index.is_ok_and(|index| self.votes[index].1 == *candidate)
    }
}
