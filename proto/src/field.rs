//! What a field of a message can be, and how it is read and written.

use crate::decode::{Key, Reader, WireError};
use crate::encode::Writer;

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

/// A type that a field can have; its default is not sent.
pub(crate) trait Value<'a>: Copy + Default + PartialEq {
    const WIRE_TYPE: WireType;

    /// Reads the value of the field that is called `name`.
    fn read(reader: &mut Reader<'a>, name: &'static str) -> Result<Self, WireError>;

    fn write(self, writer: &mut Writer<'_>);
}

pub(crate) fn read_field<'a, V: Value<'a>>(
    reader: &mut Reader<'a>,
    key: Key,
    name: &'static str,
) -> Result<V, WireError> {
    if key.wire_type != V::WIRE_TYPE {
        let (field, at) = (name, key.at);
        return Err(WireError::WrongWireType { field, at });
    }
    V::read(reader, name)
}

pub(crate) fn write_field<'a, V: Value<'a>>(writer: &mut Writer<'_>, number: u32, value: V) {
    if value != V::default() {
        writer.key(number, V::WIRE_TYPE);
        value.write(writer);
    }
}

impl Value<'_> for u64 {
    const WIRE_TYPE: WireType = WireType::Varint;

    fn read(reader: &mut Reader<'_>, _name: &'static str) -> Result<Self, WireError> {
        reader.varint()
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.varint(self);
    }
}

impl Value<'_> for u32 {
    const WIRE_TYPE: WireType = WireType::Varint;

    /// Keeps the low half of a longer number, as protobuf demands.
    fn read(reader: &mut Reader<'_>, _name: &'static str) -> Result<Self, WireError> {
        reader.varint().map(|number| number as Self)
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.varint(u64::from(self));
    }
}

impl Value<'_> for bool {
    const WIRE_TYPE: WireType = WireType::Varint;

    fn read(reader: &mut Reader<'_>, _name: &'static str) -> Result<Self, WireError> {
        reader.varint().map(|number| number != 0)
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.varint(u64::from(self));
    }
}

impl<'a> Value<'a> for &'a str {
    const WIRE_TYPE: WireType = WireType::LengthDelimited;

    fn read(reader: &mut Reader<'a>, name: &'static str) -> Result<Self, WireError> {
        reader.text(name)
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.length_delimited(self.as_bytes());
    }
}

impl<'a> Value<'a> for &'a [u8] {
    const WIRE_TYPE: WireType = WireType::LengthDelimited;

    fn read(reader: &mut Reader<'a>, _name: &'static str) -> Result<Self, WireError> {
        reader.length_delimited()
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.length_delimited(self);
    }
}
