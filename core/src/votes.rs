//! Who may vote, and who has.

use core::num::NonZeroU32;

use heapless::Vec;

use crate::{NodeId, Report};

/// The voters a node counts, each known by its index: all of them if they are declared, otherwise
/// the first `size` distinct ids that the current campaign heard of (rule V6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Electorate<const VOTERS: usize> {
    ids: Vec<NodeId, VOTERS, u8>,
    size: usize,
    declared: bool,
}

impl<const VOTERS: usize> Electorate<VOTERS> {
    pub(crate) fn new(size: usize, declared: &[NodeId]) -> Self {
        let ids = declared.iter().take(VOTERS).cloned().collect();
        Self { ids, size, declared: !declared.is_empty() }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn is_declared(&self) -> bool {
        self.declared
    }

    /// Whether `id` may take part, as far as anyone can tell.
    pub(crate) fn admits(&self, id: &NodeId) -> bool {
        !self.declared || self.ids.contains(id)
    }

    /// Whether `node` may be elected or lead with this node's help; `size` is the cluster size that
    /// it is configured with, if it says so. A leader that strangers elect, or that counts another
    /// quorum, may not be the only one of its term.
    pub(crate) fn check_voter(
        &self,
        node: &NodeId,
        size: Option<NonZeroU32>,
    ) -> Result<(), Report> {
        // V6
        if !self.admits(node) {
            return Err(Report::Stranger(node.clone()));
        }
        // L6: two sizes mean two quorums.
        match size.map(NonZeroU32::get) {
            Some(size) if usize::try_from(size) != Ok(self.size) => {
                Err(Report::SizeMismatch { node: node.clone(), size })
            }
            _ => Ok(()),
        }
    }

    /// Forgets the voters that an earlier campaign heard of.
    pub(crate) fn forget_heard(&mut self) {
        if !self.declared {
            self.ids.clear();
        }
    }

    /// Whether no voter that has yet to be heard of can count. Some of the ids that were heard may
    /// be gone: their nodes came back under other ids (rule V9).
    pub(crate) fn is_full(&self) -> bool {
        !self.declared && self.ids.len() >= self.size
    }

    /// The voter at `index`.
    pub(crate) fn id(&self, index: usize) -> Option<&NodeId> {
        self.ids.get(index)
    }

    /// The index of the voter `id`. Where no list is declared, a voter that is heard for the first
    /// time gets one.
    pub(crate) fn enroll(&mut self, id: &NodeId) -> Result<usize, Report> {
        if let Some(index) = self.ids.iter().position(|known| known == id) {
            return Ok(index);
        }
        if self.declared {
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

/// The votes for one candidate in one term, by voter and never by message (rule V6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Votes<const VOTERS: usize> {
    by_index: [bool; VOTERS],
    nameless: usize,
}

impl<const VOTERS: usize> Votes<VOTERS> {
    pub(crate) const fn none() -> Self {
        Self { by_index: [false; VOTERS], nameless: 0 }
    }

    /// Counts a vote. One whose voter has a name counts once.
    pub(crate) fn insert(&mut self, voter: Voter) {
        match voter {
            Voter::Named(index) => {
                if let Some(vote) = self.by_index.get_mut(index) {
                    *vote = true;
                }
            }
            Voter::Nameless => self.nameless = self.nameless.saturating_add(1),
        }
    }

    pub(crate) fn count(&self) -> usize {
        let named = self.by_index.iter().filter(|voted| **voted).count();
        named.saturating_add(self.nameless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn v6_a_voter_counts_once() {
        let mut electorate = Electorate::<5>::new(5, &[]);
        let mut votes = Votes::<5>::none();
        for name in ["a", "b", "a", "a"] {
            votes.insert(Voter::Named(electorate.enroll(&id(name)).unwrap()));
        }
        assert_eq!(votes.count(), 2);
    }

    #[test]
    fn v6_no_more_than_size_distinct_ids_count() {
        let mut electorate = Electorate::<5>::new(2, &[]);
        assert_eq!(electorate.enroll(&id("a")), Ok(0));
        assert_eq!(electorate.enroll(&id("b")), Ok(1));
        assert_eq!(electorate.enroll(&id("c")), Err(Report::SurplusVoter(id("c"))));
        electorate.forget_heard();
        assert_eq!(electorate.enroll(&id("c")), Ok(0));
    }

    #[test]
    fn v6_only_declared_ids_count() {
        let mut electorate = Electorate::<5>::new(2, &[id("a"), id("b")]);
        assert_eq!(electorate.enroll(&id("b")), Ok(1));
        assert_eq!(electorate.enroll(&id("c")), Err(Report::Stranger(id("c"))));
        electorate.forget_heard();
        assert_eq!(electorate.enroll(&id("a")), Ok(0));
    }
}
