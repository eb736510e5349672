//! A serial line that is opened again whenever it is lost, and the frames on it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use graft_election_proto::frame::{ClusterTag, DELIMITER, FrameErrors, FrameReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};

use crate::serial_line::{ByteStream, SerialLine};
use crate::transport::Connection;

/// How long to wait before a lost line is opened again: short enough for an election, and long
/// enough that a missing line costs next to nothing.
const REOPEN_DELAY: Duration = Duration::from_millis(100);

/// How long opening a line may take.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);

/// How many bytes are read at once: about what has gathered since the last read.
const READ_MAX: usize = 512;

/// The line and the frame that is being read. Nothing of it is in a future, so every wait may be
/// dropped at any time.
pub(crate) struct FramedLine {
    line: SerialLine,
    cluster: ClusterTag,
    state: LineState,
    reader: FrameReader,
    /// What was read last, of which `unread` has not been decoded yet.
    buffer: [u8; READ_MAX],
    unread: std::ops::Range<usize>,
}

impl std::fmt::Debug for FramedLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FramedLine").field("line", &self.line).finish_non_exhaustive()
    }
}

enum LineState {
    Open(Box<dyn ByteStream>),
    /// Broken for this reason, which has not been reported yet.
    Broken(String),
    Opening(Opening),
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + Sync>>;

/// What happened on the line.
#[derive(Debug)]
pub(crate) enum LineEvent<F> {
    /// A well-formed frame with a valid message, or what is needed of it.
    Frame(F),
    /// Bytes that are not such a frame.
    Fault(FrameFault),
    /// The line was lost or is back.
    Connection(Connection),
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    #[error("a frame was cut off")]
    CutOff,
    #[error("a frame was longer than the format allows")]
    TooLong,
    #[error("a frame had a wrong checksum")]
    Checksum,
    #[error("a frame had an unknown kind")]
    Kind,
    #[error("a frame had a malformed sender or receiver")]
    Id,
    #[error("a frame's payload was not a message of its kind")]
    Payload,
}

/// Why a frame was not written.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The line is lost.
    Disconnected,
    /// The line takes no more at the moment. Part of the frame may be on it.
    Full,
}

impl FramedLine {
    /// Opens `line` for the first time, for the frames of one cluster.
    pub(crate) async fn open(line: SerialLine, cluster: &str) -> io::Result<Self> {
        let cluster = ClusterTag::of(cluster);
        let stream = open_after(line.clone(), Duration::ZERO).await?;
        Ok(Self {
            line,
            cluster,
            state: LineState::Open(stream),
            reader: FrameReader::new(cluster),
            buffer: [0; READ_MAX],
            unread: 0..0,
        })
    }

    /// Waits for what happens next, and has `read` take frames from the reader. Cancel-safe.
    pub(crate) async fn receive<F>(
        &mut self,
        read: impl Fn(&mut FrameReader, &mut &[u8]) -> Option<F>,
    ) -> LineEvent<F> {
        loop {
            if let Some(event) = self.take_unread(&read) {
                return event;
            }
            match &mut self.state {
                LineState::Open(stream) => match stream.read(&mut self.buffer).await {
                    Ok(0) => self.state = LineState::Broken("the line was closed".to_owned()),
                    Ok(count) => self.unread = 0..count,
                    Err(error) => self.state = LineState::Broken(error.to_string()),
                },
                LineState::Broken(reason) => {
                    let reason = std::mem::take(reason);
                    self.reopen();
                    return LineEvent::Connection(Connection::Lost(reason));
                }
                LineState::Opening(opening) => match opening.await {
                    Ok(stream) => {
                        self.state = LineState::Open(stream);
                        self.reader = FrameReader::new(self.cluster);
                        return LineEvent::Connection(Connection::Restored);
                    }
                    Err(error) => {
                        tracing::debug!(line = %self.line, %error, "could not open the line");
                        self.reopen();
                    }
                },
            }
        }
    }

    /// Writes as much of a frame as the line takes now and drops the rest, because a frame that
    /// waits arrives late. The delimiter at the start of the next frame ends a partial one.
    pub(crate) async fn write(&mut self, frame: &[u8]) -> Result<(), Unwritten> {
        let LineState::Open(stream) = &mut self.state else {
            return Err(Unwritten::Disconnected);
        };
        // Without this, tokio may make a busy task wait although the line would take the frame.
        let mut written = pin!(unconstrained(stream.write_all(frame)));
        match poll_fn(|context| Poll::Ready(written.as_mut().poll(context))).await {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => {
                self.state = LineState::Broken(error.to_string());
                Err(Unwritten::Disconnected)
            }
            Poll::Pending => Err(Unwritten::Full),
        }
    }

    /// The tag of the frames on the line.
    pub(crate) fn cluster(&self) -> ClusterTag {
        self.cluster
    }

    /// Waits until what was written is on the line.
    pub(crate) async fn flush(&mut self) {
        if let LineState::Open(stream) = &mut self.state {
            // An error here means that the line, and what was on its way, is lost.
            let _ = stream.flush().await;
        }
    }

    fn reopen(&mut self) {
        self.state = LineState::Opening(Box::pin(open_after(self.line.clone(), REOPEN_DELAY)));
    }

    /// Decodes unread bytes up to the end of the next frame, or of what looked like one.
    fn take_unread<F>(
        &mut self,
        read: impl Fn(&mut FrameReader, &mut &[u8]) -> Option<F>,
    ) -> Option<LineEvent<F>> {
        loop {
            let unread = self.buffer.get(self.unread.clone()).filter(|bytes| !bytes.is_empty())?;
            let count = match unread.iter().position(|byte| *byte == DELIMITER) {
                Some(delimiter) => delimiter.saturating_add(1),
                None => unread.len(),
            };
            self.unread.start = self.unread.start.saturating_add(count);
            let mut bytes = unread.get(..count).unwrap_or_default();
            let before = self.reader.errors();
            if let Some(frame) = read(&mut self.reader, &mut bytes) {
                return Some(LineEvent::Frame(frame));
            }
            if let Some(fault) = FrameFault::between(before, self.reader.errors()) {
                return Some(LineEvent::Fault(fault));
            }
        }
    }
}

impl FrameFault {
    /// Why the reader dropped a frame since `before`, if it did.
    fn between(before: FrameErrors, now: FrameErrors) -> Option<Self> {
        [
            (before.cut_off, now.cut_off, Self::CutOff),
            (before.too_long, now.too_long, Self::TooLong),
            (before.checksum, now.checksum, Self::Checksum),
            (before.kind, now.kind, Self::Kind),
            (before.id, now.id, Self::Id),
            (before.payload, now.payload, Self::Payload),
        ]
        .into_iter()
        .find_map(|(before, now, fault)| (now > before).then_some(fault))
    }
}

async fn open_after(line: SerialLine, delay: Duration) -> io::Result<Box<dyn ByteStream>> {
    sleep(delay).await;
    match timeout(OPEN_TIME_MAX, line.open()).await {
        Ok(opened) => opened,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
