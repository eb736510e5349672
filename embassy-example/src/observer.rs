use graft_election_core::{Application, Node, NodeId, Reason, Report, State, VoteRecord};
use rand_core::Rng;

/// The application's ear in the driver: it turns on a light, or writes a log.
///
/// `L` is the error of the [`Link`](crate::Link), `V` that of the
/// [`VoteStorage`](crate::VoteStorage). Every method does nothing unless it is written; each is
/// called within the driver's loop and must return soon. Changes are told before the message that
/// goes with them is sent, so that nobody takes a node for the leader while a slow line is still
/// busy with its farewell.
pub trait Observer<L, V> {
    /// The node `id` starts with the `record` that was found in its storage.
    fn started(&mut self, id: &NodeId, record: &VoteRecord) {
        let _ = (id, record);
    }

    /// The node entered another state. It starts as a [`State::Follower`], which is not told.
    fn state_changed(&mut self, change: StateChange) {
        let _ = change;
    }

    /// The node follows another leader, or leads itself, in `term`; or it knows of none any more.
    /// The same leader in a later term counts as another.
    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        let _ = (leader, term);
    }

    /// An input brought something wrong to light; the election goes on.
    fn reported(&mut self, report: &Report) {
        let _ = report;
    }

    /// The link failed to receive; it is tried again after half a heartbeat interval.
    fn receive_failed(&mut self, error: L) {
        let _ = error;
    }

    /// A message was not sent, and is lost.
    fn send_failed(&mut self, error: SendError<L>) {
        let _ = error;
    }

    /// The vote record was not stored: until it is, the node is silent in all that depends on it
    /// and does not campaign (rules C4, C5).
    fn save_failed(&mut self, error: V) {
        let _ = error;
    }
}

/// The observer of an application that does not care.
impl<L, V> Observer<L, V> for () {}

/// A step from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StateChange {
    /// The state it was in.
    pub from: State,
    /// The state it is in now.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// The term it is in now.
    pub term: u64,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SendError<E> {
    /// The link failed.
    #[error("the link failed")]
    Link(#[source] E),
    /// The link took longer than a heartbeat interval.
    #[error("the link took longer than a heartbeat interval")]
    TimedOut,
}

/// What an observer was told last, so that it is told of changes alone.
#[derive(Debug, Default)]
pub(crate) struct Told {
    state: State,
    leader: Option<(NodeId, u64)>,
}

impl Told {
    /// Tells of the report and the changes that an input brought about.
    pub(crate) fn tell_all<R: Rng, S: Application, L, V, const VOTERS: usize>(
        &mut self,
        node: &Node<R, S, VOTERS>,
        observer: &mut impl Observer<L, V>,
    ) {
        if let Some(report) = node.report() {
            observer.reported(report);
        }
        self.tell_changes(node, observer);
    }

    /// Tells of the changes alone, when the report has been told already.
    pub(crate) fn tell_changes<R: Rng, S: Application, L, V, const VOTERS: usize>(
        &mut self,
        node: &Node<R, S, VOTERS>,
        observer: &mut impl Observer<L, V>,
    ) {
        if self.state != node.state() {
            observer.state_changed(StateChange {
                from: self.state,
                to: node.state(),
                reason: node.reason(),
                term: node.term(),
            });
            self.state = node.state();
        }
        let leader = node.leader().map(|leader| (leader.clone(), node.term()));
        if self.leader != leader {
            observer.leader_changed(node.leader(), node.term());
            self.leader = leader;
        }
    }
}
