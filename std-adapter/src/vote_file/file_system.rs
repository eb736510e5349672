use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{LoadError, OpenError};

/// The permissions that the Go original creates its file with, before the umask.
pub(super) const MODE: u32 = 0o660;

/// The longest file that is read, in bytes. A record takes about 200.
pub(super) const LEN_MAX: u64 = 1 << 20;

/// How the names of the files beside a vote file end: of its lock, and of what replaces it.
pub(super) const LOCK_SUFFIX: &str = ".lock";
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// All that a vote file does to the world. The tests have a second implementation: a disk that may
/// lose its power between any two of these calls.
pub(super) trait FileSystem: fmt::Debug + Send + Sync {
    /// Locks the vote file at `path`.
    fn lock(&self, path: &Path) -> Result<Box<dyn HeldLock>, OpenError>;

    /// The contents of the file at `path`: at most [`LEN_MAX`] bytes.
    fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError>;

    /// Creates the file at `path`, which must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Gives the file at `to` the permissions of the one at `from` and, as far as the system
    /// permits that, its owner and group. If there is no file at `from`, nothing changes.
    fn copy_owner(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames the file at `from` to `to`, in place of the one that is there, if any.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file at `path`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names of the files in `directory` durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub(super) trait NewFile: Write {
    /// Makes durable what was written.
    fn sync(&self) -> io::Result<()>;
}

/// A lock, until the value is dropped.
pub(super) trait HeldLock: fmt::Debug + Send + Sync {
    /// The lock file.
    fn path(&self) -> &Path;

    /// Checks that the locked file is the one that others would find.
    fn verify(&self) -> io::Result<()>;
}

/// The file beside the one at `path` that has this suffix.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
