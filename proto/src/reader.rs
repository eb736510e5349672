//! Takes the keys and values of a payload off its front, and says where one is malformed.

use core::fmt;

use crate::wire_type::WireType;

/// How deep a field that is skipped may lie in groups; as deep as prost and the C++ original go.
const GROUPS_MAX: usize = 100;

/// Why a payload is not the message it should be (rule V7).
///
/// `at` is the offset in the payload of the first byte of the key, length or value at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WireError {
    /// The payload ends before the value does.
    Truncated {
        /// Where the value begins.
        at: usize,
    },
    /// A variable-length number doesn't fit 64 bits.
    VarintTooLong {
        /// Where the number begins.
        at: usize,
    },
    /// A key has a field number or a wire type that doesn't exist.
    InvalidKey {
        /// Where the key begins.
        at: usize,
    },
    /// A group ends that did not begin, or inside another one that began later.
    UnexpectedGroupEnd {
        /// Where the key of the group's end begins.
        at: usize,
    },
    /// Groups lie in groups, 100 deep.
    NestedTooDeep {
        /// Where the innermost begins.
        at: usize,
    },
    /// A field has another wire type than the message declares. The Go original skips such a
    /// field, but sends none.
    WrongWireType {
        /// The field, as `graft.proto` names it.
        field: &'static str,
        /// Where its key begins.
        at: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "the value at byte {at} is cut off"),
            Self::VarintTooLong { at } => write!(f, "the number at byte {at} exceeds 64 bits"),
            Self::InvalidKey { at } => write!(f, "the key at byte {at} is invalid"),
            Self::UnexpectedGroupEnd { at } => {
                write!(f, "the group that ends at byte {at} is not open")
            }
            Self::NestedTooDeep { at } => {
                write!(f, "the field at byte {at} lies in more than {GROUPS_MAX} groups")
            }
            Self::WrongWireType { field, at } => {
                write!(f, "field {field} at byte {at} has the wrong wire type")
            }
        }
    }
}

impl core::error::Error for WireError {}

/// The key of a field, which precedes its value: the field's number, and the wire type in its last
/// three bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    pub(crate) const fn new(number: u32, wire_type: WireType) -> Self {
        Self(number << 3 | wire_type as u32)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0 >> 3
    }

    /// None if there is no such type.
    pub(crate) const fn wire_type(self) -> Option<WireType> {
        WireType::from_key(self.0)
    }

    pub(crate) const fn as_written(self) -> u32 {
        self.0
    }
}

/// Reads a payload from front to back.
pub(crate) struct Reader<'a> {
    payload_len: usize,
    rest: &'a [u8],
    /// How many bytes were left before the last key.
    left_at_key: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self { payload_len: payload.len(), rest: payload, left_at_key: payload.len() }
    }

    /// The offset of the next byte.
    fn at(&self) -> usize {
        self.payload_len.saturating_sub(self.rest.len())
    }

    /// The offset of the last key.
    fn key_at(&self) -> usize {
        self.payload_len.saturating_sub(self.left_at_key)
    }

    /// The key of the next field; none at the payload's end.
    pub(crate) fn next_key(&mut self) -> Result<Option<Key>, WireError> {
        if self.rest.is_empty() { Ok(None) } else { self.key().map(Some) }
    }

    /// Its wire type is yet to be looked at.
    fn key(&mut self) -> Result<Key, WireError> {
        self.left_at_key = self.rest.len();
        let key = u32::try_from(self.varint()?).map_or(Key(0), Key);
        if key.number() == 0 { Err(self.invalid_key()) } else { Ok(key) }
    }

    fn invalid_key(&self) -> WireError {
        WireError::InvalidKey { at: self.key_at() }
    }

    /// The last key was that of this field, and of another wire type than the field's.
    pub(crate) fn wrong_wire_type(&self, field: &'static str, key: Key) -> WireError {
        match key.wire_type() {
            Some(_) => WireError::WrongWireType { field, at: self.key_at() },
            None => self.invalid_key(),
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        // Most numbers are small.
        match self.rest {
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                Ok((*byte).into())
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, WireError> {
        let at = self.at();
        let mut value = 0;
        for index in 0..10_u32 {
            let (byte, rest) = self.rest.split_first().ok_or(WireError::Truncated { at })?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                // The tenth byte has room for the 64th bit alone.
                let fits = index < 9 || *byte <= 1;
                return fits.then_some(value).ok_or(WireError::VarintTooLong { at });
            }
        }
        Err(WireError::VarintTooLong { at })
    }

    pub(crate) fn fixed32(&mut self) -> Result<u32, WireError> {
        let at = self.at();
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated { at })?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn length_delimited(&mut self) -> Result<&'a [u8], WireError> {
        let at = self.at();
        let len = self.varint()?;
        // A length that no pointer could address is beyond the payload's end too.
        usize::try_from(len).ok().and_then(|len| self.take(len)).ok_or(WireError::Truncated { at })
    }

    /// Skips the value of an unknown field, a group with all that lies in it included.
    ///
    /// It keeps the open groups in an array instead of calling itself: the sender must not decide
    /// how deep the stack gets.
    #[cold]
    #[inline(never)]
    pub(crate) fn skip(&mut self, mut key: Key) -> Result<(), WireError> {
        let mut open = [0; GROUPS_MAX];
        let mut depth = 0_usize;
        loop {
            let (number, at) = (key.number(), self.key_at());
            match key.wire_type().ok_or(WireError::InvalidKey { at })? {
                WireType::GroupEnd => {
                    let inner =
                        depth.checked_sub(1).filter(|inner| open.get(*inner) == Some(&number));
                    depth = inner.ok_or(WireError::UnexpectedGroupEnd { at })?;
                }
                WireType::GroupStart => {
                    *open.get_mut(depth).ok_or(WireError::NestedTooDeep { at })? = number;
                    depth = depth.saturating_add(1);
                }
                _ if depth >= GROUPS_MAX => return Err(WireError::NestedTooDeep { at }),
                WireType::Varint => {
                    self.varint()?;
                }
                WireType::LengthDelimited => {
                    self.length_delimited()?;
                }
                WireType::Fixed32 => self.skip_bytes(4)?,
                WireType::Fixed64 => self.skip_bytes(8)?,
            }
            if depth == 0 {
                return Ok(());
            }
            key = self.key()?;
        }
    }

    fn skip_bytes(&mut self, len: usize) -> Result<(), WireError> {
        let at = self.at();
        self.take(len).map(|_| ()).ok_or(WireError::Truncated { at })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}
