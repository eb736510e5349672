use graft_election_core::{NodeId, Reason, Report, State, VoteRecord};

/// How an application follows the election: it turns on a light, or writes a log.
///
/// `T` is the error of the [`Transport`](crate::Transport), `V` that of the
/// [`VoteStore`](crate::VoteStore). Each method does nothing by default, is called from the
/// driver's loop, and must return soon. A change is reported before the message that goes with it
/// is sent, so that a node doesn't still look like the leader while a slow line carries its
/// farewell.
pub trait Observer<T, V> {
    /// The node `id` starts with the `record` that its vote store held.
    fn started<const VOTERS: usize>(&mut self, id: &NodeId, record: &VoteRecord<VOTERS>) {
        let _ = (id, record);
    }

    /// The node entered another state. It starts as a [`State::Follower`], which is not reported.
    fn state_changed(&mut self, change: StateChange) {
        let _ = change;
    }

    /// The node follows another leader in `term`, or leads itself; with `None` it no longer knows
    /// of any. The same leader in a later term counts as another.
    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        let _ = (leader, term);
    }

    /// An input revealed that something is wrong; the election goes on.
    fn reported(&mut self, report: &Report) {
        let _ = report;
    }

    /// The transport failed to receive; it is tried again after half a heartbeat interval.
    fn receive_failed(&mut self, error: T) {
        let _ = error;
    }

    /// A message was not sent, and is lost.
    fn send_failed(&mut self, error: SendError<T>) {
        let _ = error;
    }

    /// The vote record was not saved. Until it is, the node sends nothing that depends on it, and
    /// does not campaign (rules C4, C5).
    fn save_failed(&mut self, error: V) {
        let _ = error;
    }
}

/// The observer of an application that has no use for one.
impl<T, V> Observer<T, V> for () {}

/// A step from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StateChange {
    /// The state the node was in.
    pub from: State,
    /// The state it is in now.
    pub to: State,
    /// Why it changed.
    pub reason: Reason,
    /// The term it is in now.
    pub term: u64,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SendError<E> {
    /// The transport failed.
    #[error("the transport failed")]
    Transport(#[source] E),
    /// The transport took longer than a heartbeat interval.
    #[error("the transport took longer than a heartbeat interval")]
    TimedOut,
}
