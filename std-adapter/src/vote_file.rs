//! The vote record in a file of the Go original's format.

mod atomic_file;
mod error;
mod file_system;
mod format;
mod lock;
mod real_file_system;

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use graft_election_core::NodeId;

use crate::core_node::VoteRecord;
use crate::vote_store::{LoadWarning, StoredVote, VoteStore};
use atomic_file::AtomicFile;
use file_system::{FileSystem, HeldLock, LOCK_SUFFIX, TEMPORARY_SUFFIX};
use real_file_system::RealFileSystem;

pub use error::{DeleteError, LoadError, OpenError, SaveError, SaveStep, VoteFileError};
pub use format::{Corruption, Digest, ListContents, Unusable, VoteFileContents};

/// A vote store in a file of the Go original's format.
///
/// Only [`delete`](Self::delete) removes the record: a node that forgot its vote could vote again
/// in the same term (rule V1). Each save replaces the file as a whole, so that a crash at any
/// instruction leaves the old record or the new one (rule I2). Beside the file, `FILE.lock` keeps
/// other nodes out and is never removed, and `FILE.tmp` exists during a save, so the directory must
/// be writable, and no vote file may have such a name. New files have the permissions 0660, less
/// the umask; a file that is there keeps its permissions, and its owner and group as far as the
/// system permits that. If the path is a symbolic link, all this applies to the file that it leads
/// to, and the link stays.
///
/// ```
/// use graft_election::{NodeId, VoteFile, VoteRecord, VoteStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("vote");
/// let mut votes = VoteFile::open(&path)?;
/// let id = NodeId::new("node-1")?;
/// let record = VoteRecord { term: 1, voted_for: Some(id.clone()), ..VoteRecord::default() };
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
}

impl VoteFile {
    /// Reserves the file at `path` for this node alone, until the value is dropped. If there is no
    /// file, the first save creates it: a node saves when it starts.
    ///
    /// Whatever could fail later is tried now, rather than at the first election: that no other
    /// node uses the file, that files can be written there, and that a node can start from its
    /// record.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and the reason. A file that is not certainly a vote record is
    /// refused; only an empty one is taken for a new node's (see [`LoadWarning::NoState`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = resolve(path.as_ref())?;
        let name = path.as_os_str().as_encoded_bytes();
        let suffixes = [LOCK_SUFFIX, TEMPORARY_SUFFIX];
        if let Some(suffix) = suffixes.into_iter().find(|it| name.ends_with(it.as_bytes())) {
            return Err(OpenError::NameOfBeside { path, suffix });
        }
        Self::open_on(Arc::new(RealFileSystem), path)
    }

    /// Opens the file at `path`, which is not a symbolic link.
    ///
    /// A record that is there is written again, even if it looks sound: it may not be durable, and
    /// a sync can't make it so. Its writer may have been killed between rename and sync, or its
    /// sync may have failed, or it is a Go node, which never syncs. A node that answered from such
    /// a record could lose it in a power failure (rule T1).
    fn open_on(files: Arc<dyn FileSystem>, path: PathBuf) -> Result<Self, OpenError> {
        let lock = files.lock(&path)?;
        let file = AtomicFile::new(Arc::clone(&files), path);
        let opened = Self { files, file, lock };
        opened.read()?;
        let prepared = match opened.files.read(opened.file.path()) {
            Ok(contents) => opened.file.replace(&contents),
            Err(LoadError::Missing { .. }) => opened.file.prepare(),
            Err(error) => return Err(error.into()),
        };
        prepared.map_err(OpenError::Unwritable)?;
        Ok(opened)
    }

    /// The file in which the vote is kept: absolute, at the end of all symbolic links.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads the file at `path` without locking or changing anything, whether it is in use or not.
    /// `None` if it is empty.
    ///
    /// What nodes of the Go original or of this crate have written is read, even if no node of this
    /// crate would start from it.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file and the reason; it is never [`LoadError::Unusable`].
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

    /// What a node would start from.
    fn read(&self) -> Result<StoredVote, LoadError> {
        let path = self.file.path();
        match Self::inspect_on(&*self.files, path) {
            Ok(Some(contents)) => contents
                .to_stored_vote()
                .map_err(|reason| LoadError::Unusable { path: path.into(), reason }),
            Ok(None) => {
                Ok(StoredVote { warnings: vec![LoadWarning::NoState], ..StoredVote::default() })
            }
            Err(LoadError::Missing { .. }) => Ok(StoredVote::default()),
            Err(error) => Err(error),
        }
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
    type Error = VoteFileError;

    fn load(&mut self) -> Result<StoredVote, VoteFileError> {
        Ok(self.read()?)
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), VoteFileError> {
        let failed = |step, reason| SaveError { path: self.path().into(), step, reason };
        self.lock.verify().map_err(|reason| failed(SaveStep::VerifyLock, reason))?;
        let contents =
            format::encode(record, id).map_err(|error| failed(SaveStep::Write, error.into()))?;
        Ok(self.file.replace(contents.as_bytes())?)
    }
}

/// The path of the file itself: absolute, and at the end of all symbolic links, whether it exists
/// or not. So a change of the working directory doesn't matter, and each file has one lock.
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

#[cfg(test)]
mod tests;
