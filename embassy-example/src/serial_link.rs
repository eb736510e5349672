use core::cell::Cell;
use core::ops::Range;

use embassy_futures::yield_now;
use embedded_io_async::{Read, Write};
use graft_election_core::{Message, NodeId, Outgoing, Recipient};
use graft_election_proto::EncodeError;
use graft_election_proto::frame::{FRAME_MAX, FrameErrors, FrameReader, encode_frame};

use crate::Link;

/// A [`Link`] over the two halves of a serial line, in the frames of
/// [`graft_election_proto::frame`]. Others may share the line: everybody hears everything, and what
/// is directed to another node is passed over.
///
/// A send writes one whole frame and waits until it is out, so the line must carry a frame within a
/// heartbeat interval: the longest takes 323 ms at 9,600 baud, one of a cluster with short ids and
/// no position about 40 ms. Where talkers spoil each other's frames, the writing half is a
/// [`CarrierSense`](crate::CarrierSense).
#[derive(Debug)]
pub struct SerialLink<'e, R, W> {
    id: NodeId,
    input: R,
    output: W,
    frames: FrameReader,
    /// Bytes that came in, of which `unread` are still to be looked at. They are kept here because
    /// a wait for more may be given up at any time.
    buffer: [u8; READ_MAX],
    unread: Range<usize>,
    errors: &'e Cell<FrameErrors>,
}

/// As many bytes are taken from the line at a time.
const READ_MAX: usize = 64;

impl<'e, R: Read, W: Write<Error = R::Error>> SerialLink<'e, R, W> {
    /// The link of the node `id`.
    ///
    /// A read of `input` that is dropped before its end must not have taken bytes from the line, as
    /// is true of a buffered UART and of a pipe that an interrupt fills. In `errors` the link leaves
    /// the counts of what it dropped, for others to look at.
    pub const fn new(id: NodeId, input: R, output: W, errors: &'e Cell<FrameErrors>) -> Self {
        let frames = FrameReader::new();
        Self { id, input, output, frames, buffer: [0; READ_MAX], unread: 0..0, errors }
    }

    /// The next message in the buffer for this node. Its own may come back: the election itself
    /// passes over them, and finds out by them that two nodes have one id (rule V5).
    ///
    /// It is a function of its own, so that its room on the stack is free again when the node
    /// answers.
    #[inline(never)]
    fn buffered_message(&mut self) -> Option<Message> {
        let mut unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
        let message = loop {
            let Some(frame) = self.frames.read(&mut unread) else { break None };
            match frame.to {
                Recipient::Node(node) if node != self.id => {}
                _ => break Some(frame.message),
            }
        };
        self.unread.start = self.unread.end.saturating_sub(unread.len());
        self.errors.set(self.frames.errors());
        message
    }
}

impl<R: Read<Error: 'static>, W: Write<Error = R::Error>> Link for SerialLink<'_, R, W> {
    type Error = SerialError<R::Error>;

    async fn receive(&mut self) -> Result<Message, Self::Error> {
        loop {
            if let Some(message) = self.buffered_message() {
                return Ok(message);
            }
            let len = self.input.read(&mut self.buffer).await.map_err(SerialError::Line)?;
            if len == 0 {
                return Err(SerialError::Closed);
            }
            self.unread = 0..len;
            // A line that is never silent must not keep the driver from its timer.
            yield_now().await;
        }
    }

    /// A frame that is given up halfway spoils none but itself, since each begins with a delimiter.
    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Self::Error> {
        let mut buffer = [0; FRAME_MAX];
        let mut rest = encode_frame(&self.id, outgoing, &mut buffer)?;
        while !rest.is_empty() {
            let len = self.output.write(rest).await.map_err(SerialError::Line)?;
            if len == 0 {
                return Err(SerialError::Closed);
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        self.output.flush().await.map_err(SerialError::Line)
    }
}

/// What can go wrong with a [`SerialLink`]. Noise is none of it: that is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SerialError<E> {
    /// The line failed.
    #[error("the serial line failed")]
    Line(#[source] E),
    /// The line was closed at its other end.
    #[error("the serial line was closed")]
    Closed,
    /// The message doesn't fit in a frame.
    #[error("the message does not fit in a frame")]
    Frame(#[from] EncodeError),
}
