//! Which list of voters a node goes by (rule V6).

use core::cmp::Ordering;
use core::fmt;

use crate::NodeId;
use crate::digest::Digest;

/// How many bits of the checksum of a list name it: few enough to take three bytes on the wire.
const ORIGIN_BITS: u32 = 21;

/// Names a declared list of voters, in messages and in the vote record (rule V6).
///
/// Nodes whose lists differ give each other neither a vote nor an acknowledgement: two lists may
/// have quorums without a voter in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ListId {
    /// The term from which the list holds: 0 for the list that a cluster started with.
    pub term: u64,
    /// Tells the list from others of its term; never 0.
    pub version: u32,
}

impl ListId {
    /// The list that a cluster of these voters starts with. Their order makes no difference.
    pub fn declared(voters: &[NodeId]) -> Self {
        Self::replaced_in(0, voters)
    }

    /// The list of these voters that holds from `term` on.
    pub fn replaced_in(term: u64, voters: &[NodeId]) -> Self {
        let mut digest = Digest::new();
        let mut last: Option<&NodeId> = None;
        // In ascending order, each once, without room to sort them in.
        while let Some(next) = voters.iter().filter(|id| Some(*id) > last).min() {
            digest.update(next);
            last = Some(next);
        }
        let version = digest.finish() & ((1 << ORIGIN_BITS) - 1);
        Self { term, version: version.max(1) }
    }

    /// Whether it is a list of the same voters, as far as its version can tell.
    pub fn has_voters_of(self, other: Self) -> bool {
        self.version == other.version
    }

    /// Whether it was replaced by `other`. Of the lists that clusters start with, none is older
    /// than another: somebody made a mistake.
    pub(crate) fn is_older_than(self, other: Self) -> bool {
        let order = self.term.cmp(&other.term).then(self.version.cmp(&other.version));
        other.term > 0 && order == Ordering::Less
    }

    /// Whether one of the two was replaced by the other.
    pub(crate) fn is_ordered_with(self, other: Self) -> bool {
        self.is_older_than(other) || other.is_older_than(self)
    }
}

/// As `TERM.VERSION`.
impl fmt::Display for ListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<const N: usize>(names: [&str; N]) -> [NodeId; N] {
        names.map(|name| NodeId::new(name).unwrap())
    }

    #[test]
    fn v6_a_list_is_named_by_its_voters_in_any_order() {
        let list = ListId::declared(&ids(["a", "b", "c"]));
        assert_eq!(list, ListId::declared(&ids(["c", "a", "b"])));
        for other in [&ids(["a", "b", "d"])[..], &ids(["a", "b"]), &ids(["ab", "c"]), &[]] {
            assert_ne!(list, ListId::declared(other), "{other:?}");
        }
    }

    /// The number is that of another program's CRC-32C.
    #[test]
    fn v6_the_name_of_a_list_never_changes_its_meaning() {
        let list = ListId::declared(&ids(["a", "b", "c"]));
        assert_eq!((list.term, list.version), (0, 1_425_287));
        assert!(list.version < 1 << 21);
    }

    #[test]
    fn v6_a_list_is_older_than_the_one_that_replaced_it() {
        let list = |term, version| ListId { term, version };
        assert!(list(0, 7).is_older_than(list(5, 3)));
        assert!(list(4, 7).is_older_than(list(5, 3)));
        assert!(list(5, 2).is_older_than(list(5, 3)));
        assert!(!list(5, 3).is_older_than(list(5, 3)));
        assert!(!list(0, 2).is_older_than(list(0, 3)), "lists declared at the start");
        assert!(!list(5, 3).is_older_than(list(0, 9)));
    }
}
