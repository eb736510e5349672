use std::sync::Arc;

/// What the application contributes to an election: how up to date this node is, and which
/// candidates are up to date enough to lead.
///
/// Both methods are called on a thread of their own, afresh for each election. A call that takes
/// longer than half a heartbeat interval doesn't delay the election: the node goes on with the last
/// position it knows, or refuses its vote, and reports
/// [`Fault::ApplicationStuck`](crate::Fault::ApplicationStuck). If a call panics, the node does the
/// same and reports [`Fault::ApplicationPanicked`](crate::Fault::ApplicationPanicked). A leader
/// never waits: it goes by an answer that it has already, and refuses without one.
pub trait Application: Send + Sync + 'static {
    /// How far this node's application has come: at most 64 bytes, which only applications of the
    /// same kind interpret.
    fn position(&self) -> Vec<u8>;

    /// Whether a candidate at `position` is up to date enough to lead.
    fn grants_vote(&self, position: &[u8]) -> bool;
}

impl<A: Application + ?Sized> Application for Arc<A> {
    fn position(&self) -> Vec<u8> {
        (**self).position()
    }

    fn grants_vote(&self, position: &[u8]) -> bool {
        (**self).grants_vote(position)
    }
}

/// An application without a position: every candidate is as good as any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysGrant;

impl Application for AlwaysGrant {
    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn grants_vote(&self, _position: &[u8]) -> bool {
        true
    }
}
