//! Frames whose messages are sealed with the cluster's key.

use graft_election_core::{Message, NodeId, Outgoing};
use graft_election_proto::Kind;
use graft_election_proto::frame::{ClusterTag, FrameReader, encode_payload};
use graft_election_proto::seal::{Key, KeyTextError, Keys, SEALED_MAX, SealError, Seals};

use crate::envelope::{Envelope, Unwritten};

/// A byte of the flash that was never written.
const ERASED: u8 = 0xff;

/// How many bytes of a board's settings its cluster's key takes at most: two lines, however they
/// end, and what ends them.
pub const KEYS_LEN_MAX: usize = 160;

/// Reads a cluster's key from where a board's settings are in its flash: the text of a key file, as
/// `graft key` prints it, one line or two. A byte that was never written, or a zero, ends it.
///
/// # Errors
///
/// [`KeyTextError`], without a word of the key. Then the board must not speak: a key was meant.
pub fn keys_in_flash(bytes: &[u8]) -> Result<Keys, KeyTextError> {
    let mut texts = bytes.split(|byte| matches!(*byte, ERASED | 0));
    Keys::from_text(texts.next().unwrap_or_default(), Key::from_hex)
}

/// Messages with seals, of at most `SENDERS` nodes (rules K1 to K3).
#[derive(Debug)]
pub struct Sealed<const SENDERS: usize> {
    seals: Seals<SENDERS>,
    unauthentic: u32,
}

impl<const SENDERS: usize> Sealed<SENDERS> {
    pub(crate) const fn new(seals: Seals<SENDERS>) -> Self {
        Self { seals, unauthentic: 0 }
    }
}

impl<const SENDERS: usize> Envelope for Sealed<SENDERS> {
    fn read(
        &mut self,
        frames: &mut FrameReader,
        node: &NodeId,
        bytes: &mut &[u8],
    ) -> Option<Message> {
        while let Some(frame) = frames.read_frame_for(node, bytes) {
            match self.seals.open(&frame.message, &frame.to, frame.payload) {
                Ok(()) => return Some(frame.message),
                Err(_) => self.unauthentic = self.unauthentic.saturating_add(1),
            }
        }
        None
    }

    fn write<'b>(
        &mut self,
        cluster: ClusterTag,
        sender: &NodeId,
        outgoing: &Outgoing,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], Unwritten> {
        let mut payload = [0; SEALED_MAX];
        let payload = self.seals.encode(outgoing, &mut payload).map_err(|error| match error {
            SealError::Encode(error) => Unwritten::TooLong(error),
            SealError::Exhausted => Unwritten::Exhausted,
        })?;
        let kind = Kind::of(&outgoing.message);
        Ok(encode_payload(cluster, kind, sender, &outgoing.to, payload, buffer)?)
    }

    fn unauthentic(&self) -> u32 {
        self.unauthentic
    }
}
