//! Who may vote, and who has.

use heapless::Vec;

use crate::NodeId;

/// The voters a node counts, each known by its place: all of them if they are declared, otherwise
/// the first `size` distinct ids that the current campaign heard of (rule V6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Electorate<const VOTERS: usize> {
    ids: Vec<NodeId, VOTERS, u8>,
    size: usize,
    declared: bool,
}

/// Why a vote does not count (rule V6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ineligible {
    Stranger,
    Surplus,
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

    /// Forgets the voters that an earlier campaign heard of.
    pub(crate) fn begin_campaign(&mut self) {
        if !self.declared {
            self.ids.clear();
        }
    }

    /// Whether nobody who has yet to be heard of can count: of the places that are taken, some may
    /// be those of nodes that came back under other ids (rule V9).
    pub(crate) fn is_full(&self) -> bool {
        !self.declared && self.ids.len() >= self.size
    }

    /// The voter at `place`.
    pub(crate) fn id(&self, place: usize) -> Option<&NodeId> {
        self.ids.get(place)
    }

    /// The place of the voter `id`.
    pub(crate) fn place(&mut self, id: &NodeId) -> Result<usize, Ineligible> {
        if let Some(place) = self.ids.iter().position(|known| known == id) {
            return Ok(place);
        }
        if self.declared {
            return Err(Ineligible::Stranger);
        }
        let place = self.ids.len();
        if place < self.size && self.ids.push(id.clone()).is_ok() {
            Ok(place)
        } else {
            Err(Ineligible::Surplus)
        }
    }
}

/// The votes for one candidate in one term, by voter and never by message (rule V6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Votes<const VOTERS: usize> {
    by_place: [bool; VOTERS],
    nameless: usize,
}

impl<const VOTERS: usize> Votes<VOTERS> {
    pub(crate) const fn none() -> Self {
        Self { by_place: [false; VOTERS], nameless: 0 }
    }

    /// Counts the vote of the voter at `place`, once.
    pub(crate) fn insert(&mut self, place: usize) {
        if let Some(vote) = self.by_place.get_mut(place) {
            *vote = true;
        }
    }

    /// Counts the vote of a Go node, which doesn't say who it is.
    pub(crate) fn insert_nameless(&mut self) {
        self.nameless = self.nameless.saturating_add(1);
    }

    pub(crate) fn count(&self) -> usize {
        let named = self.by_place.iter().filter(|voted| **voted).count();
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
            votes.insert(electorate.place(&id(name)).unwrap());
        }
        assert_eq!(votes.count(), 2);
    }

    #[test]
    fn v6_no_more_than_size_distinct_ids_count() {
        let mut electorate = Electorate::<5>::new(2, &[]);
        assert_eq!(electorate.place(&id("a")), Ok(0));
        assert_eq!(electorate.place(&id("b")), Ok(1));
        assert_eq!(electorate.place(&id("c")), Err(Ineligible::Surplus));
        electorate.begin_campaign();
        assert_eq!(electorate.place(&id("c")), Ok(0));
    }

    #[test]
    fn v6_only_declared_ids_count() {
        let mut electorate = Electorate::<5>::new(2, &[id("a"), id("b")]);
        assert_eq!(electorate.place(&id("b")), Ok(1));
        assert_eq!(electorate.place(&id("c")), Err(Ineligible::Stranger));
        electorate.begin_campaign();
        assert_eq!(electorate.place(&id("a")), Ok(0));
    }
}
