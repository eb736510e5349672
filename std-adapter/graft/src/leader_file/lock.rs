//! The lock that keeps a leader file for one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

/// The right to keep a leader file, held against every other process that asks for it.
///
/// It is a lock on a file of its own, since the leader file is replaced all the time. That file
/// stays: removing it could take away a lock that another process has by then.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: Mutex<File>,
    /// There was no such file before.
    is_new: bool,
}

impl Lock {
    /// Takes the lock in the file at `path`, which is made if it isn't there; none if another
    /// process has it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let is_new = !path.exists();
        let Some(file) = lock(path)? else { return Ok(None) };
        Ok(Some(Self { path: path.to_owned(), file: Mutex::new(file), is_new }))
    }

    /// Gives up a lock that was never used, and removes its file if that was made for it. Whoever
    /// waits for the lock finds by [`is_at`] that this is not the file any more.
    pub(super) fn withdraw(self) {
        if self.is_new && self.hold().is_ok() {
            // Left there, it does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Makes sure that the lock is the one that others would find: somebody may have taken its file
    /// for a leftover and removed it, and the directory with it. Then it is taken again.
    ///
    /// # Errors
    ///
    /// Another process has it now, or there can be no such file.
    pub(super) fn hold(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_at(&file, &self.path)? {
            let again = lock(&self.path)?;
            *file = again.ok_or_else(|| io::Error::other("another process keeps it"))?;
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is starting has a copy of
        // it until it executes its program.
        let _ = self.file.get_mut().unwrap_or_else(PoisonError::into_inner).unlock();
    }
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    // Somebody else's link may lie in a directory that is open to all.
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(no_link);
    let file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // It may have been removed between the two steps.
    Ok(is_at(&file, path)?.then_some(file))
}

/// Whether this is the file at `path`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    let own = file.metadata()?;
    Ok((own.dev(), own.ino()) == (found.dev(), found.ino()))
}
