//! Lists of voters that differ, and how they are changed (rule V6).

use graft_election_core::{ListId, RecordedList};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Action, Plan, Simulation};
use crate::faults::Odds;
use crate::setup::VOTERS_MAX;
use crate::{Change, Condition, Moment, NodeIndex, Remains, Step};

/// The fewest voters that a list is left with.
const VOTERS_MIN: usize = 2;

/// How a list is changed, whether or not that is done as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Replaces,
    Adds,
    Removes,
}

impl Edit {
    fn draw(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..4) {
            0 => Self::Adds,
            1 => Self::Removes,
            _ => Self::Replaces,
        }
    }

    fn has_comer(self) -> bool {
        self != Self::Removes
    }

    fn has_leaver(self) -> bool {
        self != Self::Adds
    }

    /// Changes the list: the voter at the index `leaves` goes, or the node `comes` joins it.
    fn apply(self, voters: &mut Vec<NodeIndex>, leaves: usize, comes: NodeIndex) {
        match self {
            Self::Replaces => voters[leaves] = comes,
            Self::Adds if voters.len() < VOTERS_MAX => voters.push(comes),
            Self::Removes if voters.len() > VOTERS_MIN => {
                voters.remove(leaves);
            }
            Self::Adds | Self::Removes => {}
        }
    }
}

impl Simulation {
    /// The list of the cluster: the one that replaced all others, or else the one on most disks.
    pub(super) fn current_list(&self) -> Option<(ListId, Vec<NodeIndex>)> {
        let ids = self.world.nodes().filter_map(|node| self.list_of(node));
        let holders = |list: ListId| self.nodes_of(list).len();
        let current = ids.max_by_key(|list| (list.term, holders(*list), list.version))?;
        let holder = self.world.nodes().find(|node| self.list_of(*node) == Some(current))?;
        Some((current, self.world.listed(holder)?.to_vec()))
    }

    /// The nodes on whose disks this list is, and which are on it.
    pub(super) fn nodes_of(&self, list: ListId) -> Vec<NodeIndex> {
        let is_of = |node: &NodeIndex| {
            let is_listed = self.world.listed(*node).is_some_and(|list| list.contains(node));
            self.list_of(*node) == Some(list) && is_listed
        };
        self.world.nodes().filter(is_of).collect()
    }

    fn list_of(&self, node: NodeIndex) -> Option<ListId> {
        self.world.record(node)?.list.as_ref().map(RecordedList::id)
    }

    /// Somebody edits the list that a node declares, as if that changed the cluster; or restores
    /// it. It starts with no other than that of its record.
    pub(super) fn edit_list(&mut self, node: NodeIndex) {
        let Some(listed) = self.world.listed(node).map(<[NodeIndex]>::to_vec) else { return };
        let mut voters = listed.clone();
        if self.faults.list != Odds::NEVER && self.rng.random_bool(0.3) {
            let edit = Edit::draw(&mut self.rng);
            let (out, with) = (self.rng.random_range(0..voters.len()), self.any_node());
            let fits = !edit.has_comer() || !voters.contains(&with);
            if fits && (!edit.has_leaver() || voters[out] != node) {
                edit.apply(&mut voters, out, with);
            }
        }
        self.apply(&Step::Change { node, change: Change::Voters(voters) });
    }

    /// The offline change, perhaps of the cluster's size: all voters are stopped, and the records
    /// of all that stay or are new are rewritten. Sometimes one of the old voters is forgotten, and
    /// starts as it was.
    pub(super) fn change_list(&mut self) {
        let Some((old, voters)) = self.current_list() else { return };
        let holders = self.nodes_of(old);
        let outside: Vec<_> = self.world.nodes().filter(|node| !voters.contains(node)).collect();
        // Whoever can't be found must be fewer than a quorum.
        if holders.len() * 2 <= voters.len() || outside.is_empty() {
            return;
        }
        let mut new = voters.clone();
        let comes = outside[self.rng.random_range(0..outside.len())];
        let leaves = self.rng.random_range(0..new.len());
        Edit::draw(&mut self.rng).apply(&mut new, leaves, comes);
        let terms = self.world.nodes().filter_map(|node| self.world.record(node));
        let term = terms.map(|record| record.term).max().unwrap_or_default() + 1;
        let forgotten =
            self.rng.random_bool(0.4).then(|| holders[self.rng.random_range(0..holders.len())]);
        for node in self.world.nodes() {
            if self.world.condition(node) != Condition::Down {
                self.apply(&Step::Crash { node, remains: Remains::Old });
            }
        }
        for node in self.world.nodes() {
            let is_forgotten = forgotten == Some(node);
            if new.contains(&node) && !is_forgotten {
                self.apply(&Step::Rewrite { node, term, voters: new.clone() });
            }
            if new.contains(&node) || is_forgotten {
                self.plan(node);
            } else {
                // Its record is put away.
                self.plans[node.get()] = Plan { at: Moment::NEVER, action: Action::Rest };
            }
        }
    }
}
