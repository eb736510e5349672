//! Lines that a thread of their own writes: whoever prints one never waits for the reader.
//!
//! A terminal may be stopped, a pipe may be full or closed, and a disk may be full. None of that is
//! a reason to hold up a signal, a lease or a bridge. What doesn't fit is dropped and counted, and
//! the count is printed as soon as there is room for it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election::Printable;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::oneshot;

/// How many lines wait to be written.
const LINES_MAX: usize = 1024;

/// How long the end of the program waits for the last lines to be written.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(250);

/// Prints text at once, however long the reader takes. Returns false if there is none any more,
/// which is no error: who reads a part of what there is has what it wants.
pub(crate) fn print_now(text: &str) -> Result<bool> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("could not write to the standard output"),
    }
}

/// A value as JSON, on one line that a terminal may show.
pub(crate) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(Printable(serde_json::to_string(value)?).to_string())
}

/// Comes to something when nobody reads the standard output any more. A file has no reader that
/// could go away.
pub(crate) fn until_unread() -> Result<oneshot::Receiver<()>> {
    let output = io::stdout().as_fd().try_clone_to_owned();
    let output = output.context("could not watch the standard output")?;
    let (is_unread, unread) = oneshot::channel();
    // Errors and hang-ups need not be asked for. The thread ends with the program.
    let wait = move || {
        let mut output = [PollFd::new(&output, PollFlags::empty())];
        while poll(&mut output, None) == Err(Errno::INTR) {}
        let _ = is_unread.send(());
    };
    let thread = std::thread::Builder::new().name("unread".to_owned()).spawn(wait);
    thread.context("could not watch the standard output")?;
    Ok(unread)
}

/// Where lines go. Dropping it waits for a moment until they are written.
#[derive(Debug)]
pub(crate) struct Output {
    queue: Arc<Queue>,
}

/// The lines between those who print and the one who writes.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    dropped: u64,
    /// The thread writes something that is no longer in the queue.
    is_writing: bool,
    /// The last line could not be written. Another try is worth it when there is another line.
    is_failing: bool,
    is_closed: bool,
}

impl Output {
    /// To the standard output, as it is now.
    pub(crate) fn stdout(describe_dropped: fn(u64) -> String) -> io::Result<Self> {
        Self::start(io::stdout().as_fd().try_clone_to_owned()?, describe_dropped)
    }

    /// To the standard error output, as it is now.
    pub(crate) fn stderr(describe_dropped: fn(u64) -> String) -> io::Result<Self> {
        Self::start(io::stderr().as_fd().try_clone_to_owned()?, describe_dropped)
    }

    /// To the end of a file, which is made if it isn't there.
    pub(crate) fn file(path: &Path, describe_dropped: fn(u64) -> String) -> io::Result<Self> {
        // Otherwise, opening a named pipe would wait for a reader.
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file =
            OpenOptions::new().append(true).create(true).custom_flags(nonblocking).open(path)?;
        Self::start(file.into(), describe_dropped)
    }

    /// `describe_dropped` makes the line that says how many were dropped.
    fn start(target: OwnedFd, describe_dropped: fn(u64) -> String) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = Writer { queue: Arc::clone(&queue), target: target.into(), describe_dropped };
        std::thread::Builder::new().name("output".to_owned()).spawn(move || writer.run())?;
        Ok(Self { queue })
    }

    /// Prints a line, or counts it if too many wait already.
    pub(crate) fn print(&self, line: String) {
        let mut state = self.queue.lock();
        if state.lines.len() < LINES_MAX {
            state.lines.push_back(line);
            self.queue.changed.notify_all();
        } else {
            state.dropped += 1;
        }
    }

    /// Waits for a moment until all lines are written. If that takes longer, they have to wait.
    pub(crate) fn flush(&self) {
        let is_busy = |state: &mut State| state.is_writing || state.has_something();
        let state = self.queue.lock();
        let _ = self.queue.changed.wait_timeout_while(state, FLUSH_TIME_MAX, is_busy);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
        self.flush();
    }
}

impl State {
    fn has_something(&self) -> bool {
        !self.lines.is_empty() || (self.dropped > 0 && !self.is_failing)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next line; none at the end.
    fn next(&self, describe_dropped: fn(u64) -> String) -> Option<String> {
        let waiting =
            self.changed.wait_while(self.lock(), |it| !it.has_something() && !it.is_closed);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        // Those that were dropped came after those that wait.
        let next = match state.lines.pop_front() {
            Some(line) => line,
            None if state.has_something() => describe_dropped(std::mem::take(&mut state.dropped)),
            None => return None,
        };
        state.is_writing = true;
        Some(next)
    }

    fn written(&self, is_lost: bool) {
        let mut state = self.lock();
        state.is_writing = false;
        state.is_failing = is_lost;
        state.dropped += u64::from(is_lost);
        self.changed.notify_all();
    }
}

/// The thread's part.
struct Writer {
    queue: Arc<Queue>,
    target: File,
    describe_dropped: fn(u64) -> String,
}

impl Writer {
    fn run(self) {
        while let Some(mut line) = self.queue.next(self.describe_dropped) {
            line.push('\n');
            // It is lost if nobody can read it any more, or if the disk is full.
            self.queue.written(write_all(&self.target, line.as_bytes()).is_err());
        }
    }
}

/// Writes all, however long that takes. The file may be one that doesn't block: whoever shares it
/// may have set it to.
fn write_all(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};

    use rustix::pipe::fcntl_getpipe_size;

    use super::*;

    fn describe(dropped: u64) -> String {
        format!("{dropped} dropped")
    }

    /// An output into a pipe.
    fn piped() -> (Output, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        (Output::start(writer.into(), describe).unwrap(), reader)
    }

    #[test]
    fn lines_come_in_their_order_and_the_end_waits_for_them() {
        let (output, reader) = piped();
        for number in 0..100 {
            output.print(number.to_string());
        }
        drop(output);
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    /// Also if the pipe doesn't block.
    #[test]
    fn a_reader_that_does_not_read_holds_up_nobody_and_learns_what_it_missed() {
        for is_nonblocking in [false, true] {
            let (reader, writer) = io::pipe().unwrap();
            let room = fcntl_getpipe_size(&reader).unwrap();
            rustix::io::ioctl_fionbio(&writer, is_nonblocking).unwrap();
            let output = Output::start(writer.into(), describe).unwrap();
            let line = "x".repeat(1023);
            let printed = 4 * LINES_MAX + room / 1024;
            (0..printed).for_each(|_| output.print(line.clone()));
            let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
            let mut read = 0;
            let dropped = loop {
                match lines.next().unwrap() {
                    whole if whole == line => read += 1,
                    dropped => break dropped,
                }
            };
            assert_eq!(dropped, describe((printed - read) as u64));
            output.print("next".to_owned());
            assert_eq!(lines.next().unwrap(), "next");
        }
    }

    #[test]
    fn a_reader_that_is_gone_holds_up_nobody() {
        let (output, reader) = piped();
        drop(reader);
        (0..4 * LINES_MAX).for_each(|_| output.print("x".to_owned()));
        drop(output);
    }

    #[test]
    fn a_full_disk_is_tried_again_and_the_loss_is_told() {
        // Written to in another order than this: one line at a time.
        let queue = Queue::default();
        queue.lock().lines.push_back("lost".to_owned());
        assert_eq!(queue.next(describe).unwrap(), "lost");
        queue.written(true);
        assert!(!queue.lock().has_something());
        queue.lock().lines.push_back("written".to_owned());
        assert_eq!(queue.next(describe).unwrap(), "written");
        queue.written(false);
        assert_eq!(queue.next(describe).unwrap(), "1 dropped");
        queue.written(false);
        assert!(!queue.lock().has_something());
    }
}
