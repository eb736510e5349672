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

/// Reads a payload from front to back, until something in it is wrong.
///
/// What it returns is small, and quick to hand on: the error is looked for once, at the end.
pub(crate) struct Reader<'a> {
    payload_len: usize,
    rest: &'a [u8],
    /// How many bytes were left before the last key.
    left_at_key: usize,
    error: Option<WireError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        let payload_len = payload.len();
        Self { payload_len, rest: payload, left_at_key: payload_len, error: None }
    }

    /// What was wrong, if anything was.
    pub(crate) fn finish(&self) -> Result<(), WireError> {
        match self.error {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Nothing more is read.
    #[cold]
    pub(crate) fn fail<T>(&mut self, error: WireError) -> Option<T> {
        self.error = Some(error);
        None
    }

    /// The offset of the next byte.
    fn at(&self) -> usize {
        self.payload_len.saturating_sub(self.rest.len())
    }

    /// The offset of the last key.
    pub(crate) fn key_at(&self) -> usize {
        self.payload_len.saturating_sub(self.left_at_key)
    }

    /// The key of the next field; none at the payload's end. Its wire type is yet to be looked at.
    pub(crate) fn next_key(&mut self) -> Option<Key> {
        if self.rest.is_empty() { None } else { self.key() }
    }

    fn key(&mut self) -> Option<Key> {
        self.left_at_key = self.rest.len();
        let key = Key(u32::try_from(self.varint()?).unwrap_or_default());
        if key.number() == 0 {
            self.fail(WireError::InvalidKey { at: self.key_at() })
        } else {
            Some(key)
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        // Most numbers are small.
        match self.rest {
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                Some((*byte).into())
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Option<u64> {
        let (mut rest, mut value) = (self.rest, 0);
        for index in 0..10_u32 {
            let Some((byte, after)) = rest.split_first() else {
                return self.fail(WireError::Truncated { at: self.at() });
            };
            rest = after;
            value |= u64::from(byte & 0x7f) << (7 * index);
            // The tenth byte has room for the 64th bit alone.
            if *byte < 0x80 && (index < 9 || *byte <= 1) {
                self.rest = rest;
                return Some(value);
            }
            if *byte < 0x80 {
                break;
            }
        }
        self.fail(WireError::VarintTooLong { at: self.at() })
    }

    pub(crate) fn fixed32(&mut self) -> Option<u32> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return self.fail(WireError::Truncated { at: self.at() });
        };
        self.rest = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    pub(crate) fn length_delimited(&mut self) -> Option<&'a [u8]> {
        let at = self.at();
        let len = self.varint()?;
        // A length that no pointer could address is beyond the payload's end too.
        match usize::try_from(len).ok().and_then(|len| self.take(len)) {
            None => self.fail(WireError::Truncated { at }),
            taken => taken,
        }
    }

    /// Skips the value of an unknown field, a group with all that lies in it included.
    ///
    /// It keeps the open groups in an array instead of calling itself: the sender must not decide
    /// how deep the stack gets.
    #[cold]
    #[inline(never)]
    pub(crate) fn skip(&mut self, mut key: Key) -> Option<()> {
        let mut open = [0; GROUPS_MAX];
        let mut depth = 0_usize;
        loop {
            let (number, at) = (key.number(), self.key_at());
            let Some(wire_type) = key.wire_type() else {
                return self.fail(WireError::InvalidKey { at });
            };
            match wire_type {
                WireType::GroupEnd => {
                    match depth.checked_sub(1).filter(|inner| open.get(*inner) == Some(&number)) {
                        Some(inner) => depth = inner,
                        None => return self.fail(WireError::UnexpectedGroupEnd { at }),
                    }
                }
                _ if depth >= GROUPS_MAX => return self.fail(WireError::NestedTooDeep { at }),
                WireType::GroupStart => {
                    *open.get_mut(depth)? = number;
                    depth = depth.saturating_add(1);
                }
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
                return Some(());
            }
            key = self.key()?;
        }
    }

    fn skip_bytes(&mut self, len: usize) -> Option<()> {
        match self.take(len) {
            Some(_) => Some(()),
            None => self.fail(WireError::Truncated { at: self.at() }),
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}
