use core::fmt;

use crate::short_bytes::ShortBytes;

/// What a leader wants known with its leadership, 0 to [`LeaderValue::CAPACITY`] bytes (rule L7):
/// an address, for example, at which its clients find it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaderValue(ShortBytes<{ LeaderValue::CAPACITY }>);

impl LeaderValue {
    /// The most bytes a value may have.
    pub const CAPACITY: usize = 64;

    /// The empty value: that of a leader which says nothing more than that it leads.
    pub const EMPTY: Self = Self(ShortBytes::EMPTY);

    /// For those who lend an empty value.
    pub(crate) const EMPTY_REF: &'static Self = &Self::EMPTY;

    /// Takes `bytes` as a value.
    ///
    /// # Errors
    ///
    /// [`ValueTooLong`] if there are more than [`LeaderValue::CAPACITY`]; they are never cut.
    pub fn new(bytes: &[u8]) -> Result<Self, ValueTooLong> {
        ShortBytes::new(bytes).map(Self).ok_or(ValueTooLong { bytes: bytes.len() })
    }

    /// The value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Whether the leader says nothing.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// As text; what is not UTF-8 is replaced. It may be anything, so quote it on a terminal.
impl fmt::Display for LeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for LeaderValue {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:02x}", self.as_bytes());
    }
}

/// A leader's value has more than [`LeaderValue::CAPACITY`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ValueTooLong {
    /// How many it has.
    pub bytes: usize,
}

impl fmt::Display for ValueTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a leader's value has at most {} bytes, not {}",
            LeaderValue::CAPACITY,
            self.bytes
        )
    }
}

impl core::error::Error for ValueTooLong {}
