//! A cluster's key as a text, on servers and on boards.

use core::fmt;

use super::{Key, Keys};

impl Key {
    /// The key of these 64 hexadecimal digits, as `graft key` prints them.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let (pairs, rest) = digits.as_chunks();
        if pairs.len() != Self::LEN || !rest.is_empty() {
            return None;
        }
        let mut key = Self([0; Self::LEN]);
        for (byte, [high, low]) in key.0.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(key)
    }
}

impl Keys {
    /// Reads a cluster's key from a text, or two with white space between them, of which the first
    /// is the one that seals (rule K4). `parse` makes a key of a word: [`Key::from_hex`], or one
    /// that knows more ways to write a key.
    ///
    /// # Errors
    ///
    /// [`KeyTextError`], which doesn't repeat the text.
    pub fn from_text(
        text: &[u8],
        parse: impl Fn(&[u8]) -> Option<Key>,
    ) -> Result<Self, KeyTextError> {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let first = words.next().ok_or(KeyTextError::Empty)?;
        let current = parse(first).ok_or(KeyTextError::NotAKey { word: 1 })?;
        let Some(second) = words.next() else { return Ok(Self { current, other: None }) };
        let other = parse(second).ok_or(KeyTextError::NotAKey { word: 2 })?;
        if words.next().is_some() {
            return Err(KeyTextError::TooMany);
        }
        if current.0 == other.0 {
            return Err(KeyTextError::Alike);
        }
        Ok(Self { current, other: Some(other) })
    }
}

/// Why a text is not one key or two. It says nothing of the text itself, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum KeyTextError {
    /// There is nothing.
    Empty,
    /// There are more than two keys.
    TooMany,
    /// One of the words is not a key.
    NotAKey {
        /// Which one, from 1.
        word: u8,
    },
    /// The second key is the first once more, so nothing would be replaced.
    Alike,
}

impl fmt::Display for KeyTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooMany => f.write_str("it has more than two keys"),
            Self::NotAKey { word } => {
                write!(f, "word {word} is not a key: `graft key` prints one")
            }
            Self::Alike => f.write_str("its two keys are the same"),
        }
    }
}

impl core::error::Error for KeyTextError {}
