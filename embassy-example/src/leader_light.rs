use embedded_hal::digital::OutputPin;
use graft_election_core::{NodeId, Report, State, VoteRecord};

use crate::{Observer, SendError, StateChange};

/// An [`Observer`] that has an output high for as long as the node leads, for people to see, and
/// hands on what it is told.
///
/// An output that fails is not heeded: the election goes on without its light.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaderLight<P, O> {
    output: P,
    next: O,
}

impl<P: OutputPin, O> LeaderLight<P, O> {
    /// The light at `output`, off; `next` is told too, `()` if nobody else is.
    pub fn new(mut output: P, next: O) -> Self {
        let _ = output.set_low();
        Self { output, next }
    }
}

impl<P: OutputPin, O: Observer<L, V>, L, V> Observer<L, V> for LeaderLight<P, O> {
    fn started(&mut self, id: &NodeId, record: &VoteRecord) {
        self.next.started(id, record);
    }

    fn state_changed(&mut self, change: StateChange) {
        let _ = self.output.set_state((change.to == State::Leader).into());
        self.next.state_changed(change);
    }

    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        self.next.leader_changed(leader, term);
    }

    fn reported(&mut self, report: &Report) {
        self.next.reported(report);
    }

    fn receive_failed(&mut self, error: L) {
        self.next.receive_failed(error);
    }

    fn send_failed(&mut self, error: SendError<L>) {
        self.next.send_failed(error);
    }

    fn save_failed(&mut self, error: V) {
        self.next.save_failed(error);
    }
}
