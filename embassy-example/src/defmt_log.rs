use graft_election_core::{NodeId, Report, VoteRecord};

use crate::{Observer, SendError, StateChange};

/// An [`Observer`] that logs with [`defmt`]: changes at level `info`, what is wrong at `warn`, and a
/// vote that could not be stored at `error`.
///
/// An observer that does more, with a light for instance, can hand on to it what it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefmtLog;

impl<L: defmt::Format, V: defmt::Format> Observer<L, V> for DefmtLog {
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
        defmt::info!("{} after {} in term {=u64}: {}", to, from, term, reason);
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

    fn receive_failed(&mut self, error: L) {
        defmt::warn!("nothing could be received: {}", error);
    }

    fn send_failed(&mut self, error: SendError<L>) {
        defmt::warn!("a message could not be sent: {}", error);
    }

    fn save_failed(&mut self, error: V) {
        defmt::error!("the vote could not be stored: {}", error);
    }
}
