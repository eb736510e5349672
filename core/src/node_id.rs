use core::fmt;
use core::str::{self, FromStr};

use crate::short_bytes::ShortBytes;

/// A voter's name: 1 to [`NodeId::CAPACITY`] printable ASCII characters without space, `.`, `*`
/// or `>`, so that it is a single token of a NATS subject.
///
/// A name that breaks these rules can't be made (rule V7), so no code behind this type checks
/// again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(ShortBytes<{ NodeId::CAPACITY }>);

impl NodeId {
    /// The most bytes a name may have.
    pub const CAPACITY: usize = 64;

    /// Takes `name` as a node id.
    ///
    /// # Errors
    ///
    /// [`NodeIdError`] says which rule the name breaks; it is never cut to fit.
    pub fn new(name: &str) -> Result<Self, NodeIdError> {
        Self::from_bytes(name.as_bytes())
    }

    /// Takes the bytes of a name as a node id, as they come off a line or out of flash.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); bytes that aren't text are forbidden like any other character.
    pub fn from_bytes(name: &[u8]) -> Result<Self, NodeIdError> {
        if name.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if let Some(at) = name.iter().position(|byte| !is_token_byte(*byte)) {
            return Err(NodeIdError::Forbidden { at });
        }
        ShortBytes::new(name).map(Self).ok_or(NodeIdError::TooLong { bytes: name.len() })
    }

    /// The name's bytes. Where a few bytes of flash count, they are cheaper than the text, which
    /// takes a table of UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // It is ASCII.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Whether a byte may be part of one token of a NATS subject that every tool prints alike.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>')
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(name: &str) -> Result<Self, NodeIdError> {
        Self::new(name)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for NodeId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

/// Why a text is not a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NodeIdError {
    /// It has no characters.
    Empty,
    /// It has more than [`NodeId::CAPACITY`] bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It has a space, `.`, `*`, `>`, a control character or one outside ASCII.
    Forbidden {
        /// The byte offset of the first such character.
        at: usize,
    },
}

impl fmt::Display for NodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a node id must not be empty"),
            Self::TooLong { bytes } => {
                write!(f, "a node id has at most {} bytes, not {bytes}", NodeId::CAPACITY)
            }
            Self::Forbidden { at } => write!(
                f,
                "byte {at} is not allowed: \
                 a node id is printable ASCII without space, '.', '*' or '>'"
            ),
        }
    }
}

impl core::error::Error for NodeIdError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn names_of_one_subject_token_pass() {
        let longest = "n".repeat(NodeId::CAPACITY);
        for name in ["a", "6f1d2c3b4a5968778695a4b3c2", "rack-7/node_1", longest.as_str()] {
            assert_eq!(NodeId::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn v7_other_names_are_refused_and_the_reason_given() {
        let forbidden = |at| Err(NodeIdError::Forbidden { at });
        assert_eq!(NodeId::new(""), Err(NodeIdError::Empty));
        assert_eq!(NodeId::new(&"n".repeat(65)), Err(NodeIdError::TooLong { bytes: 65 }));
        assert_eq!(NodeId::new("a.b"), forbidden(1));
        assert_eq!(NodeId::new("*"), forbidden(0));
        assert_eq!(NodeId::new("ab>"), forbidden(2));
        assert_eq!(NodeId::new("a b"), forbidden(1));
        assert_eq!(NodeId::new("a\r\n"), forbidden(1));
        assert_eq!(NodeId::new("\0"), forbidden(0));
        assert_eq!(NodeId::new("n\u{f6}de"), forbidden(1));
        assert_eq!(NodeId::new(&"n".repeat(65).replace("nn", "n*")), forbidden(1));
    }

    #[test]
    fn bytes_are_judged_as_the_text_that_they_are() {
        let over_long = "n".repeat(65);
        for name in ["", "a", "rack-7/node_1", "a.b", "a b", "n\u{f6}de", "\u{80}", &over_long] {
            assert_eq!(NodeId::from_bytes(name.as_bytes()), NodeId::new(name), "{name:?}");
        }
        assert_eq!(NodeId::from_bytes(b"ab\xff"), Err(NodeIdError::Forbidden { at: 2 }));
    }

    #[test]
    fn names_are_shown_as_they_are_and_to_programmers_in_quotes() {
        let id = NodeId::new("rack-7").unwrap();
        assert_eq!(format!("{id} {id:>8} {id:?}"), "rack-7   rack-7 \"rack-7\"");
    }

    #[test]
    fn errors_say_what_and_where() {
        assert_eq!(
            NodeId::new("a b").unwrap_err().to_string(),
            "byte 1 is not allowed: a node id is printable ASCII without space, '.', '*' or '>'"
        );
    }
}
