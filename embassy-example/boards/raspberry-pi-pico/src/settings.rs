//! What distinguishes one board from another that runs the same firmware: the number of its flash
//! chip, and a word that is written to the flash separately from the program. The cluster's key
//! follows that word, if it has one.

use core::fmt::Write;

use embassy_rp::flash::Error;
use graft_election_core::{Config, NodeId};
use heapless::String;

use crate::flash::BoardFlash;

/// How many bytes the id of a board has.
pub(crate) const ID_LEN: usize = "pico-".len() + 16;

/// The name of the cluster, which keeps it apart from others on the same line.
pub(crate) const CLUSTER: &str = "boards";

/// The value of an erased word.
const ERASED: u32 = u32::MAX;

/// The settings of this board.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The number of the flash chip, unique to this board.
    pub(crate) chip_number: u64,
    /// How many voters the cluster has.
    size: u32,
}

impl Settings {
    /// Reads them from the flash.
    pub(crate) fn read(flash: &mut BoardFlash) -> Result<Self, SettingsError> {
        let chip_number = flash.chip_number().map_err(SettingsError::Flash)?;
        match flash.setting().map_err(SettingsError::Flash)? {
            ERASED => Err(SettingsError::NoSize),
            size => Ok(Self { chip_number, size }),
        }
    }

    /// The id of the node: `pico-` and the chip's number in 16 hexadecimal digits.
    pub(crate) fn id(&self) -> Option<NodeId> {
        let mut name = String::<ID_LEN>::new();
        write!(name, "pico-{:016x}", self.chip_number).ok()?;
        NodeId::new(&name).ok()
    }

    /// The cluster, with the default times, which all its nodes keep.
    pub(crate) fn config(&self) -> Config<'static> {
        Config::new(CLUSTER, self.size as usize)
    }
}

/// Why the settings can't be read.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub(crate) enum SettingsError {
    /// The flash can't be read.
    Flash(Error),
    /// The size of the cluster was never written. A guess could let two boards lead at once.
    NoSize,
}
