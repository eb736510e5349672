use crate::NodeId;

/// The first number that is not a term (rule T4).
pub const TERM_END: u64 = 1 << 63;

/// What a node must never forget: its term, and whom it voted for in that term.
///
/// The only thing ever stored. It must be durable before a message that depends on it is sent (rule
/// T1), and a normal stop never deletes it (rule V1). The default is a node that has yet to see an
/// election.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VoteRecord {
    /// The latest term the node has seen, below [`TERM_END`].
    pub term: u64,
    /// Whom the node voted for in that term.
    pub voted_for: Option<NodeId>,
}
