use graft_election_core::{ConfigError, Message, NodeId, Outgoing, Reason, Report, State};

use crate::judgement::Violation;
use crate::setup::VoteRecord;
use crate::{Flight, Identity, NodeIndex};

/// What came of a step, in the order in which it came.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A node's program started under this identity.
    Started(Identity, &'a VoteRecord),
    /// A node's program refused to start, because its disk has no valid record.
    DiskTorn(NodeIndex),
    /// A node's program refused to start.
    ConfigRefused(NodeIndex, ConfigError),
    /// A node heard a message.
    Heard(NodeIndex, &'a Message),
    /// A node's timer woke it.
    Woke(NodeIndex),
    /// A node's state, its reason or its term changed.
    Changed {
        /// Which node.
        node: NodeIndex,
        /// Its state before.
        before: State,
        /// Its state now.
        state: State,
        /// Why.
        reason: Reason,
        /// Its term now.
        term: u64,
    },
    /// A node follows another leader than before, or nobody.
    Follows(NodeIndex, Option<&'a NodeId>),
    /// A leader that had no lease has one now.
    Leased(NodeIndex),
    /// A node reported something wrong with its input.
    Reported(NodeIndex, &'a Report),
    /// A node began to save.
    Saving(NodeIndex, &'a VoteRecord),
    /// A save succeeded.
    Saved(NodeIndex),
    /// A save failed.
    SaveFailed(NodeIndex),
    /// A node sent a message. Sets of nodes have one bit for each.
    Sent {
        /// Who sent it.
        from: NodeIndex,
        /// What, and to whom.
        outgoing: &'a Outgoing,
        /// The nodes that it is on its way to.
        reached: u16,
        /// The nodes whose link is cut.
        cut: u16,
    },
    /// A message in flight was lost.
    Lost(&'a Flight),
    /// A node's program crashed. The flag says whether a save was under way.
    Crashed(NodeIndex, bool),
    /// A closed node's program ended.
    Ended(NodeIndex),
    /// The checker found a rule broken.
    Violated(&'a Violation),
}

/// Hears what happens in a world.
pub trait Observer {
    /// Something happened.
    fn observe(&mut self, event: Event<'_>);
}

/// Ignores everything.
impl Observer for () {
    fn observe(&mut self, _: Event<'_>) {}
}

impl<F: FnMut(Event<'_>)> Observer for F {
    fn observe(&mut self, event: Event<'_>) {
        self(event);
    }
}
