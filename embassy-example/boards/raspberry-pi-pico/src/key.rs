//! The cluster's key, which is one of the board's settings, and the seals that are made with it.

use embassy_rp::flash::Error;
use graft_election_core::NodeId;
use graft_election_embassy::{CountError, KEYS_LEN_MAX, VoteFlashError, VoteStore, keys_in_flash};
use graft_election_proto::seal::{KeyTextError, Keys, Seals};

use crate::VOTERS;
use crate::flash::{BoardFlash, Votes};
use crate::settings::CLUSTER;

/// Reads the key from the flash.
pub(crate) fn read(flash: &mut BoardFlash) -> Result<Keys, KeyError> {
    let mut text = [0; KEYS_LEN_MAX];
    flash.read_after_setting(&mut text).map_err(KeyError::Flash)?;
    keys_in_flash(&text).map_err(KeyError::Text)
}

/// What seals the board's messages. The start is counted before the board says anything.
pub(crate) async fn seals(
    keys: &Keys,
    id: NodeId,
    votes: &mut Votes,
) -> Result<Seals<VOTERS>, CountError<VoteFlashError>> {
    let starts = VoteStore::<VOTERS>::count_start(votes).await?;
    defmt::info!("start {=u32} with the cluster's key", starts);
    Ok(Seals::of_node(CLUSTER, keys, id, starts))
}

/// Why there is no key, without which this firmware must not speak.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub(crate) enum KeyError {
    /// The flash can't be read.
    Flash(Error),
    /// What it holds is not a key, nor two.
    Text(KeyTextError),
}
