//! The cluster's key, which is one of the board's settings, and the seals that are made with it.

use core::pin::pin;
use core::{ptr, slice};

use embassy_futures::block_on;
use graft_election_core::NodeId;
use graft_election_embassy::{KEYS_LEN_MAX, VoteFlash, VoteStore, keys_in_flash};
use graft_election_proto::seal::{KeyTextError, Keys, Seals};

use crate::nor_flash::Flash;
use crate::settings::{CLUSTER, WORDS_END};
use crate::{VOTERS, fatal};

/// What seals the board's messages. The start is counted before the board says anything.
#[inline(never)]
pub(crate) fn seals(id: NodeId, votes: &mut VoteFlash<Flash>) -> Seals<VOTERS> {
    let keys = match read() {
        Ok(keys) => keys,
        Err(error) => fatal::no_start(error),
    };
    let starts = match block_on(pin!(VoteStore::<VOTERS>::count_start(votes))) {
        Ok(starts) => starts,
        Err(error) => fatal::no_start(error),
    };
    defmt::info!("start {=u32} with the cluster's key", starts);
    Seals::of_node(CLUSTER, &keys, id, starts)
}

fn read() -> Result<Keys, KeyTextError> {
    let text = ptr::with_exposed_provenance(WORDS_END);
    // SAFETY: this memory is there, and nobody writes to it.
    keys_in_flash(unsafe { slice::from_raw_parts(text, KEYS_LEN_MAX) })
}
