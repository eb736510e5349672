use std::path::PathBuf;
use std::{fmt, io};

use thiserror::Error;

use super::format::{Corruption, Unusable};

/// Why [`VoteFile::open`](super::VoteFile::open) refuses a path.
///
/// The Go original's `ErrLogReq` has no counterpart: a node can't be built without a vote store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The path ends in no name, as `/` and the empty path do.
    #[error("{path:?} names no file")]
    NoFileName {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file's name is that of what is beside another vote file: a save of that other node's
    /// would remove this one, or its lock would be replaced.
    #[error(
        "{path} can't be a vote file: a name that ends in {suffix} is that of a file beside one"
    )]
    NameOfBeside {
        /// The file.
        path: PathBuf,
        /// How the name ends.
        suffix: &'static str,
    },
    /// A directory on the way is missing or inaccessible, or symbolic links lead in a circle.
    #[error("{path} can't be reached")]
    Unreachable {
        /// The path as it was given.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        reason: io::Error,
    },
    /// Another node keeps its vote here (defect G18 of the Go original).
    #[error("{path} is in use by another node")]
    InUse {
        /// The vote file.
        path: PathBuf,
    },
    /// The lock file can't be created or locked.
    #[error("{path} can't be locked")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        reason: io::Error,
    },
    /// The file can't be replaced, so the node could never vote.
    #[error(transparent)]
    Unwritable(SaveError),
    /// The record can't be read, or a node can't start from it.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What can go wrong when a node uses its vote file, once that is open.
#[derive(Debug, Error)]
pub enum VoteFileError {
    /// The record could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The record could not be saved.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// Why no vote record could be read from a file. The Go original's `ErrLogNoState`, an empty file,
/// is not an error: see [`LoadWarning::NoState`](crate::LoadWarning::NoState).
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is no such file: Go's `ErrLogNoExist`. A new node starts with that.
    #[error("{path} does not exist")]
    Missing {
        /// The vote file.
        path: PathBuf,
    },
    /// It is a directory, a pipe or a device.
    #[error("{path} is not a file")]
    NotAFile {
        /// The vote file.
        path: PathBuf,
    },
    /// It is too long to be a vote file.
    #[error("{path} is too large for a vote file")]
    TooLarge {
        /// The vote file.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("{path} can't be read")]
    Read {
        /// The vote file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        reason: io::Error,
    },
    /// It holds something other than a vote record, or a damaged one: Go's `ErrLogCorrupt`.
    #[error("{path} is corrupt")]
    Corrupt {
        /// The vote file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: Corruption,
    },
    /// It holds a record from which a node can't start.
    #[error("{path} can't be used")]
    Unusable {
        /// The vote file.
        path: PathBuf,
        /// What is wrong with the record.
        #[source]
        reason: Unusable,
    },
}

/// A record that may not be durable: the file holds the old one or, if the last step failed, the
/// new one.
#[derive(Debug, Error)]
#[error("the vote can't be saved in {path}: failed to {step}")]
pub struct SaveError {
    /// The vote file.
    pub path: PathBuf,
    /// The step that failed.
    pub step: SaveStep,
    /// The operating system's reason.
    #[source]
    pub reason: io::Error,
}

/// The steps of a save, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveStep {
    /// Making sure that no other node uses the file.
    VerifyLock,
    /// Creating the temporary file.
    Create,
    /// Writing the record to it.
    Write,
    /// Making it durable; when the file is opened, also making durable what it holds.
    Sync,
    /// Renaming it to the vote file.
    Rename,
    /// Making the new name durable.
    SyncDirectory,
}

impl fmt::Display for SaveStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VerifyLock => "verify the lock",
            Self::Create => "create the temporary file",
            Self::Write => "write the temporary file",
            Self::Sync => "sync the file",
            Self::Rename => "rename the temporary file",
            Self::SyncDirectory => "sync the directory",
        })
    }
}

/// A vote file that could not be removed.
#[derive(Debug, Error)]
#[error("{path} can't be removed")]
pub struct DeleteError {
    /// The file that remains: the vote file or one beside it.
    pub path: PathBuf,
    /// The operating system's reason.
    #[source]
    pub reason: io::Error,
}
