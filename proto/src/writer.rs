//! Writes keys and values into a buffer that may turn out to be too small.

use core::fmt;

use crate::wire_type::WireType;

/// The buffer is too small for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EncodeError {
    /// How many bytes the message takes.
    pub required: usize,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message takes {} bytes, more than the buffer has", self.required)
    }
}

impl core::error::Error for EncodeError {}

/// Writes at the front of a buffer. Past its end it only counts, so that the error can say how much
/// room it takes.
pub(crate) struct Writer<'b> {
    buffer: &'b mut [u8],
    written: usize,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, written: 0 }
    }

    pub(crate) fn key(&mut self, number: u32, wire_type: WireType) {
        self.varint(u64::from(number << 3 | wire_type as u32));
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.bytes(&[value as u8]);
    }

    pub(crate) fn fixed32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn length_delimited(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let room = self.buffer.get_mut(self.written..).unwrap_or_default();
        if let Some(place) = room.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.written = self.written.saturating_add(bytes.len());
    }

    /// What was written, if all of it was.
    pub(crate) fn finish(self) -> Result<&'b [u8], EncodeError> {
        let required = self.written;
        self.buffer.get(..required).ok_or(EncodeError { required })
    }
}
