//! A few bytes that lie where they are used, as those of an id do.

use core::fmt;
use core::hash::{Hash, Hasher};

/// How many bytes are compared at once.
const WORD: usize = 8;

/// Up to `CAPACITY` bytes.
///
/// Those behind the last are zero, so that all of them can be copied and compared at once: a copy
/// that stops at the last byte takes longer.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub(crate) struct ShortBytes<const CAPACITY: usize> {
    bytes: [u8; CAPACITY],
    len: u8,
}

impl<const CAPACITY: usize> ShortBytes<CAPACITY> {
    pub(crate) const EMPTY: Self = Self { bytes: [0; CAPACITY], len: 0 };

    /// These bytes, unless there are more than `CAPACITY`, which is at most 255.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut short = Self { len: u8::try_from(bytes.len()).ok()?, ..Self::EMPTY };
        short.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(short)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
}

impl<const CAPACITY: usize> PartialEq for ShortBytes<CAPACITY> {
    /// Word by word, in place, since a call takes longer; from the last, since names of one cluster
    /// often begin alike.
    fn eq(&self, other: &Self) -> bool {
        const { assert!(CAPACITY.is_multiple_of(WORD), "no byte may go uncompared") };
        let (own, _) = self.bytes.as_chunks::<WORD>();
        let (others, _) = other.bytes.as_chunks::<WORD>();
        let words = usize::from(self.len).div_ceil(WORD);
        let mut pairs = own.iter().zip(others).take(words).rev();
        self.len == other.len && pairs.all(|(own, other)| own == other)
    }
}

impl<const CAPACITY: usize> Hash for ShortBytes<CAPACITY> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<const CAPACITY: usize> Default for ShortBytes<CAPACITY> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const CAPACITY: usize> fmt::Debug for ShortBytes<CAPACITY> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 24;

    fn short(bytes: &[u8]) -> ShortBytes<CAPACITY> {
        ShortBytes::new(bytes).unwrap()
    }

    #[test]
    fn bytes_are_kept_up_to_the_capacity() {
        let bytes = [7; CAPACITY + 1];
        for len in 0..=CAPACITY {
            assert_eq!(short(&bytes[..len]).as_slice(), &bytes[..len]);
        }
        assert!(ShortBytes::<CAPACITY>::new(&bytes).is_none());
    }

    #[test]
    fn every_byte_and_their_number_count() {
        for len in 0..=CAPACITY {
            let bytes = [7; CAPACITY];
            let bytes = &bytes[..len];
            assert_eq!(short(bytes), short(bytes));
            for at in 0..len {
                let mut other = [7; CAPACITY];
                other[at] = 8;
                assert_ne!(short(bytes), short(&other[..len]), "byte {at} of {len}");
            }
        }
        assert_ne!(short(&[0]), short(&[0, 0]), "zeros count as well");
    }

    #[test]
    fn they_are_in_the_order_of_texts() {
        let names = ["", "a", "a-longer-name", "ab", "b", "ba"].map(|name| short(name.as_bytes()));
        assert!(names.is_sorted());
    }
}
