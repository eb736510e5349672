//! A message as a table of its fields, and the one loop that reads and the one that writes them
//! all: code for each message took more than twice the flash.

use crate::reader::{Key, Reader, WireError};
use crate::wire_type::WireType;
use crate::writer::{EncodeError, Writer};

/// No message has more fields.
const FIELDS_MAX: usize = 11;

/// A field of a message.
pub(crate) struct Field {
    pub(crate) number: u32,
    /// As `graft.proto` has it.
    pub(crate) name: &'static str,
    pub(crate) content: Content,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A number of any width, or a truth value.
    Number,
    /// A number that takes four bytes, since all of its bits are random.
    Fixed,
    /// Bytes, or a text.
    Bytes,
}

impl Content {
    const fn wire_type(self) -> WireType {
        match self {
            Self::Number => WireType::Varint,
            Self::Fixed => WireType::Fixed32,
            Self::Bytes => WireType::LengthDelimited,
        }
    }
}

/// The value of a field. Only what the field's [`Content`] asks for is ever set; what is not set is
/// the default, which is not sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Value<'a> {
    pub(crate) number: u64,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Value<'a> {
    pub(crate) const fn of_number(number: u64) -> Self {
        Self { number, bytes: &[] }
    }

    pub(crate) const fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { number: 0, bytes }
    }
}

/// The values of a message, in the order of its table; those behind its last field are never set.
pub(crate) type Values<'a> = [Value<'a>; FIELDS_MAX];

/// Reads a payload. Unknown fields are skipped, and of a repeated one the last counts.
pub(crate) fn read_fields<'a>(
    fields: &[Field],
    payload: &'a [u8],
    values: &mut Values<'a>,
) -> Result<(), WireError> {
    let mut reader = Reader::new(payload);
    while let Some(key) = reader.next_key()? {
        let mut known = fields.iter().zip(values.iter_mut());
        match known.find(|(field, _)| field.number == key.number) {
            Some((field, value)) => *value = read_value(&mut reader, key, field)?,
            None => reader.skip(key)?,
        }
    }
    Ok(())
}

fn read_value<'a>(
    reader: &mut Reader<'a>,
    key: Key,
    field: &Field,
) -> Result<Value<'a>, WireError> {
    let Field { name, content, .. } = *field;
    if key.wire_type != content.wire_type() {
        return Err(WireError::WrongWireType { field: name, at: key.at });
    }
    Ok(match content {
        Content::Number => Value::of_number(reader.varint()?),
        Content::Fixed => Value::of_number(reader.fixed32()?.into()),
        Content::Bytes => Value::of_bytes(reader.length_delimited()?),
    })
}

/// Writes the values that are not the default at the front of `buffer`.
pub(crate) fn write_fields<'b>(
    fields: &[Field],
    values: &Values<'_>,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], EncodeError> {
    let mut writer = Writer::new(buffer);
    for (field, value) in fields.iter().zip(values) {
        if value.number != 0 {
            let wire_type = field.content.wire_type();
            writer.key(field.number, wire_type);
            match wire_type {
                // Its value has 32 bits.
                WireType::Fixed32 => writer.fixed32(value.number as u32),
                _ => writer.varint(value.number),
            }
        } else if !value.bytes.is_empty() {
            writer.key(field.number, WireType::LengthDelimited);
            writer.length_delimited(value.bytes);
        }
    }
    writer.finish()
}
