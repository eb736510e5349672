//! How often a node may put off its own request for pre-votes (rules C1a, V8).

use graft_election_core::{NodeId, Round};

/// For how many of its rounds a candidate may have a node stand back.
const ROUNDS_MAX: usize = 4;

/// The candidates for whom a node has put off its timer since it last heard a leader or voted.
#[derive(Clone, Debug, Default)]
pub(super) struct StandingBack(Vec<Asked>);

/// A candidate's request for pre-votes, by its round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) candidate: NodeId,
    pub(super) round: Option<Round>,
}

impl StandingBack {
    /// The node puts its timer off for this request. Returns whether it may.
    pub(super) fn stands_back(&mut self, asked: &Asked) -> bool {
        let of_candidate = |known: &&Asked| known.candidate == asked.candidate;
        let may =
            !self.0.contains(asked) && self.0.iter().filter(of_candidate).count() < ROUNDS_MAX;
        self.0.push(asked.clone());
        may
    }

    /// It may have heard a leader, or voted.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
