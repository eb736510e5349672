use crate::{NodeId, RecordedList, VoterList, VoterListError};

/// The first number that is not a term (rule T4).
pub const TERM_END: u64 = 1 << 63;

/// What a node must never forget: its term, whom it voted for in that term, by which list of voters
/// it goes, for how long it promises to help to elect no one, whether it is paused, and how often
/// it has started with a key.
///
/// The only thing ever stored. It must be durable before a message that depends on it is sent (rule
/// T1), and a normal stop never deletes it (rule V1). The default is that of a node which has yet
/// to see an election; a declared voter starts with [`VoteRecord::first`] (rule N6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VoteRecord<const VOTERS: usize> {
    /// The latest term the node has seen, below [`TERM_END`].
    pub term: u64,
    /// Whom the node voted for in that term.
    pub voted_for: Option<NodeId>,
    /// The list of voters, if one was ever declared (rules V6, R1).
    pub list: Option<RecordedList<VOTERS>>,
    /// The longest promise that may still hold, in microseconds: the node's T_min at that time
    /// (rule V3). 0 if it never promised anything.
    pub bound_for: u32,
    /// An operator has asked the node not to lead (rule O3).
    pub is_paused: bool,
    /// How often the node has started with a cluster's key (rule K2). The driver counts it; the
    /// node only keeps it. 0 if it never had a key.
    pub starts: u32,
}

impl<const VOTERS: usize> VoteRecord<VOTERS> {
    /// The first record of a voter on this list.
    ///
    /// Somebody has to vouch that the id never voted: with a second first record it could vote
    /// twice in one term. So it is made once, by hand or at the factory, and a declared voter
    /// without a record doesn't start (rule N6).
    pub fn first(list: VoterList<VOTERS>) -> Self {
        Self { list: Some(RecordedList::Whole(list)), ..Self::default() }
    }

    /// The list of voters, if the record has all of it.
    pub fn voter_list(&self) -> Option<&VoterList<VOTERS>> {
        match &self.list {
            Some(RecordedList::Whole(list)) => Some(list),
            Some(RecordedList::Id(_)) | None => None,
        }
    }

    /// The list of voters, to be changed.
    pub(crate) fn voter_list_mut(&mut self) -> Option<&mut VoterList<VOTERS>> {
        match &mut self.list {
            Some(RecordedList::Whole(list)) => Some(list),
            Some(RecordedList::Id(_)) | None => None,
        }
    }

    /// The same record, with room for `OTHER` voters.
    ///
    /// # Errors
    ///
    /// [`VoterListError::TooLong`] if its list has more.
    pub fn with_room_for<const OTHER: usize>(&self) -> Result<VoteRecord<OTHER>, VoterListError> {
        Ok(VoteRecord {
            term: self.term,
            voted_for: self.voted_for.clone(),
            list: self.list.as_ref().map(RecordedList::with_room_for).transpose()?,
            bound_for: self.bound_for,
            is_paused: self.is_paused,
            starts: self.starts,
        })
    }

    /// Whether its node may ever have promised anything, so that one may hold still (rule V3).
    pub const fn may_have_promised(&self) -> bool {
        self.term > 0 || self.bound_for > 0
    }

    /// The record of a voter whose list was replaced by this one while all voters of both were
    /// stopped (rule V6). The term of the list must be above the terms of all of them; the vote in
    /// it is spent, on `id` itself. `bound_for` is the longest promise in their records: what was
    /// done under a lease of the old list may still be going on for as long.
    pub fn with_list(&self, id: &NodeId, list: VoterList<VOTERS>, bound_for: u32) -> Self {
        let term = list.id().term;
        let bound_for = bound_for.max(self.bound_for);
        let list = Some(RecordedList::Whole(list));
        Self { term, voted_for: Some(id.clone()), list, bound_for, ..self.clone() }
    }
}
