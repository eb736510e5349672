use graft_election_core::{NodeId, Report, VoteRecord};

use crate::{Observer, SendError, StateChange};

/// An [`Observer`] that logs with [`defmt`]: changes at level `info`, what is wrong at `warn`, and
/// a vote that could not be saved at `error`.
///
/// An observer that does more, with a light for instance, can forward each call to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefmtLog;

impl<T: defmt::Format, V: defmt::Format> Observer<T, V> for DefmtLog {
    fn started<const VOTERS: usize>(&mut self, id: &NodeId, record: &VoteRecord<VOTERS>) {
        let term = record.term;
        match &record.voted_for {
            Some(vote) => {
                defmt::info!("{} starts in term {=u64}, with a vote for {}", id, term, vote)
            }
            None => defmt::info!("{} starts in term {=u64}, without a vote", id, term),
        }
    }

    fn state_changed(&mut self, change: StateChange) {
        let StateChange { from, to, reason, term } = change;
        defmt::info!("{} -> {} in term {=u64}: {}", from, to, term, reason);
    }

    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        match leader {
            Some(leader) => defmt::info!("{} leads in term {=u64}", leader, term),
            None => defmt::info!("no leader in term {=u64}", term),
        }
    }

    fn reported(&mut self, report: &Report) {
        defmt::warn!("{}", report);
    }

    fn receive_failed(&mut self, error: T) {
        defmt::warn!("could not receive: {}", error);
    }

    fn send_failed(&mut self, error: SendError<T>) {
        defmt::warn!("could not send a message: {}", error);
    }

    fn save_failed(&mut self, error: V) {
        defmt::error!("could not save the vote: {}", error);
    }
}
