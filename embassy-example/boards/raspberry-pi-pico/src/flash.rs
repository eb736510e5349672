//! The flash chip beside the processor, from which the program runs as well.

use embassy_rp::dma::InterruptHandler;
use embassy_rp::flash::{Async, Error, Flash};
use embassy_rp::peripherals::{DMA_CH0, FLASH};
use embassy_rp::{Peri, bind_interrupts};
use graft_election_embassy::{RegionError, VoteFlash};

/// How many bytes it has.
const CAPACITY: usize = 2 << 20;

/// How many bytes the first setting takes.
const SETTING_LEN: usize = size_of::<u32>();

/// How many erasures of a sector the chip's maker guarantees.
pub(crate) const ERASE_CYCLES: u32 = 100_000;

/// The votes in the flash. They use the HAL's asynchronous driver because it writes words of four
/// bytes, as in the library's tests of power cuts.
pub(crate) type Votes = VoteFlash<Flash<'static, FLASH, Async, CAPACITY>>;

bind_interrupts!(struct Interrupts {
    DMA_IRQ_0 => InterruptHandler<DMA_CH0>;
});

unsafe extern "C" {
    // The addresses of these symbols, not their values, are offsets in the flash: see memory.x.
    safe static _settings_offset: u8;
    safe static _votes_offset: u8;
}

/// The whole flash. Since the program is in it, nothing else runs while it is written to or erased:
/// for a millisecond, or for the tenths of a second that an erasure may take.
pub(crate) struct BoardFlash(Flash<'static, FLASH, Async, CAPACITY>);

impl BoardFlash {
    /// The one flash, read through the DMA channel `channel`.
    pub(crate) fn new(flash: Peri<'static, FLASH>, channel: Peri<'static, DMA_CH0>) -> Self {
        Self(Flash::new(flash, channel, Interrupts))
    }

    /// The chip's unique number.
    pub(crate) fn chip_number(&mut self) -> Result<u64, Error> {
        let mut number = [0; 8];
        self.0.blocking_unique_id(&mut number)?;
        Ok(u64::from_be_bytes(number))
    }

    /// The first word of the settings.
    pub(crate) fn setting(&mut self) -> Result<u32, Error> {
        let mut word = [0; SETTING_LEN];
        self.0.blocking_read(offset(&raw const _settings_offset), &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    /// What follows that word.
    #[cfg(feature = "seal")]
    pub(crate) fn read_after_setting(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        let start = offset(&raw const _settings_offset);
        self.0.blocking_read(start + SETTING_LEN as u32, bytes)
    }

    /// The votes at the end of the flash.
    pub(crate) fn into_votes(self) -> Result<Votes, RegionError> {
        VoteFlash::new(self.0, offset(&raw const _votes_offset))
    }
}

fn offset(symbol: *const u8) -> u32 {
    // Addresses have 32 bits here.
    symbol.addr() as u32
}
