//! What the fields of a message can be, and how all of them are read and written.
//!
//! Every message is a table of its fields, and one loop reads and one writes them all: code for each
//! message and each type took more than twice the flash.

use crate::decode::{Key, Reader, WireError};
use crate::encode::{EncodeError, Writer};

/// How a value is laid out on the wire: the last three bits of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    LengthDelimited = 2,
    GroupStart = 3,
    GroupEnd = 4,
    Fixed32 = 5,
}

impl WireType {
    pub(crate) const fn from_key(key: u32) -> Option<Self> {
        match key & 7 {
            0 => Some(Self::Varint),
            1 => Some(Self::Fixed64),
            2 => Some(Self::LengthDelimited),
            3 => Some(Self::GroupStart),
            4 => Some(Self::GroupEnd),
            5 => Some(Self::Fixed32),
            _ => None,
        }
    }
}

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
    U64,
    U32,
    Bool,
    Text,
    Bytes,
}

impl Content {
    const fn wire_type(self) -> WireType {
        match self {
            Self::U64 | Self::U32 | Self::Bool => WireType::Varint,
            Self::Text | Self::Bytes => WireType::LengthDelimited,
        }
    }
}

/// The value of a field. Only what the field's [`Content`] tells of is ever set; what is not set is
/// the default, which is not sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Value<'a> {
    number: u64,
    text: &'a str,
    bytes: &'a [u8],
}

/// The values of a message, in the order of its table; those behind its last field are never set.
pub(crate) type Values<'a> = [Value<'a>; FIELDS_MAX];

/// No message has more fields.
const FIELDS_MAX: usize = 6;

/// Reads a payload. Unknown fields are skipped, and of a repeated one the last counts.
pub(crate) fn read_fields<'a>(
    fields: &[Field],
    payload: &'a [u8],
    values: &mut Values<'a>,
) -> Result<(), WireError> {
    let mut reader = Reader::new(payload);
    while let Some(key) = reader.next_key()? {
        let mut places = fields.iter().zip(values.iter_mut());
        match places.find(|(field, _)| field.number == key.number) {
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
    let mut value = Value::default();
    match content {
        Content::U64 | Content::U32 | Content::Bool => value.number = reader.varint()?,
        Content::Text => value.text = reader.text(name)?,
        Content::Bytes => value.bytes = reader.length_delimited()?,
    }
    Ok(value)
}

/// Writes the values that are not the default at the front of `buffer`.
pub(crate) fn write_fields<'b>(
    fields: &[Field],
    values: &Values<'_>,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], EncodeError> {
    let mut writer = Writer::new(buffer);
    for (field, value) in fields.iter().zip(values) {
        let bytes =
            if field.content == Content::Text { value.text.as_bytes() } else { value.bytes };
        if value.number != 0 {
            writer.key(field.number, WireType::Varint);
            writer.varint(value.number);
        } else if !bytes.is_empty() {
            writer.key(field.number, WireType::LengthDelimited);
            writer.length_delimited(bytes);
        }
    }
    writer.finish()
}

/// A type that a field can have.
pub(crate) trait FieldType<'a> {
    const CONTENT: Content;

    fn from_value(value: &Value<'a>) -> Self;

    fn write_value(self, value: &mut Value<'a>);
}

impl<'a> FieldType<'a> for u64 {
    const CONTENT: Content = Content::U64;

    fn from_value(value: &Value<'a>) -> Self {
        value.number
    }

    fn write_value(self, value: &mut Value<'a>) {
        value.number = self;
    }
}

impl<'a> FieldType<'a> for u32 {
    const CONTENT: Content = Content::U32;

    /// Keeps the low half of a longer number, as protobuf demands.
    fn from_value(value: &Value<'a>) -> Self {
        value.number as Self
    }

    fn write_value(self, value: &mut Value<'a>) {
        value.number = self.into();
    }
}

impl<'a> FieldType<'a> for bool {
    const CONTENT: Content = Content::Bool;

    fn from_value(value: &Value<'a>) -> Self {
        value.number != 0
    }

    fn write_value(self, value: &mut Value<'a>) {
        value.number = self.into();
    }
}

impl<'a> FieldType<'a> for &'a str {
    const CONTENT: Content = Content::Text;

    fn from_value(value: &Value<'a>) -> Self {
        value.text
    }

    fn write_value(self, value: &mut Value<'a>) {
        value.text = self;
    }
}

impl<'a> FieldType<'a> for &'a [u8] {
    const CONTENT: Content = Content::Bytes;

    fn from_value(value: &Value<'a>) -> Self {
        value.bytes
    }

    fn write_value(self, value: &mut Value<'a>) {
        value.bytes = self;
    }
}
