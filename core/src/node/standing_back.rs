//! For whom a node stands back, and how often (rule C1a).

use heapless::Vec;

use crate::digest::hash;
use crate::{NodeId, Round};

/// For how many of its rounds a candidate has others stand back: one that can't hear their answers
/// asks in each, and must not keep them waiting for ever.
const ROUNDS_MAX: usize = 4;

/// The candidates for whom a node has stood back since it last heard a leader or voted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct StandingBack<const VOTERS: usize>(Vec<Candidate, VOTERS, u8>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Candidate {
    /// The hash of its id. Two ids that have the same share what they are granted.
    hash: u32,
    rounds: Vec<Option<Round>, ROUNDS_MAX, u8>,
}

impl<const VOTERS: usize> StandingBack<VOTERS> {
    /// Takes note of a candidate's round. Returns whether the node stands back for it: once, and in
    /// so many of a candidate's rounds.
    pub(super) fn note(&mut self, candidate: &NodeId, round: Option<Round>) -> bool {
        let hash = hash(candidate);
        if let Some(known) = self.0.iter_mut().find(|known| known.hash == hash) {
            return !known.rounds.contains(&round) && known.rounds.push(round).is_ok();
        }
        let first = Candidate { hash, rounds: Vec::from_array([round]) };
        self.0.push(first).is_ok()
    }

    /// For test tools: there is room for no candidate.
    #[cfg(feature = "test-clone")]
    pub(super) fn exhaust(&mut self) {
        while self.0.push(Candidate { hash: 0, rounds: Vec::new() }).is_ok() {}
    }

    /// Somebody was elected, or has this node's vote.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    #[test]
    fn c1a_a_node_stands_back_once_in_a_round_and_four_times_for_a_candidate() {
        let mut standing_back = StandingBack::<2>::default();
        let mut note = |name, round| standing_back.note(&id(name), Round::new(round));
        assert_eq!([1, 1, 2, 1, 3].map(|round| note("a", round)), [true, false, true, false, true]);
        assert_eq!([4, 5, 4].map(|round| note("a", round)), [true, false, false]);
        assert_eq!([note("b", 1), note("b", 1)], [true, false]);
        assert!(!note("c", 1), "there is no third voter");
        standing_back.forget();
        assert!(standing_back.note(&id("a"), Round::new(6)));
    }
}
