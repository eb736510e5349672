use core::fmt;

use crate::short_bytes::ShortBytes;

/// The application's opaque position, 0 to [`Position::CAPACITY`] bytes: how up to date it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position(ShortBytes<{ Position::CAPACITY }>);

impl Position {
    /// The most bytes a position may have.
    pub const CAPACITY: usize = 64;

    /// The empty position: that of an application without one.
    pub const EMPTY: Self = Self(ShortBytes::EMPTY);

    /// Takes `bytes` as a position.
    ///
    /// # Errors
    ///
    /// [`PositionTooLong`] if there are more than [`Position::CAPACITY`]; they are never cut.
    pub fn new(bytes: &[u8]) -> Result<Self, PositionTooLong> {
        ShortBytes::new(bytes).map(Self).ok_or(PositionTooLong { bytes: bytes.len() })
    }

    /// The position's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Position {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:02x}", self.as_bytes());
    }
}

/// A position has more than [`Position::CAPACITY`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PositionTooLong {
    /// How many it has.
    pub bytes: usize,
}

impl fmt::Display for PositionTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a position has at most {} bytes, not {}", Position::CAPACITY, self.bytes)
    }
}

impl core::error::Error for PositionTooLong {}
