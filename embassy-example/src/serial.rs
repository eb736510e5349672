use core::cell::Cell;
use core::ops::Range;

use embassy_futures::yield_now;
use embedded_io_async::{Read, Write};
use graft_election_core::{Message, NodeId, Outgoing};
use graft_election_proto::EncodeError;
use graft_election_proto::frame::{ClusterTag, FRAME_MAX, FrameErrors, FrameReader};

use crate::Transport;
use crate::envelope::{Envelope, Plain, Unwritten};

/// How many bytes are taken from the line at a time.
const READ_MAX: usize = 64;

/// A [`Transport`] over the two halves of a serial line, in the frames of
/// [`graft_election_proto::frame`]. Many nodes may share the line: each hears every frame, and
/// skips those that are addressed to another node, or are of another cluster.
///
/// A send writes one whole frame and waits until it is out, so the line must carry a frame within a
/// heartbeat interval. At 9,600 baud the longest frame takes 356 ms; with short ids and no
/// position, about 40 ms. Seals make each 26 bytes longer. On a line where two nodes that talk at
/// once spoil each other's frames, the writing half should be a
/// [`CarrierSense`](crate::CarrierSense).
#[derive(Debug)]
pub struct SerialTransport<'e, R, W, S = Plain> {
    envelope: S,
    cluster: ClusterTag,
    id: NodeId,
    input: R,
    output: W,
    frames: FrameReader,
    /// Bytes that came in, of which those in `unread` have yet to be looked at. They are kept here
    /// because a wait for more may be given up at any time.
    buffer: [u8; READ_MAX],
    unread: Range<usize>,
    errors: &'e Cell<FrameErrors>,
}

impl<'e, R: Read, W: Write<Error = R::Error>> SerialTransport<'e, R, W> {
    /// The transport of the node `id` of the cluster with this tag: that of the
    /// [`cluster`](graft_election_core::Config::cluster) it is configured with.
    ///
    /// A read of `input` that is dropped before its end must not have taken bytes from the line; a
    /// buffered UART, or a pipe that an interrupt fills, keeps to that. In `errors` the transport
    /// leaves the counts of the frames it dropped, for others to read.
    pub const fn new(
        cluster: ClusterTag,
        id: NodeId,
        input: R,
        output: W,
        errors: &'e Cell<FrameErrors>,
    ) -> Self {
        let frames = FrameReader::new(cluster);
        let (envelope, buffer, unread) = (Plain, [0; READ_MAX], 0..0);
        Self { envelope, cluster, id, input, output, frames, buffer, unread, errors }
    }

    /// Seals what the node says and drops what isn't sealed, as the cluster's key demands (rules K1
    /// to K3). What is dropped is counted among the frames, as
    /// [`unauthentic`](FrameErrors::unauthentic).
    #[cfg(feature = "seal")]
    pub fn with_seals<const SENDERS: usize>(
        self,
        seals: graft_election_proto::seal::Seals<SENDERS>,
    ) -> SerialTransport<'e, R, W, crate::Sealed<SENDERS>> {
        let Self { cluster, id, input, output, frames, buffer, unread, errors, .. } = self;
        let envelope = crate::Sealed::new(seals);
        SerialTransport { envelope, cluster, id, input, output, frames, buffer, unread, errors }
    }
}

impl<R, W, S: Envelope> SerialTransport<'_, R, W, S> {
    /// The next message in the buffer for this node. Its own may come back: the election ignores
    /// them, and one in its name that it didn't send makes it ask whether another node uses its id
    /// (rules V5, N3).
    ///
    /// It is a separate function so that its stack frame is gone when the node answers.
    #[inline(never)]
    fn buffered_message(&mut self) -> Option<Message> {
        let mut unread = self.buffer.get(self.unread.clone()).unwrap_or_default();
        let message = self.envelope.read(&mut self.frames, &self.id, &mut unread);
        self.unread.start = self.unread.end.saturating_sub(unread.len());
        let unauthentic = self.envelope.unauthentic();
        self.errors.set(FrameErrors { unauthentic, ..self.frames.errors() });
        message
    }
}

impl<R: Read<Error: 'static>, W: Write<Error = R::Error>, S: Envelope> Transport
    for SerialTransport<'_, R, W, S>
{
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
            // A line that is never silent must not keep the driver from looking at its timer.
            yield_now().await;
        }
    }

    /// A frame given up halfway spoils only itself, since each begins with a delimiter.
    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Self::Error> {
        let mut buffer = [0; FRAME_MAX];
        let written = self.envelope.write(self.cluster, &self.id, outgoing, &mut buffer);
        let mut rest = written.map_err(|unwritten| match unwritten {
            Unwritten::TooLong(error) => SerialError::Frame(error),
            Unwritten::Exhausted => SerialError::Exhausted,
        })?;
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

/// What can go wrong with a [`SerialTransport`]. Noise can't: it is dropped and counted.
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
    /// All numbers of this life are used up, after 2^36 sealed messages: the board must restart.
    #[error("no number is left for another seal")]
    Exhausted,
}
