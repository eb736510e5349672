use defmt::Format;
use embedded_hal::digital::OutputPin;
use graft_election_core::{NodeId, Report, State, VoteRecord};

use crate::{Observer, SendError, StateChange};

/// The observer of most firmware: it logs the election through defmt, and has an output high for as
/// long as the node leads, which can carry a lamp.
///
/// An output that fails is not heeded: the lamp is for people, and the election goes on without.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefmtObserver<P> {
    led: P,
}

impl<P: OutputPin> DefmtObserver<P> {
    /// Watches a node that has just started. `led` becomes low, since the node follows.
    pub fn new(mut led: P) -> Self {
        let _ = led.set_low();
        Self { led }
    }
}

impl<P: OutputPin, L: Format, V: Format> Observer<L, V> for DefmtObserver<P> {
    fn started(&mut self, id: &NodeId, record: &VoteRecord) {
        match &record.voted_for {
            Some(vote) => {
                defmt::info!("{} starts in term {=u64}, its vote is {}'s", id, record.term, vote);
            }
            None => defmt::info!("{} starts in term {=u64}, without a vote", id, record.term),
        }
    }

    fn state_changed(&mut self, change: StateChange) {
        let StateChange { from, to, reason, term } = change;
        let _ = self.led.set_state((to == State::Leader).into());
        defmt::info!("{} -> {} in term {=u64}: {}", from, to, term, reason);
    }

    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        match leader {
            Some(leader) => defmt::info!("{} leads in term {=u64}", leader, term),
            None => defmt::info!("nobody leads in term {=u64}", term),
        }
    }

    fn reported(&mut self, report: &Report) {
        defmt::warn!("{}", report);
    }

    fn receive_failed(&mut self, error: L) {
        defmt::warn!("could not receive: {}", error);
    }

    fn send_failed(&mut self, error: SendError<L>) {
        defmt::warn!("could not send: {}", error);
    }

    fn save_failed(&mut self, error: V) {
        defmt::error!("could not save the vote: {}", error);
    }
}
