//! Which node is which, as numbers: names are compared only where they enter the world.

use std::fmt;
use std::str::FromStr;

use graft_election_core::NodeId;

/// A machine's index in the world. It stays the same when the machine's program restarts, even
/// under another id. It is displayed as a letter, from `a` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(u8);

impl NodeIndex {
    /// The most nodes that a world has.
    pub const COUNT_MAX: usize = 12;

    /// The node at `index`.
    ///
    /// # Panics
    ///
    /// `index` is not below [`COUNT_MAX`](Self::COUNT_MAX).
    pub fn new(index: usize) -> Self {
        assert!(index < Self::COUNT_MAX, "a world has at most {} nodes", Self::COUNT_MAX);
        Self(index as u8)
    }

    /// The index in the list of all nodes.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    fn letter(self) -> char {
        char::from(b'a' + self.0)
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

impl FromStr for NodeIndex {
    type Err = UnknownNode;

    fn from_str(text: &str) -> Result<Self, UnknownNode> {
        match text.as_bytes() {
            [letter @ b'a'..=b'l'] => Ok(Self(letter - b'a')),
            _ => Err(UnknownNode(text.to_owned())),
        }
    }
}

/// A text that names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a node, a letter from a to l, not \"{0}\"")]
pub struct UnknownNode(String);

/// Who a node is to the election: its machine, and how often it came back there under a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The node's machine.
    pub index: NodeIndex,
    /// 1 at first; higher after its record was lost (rule V9).
    pub generation: u8,
}

impl Identity {
    /// The node of this machine, if its disk was never lost.
    pub fn first(index: NodeIndex) -> Self {
        Self { index, generation: 1 }
    }

    /// The id that this node has: `a`, and after its record was lost `a-2`.
    pub fn id(self) -> NodeId {
        NodeId::new(&self.to_string()).expect("letters and digits are a valid id")
    }

    /// Whose id this is; `None` if it is forged.
    pub fn of(id: &NodeId) -> Option<Self> {
        let (letter, generation) = match id.as_bytes() {
            [letter] => (letter, 1),
            [letter, b'-', digits @ ..] => {
                (letter, str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number > 1)?)
            }
            _ => return None,
        };
        let index = letter.checked_sub(b'a')?;
        let is_known = usize::from(index) < NodeIndex::COUNT_MAX;
        is_known.then_some(Self { index: NodeIndex(index), generation })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            1 => write!(f, "{}", self.index),
            generation => write!(f, "{}-{generation}", self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_node() {
        for (index, generation) in [(0, 1), (11, 1), (3, 2), (3, 255)] {
            let identity = Identity { index: NodeIndex::new(index), generation };
            assert_eq!(Identity::of(&identity.id()), Some(identity));
        }
        for forged in ["z", "a-1", "a-", "a-x", "a-256", "mallory"] {
            assert_eq!(Identity::of(&NodeId::new(forged).unwrap()), None, "{forged}");
        }
    }
}
