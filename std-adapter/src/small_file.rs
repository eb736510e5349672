//! Files that are read whole: keys, settings, logins.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How long it may take until all of a pipe or a terminal has been written.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// How much is read at once.
const CHUNK_LEN: usize = 4096;

/// A file that is open, to be read whole: without waiting for ever, and no more of it than wanted.
///
/// A pipe, such as that of the shell's `<(…)`, is read until its end, which has to come soon. A
/// pipe to which nobody writes, or that nobody closes, would hold a program up for ever, and a
/// device such as `/dev/zero` has no end.
///
/// ```
/// use graft_election::SmallFile;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("node.creds");
/// # std::fs::write(&path, "login")?;
/// let text = SmallFile::open(&path)?.read_to_string(1 << 20)?;
/// # assert_eq!(text, "login");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SmallFile {
    file: File,
    patience: Duration,
}

impl SmallFile {
    /// Opens the file at `path`, whatever it is.
    ///
    /// # Errors
    ///
    /// Those of opening a file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        // Otherwise, opening a named pipe would wait for a writer.
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
        Ok(Self { file, patience: WRITER_PATIENCE })
    }

    /// What the system says about the file that is open.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Appends all of it to `bytes`, unless it is longer than `len_max`. If `bytes` has room for
    /// one more than that, it is not moved, so that no copy of a secret is left behind.
    ///
    /// # Errors
    ///
    /// Those of reading; [`FileTooLarge`](ErrorKind::FileTooLarge) if it is longer, and
    /// [`TimedOut`](ErrorKind::TimedOut) if its end doesn't come within 5 seconds.
    pub fn read_to_end(mut self, len_max: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        let (began, deadline) = (bytes.len(), Instant::now() + self.patience);
        loop {
            self.wait(deadline)?;
            let len = bytes.len();
            let room = (len_max + 1).saturating_sub(len - began);
            bytes.resize(len + room.min(CHUNK_LEN), 0);
            let read = self.file.read(&mut bytes[len..]);
            bytes.truncate(len + read.as_ref().copied().unwrap_or_default());
            match read {
                Ok(0) => return Ok(()),
                Ok(_) if bytes.len() - began > len_max => {
                    let why = format!("it has more than {len_max} bytes");
                    return Err(io::Error::new(ErrorKind::FileTooLarge, why));
                }
                Err(error) if !is_passing(&error) => return Err(error),
                _ => {}
            }
        }
    }

    /// All of it as a text, unless it has more than `len_max` bytes.
    ///
    /// # Errors
    ///
    /// As [`read_to_end`](Self::read_to_end), and [`InvalidData`](ErrorKind::InvalidData) if it
    /// isn't UTF-8.
    pub fn read_to_string(self, len_max: usize) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.read_to_end(len_max, &mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
    }

    /// Waits until there is something to read, or the end.
    fn wait(&self, deadline: Instant) -> io::Result<()> {
        let time_left = deadline.saturating_duration_since(Instant::now());
        let time_left = Timespec::try_from(time_left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&time_left)) {
            Ok(0) => Err(io::Error::new(ErrorKind::TimedOut, self.why_late())),
            Err(errno) if !is_passing(&errno.into()) => Err(errno.into()),
            _ => Ok(()),
        }
    }

    fn why_late(&self) -> &'static str {
        let is_pipe = self.metadata().is_ok_and(|it| it.file_type().is_fifo());
        if is_pipe { "nobody writes to this pipe, or nobody closes it" } else { "it has no end" }
    }
}

/// Whether it may be otherwise at once: the end of the time is checked before the next try.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::thread;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn pipe() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        (directory, path)
    }

    fn impatient(path: &Path) -> SmallFile {
        SmallFile { patience: Duration::from_millis(1), ..SmallFile::open(path).unwrap() }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for (len, len_max) in [(0, 0), (3, 3), (2 * CHUNK_LEN, 2 * CHUNK_LEN), (5_000, 5_001)] {
            fs::write(&path, "x".repeat(len)).unwrap();
            let text = SmallFile::open(&path).unwrap().read_to_string(len_max).unwrap();
            assert_eq!(text.len(), len);
        }
        for (text, len_max, kind) in [
            (&b"four"[..], 3, ErrorKind::FileTooLarge),
            (&[b'x'; 2 * CHUNK_LEN + 1], 2 * CHUNK_LEN, ErrorKind::FileTooLarge),
            (&[0xff], 3, ErrorKind::InvalidData),
        ] {
            fs::write(&path, text).unwrap();
            let error = SmallFile::open(&path).unwrap().read_to_string(len_max).unwrap_err();
            assert_eq!(error.kind(), kind);
        }
        let error = SmallFile::open(directory.path()).unwrap().read_to_string(3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn a_device_without_an_end_is_not_read_for_ever() {
        let error = SmallFile::open("/dev/zero").unwrap().read_to_string(1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(SmallFile::open("/dev/null").unwrap().read_to_string(0).unwrap(), "");
    }

    #[test]
    fn a_pipe_is_read_if_somebody_writes_to_it() {
        let (_directory, path) = pipe();
        let reader = thread::spawn({
            let path = path.clone();
            move || SmallFile::open(path)?.read_to_string(9)
        });
        fs::write(&path, "text").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "text");
    }

    #[test]
    fn a_pipe_to_which_nobody_writes_or_that_nobody_closes_is_given_up() {
        let (_directory, path) = pipe();
        let error = impatient(&path).read_to_string(9).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // Opened for both, it waits for nobody.
        let mut writer = File::options().read(true).write(true).open(&path).unwrap();
        io::Write::write_all(&mut writer, b"text").unwrap();
        let error = impatient(&path).read_to_string(9).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
