//! What is around a message on a line: a frame, and in a cluster with a key a seal.

use graft_election_core::{Message, NodeId, Outgoing};
use graft_election_proto::EncodeError;
use graft_election_proto::frame::{ClusterTag, FrameReader, encode_frame};

/// How messages are put into frames and taken from them: as they are, or sealed.
pub trait Envelope {
    /// Takes bytes from the front of `bytes` until there is a message for `node`; once it returns
    /// `None`, all bytes have been taken.
    fn read(
        &mut self,
        frames: &mut FrameReader,
        node: &NodeId,
        bytes: &mut &[u8],
    ) -> Option<Message>;

    /// Writes a message as a frame at the front of `buffer`, and returns what was written.
    ///
    /// # Errors
    ///
    /// [`Unwritten`] if it doesn't fit, or can't be sealed.
    fn write<'b>(
        &mut self,
        cluster: ClusterTag,
        sender: &NodeId,
        outgoing: &Outgoing,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], Unwritten>;

    /// How many messages were dropped since their seal was missing or wrong.
    fn unauthentic(&self) -> u32;
}

/// Why a message is not in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// It doesn't fit.
    TooLong(EncodeError),
    /// No number is left for its seal.
    Exhausted,
}

impl From<EncodeError> for Unwritten {
    fn from(error: EncodeError) -> Self {
        Self::TooLong(error)
    }
}

/// Messages as they are: of a cluster without a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Envelope for Plain {
    fn read(
        &mut self,
        frames: &mut FrameReader,
        node: &NodeId,
        bytes: &mut &[u8],
    ) -> Option<Message> {
        frames.read_for(node, bytes)
    }

    fn write<'b>(
        &mut self,
        cluster: ClusterTag,
        sender: &NodeId,
        outgoing: &Outgoing,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], Unwritten> {
        Ok(encode_frame(cluster, sender, outgoing, buffer)?)
    }

    fn unauthentic(&self) -> u32 {
        0
    }
}
