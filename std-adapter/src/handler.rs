use std::panic::{AssertUnwindSafe, catch_unwind};

use graft_election_core::State;
use tokio::sync::mpsc;

use crate::events::{Event, EventKind, Events, Fault, Status};

/// The application's say in an election, for a node of this crate.
///
/// Both are asked afresh for each election, on a thread of their own. A call that takes longer than
/// half a heartbeat interval doesn't hold up the election: the node goes on with the last position
/// it knows, or refuses its vote, and reports [`Fault::HandlerStuck`]. It does the same if the call
/// panics: [`Fault::HandlerPanicked`].
pub trait Application: Send + Sync + 'static {
    /// How far this node's application has come: at most 64 bytes, opaque to everyone but its own
    /// kind.
    fn position(&self) -> Vec<u8>;

    /// Whether a candidate at `position` is up to date enough to lead.
    fn grants_vote(&self, position: &[u8]) -> bool;
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

/// What a node calls when something happens to it, in order, on a thread that it keeps for that.
///
/// A handler that is slow or stuck never holds up the election. It hears what it missed as
/// [`Fault::Missed`]. One that panics is told the next event all the same. Leases are not among
/// what it hears, since it may hear late: [`Node::leadership`](crate::Node::leadership) has them.
pub trait Handler: Application {
    /// The node's state changed.
    fn state_changed(&self, from: State, to: State, status: &Status);

    /// The node follows another leader than before, or none.
    fn leader_changed(&self, status: &Status);

    /// Something went wrong while the node runs, or its connection changed.
    fn fault(&self, fault: &Fault, status: &Status);
}

/// A change of state, as a [`ChannelHandler`] sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// What the node was.
    pub from: State,
    /// What it is.
    pub to: State,
}

/// A [`Handler`] that sends state changes and errors into two channels.
///
/// When a channel is full the handler waits, and beyond [`EVENTS_MAX`](crate::EVENTS_MAX) waiting
/// events the oldest are lost; the election goes on in any case. A channel whose receiver is gone
/// is ignored.
#[derive(Clone, Debug)]
pub struct ChannelHandler<M = AlwaysGrant> {
    states: mpsc::Sender<StateChange>,
    errors: mpsc::Sender<Fault>,
    application: M,
}

impl ChannelHandler {
    /// A handler for an application without a position.
    pub fn new(states: mpsc::Sender<StateChange>, errors: mpsc::Sender<Fault>) -> Self {
        Self::with_application(AlwaysGrant, states, errors)
    }
}

impl<M: Application> ChannelHandler<M> {
    /// A handler for an application whose `application` has a say.
    pub fn with_application(
        application: M,
        states: mpsc::Sender<StateChange>,
        errors: mpsc::Sender<Fault>,
    ) -> Self {
        Self { states, errors, application }
    }
}

impl<M: Application> Application for ChannelHandler<M> {
    fn position(&self) -> Vec<u8> {
        self.application.position()
    }

    fn grants_vote(&self, position: &[u8]) -> bool {
        self.application.grants_vote(position)
    }
}

impl<M: Application> Handler for ChannelHandler<M> {
    fn state_changed(&self, from: State, to: State, _status: &Status) {
        // The only error is that nobody listens any more.
        let _ = self.states.blocking_send(StateChange { from, to });
    }

    fn leader_changed(&self, _status: &Status) {}

    fn fault(&self, fault: &Fault, _status: &Status) {
        let _ = self.errors.blocking_send(fault.clone());
    }
}

/// Tells `handler` all of `events`, until the node has closed.
pub(crate) fn tell(handler: &dyn Handler, mut events: Events) {
    while let Some(Event { status, kind, .. }) = events.blocking_next() {
        // A panic is told by the program's panic hook; told as an event it might cause the next.
        let _ = catch_unwind(AssertUnwindSafe(|| match kind {
            EventKind::StateChanged { from, to } => handler.state_changed(from, to, &status),
            EventKind::LeaderChanged => handler.leader_changed(&status),
            EventKind::Fault(fault) => handler.fault(&fault, &status),
            EventKind::LeadershipGained { .. }
            | EventKind::LeadershipLost { .. }
            | EventKind::Refused { .. } => {}
        }));
    }
}
