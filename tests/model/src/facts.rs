//! What has ever happened in a cluster, as a set of facts.

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::invariant::Invariant;
use crate::symmetry::Renaming;

/// A set of facts, one bit each: nothing that was ever said, won or promised is taken back.
pub(crate) type Facts = ruint::aliases::U256;

/// A set of this one fact.
pub(crate) fn fact(number: usize) -> Facts {
    Facts::ONE << number
}

/// Maps sets of facts, where each fact becomes another or disappears. It goes byte by byte, for
/// speed.
#[derive(Debug)]
pub(crate) struct Mapping(Vec<[Facts; 256]>);

impl Mapping {
    pub(crate) fn new(images: &[Option<usize>]) -> Self {
        let byte_image = |images: &[Option<usize>]| {
            let mut sets = [Facts::ZERO; 256];
            for (value, set) in sets.iter_mut().enumerate() {
                for (bit, image) in images.iter().enumerate() {
                    if let (1, Some(image)) = (value >> bit & 1, image) {
                        *set |= fact(*image);
                    }
                }
            }
            sets
        };
        Self(images.chunks(8).map(byte_image).collect())
    }

    pub(crate) fn apply(&self, facts: Facts) -> Facts {
        let bytes = facts.as_le_slice();
        let images = self.0.iter().zip(bytes);
        images.fold(Facts::ZERO, |all, (images, byte)| all | images[usize::from(*byte)])
    }
}

/// Which bit is what: first the messages, then who led which term, then who voted for whom.
#[derive(Debug)]
pub(crate) struct FactsLayout {
    nodes: usize,
    term_max: u8,
    messages: usize,
    /// For each term and cluster, all that may lead it.
    leaders: Vec<Facts>,
    /// For each term and node, all votes it may have.
    votes: Vec<Facts>,
}

impl FactsLayout {
    /// # Errors
    ///
    /// There are more facts than bits.
    pub(crate) fn new(cluster: Cluster, messages: usize) -> Result<Self> {
        let (leaders, votes) = (Vec::new(), Vec::new());
        let Cluster { nodes, term_max, .. } = cluster;
        let mut layout = Self { nodes, term_max, messages, leaders, votes };
        let (facts, bits) = (layout.len(), Facts::BITS);
        ensure!(facts <= bits, "{cluster}: there are {facts} facts to know, but only {bits} bits");
        let all = fact(nodes) - Facts::ONE;
        for term in 1..=term_max {
            for side in 0..2 {
                let of_side = cluster.all().filter(|node| cluster.side(*node) == side);
                let leaders = of_side.map(|node| fact(layout.leader_bit(term, node)));
                layout.leaders.push(leaders.fold(Facts::ZERO, |all, leader| all | leader));
            }
            let of_term = (0..nodes).map(|voter| all << layout.vote_bit(term, voter, 0));
            let of_term: Vec<Facts> = of_term.collect();
            layout.votes.extend(of_term);
        }
        Ok(layout)
    }

    /// How many facts there are.
    pub(crate) fn len(&self) -> usize {
        let terms = usize::from(self.term_max);
        self.messages + terms * self.nodes * (1 + self.nodes)
    }

    /// All messages.
    pub(crate) fn messages(&self) -> Facts {
        fact(self.messages) - Facts::ONE
    }

    /// The facts by which I1 and I2 are judged, in groups: of each, at most one fact may be true.
    pub(crate) fn exclusive(&self) -> Vec<Facts> {
        self.leaders.iter().chain(&self.votes).copied().collect()
    }

    pub(crate) fn message(&self, message: usize) -> Facts {
        fact(message)
    }

    pub(crate) fn leader(&self, term: u8, node: usize) -> Facts {
        fact(self.leader_bit(term, node))
    }

    /// That `voter` says it voted for `candidate`.
    pub(crate) fn vote(&self, term: u8, voter: usize, candidate: usize) -> Facts {
        fact(self.vote_bit(term, voter, candidate))
    }

    /// The invariant that these facts break, if any.
    pub(crate) fn broken_by(&self, facts: Facts) -> Option<Invariant> {
        let is_doubled = |group: &Facts| (facts & *group).count_ones() > 1;
        if self.leaders.iter().any(is_doubled) {
            return Some(Invariant::OneLeaderPerTerm);
        }
        self.votes.iter().any(is_doubled).then_some(Invariant::OneVotePerTerm)
    }

    /// What the facts become under new names.
    pub(crate) fn renamed(&self, renaming: &Renaming) -> Mapping {
        let nodes = &renaming.nodes;
        let terms = 1..=self.term_max;
        let mut images = renaming.messages.clone();
        for term in terms.clone() {
            images.extend(nodes.iter().map(|node| self.leader_bit(term, *node)));
        }
        for term in terms {
            for voter in nodes {
                images.extend(nodes.iter().map(|node| self.vote_bit(term, *voter, *node)));
            }
        }
        Mapping::new(&images.into_iter().map(Some).collect::<Vec<_>>())
    }

    /// What the facts become when the node's clock advances.
    pub(crate) fn aged(&self, ages: &[Option<(usize, Option<usize>)>], node: usize) -> Mapping {
        let image = |fact: usize| match ages.get(fact) {
            Some(Some((of, next))) if *of == node => *next,
            _ => Some(fact),
        };
        Mapping::new(&(0..self.len()).map(image).collect::<Vec<_>>())
    }

    fn leader_bit(&self, term: u8, node: usize) -> usize {
        self.messages + usize::from(term.saturating_sub(1)) * self.nodes + node
    }

    fn vote_bit(&self, term: u8, voter: usize, candidate: usize) -> usize {
        let leaders = self.messages + usize::from(self.term_max) * self.nodes;
        let row = usize::from(term.saturating_sub(1)) * self.nodes + voter;
        leaders + row * self.nodes + candidate
    }
}
