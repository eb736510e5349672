use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::OpenError;
use super::file_system::{HeldLock, LOCK_SUFFIX, MODE, with_suffix};
use super::real_file_system::copy_owner;

/// The right to use a vote file, held against every other process and this one.
///
/// It is a lock on a second file, since the vote file itself is replaced at each save. That file
/// stays when the lock is dropped: removing it could take away a lock that another process has
/// acquired in the meantime.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Locks the vote file at `path`.
    pub(super) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let lock_path = with_suffix(path, LOCK_SUFFIX);
        let failed = |reason| OpenError::Lock { path: lock_path.clone(), reason };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(MODE);
        let is_new = !lock_path.exists();
        let file = options.open(&lock_path).map_err(failed)?;
        if is_new {
            // An administrator's command must not leave a lock that the node can't open.
            copy_owner(path, &lock_path).map_err(failed)?;
        }
        let in_use = OpenError::InUse { path: path.into() };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use),
            Err(TryLockError::Error(reason)) => return Err(failed(reason)),
        }
        let lock = Self { file, path: lock_path };
        // Its owner may have deleted it between the two steps.
        lock.verify().map_err(|_| in_use)?;
        Ok(lock)
    }
}

impl HeldLock for Lock {
    fn path(&self) -> &Path {
        &self.path
    }

    /// The check fails if someone took the lock file for a leftover and removed it; another node
    /// may then use the vote file, too.
    fn verify(&self) -> io::Result<()> {
        let (own, found) = (self.file.metadata()?, fs::metadata(&self.path)?);
        if (own.dev(), own.ino()) != (found.dev(), found.ino()) {
            return Err(io::Error::other("the lock file has been replaced"));
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is starting has a copy of
        // it until it executes its program.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g18_a_released_lock_is_free_even_if_a_starting_process_has_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vote");
        let lock = Lock::acquire(&path).unwrap();
        let copy = lock.file.try_clone().unwrap();
        assert!(Lock::acquire(&path).is_err());
        drop(lock);
        assert!(Lock::acquire(&path).is_ok());
        drop(copy);
    }
}
