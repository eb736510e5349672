//! The vote record in a file that Go nodes can read, and theirs.

mod atomic_file;
mod error;
mod file_system;
mod format;
mod go_json;
mod lock;

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use graft_election_core::{NodeId, VoteRecord};

use crate::{LoadWarning, StoredVote, VoteStore};
use atomic_file::AtomicFile;
use file_system::{FileSystem, HeldLock, RealFileSystem};
use format::UnknownKeys;

pub use error::{DeleteError, LoadError, OpenError, SaveError, SaveStep, Unusable};
pub use format::{Corruption, Digest, VoteFileContents};

/// A vote store in a file of the Go original's format.
///
/// The record outlives everything but [`delete`](Self::delete): a node that forgot its vote could
/// vote again in the same term (rule V1). Each save replaces the file as a whole, so that a crash
/// at any instruction leaves the old record or the new one (rule I2). Beside the file, `FILE.lock`
/// keeps others out; it stays, and `FILE.tmp` exists during a save. All of them have the
/// permissions 0660, less the umask. If the path is a symbolic link, all this applies to the file
/// that it leads to, and the link stays.
///
/// ```
/// use graft_election::{VoteFile, VoteStore};
/// use graft_election_core::{NodeId, VoteRecord};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vote");
/// let mut votes = VoteFile::open(&path)?;
/// let id = NodeId::new("node-1")?;
/// let record = VoteRecord { term: 1, voted_for: Some(id.clone()) };
/// votes.save(&id, &record)?;
/// drop(votes);
///
/// assert_eq!(VoteFile::open(&path)?.load()?.record, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VoteFile {
    files: Arc<dyn FileSystem>,
    file: AtomicFile,
    lock: Box<dyn HeldLock>,
    unknown: UnknownKeys,
}

impl VoteFile {
    /// Takes the file at `path` for this node alone, until the value is dropped. If there is none,
    /// the first save creates it: a node makes one when it starts.
    ///
    /// All that can be found out about the place is found out now, not at the first election: that
    /// no one else uses it, that files can be written there, and that a node can start from what it
    /// holds.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and the reason. A file that is not certainly a vote record is
    /// refused, whatever the reason may be; only an empty one is taken for a new node's (see
    /// [`LoadWarning::NoState`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(RealFileSystem), resolve(path.as_ref())?)
    }

    /// Opens the file at `path`, which is no symbolic link.
    ///
    /// What is there is written anew, even if it looks well: it may not be durable, nor can a sync
    /// make it so. Its writer may have been killed between rename and sync, or have had a sync fail,
    /// or be a Go node, which never syncs. A node that answered from such a record could lose it to
    /// a power failure (rule T1).
    fn open_on(files: Arc<dyn FileSystem>, path: PathBuf) -> Result<Self, OpenError> {
        let lock = files.lock(&path)?;
        let file = AtomicFile::new(Arc::clone(&files), path);
        let mut opened = Self { files, file, lock, unknown: UnknownKeys::default() };
        opened.load()?;
        let prepared = match opened.files.read(opened.file.path()) {
            Ok(contents) => opened.file.replace(&contents),
            Err(LoadError::Missing { .. }) => opened.file.prepare(),
            Err(error) => return Err(error.into()),
        };
        prepared.map_err(OpenError::Unwritable)?;
        Ok(opened)
    }

    /// Reads the file at `path` without locking or changing anything, be it in use or not. None if
    /// it is empty.
    ///
    /// What Go reads without error is read, even if no node of this implementation would start from
    /// it. Stricter than Go are the bounds on the size and the rule that `NodeId` is a string.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file and the reason; never [`LoadError::Unusable`].
    pub fn inspect(path: impl AsRef<Path>) -> Result<Option<VoteFileContents>, LoadError> {
        Self::inspect_on(&RealFileSystem, path.as_ref())
    }

    fn inspect_on(
        files: &dyn FileSystem,
        path: &Path,
    ) -> Result<Option<VoteFileContents>, LoadError> {
        let bytes = files.read(path)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let contents = format::decode(&bytes)
            .map_err(|reason| LoadError::Corrupt { path: path.into(), reason })?;
        Ok(Some(contents))
    }

    /// Removes the record, the lock file and what a failed save has left. The node must never come
    /// back under its old id (rule V9).
    ///
    /// # Errors
    ///
    /// [`DeleteError`] names the file that could not be removed.
    pub fn delete(self) -> Result<(), DeleteError> {
        // The lock is held until all are gone.
        for path in [self.file.temporary(), self.file.path(), self.lock.path()] {
            match self.files.remove(path) {
                Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                    let path = path.into();
                    return Err(DeleteError { path, reason });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl VoteStore for VoteFile {
    fn path(&self) -> Option<&Path> {
        Some(self.file.path())
    }

    fn load(&mut self) -> Result<StoredVote, LoadError> {
        let path = self.file.path();
        let contents = match Self::inspect_on(&*self.files, path) {
            Ok(Some(contents)) => contents,
            Ok(None) => {
                return Ok(StoredVote {
                    warnings: vec![LoadWarning::NoState],
                    ..StoredVote::default()
                });
            }
            Err(LoadError::Missing { .. }) => return Ok(StoredVote::default()),
            Err(error) => return Err(error),
        };
        if contents.unknown.encoded_len() > UNKNOWN_LEN_MAX {
            return Err(LoadError::TooLarge { path: path.into() });
        }
        let stored = contents
            .to_stored_vote()
            .map_err(|reason| LoadError::Unusable { path: path.into(), reason })?;
        self.unknown = contents.unknown;
        Ok(stored)
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), SaveError> {
        self.lock.verify().map_err(|reason| SaveError {
            path: self.file.path().into(),
            step: SaveStep::VerifyLock,
            reason,
        })?;
        let voted_for = record.voted_for.as_ref().map_or("", NodeId::as_str);
        let contents = format::encode(record.term, voted_for, Some(id), &self.unknown);
        self.file.replace(contents.as_bytes())
    }
}

/// The path of the file itself: absolute, and at the end of all symbolic links, whether it exists
/// or not. So a change of the working directory doesn't matter, and one file has one lock.
fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    let unreachable = |reason| OpenError::Unreachable { path: path.into(), reason };
    match fs::canonicalize(path) {
        Ok(file) if file.is_file() => return Ok(file),
        Ok(path) => return Err(LoadError::NotAFile { path }.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreachable(error)),
    }
    let full = absolute(path).unwrap_or_default();
    let (Some(directory), Some(name)) = (full.parent(), full.file_name()) else {
        return Err(OpenError::NoFileName { path: path.into() });
    };
    let directory = fs::canonicalize(directory).map_err(unreachable)?;
    let file = directory.join(name);
    match fs::read_link(&file) {
        Ok(target) => resolve(&directory.join(target)),
        Err(_) => Ok(file),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The permissions that the Go original creates its file with, before the umask.
const MODE: u32 = 0o660;

/// The longest file that is read, in bytes. A record takes about 200.
const LEN_MAX: u64 = 1 << 20;

/// The most bytes of unknown keys. Base64 makes them longer by a third; with the rest of the record
/// that is still below [`LEN_MAX`], so that what is written can be read again.
const UNKNOWN_LEN_MAX: usize = 1 << 19;

#[cfg(test)]
mod tests;
