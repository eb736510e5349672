//! What stands for ids where there is no room for the ids themselves: a checksum, or a hash.

use crc::{CRC_32_ISCSI, Crc, NoTable};

use crate::NodeId;

/// CRC-32C, as frames on a serial line use it too. A table would take a kibibyte of flash.
const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// The checksum of ids, each followed by a zero byte.
pub(crate) struct Digest(crc::Digest<'static, u32, NoTable>);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(CHECKSUM.digest())
    }

    pub(crate) fn update(&mut self, id: &NodeId) {
        self.0.update(id.as_bytes());
        self.0.update(&[0]);
    }

    pub(crate) fn finish(self) -> u32 {
        self.0.finalize()
    }

    /// The checksum of one id.
    pub(crate) fn of(id: &NodeId) -> u32 {
        let mut digest = Self::new();
        digest.update(id);
        digest.finish()
    }
}

/// The hash of an id, by FNV-1a. It means something to this process alone, and takes a tenth of the
/// time of the checksum.
pub(crate) fn hash(id: &NodeId) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    id.as_bytes().iter().fold(0x811c_9dc5, mix)
}
