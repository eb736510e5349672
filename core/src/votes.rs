//! Who has voted.

use crate::{Life, Round, quorum};

/// Who gives a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voter {
    /// The voter at this index of the electorate.
    Named(usize),
    /// A Go node, which doesn't say who it is.
    Nameless,
}

/// The answers to one round of pre-votes, or in one campaign (rule N1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Count<const VOTERS: usize> {
    pub(crate) round: Round,
    votes: Votes<VOTERS>,
}

impl<const VOTERS: usize> Count<VOTERS> {
    pub(crate) const fn new(round: Round) -> Self {
        Self { round, votes: Votes::none() }
    }

    /// Takes note of an answer.
    ///
    /// # Errors
    ///
    /// The voter has answered as another process before (rule N4).
    pub(crate) fn note(&mut self, answer: Answer) -> Result<(), TwoLives> {
        self.votes.note(answer)
    }

    /// Whether a quorum of a cluster of `size` has given its vote.
    pub(crate) fn has_quorum(&self, size: usize) -> bool {
        self.votes.given >= quorum(size)
    }
}

/// What a voter answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) voter: Voter,
    pub(crate) life: Option<Life>,
    pub(crate) granted: bool,
}

/// A voter's answers came from two processes, so that none of them counts (rule N4).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TwoLives;

/// The votes for one candidate in one term, by voter and never by message (rule V6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Votes<const VOTERS: usize> {
    by_index: [Ballot; VOTERS],
    /// How many have been given, the nameless included.
    given: usize,
}

/// What one voter has answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ballot {
    Unheard,
    Heard {
        life: Option<Life>,
        granted: bool,
    },
    /// Two processes answered.
    Void,
}

impl<const VOTERS: usize> Votes<VOTERS> {
    const fn none() -> Self {
        Self { by_index: [Ballot::Unheard; VOTERS], given: 0 }
    }

    /// Takes note of an answer. A vote whose voter has a name counts once.
    fn note(&mut self, answer: Answer) -> Result<(), TwoLives> {
        let Answer { voter, life, granted } = answer;
        let index = match voter {
            Voter::Named(index) => index,
            Voter::Nameless => {
                self.given = self.given.saturating_add(granted.into());
                return Ok(());
            }
        };
        let Some(ballot) = self.by_index.get_mut(index) else {
            return Ok(());
        };
        let has_given = ballot.is_given();
        *ballot = match *ballot {
            Ballot::Unheard => Ballot::Heard { life, granted },
            Ballot::Heard { life: first, granted: before } if first == life => {
                Ballot::Heard { life, granted: granted || before }
            }
            Ballot::Heard { .. } | Ballot::Void => Ballot::Void,
        };
        match (has_given, ballot.is_given()) {
            (false, true) => self.given = self.given.saturating_add(1),
            (true, false) => self.given = self.given.saturating_sub(1),
            _ => {}
        }
        if *ballot == Ballot::Void { Err(TwoLives) } else { Ok(()) }
    }
}

impl Ballot {
    fn is_given(self) -> bool {
        matches!(self, Self::Heard { granted: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heard::Heard;
    use crate::{NodeId, VoteRecord};

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn vote(index: usize, life: u32) -> Answer {
        Answer { voter: Voter::Named(index), life: Life::new(life), granted: true }
    }

    #[test]
    fn v6_a_voter_counts_once() {
        let (record, mut heard) = (VoteRecord::default(), Heard::<5>::nobody(5));
        let mut votes = Votes::<5>::none();
        for name in ["a", "b", "a", "a"] {
            assert_eq!(votes.note(vote(heard.enroll(&record, &id(name)).unwrap(), 1)), Ok(()));
        }
        assert_eq!(votes.given, 2);
    }

    #[test]
    fn n4_a_voter_that_answers_as_two_processes_counts_for_nothing() {
        let mut votes = Votes::<3>::none();
        assert_eq!(votes.note(vote(0, 1)), Ok(()));
        assert_eq!(votes.note(vote(1, 7)), Ok(()));
        let denial = Answer { granted: false, ..vote(1, 8) };
        assert_eq!(votes.note(denial), Err(TwoLives));
        assert_eq!(votes.note(vote(1, 7)), Err(TwoLives));
        assert_eq!(votes.given, 1);
    }

    #[test]
    fn n4_a_denial_names_a_life_too() {
        let mut votes = Votes::<3>::none();
        assert_eq!(votes.note(Answer { granted: false, ..vote(1, 8) }), Ok(()));
        assert_eq!(votes.note(vote(1, 7)), Err(TwoLives));
        assert_eq!(votes.given, 0);
    }
}
