//! What a search must have come across: a search that sees none of it proves nothing.

use std::fmt;

use crate::Cluster;

/// Something that must happen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A leader is elected in this term.
    Elected(u8),
    CandidateLoses,
    LeaderDeposed,
    SaveSucceedsLater,
    CrashBeforeSend,
    HandsOver,
    TakesOver,
    SuccessorHasVote,
}

/// A set of sights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sights(pub(crate) u32);

impl Sight {
    /// All that a search of `cluster` must come across.
    pub(crate) fn expected(cluster: Cluster) -> Vec<Self> {
        let mut sights: Vec<Self> = (1..=cluster.term_max).map(Self::Elected).collect();
        sights.extend([Self::SaveSucceedsLater, Self::CrashBeforeSend]);
        if cluster.term_max > 1 {
            sights.extend([Self::CandidateLoses, Self::LeaderDeposed]);
        }
        if cluster.leaving {
            sights.extend([Self::HandsOver, Self::TakesOver]);
            if cluster.term_max > 1 {
                sights.push(Self::SuccessorHasVote);
            }
        }
        sights
    }

    fn bit(self) -> u32 {
        let place = match self {
            Self::CandidateLoses => 0,
            Self::LeaderDeposed => 1,
            Self::SaveSucceedsLater => 2,
            Self::CrashBeforeSend => 3,
            Self::HandsOver => 4,
            Self::TakesOver => 5,
            Self::SuccessorHasVote => 6,
            Self::Elected(term) => 6 + u32::from(term),
        };
        1 << place
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elected(term) => write!(f, "a leader is elected in term {term}"),
            Self::CandidateLoses => f.write_str("a candidate loses"),
            Self::LeaderDeposed => f.write_str("a leader is deposed"),
            Self::SaveSucceedsLater => f.write_str("a save fails, and succeeds later"),
            Self::CrashBeforeSend => f.write_str("a node crashes between its save and its message"),
            Self::HandsOver => f.write_str("a leader hands over"),
            Self::TakesOver => f.write_str("a node takes over"),
            Self::SuccessorHasVote => f.write_str("a closing leader votes for its successor"),
        }
    }
}

impl Sights {
    pub(crate) fn insert(&mut self, sight: Sight) {
        self.0 |= sight.bit();
    }

    pub(crate) fn has(self, sight: Sight) -> bool {
        self.0 & sight.bit() != 0
    }
}
