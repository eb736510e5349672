//! Lists of voters, as a vote record keeps them (rules V6, R1).

use core::fmt;

use heapless::Vec;

use crate::{ListId, NodeId};

/// Who may vote in a cluster, and the ids by which nodes know which list that is (rule R1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VoterList<const VOTERS: usize> {
    id: ListId,
    root: ListId,
    voters: Vec<NodeId, VOTERS, u8>,
}

impl<const VOTERS: usize> VoterList<VOTERS> {
    /// The list of the voters that a cluster starts with. Their order makes no difference.
    ///
    /// # Errors
    ///
    /// [`VoterListError`] says why nobody could be elected by such a list.
    pub fn declared(voters: &[NodeId]) -> Result<Self, VoterListError> {
        Self::replaced_in(0, voters)
    }

    /// The list that holds from `term` on, in place of another (rule V6).
    ///
    /// # Errors
    ///
    /// As of [`declared`](Self::declared).
    pub fn replaced_in(term: u64, voters: &[NodeId]) -> Result<Self, VoterListError> {
        let id = ListId::replaced_in(term, voters);
        Self::restored(id, id, voters.iter().cloned())
    }

    /// A list that was stored: what [`id`](Self::id), [`root`](Self::root) and
    /// [`voters`](Self::voters) were.
    ///
    /// # Errors
    ///
    /// [`VoterListError`] if it isn't what any list was.
    pub fn restored(
        id: ListId,
        root: ListId,
        voters: impl IntoIterator<Item = NodeId>,
    ) -> Result<Self, VoterListError> {
        let mut list = Self { id, root, voters: Vec::new() };
        for voter in voters {
            let pushed = list.voters.push(voter);
            pushed.map_err(|_| VoterListError::TooLong { capacity: VOTERS })?;
        }
        if list.voters.is_empty() {
            return Err(VoterListError::Empty);
        }
        check_each_is_once(&list.voters)?;
        if id == root && id != ListId::replaced_in(id.term, &list.voters) {
            return Err(VoterListError::OtherVoters { id });
        }
        Ok(list)
    }

    /// The same list, with room for `OTHER` voters.
    ///
    /// # Errors
    ///
    /// [`VoterListError::TooLong`] if it has more.
    pub fn with_room_for<const OTHER: usize>(&self) -> Result<VoterList<OTHER>, VoterListError> {
        let too_long = VoterListError::TooLong { capacity: OTHER };
        let voters = Vec::from_slice(&self.voters).map_err(|_| too_long)?;
        Ok(VoterList { id: self.id, root: self.root, voters })
    }

    /// R5: the same voters, as the list of a leader of this term.
    pub(crate) fn seal(&mut self, term: u64) {
        self.id = ListId { term, version: 1 };
    }

    /// R7: the next list of the same leader has one more voter.
    ///
    /// # Errors
    ///
    /// There is no room for it, and nothing has changed.
    pub(crate) fn add(&mut self, next: ListId, voter: NodeId) -> Result<(), NodeId> {
        self.voters.push(voter)?;
        self.id = next;
        Ok(())
    }

    /// R7: the next list of the same leader has one voter less: the one at `index`, whose place the
    /// last one takes.
    pub(crate) fn remove(&mut self, next: ListId, index: usize) {
        if let Some(last) = self.voters.pop()
            && let Some(place) = self.voters.get_mut(index)
        {
            *place = last;
        }
        self.id = next;
    }

    /// Which list it is.
    pub fn id(&self) -> ListId {
        self.id
    }

    /// The list that was last set by hand, at the cluster's start or while all its voters were
    /// stopped, and of which this one has come; itself, if it was set so.
    pub fn root(&self) -> ListId {
        self.root
    }

    /// Which list it is, and of which it has come.
    pub(crate) fn id_and_root(&self) -> [&ListId; 2] {
        [&self.id, &self.root]
    }

    /// Its voters: at least one, and each once.
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }
}

/// What a vote record knows of its node's list of voters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordedList<const VOTERS: usize> {
    /// Which list it is, and no more: the record is one of an earlier version, or its node has
    /// joined Go nodes since, and declares nobody.
    Id(ListId),
    /// All of it.
    Whole(VoterList<VOTERS>),
}

impl<const VOTERS: usize> RecordedList<VOTERS> {
    /// Which list it is.
    pub fn id(&self) -> ListId {
        match self {
            Self::Id(id) => *id,
            Self::Whole(list) => list.id,
        }
    }

    /// The list that was set by hand and of which this one has come.
    pub fn root(&self) -> ListId {
        match self {
            Self::Id(id) => *id,
            Self::Whole(list) => list.root,
        }
    }

    /// The same, with room for `OTHER` voters.
    pub(crate) fn with_room_for<const OTHER: usize>(
        &self,
    ) -> Result<RecordedList<OTHER>, VoterListError> {
        match self {
            Self::Id(id) => Ok(RecordedList::Id(*id)),
            Self::Whole(list) => list.with_room_for().map(RecordedList::Whole),
        }
    }

    /// Whether it was itself set by hand.
    pub(crate) fn is_root(&self) -> bool {
        self.id() == self.root()
    }
}

/// A voter that is there twice would have two votes.
pub(crate) fn check_each_is_once(voters: &[NodeId]) -> Result<(), VoterListError> {
    let mut rest = voters;
    while let Some((voter, others)) = rest.split_first() {
        if others.contains(voter) {
            return Err(VoterListError::Repeated { voter: voter.clone() });
        }
        rest = others;
    }
    Ok(())
}

#[cfg(feature = "defmt")]
impl<const VOTERS: usize> defmt::Format for VoterList<VOTERS> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{} of {}: {}", self.id, self.root, self.voters());
    }
}

#[cfg(feature = "defmt")]
impl<const VOTERS: usize> defmt::Format for RecordedList<VOTERS> {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Id(id) => defmt::write!(f, "{}", id),
            Self::Whole(list) => defmt::write!(f, "{}", list),
        }
    }
}

/// Why ids are not a list of voters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VoterListError {
    /// There are none.
    Empty,
    /// There are more than there is room for.
    TooLong {
        /// How many there is room for.
        capacity: usize,
    },
    /// One of them is there twice.
    Repeated {
        /// Which one.
        voter: NodeId,
    },
    /// They are not the voters that the list was made of.
    OtherVoters {
        /// The list that they were said to be.
        id: ListId,
    },
}

impl fmt::Display for VoterListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a list of voters must not be empty"),
            Self::TooLong { capacity } => {
                write!(f, "there is room for {capacity} voters, and the list has more")
            }
            Self::Repeated { voter } => write!(f, "voter {voter} is declared twice"),
            Self::OtherVoters { id } => write!(f, "the voters are not those of list {id}"),
        }
    }
}

impl core::error::Error for VoterListError {}

#[cfg(test)]
mod tests {
    use super::*;

    type List = VoterList<3>;

    fn ids<const N: usize>(names: [&str; N]) -> [NodeId; N] {
        names.map(|name| NodeId::new(name).unwrap())
    }

    #[test]
    fn r1_a_list_set_by_hand_is_its_own_root() {
        let voters = ids(["b", "a"]);
        let list = List::replaced_in(7, &voters).unwrap();
        assert_eq!(list.id(), ListId::replaced_in(7, &voters));
        assert_eq!((list.root(), list.voters()), (list.id(), &voters[..]));
        assert_eq!(List::declared(&voters).unwrap().id(), ListId::declared(&voters));
    }

    #[test]
    fn r1_a_list_is_restored_as_it_was() {
        let list = List::replaced_in(7, &ids(["b", "a"])).unwrap();
        let again = List::restored(list.id(), list.root(), list.voters().iter().cloned());
        assert_eq!(again, Ok(list));
    }

    #[test]
    fn r1_a_list_stays_what_it_is_if_there_is_room_for_it() {
        let (id, root) = (ListId { term: 9, version: 2 }, ListId { term: 7, version: 1 });
        let list = List::restored(id, root, ids(["a", "b", "c"])).unwrap();
        let larger = list.with_room_for::<5>().unwrap();
        assert_eq!((larger.id(), larger.root(), larger.voters()), (id, root, list.voters()));
        assert_eq!(larger.with_room_for(), Ok(list));
        assert_eq!(larger.with_room_for::<2>(), Err(VoterListError::TooLong { capacity: 2 }));
    }

    #[test]
    fn v6_nobody_is_on_a_list_twice_and_nobody_is_left_out() {
        let twice = VoterListError::Repeated { voter: ids(["a"])[0].clone() };
        assert_eq!(List::declared(&ids(["a", "b", "a"])), Err(twice));
        let too_long = VoterListError::TooLong { capacity: 3 };
        assert_eq!(List::declared(&ids(["a", "b", "c", "d"])), Err(too_long));
        assert_eq!(List::declared(&[]), Err(VoterListError::Empty));
    }

    #[test]
    fn i8_a_list_that_was_set_by_hand_has_the_voters_that_its_id_says() {
        let id = ListId::replaced_in(7, &ids(["a", "b"]));
        let other = List::restored(id, id, ids(["a", "c"]));
        assert_eq!(other, Err(VoterListError::OtherVoters { id }));
    }
}
