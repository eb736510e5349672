//! What comes of an input: nothing, a message, or a vote to store before one.

use core::fmt;

use rand_core::Rng;

use super::Node;
use super::saying::Saying;
use crate::{Application, Instant, Outgoing, VoteRecord};

/// What a node asks of its driver in answer to one input: at most one message.
#[must_use = "an output that is ignored is a message never sent, or a vote never stored"]
pub enum Output<'n, R: Rng, A: Application, const VOTERS: usize> {
    /// Nothing to do.
    Idle,
    /// Send this message.
    Send(Outgoing),
    /// Store the vote record, then call [`Unsaved::saved`].
    Save(Unsaved<'n, R, A, VOTERS>),
}

impl<R: Rng, A: Application, const VOTERS: usize> fmt::Debug for Output<'_, R, A, VOTERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("Idle"),
            Self::Send(outgoing) => f.debug_tuple("Send").field(outgoing).finish(),
            Self::Save(unsaved) => f.debug_tuple("Save").field(unsaved.record()).finish(),
        }
    }
}

/// A vote record that must be durable before the node says anything that depends on it (rule T1,
/// invariant I6).
///
/// The message waits inside, and the node is borrowed: until [`saved`](Self::saved) hands the
/// message out, there is nothing to send and no other input can reach the node.
///
/// Dropping it, because the save failed or was cancelled, forgets the message and nothing else. The
/// node keeps its vote, and asks for the same save again with its next output (rule C4).
///
/// # What does not compile
///
/// This is the order that works:
///
/// ```
/// # use graft_election_core::*;
/// # struct Seven;
/// # impl rand_core::TryRng for Seven {
/// #     type Error = core::convert::Infallible;
/// #     fn try_next_u32(&mut self) -> Result<u32, Self::Error> { Ok(7) }
/// #     fn try_next_u64(&mut self) -> Result<u64, Self::Error> { Ok(7) }
/// #     fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
/// #         dst.fill(7);
/// #         Ok(())
/// #     }
/// # }
/// # let start = Instant::from_micros(0);
/// # let id = NodeId::new("a").unwrap();
/// # let (config, record) = (Config::new("c", 3), VoteRecord::default());
/// # let mut node = Node::<_, _, 3>::new(id, &config, record, AlwaysGrant, Seven, start).unwrap();
/// # fn save(_: &VoteRecord<3>) {}
/// # fn send(_: Outgoing) {}
/// let due = node.deadline();
/// if let Output::Save(unsaved) = node.handle_timeout(due) {
///     save(unsaved.record());
///     if let Some(outgoing) = unsaved.saved(due) {
///         send(outgoing);
///     }
/// }
/// let next = node.handle_timeout(due);
/// # let _ = next;
/// ```
///
/// There is no way to the message before the save, since only `saved` returns it:
///
/// ```compile_fail,E0616
/// # use graft_election_core::*;
/// # fn send(_: Outgoing) {}
/// fn too_early<R: rand_core::Rng, A: Application>(unsaved: Unsaved<'_, R, A, 3>) {
///     send(unsaved.next);
/// }
/// ```
///
/// Nor twice, since `saved` takes the value:
///
/// ```compile_fail,E0382
/// # use graft_election_core::*;
/// fn twice<R: rand_core::Rng, A: Application>(unsaved: Unsaved<'_, R, A, 3>, now: Instant) {
///     let first = unsaved.saved(now);
///     let second = unsaved.saved(now);
/// }
/// ```
///
/// And the next input can't be given while a save is open:
///
/// ```compile_fail,E0499
/// # use graft_election_core::*;
/// fn next_input<R: rand_core::Rng, A: Application>(node: &mut Node<R, A, 3>, now: Instant) {
///     if let Output::Save(unsaved) = node.handle_timeout(now) {
///         let _ = node.handle_timeout(now);
///         let _ = unsaved.saved(now);
///     }
/// }
/// ```
#[must_use = "the vote must be stored, and `saved` called, before the node can answer"]
pub struct Unsaved<'n, R: Rng, A: Application, const VOTERS: usize> {
    node: &'n mut Node<R, A, VOTERS>,
    /// What waits for the save.
    next: Option<Saying>,
}

impl<'n, R: Rng, A: Application, const VOTERS: usize> Unsaved<'n, R, A, VOTERS> {
    pub(super) fn new(node: &'n mut Node<R, A, VOTERS>, next: Option<Saying>) -> Self {
        Self { node, next }
    }

    /// The record to store. It replaces all earlier ones.
    pub fn record(&self) -> &VoteRecord<VOTERS> {
        self.node.record()
    }

    /// The node as it is now, to look at.
    pub fn node(&self) -> &Node<R, A, VOTERS> {
        self.node
    }

    /// Says that [`record`](Self::record) is durable; returns the message that waited for it, if
    /// there was one. `now` is read after the save.
    pub fn saved(mut self, now: Instant) -> Option<Outgoing> {
        let next = self.next.take();
        self.node.finish_save(now, next)
    }
}

impl<R: Rng, A: Application, const VOTERS: usize> Drop for Unsaved<'_, R, A, VOTERS> {
    fn drop(&mut self) {
        self.node.release_record();
    }
}
