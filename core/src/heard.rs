//! What a node has heard of voters that are not in its record: the ids that answered it (rule V6),
//! or the first voters of a list that it fetches (rule R9). No node needs both.

use heapless::Vec;

use crate::electorate::Electorate;
use crate::{ListId, ListPart, NodeId, Report, VoteRecord, VoterList, VoterListError};

/// Where nobody is declared, the ids that the node has heard of in the current campaign: as many
/// as its cluster has voters, at most. Else the voters of a newer list, as far as they are there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heard<const VOTERS: usize> {
    ids: Vec<NodeId, VOTERS, u8>,
    /// How many voters the cluster has, if its nodes only say how many; else 0.
    size: usize,
    /// The list that is being fetched, and its root.
    fetched: Option<(ListId, ListId)>,
}

/// What has come of a part of a list (rule R9).
pub(crate) enum Part<const VOTERS: usize> {
    /// It is not the one that is needed next.
    Other,
    /// The next one is needed.
    Next,
    /// The list is whole.
    Last(VoterList<VOTERS>),
}

impl<const VOTERS: usize> Heard<VOTERS> {
    pub(crate) fn nobody(size: usize) -> Self {
        Self { ids: Vec::new(), size, fetched: None }
    }

    /// The ids that answered the current campaign.
    pub(crate) fn ids(&self) -> &[NodeId] {
        if self.fetched.is_none() { &self.ids } else { &[] }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Forgets the voters that an earlier campaign heard of.
    pub(crate) fn forget(&mut self) {
        if self.fetched.is_none() {
            self.ids.clear();
        }
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

    /// R9: the place, from 1 on, of the next voter of this list that the node needs.
    pub(crate) fn next_place(&self, list: ListId) -> u32 {
        let is_begun = self.fetched.is_some_and(|(fetched, _)| fetched == list);
        let have = if is_begun { self.ids.len() } else { 0 };
        u32::try_from(have).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// R9: takes a part of a list that the node needs. One of another list than before begins anew.
    pub(crate) fn take_part(
        &mut self,
        list: ListId,
        part: &ListPart,
    ) -> Result<Part<VOTERS>, VoterListError> {
        let root = part.root.unwrap_or(list);
        if self.fetched != Some((list, root)) {
            self.ids.clear();
            self.fetched = Some((list, root));
        }
        let too_long = VoterListError::TooLong { capacity: VOTERS };
        let count = usize::try_from(part.count.get()).ok().filter(|count| *count <= VOTERS);
        let count = count.ok_or(too_long)?;
        if part.place.get() != self.next_place(list) {
            return Ok(Part::Other);
        }
        self.ids
            .push(part.voter.clone())
            .map_err(|_| VoterListError::TooLong { capacity: VOTERS })?;
        if self.ids.len() < count {
            return Ok(Part::Next);
        }
        let whole = VoterList::restored(list, root, self.ids.iter().cloned());
        self.stop_fetching();
        whole.map(Part::Last)
    }

    /// The list that was being fetched is there, or isn't wanted any more.
    pub(crate) fn stop_fetching(&mut self) {
        if self.fetched.take().is_some() {
            self.ids.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
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
