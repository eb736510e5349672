//! Writes fields into a buffer that may turn out to be too small.

use core::fmt;

use crate::reader::Key;
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

    /// A field that holds a number of any width, or a truth value. Like any other, it is left out
    /// if it has its default.
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, WireType::Varint);
            self.varint(value);
        }
    }

    /// A field that holds a number of four bytes, since all of its bits are random.
    pub(crate) fn fixed(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.key(field, WireType::Fixed32);
            self.all(&value.to_le_bytes());
        }
    }

    /// A field that holds bytes, or a text.
    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.key(field, WireType::LengthDelimited);
            self.varint(bytes.len() as u64);
            self.all(bytes);
        }
    }

    fn key(&mut self, field: u32, wire_type: WireType) {
        self.varint(Key::new(field, wire_type).as_written().into());
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.buffer.get_mut(self.written) {
            *place = byte;
        }
        self.written = self.written.saturating_add(1);
    }

    fn all(&mut self, bytes: &[u8]) {
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
