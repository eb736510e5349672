//! A serial line that is opened again whenever it is lost, and the frames on it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use graft_election_proto::frame::{DELIMITER, FrameErrors, FrameReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};

use crate::serial_line::{ByteStream, SerialLine};
use crate::transport::Connection;

/// How long to wait before a line that was lost is opened again: an election can't wait for long,
/// and a line that isn't there shall cost next to nothing.
const REOPEN_DELAY: Duration = Duration::from_millis(100);

/// How long opening a line may take.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);

/// How many bytes are read at once: those that an idle reader finds.
const READ_MAX: usize = 512;

/// The line as it stands. All that is known of what comes in is here, so that every wait may be
/// given up at any time.
pub(crate) struct Wire {
    line: SerialLine,
    link: Link,
    reader: FrameReader,
    /// What was read, of which `unread` is yet to be taken.
    buffer: [u8; READ_MAX],
    unread: std::ops::Range<usize>,
}

enum Link {
    Open(Box<dyn ByteStream>),
    /// Broken, which nobody has been told yet.
    Broken(String),
    Opening(Opening),
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + Sync>>;

/// What came from the line.
#[derive(Debug)]
pub(crate) enum Heard<F> {
    /// A sound frame, or what its reader makes of it.
    Frame(F),
    /// Bytes that are no such frame.
    Noise(Noise),
    /// The line was lost or is back.
    Changed(Connection),
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Noise {
    #[error("a frame was cut off")]
    CutOff,
    #[error("a frame was longer than any can be")]
    TooLong,
    #[error("a frame had a wrong check sum")]
    Checksum,
    #[error("a frame was of an unknown kind")]
    Kind,
    #[error("a frame named no proper sender or receiver")]
    Id,
    #[error("a frame's payload was no message of its kind")]
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

impl Wire {
    /// Opens `line` for the first time.
    pub(crate) async fn open(line: SerialLine) -> io::Result<Self> {
        let stream = open_after(line.clone(), Duration::ZERO).await?;
        Ok(Self {
            line,
            link: Link::Open(stream),
            reader: FrameReader::new(),
            buffer: [0; READ_MAX],
            unread: 0..0,
        })
    }

    /// Waits for what comes next, and has `read` find the frames. Cancel-safe.
    pub(crate) async fn receive<F>(
        &mut self,
        read: impl Fn(&mut FrameReader, &mut &[u8]) -> Option<F>,
    ) -> Heard<F> {
        loop {
            if let Some(heard) = self.take_unread(&read) {
                return heard;
            }
            match &mut self.link {
                Link::Open(stream) => match stream.read(&mut self.buffer).await {
                    Ok(0) => self.link = Link::Broken("the line was closed".to_owned()),
                    Ok(count) => self.unread = 0..count,
                    Err(error) => self.link = Link::Broken(error.to_string()),
                },
                Link::Broken(reason) => {
                    let reason = std::mem::take(reason);
                    self.reopen();
                    return Heard::Changed(Connection::Lost(reason));
                }
                Link::Opening(opening) => match opening.await {
                    Ok(stream) => {
                        self.link = Link::Open(stream);
                        self.reader = FrameReader::new();
                        return Heard::Changed(Connection::Restored);
                    }
                    Err(error) => {
                        tracing::debug!(line = %self.line, %error, "could not open the line");
                        self.reopen();
                    }
                },
            }
        }
    }

    /// Writes a frame as far as the line takes it now; the rest is lost. A frame that waits, or is
    /// written later, comes late. The delimiter before the next frame ends a half one.
    pub(crate) async fn write(&mut self, frame: &[u8]) -> Result<(), Unwritten> {
        let Link::Open(stream) = &mut self.link else {
            return Err(Unwritten::Disconnected);
        };
        // Tokio may have a task wait that has done much, though the line would take the frame.
        let mut written = pin!(unconstrained(stream.write_all(frame)));
        match poll_fn(|context| Poll::Ready(written.as_mut().poll(context))).await {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => {
                self.link = Link::Broken(error.to_string());
                Err(Unwritten::Disconnected)
            }
            Poll::Pending => Err(Unwritten::Full),
        }
    }

    /// Waits until what was written is on the line.
    pub(crate) async fn flush(&mut self) {
        if let Link::Open(stream) = &mut self.link {
            // What can't be written any more is lost with the line.
            let _ = stream.flush().await;
        }
    }

    fn reopen(&mut self) {
        self.link = Link::Opening(Box::pin(open_after(self.line.clone(), REOPEN_DELAY)));
    }

    /// Takes bytes up to the end of a frame, or of what could have been one.
    fn take_unread<F>(
        &mut self,
        read: impl Fn(&mut FrameReader, &mut &[u8]) -> Option<F>,
    ) -> Option<Heard<F>> {
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
                return Some(Heard::Frame(frame));
            }
            if let Some(noise) = Noise::between(before, self.reader.errors()) {
                return Some(Heard::Noise(noise));
            }
        }
    }
}

impl Noise {
    /// What was dropped since `before`.
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
        .find_map(|(before, now, noise)| (now > before).then_some(noise))
    }
}

async fn open_after(line: SerialLine, delay: Duration) -> io::Result<Box<dyn ByteStream>> {
    sleep(delay).await;
    match timeout(OPEN_TIME_MAX, line.open()).await {
        Ok(opened) => opened,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
