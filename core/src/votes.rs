//! Who may vote, and who has.

use core::num::NonZeroU32;

use heapless::Vec;

use crate::{Life, ListId, NodeId, Report, Round, VoteRecord, quorum};

/// The voters a node counts, each known by its index: those on its list or, where nobody is
/// declared, the first distinct ids that the current campaign heard of (rule V6).
#[derive(Clone, Copy)]
pub(crate) struct Electorate<'n> {
    ids: &'n [NodeId],
    size: usize,
    /// The list, if there is one.
    list: Option<ListId>,
}

impl<'n> Electorate<'n> {
    /// That of a node with this record, which has heard of these ids.
    pub(crate) fn of<const VOTERS: usize>(
        record: &'n VoteRecord<VOTERS>,
        heard: &'n Heard<VOTERS>,
    ) -> Self {
        match record.voter_list() {
            Some(list) => {
                let ids = list.voters();
                Self { ids, size: ids.len(), list: Some(list.id()) }
            }
            None => Self { ids: &heard.ids, size: heard.size, list: None },
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn is_declared(&self) -> bool {
        self.list.is_some()
    }

    /// The declared list, if there is one.
    pub(crate) fn list(&self) -> Option<ListId> {
        self.list
    }

    /// Whether the list in a message of `sender` was replaced by this node's, on which `sender`
    /// still is (rule V6).
    pub(crate) fn is_left_behind(&self, sender: &NodeId, list: Option<ListId>) -> bool {
        let (Some(own), Some(list)) = (self.list, list) else {
            return false;
        };
        list.is_older_than(own) && self.ids.contains(sender)
    }

    /// Whether `id` may take part, as far as anyone can tell.
    pub(crate) fn admits(&self, id: &NodeId) -> bool {
        !self.is_declared() || self.ids.contains(id)
    }

    /// Whether `node` may be elected or lead with this node's help; `size` is the cluster size that
    /// it is configured with, and `list` its list of voters, if it says so. A leader that strangers
    /// elect, or that counts another quorum, may not be the only one of its term.
    pub(crate) fn check_voter(
        &self,
        node: &NodeId,
        size: Option<NonZeroU32>,
        list: Option<ListId>,
    ) -> Result<(), Report> {
        // V6
        if !self.admits(node) {
            return Err(Report::Stranger(node.clone()));
        }
        self.check_list(node, list)?;
        // L6: two sizes mean two quorums.
        match size.map(NonZeroU32::get) {
            Some(size) if usize::try_from(size) != Ok(self.size) => {
                Err(Report::SizeMismatch { node: node.clone(), size })
            }
            _ => Ok(()),
        }
    }

    /// V6: two lists may have quorums without a voter in common.
    fn check_list(&self, node: &NodeId, list: Option<ListId>) -> Result<(), Report> {
        match (self.list, list) {
            (Some(own), Some(list)) if own != list => {
                Err(Report::ListMismatch { node: node.clone(), list })
            }
            _ => Ok(()),
        }
    }

    /// Whether no voter that has yet to be heard of can count. Some of the ids that were heard may
    /// be gone: their nodes came back under other ids (rule V9).
    pub(crate) fn is_full(&self) -> bool {
        !self.is_declared() && self.ids.len() >= self.size
    }

    /// The voter at `index`.
    pub(crate) fn id(&self, index: usize) -> Option<&'n NodeId> {
        self.ids.get(index)
    }

    /// The index of the voter `id`, if it is declared or has been heard.
    pub(crate) fn find(&self, id: &NodeId) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }
}

/// The ids that a node without a list has heard of in the current campaign: as many as its cluster
/// has voters, at most (rule V6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heard<const VOTERS: usize> {
    ids: Vec<NodeId, VOTERS, u8>,
    size: usize,
}

impl<const VOTERS: usize> Heard<VOTERS> {
    pub(crate) fn nobody(size: usize) -> Self {
        Self { ids: Vec::new(), size }
    }

    /// Forgets the voters that an earlier campaign heard of.
    pub(crate) fn forget(&mut self) {
        self.ids.clear();
    }

    /// The index of the voter `id`, which answers and goes by `list`.
    pub(crate) fn enroll_answer(
        &mut self,
        record: &VoteRecord<VOTERS>,
        id: &NodeId,
        list: Option<ListId>,
    ) -> Result<usize, Report> {
        let index = self.enroll(record, id)?;
        Electorate::of(record, self).check_list(id, list).map(|()| index)
    }

    /// The index of the voter `id`. Where no list is declared, a voter that is heard for the first
    /// time gets one.
    pub(crate) fn enroll(
        &mut self,
        record: &VoteRecord<VOTERS>,
        id: &NodeId,
    ) -> Result<usize, Report> {
        let electorate = Electorate::of(record, self);
        if let Some(index) = electorate.find(id) {
            return Ok(index);
        }
        if electorate.is_declared() {
            return Err(Report::Stranger(id.clone()));
        }
        let index = self.ids.len();
        if index < self.size && self.ids.push(id.clone()).is_ok() {
            Ok(index)
        } else {
            Err(Report::SurplusVoter(id.clone()))
        }
    }
}

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
    use crate::VoterList;

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

    #[test]
    fn v6_no_more_than_size_distinct_ids_count() {
        let (record, mut heard) = (VoteRecord::default(), Heard::<5>::nobody(2));
        assert_eq!(heard.enroll(&record, &id("a")), Ok(0));
        assert_eq!(heard.enroll(&record, &id("b")), Ok(1));
        assert_eq!(heard.enroll(&record, &id("c")), Err(Report::SurplusVoter(id("c"))));
        heard.forget();
        assert_eq!(heard.enroll(&record, &id("c")), Ok(0));
    }

    #[test]
    fn v6_only_declared_ids_count() {
        let voters = [id("a"), id("b")];
        let record = VoteRecord::first(VoterList::declared(&voters).unwrap());
        let mut heard = Heard::<5>::nobody(2);
        assert_eq!(heard.enroll(&record, &id("b")), Ok(1));
        assert_eq!(heard.enroll(&record, &id("c")), Err(Report::Stranger(id("c"))));
        heard.forget();
        assert_eq!(heard.enroll(&record, &id("a")), Ok(0));
    }
}
