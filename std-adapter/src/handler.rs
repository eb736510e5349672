//! Callbacks and channels in place of [`Node::events`](crate::Node::events), as in the Go package:
//! a thin layer over it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use graft_election_core::State;
use tokio::sync::mpsc;

use crate::application::{AlwaysGrant, Application};
use crate::events::{Event, EventKind, Events, Fault, Status};
use crate::node::NodeBuilder;

/// An application that is also called when something happens to its node, in order, on a thread
/// that is there for that.
///
/// New programs need none: [`Node::events`](crate::Node::events) and
/// [`Node::watch`](crate::Node::watch) report the same and more, and
/// [`NodeBuilder::application`] takes the application alone.
///
/// A handler that is slow or stuck never holds up the election; the number of events that it missed
/// is reported to it as [`Fault::Missed`]. After a panic it is still called with the next event.
/// Leases are not reported to it, since it may be late:
/// [`Node::leadership`](crate::Node::leadership) has them.
pub trait Handler: Application {
    /// The node's state changed.
    fn state_changed(&self, from: State, to: State, status: &Status);

    /// The node follows another leader than before, or none.
    fn leader_changed(&self, status: &Status);

    /// Something went wrong. The node goes on.
    fn fault(&self, fault: &Fault, status: &Status);
}

impl NodeBuilder {
    /// The application of this node, which is also called when something happens to the node.
    ///
    /// This is [`application`](Self::application) and a thread that reads the node's events.
    pub fn handler(self, handler: impl Handler) -> Self {
        let handler = Arc::new(handler);
        self.application(Arc::clone(&handler)).listener(move |events| report_all(&*handler, events))
    }
}

fn report_all(handler: &impl Handler, mut events: Events) {
    while let Some(Event { status, kind, .. }) = events.blocking_next() {
        // The program's panic hook reports a panic. An event of its own might cause the next one.
        let _ = catch_unwind(AssertUnwindSafe(|| match kind {
            EventKind::StateChanged { from, to } => handler.state_changed(from, to, &status),
            EventKind::LeaderChanged => handler.leader_changed(&status),
            EventKind::Fault(fault) => handler.fault(&fault, &status),
            EventKind::LeadershipGained { .. }
            | EventKind::LeadershipLost { .. }
            | EventKind::Refused { .. }
            | EventKind::ValueChanged
            | EventKind::PauseChanged
            | EventKind::ConnectionRestored => {}
        }));
    }
}

/// A change of state, as a [`ChannelHandler`] sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
}

/// A [`Handler`] that sends state changes and faults into two channels.
///
/// When a channel is full the handler waits, and once more than [`EVENTS_MAX`](crate::EVENTS_MAX)
/// events are waiting, the oldest are lost; the election goes on in any case. A channel whose
/// receiver is gone is ignored.
#[derive(Clone, Debug)]
pub struct ChannelHandler<A = AlwaysGrant> {
    states: mpsc::Sender<StateChange>,
    errors: mpsc::Sender<Fault>,
    application: A,
}

impl ChannelHandler {
    /// A handler for an application without a position.
    pub fn new(states: mpsc::Sender<StateChange>, errors: mpsc::Sender<Fault>) -> Self {
        Self::with_application(AlwaysGrant, states, errors)
    }
}

impl<A: Application> ChannelHandler<A> {
    /// A handler for this `application`.
    pub fn with_application(
        application: A,
        states: mpsc::Sender<StateChange>,
        errors: mpsc::Sender<Fault>,
    ) -> Self {
        Self { states, errors, application }
    }
}

impl<A: Application> Application for ChannelHandler<A> {
    fn position(&self) -> Vec<u8> {
        self.application.position()
    }

    fn grants_vote(&self, position: &[u8]) -> bool {
        self.application.grants_vote(position)
    }
}

impl<A: Application> Handler for ChannelHandler<A> {
    fn state_changed(&self, from: State, to: State, _status: &Status) {
        // The only error is that the receiver is gone.
        let _ = self.states.blocking_send(StateChange { from, to });
    }

    fn leader_changed(&self, _status: &Status) {}

    fn fault(&self, fault: &Fault, _status: &Status) {
        let _ = self.errors.blocking_send(fault.clone());
    }
}
