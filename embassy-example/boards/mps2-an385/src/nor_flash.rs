//! The flash that the emulated machine lacks, made of memory that the emulator keeps in a file,
//! which survives a power cut. That memory would accept any byte anywhere; this accepts only what
//! flash does.

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Where the memory that is kept in a file begins.
const BASE: usize = 0x2100_0000;

/// A word of an erased page, and of a new chip.
const ERASED: u32 = u32::MAX;

/// The bytes of a word, which is programmed as a whole or not at all.
const WORD: usize = size_of::<u32>();

/// The flash memory. Erasing sets all bits of a page; programming clears bits of a word, and only
/// once.
#[derive(Debug)]
pub(crate) struct Flash(());

impl Flash {
    /// How many bytes it has: enough for the votes.
    const CAPACITY: usize = 4 * Self::ERASE_SIZE;

    /// The one flash memory.
    ///
    /// # Safety
    ///
    /// It must be called only once: two owners would erase each other's words.
    pub(crate) const unsafe fn take() -> Self {
        Self(())
    }

    /// The offsets of the words in `from..to`, if those are whole `unit`s of this flash.
    fn words(
        from: u32,
        to: Option<u32>,
        unit: usize,
    ) -> Result<impl Iterator<Item = usize>, FlashError> {
        let to = to.ok_or(FlashError::OutOfBounds)?;
        let (from, to) = (from as usize, to as usize);
        if !from.is_multiple_of(unit) || !to.is_multiple_of(unit) {
            return Err(FlashError::NotAligned);
        }
        if from > to || to > Self::CAPACITY {
            return Err(FlashError::OutOfBounds);
        }
        Ok((from..to).step_by(WORD))
    }

    fn word_at(offset: usize) -> *mut u32 {
        core::ptr::with_exposed_provenance_mut(BASE + offset)
    }

    fn read_word(offset: usize) -> u32 {
        // SAFETY: the callers have checked the offset, and nothing else uses this memory.
        unsafe { Self::word_at(offset).read_volatile() }
    }

    fn write_word(offset: usize, word: u32) {
        // SAFETY: as above.
        unsafe { Self::word_at(offset).write_volatile(word) }
    }
}

impl ErrorType for Flash {
    type Error = FlashError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = WORD;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let words = Self::words(offset, end(offset, bytes), WORD)?;
        for (at, bytes) in words.zip(bytes.chunks_exact_mut(WORD)) {
            bytes.copy_from_slice(&Self::read_word(at).to_le_bytes());
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        Self::CAPACITY
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = 4096;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        for at in Self::words(from, Some(to), Self::ERASE_SIZE)? {
            Self::write_word(at, ERASED);
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let (words, _) = bytes.as_chunks();
        for (at, word) in Self::words(offset, end(offset, bytes), WORD)?.zip(words) {
            if Self::read_word(at) != ERASED {
                return Err(FlashError::NotErased);
            }
            Self::write_word(at, u32::from_le_bytes(*word));
        }
        Ok(())
    }
}

/// What the flash refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, defmt::Format)]
pub(crate) enum FlashError {
    /// The region lies outside the flash.
    OutOfBounds,
    /// The region does not begin and end at the boundary of a word or, when erasing, of a page.
    NotAligned,
    /// A word to be programmed was not erased.
    NotErased,
}

impl core::fmt::Display for FlashError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::OutOfBounds => "the region lies outside the flash",
            Self::NotAligned => "the region is not aligned to a word or page",
            Self::NotErased => "the word is not erased",
        })
    }
}

impl core::error::Error for FlashError {}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::NotErased => NorFlashErrorKind::Other,
        }
    }
}

/// Where `bytes` that begin at `offset` end.
fn end(offset: u32, bytes: &[u8]) -> Option<u32> {
    u32::try_from(bytes.len()).ok().and_then(|len| offset.checked_add(len))
}
