use graft_election_core::{NodeId, VoteRecord};

use super::Life;

/// What a node has said or stored, and must stand by for ever.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The highest term it has said or stored.
    pub(super) floor: u64,
    /// The last record that was seen on its disk.
    pub(super) stored: VoteRecord,
    /// Its votes, by rising terms.
    votes: Vec<(u64, NodeId)>,
    /// Its program, as last seen.
    pub(super) life: Option<Life>,
}

impl Claims {
    /// Notes a vote.
    ///
    /// # Errors
    ///
    /// The other candidate for whom it voted in that term.
    pub(super) fn vote(&mut self, term: u64, candidate: &NodeId) -> Result<(), NodeId> {
        match self.votes.binary_search_by_key(&term, |(term, _)| *term) {
            Ok(place) if self.votes[place].1 == *candidate => Ok(()),
            Ok(place) => Err(self.votes[place].1.clone()),
            Err(place) => {
                self.votes.insert(place, (term, candidate.clone()));
                Ok(())
            }
        }
    }

    /// Whether it voted for the candidate in that term.
    pub(super) fn voted_for(&self, term: u64, candidate: &NodeId) -> bool {
        let place = self.votes.binary_search_by_key(&term, |(term, _)| *term);
        place.is_ok_and(|place| self.votes[place].1 == *candidate)
    }
}
