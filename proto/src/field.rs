//! A message as a table of its fields, and the one loop that reads all messages: code for each of
//! them took more than twice the flash.

use crate::reader::{Key, Reader, WireError};
use crate::wire_type::WireType;

/// No message has more fields.
const FIELDS_MAX: usize = 13;

/// A field of a message.
pub(crate) struct Field {
    pub(crate) key: Key,
    /// As `graft.proto` has it.
    pub(crate) name: &'static str,
}

/// The value of a field. Only what the field's wire type asks for is ever set; what was not sent is
/// the default.
#[derive(Clone, Copy, Default)]
pub(crate) struct Value<'a> {
    pub(crate) number: u64,
    pub(crate) bytes: &'a [u8],
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
    // Fields mostly come in the order of the table.
    let mut next = 0_usize;
    while let Some(key) = reader.next_key() {
        let is_next = fields.get(next).is_some_and(|field| field.key == key);
        let at = if is_next { Some(next) } else { fields.iter().position(|it| it.key == key) };
        let known = at.and_then(|at| Some((at, values.get_mut(at)?)));
        let is_read = match known {
            Some((at, value)) => {
                next = at.saturating_add(1);
                read_value(&mut reader, key, value)
            }
            None => skip_field(fields, &mut reader, key),
        };
        if is_read.is_none() {
            break;
        }
    }
    reader.finish()
}

fn read_value<'a>(reader: &mut Reader<'a>, key: Key, value: &mut Value<'a>) -> Option<()> {
    match key.wire_type() {
        Some(WireType::LengthDelimited) => value.bytes = reader.length_delimited()?,
        Some(WireType::Fixed32) => value.number = reader.fixed32()?.into(),
        _ => value.number = reader.varint()?,
    }
    Some(())
}

/// Skips a field that the table doesn't have.
#[cold]
#[inline(never)]
fn skip_field(fields: &[Field], reader: &mut Reader<'_>, key: Key) -> Option<()> {
    match fields.iter().find(|field| field.key.number() == key.number()) {
        Some(field) if key.wire_type().is_some() => {
            let at = reader.key_at();
            reader.fail(WireError::WrongWireType { field: field.name, at })
        }
        _ => reader.skip(key),
    }
}
