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
