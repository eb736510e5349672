use graft_election_core::{Instant, NodeId, Round};

use crate::setup::VoteRecord;

use super::incarnation::Incarnation;

/// What a node has said and stored, which binds it for ever, however often its program restarts.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The highest term that it has said or stored.
    pub(super) floor: u64,
    /// The last record that was seen on its disk.
    pub(super) stored: VoteRecord,
    /// Until when, by its clock, it has promised to help to elect no one (rules V2, V3).
    pub(super) promised_until: Option<Instant>,
    /// It has told an operator that it is paused, and obeyed no other word since (rule O3).
    pub(super) is_told_paused: bool,
    /// Its votes, by rising terms.
    votes: Vec<Vote>,
    /// Its program, as last seen.
    pub(super) incarnation: Option<Incarnation>,
}

/// A vote that a node gave or stored.
#[derive(Clone, Debug)]
struct Vote {
    term: u64,
    candidate: NodeId,
    /// The campaign, once the vote was given: a record doesn't name it.
    round: Option<Option<Round>>,
}

/// Why a vote must not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// On another candidate (rule V1).
    On(NodeId),
    /// On another campaign of the same candidate (rule N2).
    OnAnotherRound,
}

impl History {
    /// Notes a vote, with the campaign that it is for if it is given, not just stored.
    ///
    /// # Errors
    ///
    /// What the vote of that term went to before.
    pub(super) fn vote(
        &mut self,
        term: u64,
        candidate: &NodeId,
        given_in: Option<Option<Round>>,
    ) -> Result<(), Spent> {
        match self.votes.binary_search_by_key(&term, |vote| vote.term) {
            Ok(index) if self.votes[index].candidate == *candidate => {
                let known = &mut self.votes[index].round;
                match (*known, given_in) {
                    (Some(before), Some(round)) if before != round => Err(Spent::OnAnotherRound),
                    _ => {
                        *known = known.or(given_in);
                        Ok(())
                    }
                }
            }
            Ok(index) => Err(Spent::On(self.votes[index].candidate.clone())),
            Err(index) => {
                let vote = Vote { term, candidate: candidate.clone(), round: given_in };
                self.votes.insert(index, vote);
                Ok(())
            }
        }
    }

    /// Whether it voted for the candidate in that term, and in that campaign as far as is known.
    pub(super) fn voted_for(&self, term: u64, candidate: &NodeId, round: Option<Round>) -> bool {
        let index = self.votes.binary_search_by_key(&term, |vote| vote.term);
        index.is_ok_and(|index| {
            let vote = &self.votes[index];
            vote.candidate == *candidate && vote.round.is_none_or(|known| known == round)
        })
    }
}
