use std::path::PathBuf;
use std::{fmt, io};

use graft_election_core::NodeIdError;
use thiserror::Error;

use super::format::Corruption;

/// Why [`VoteFile::open`](super::VoteFile::open) refuses a place.
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
    /// A directory on the way is missing or barred, or symbolic links lead in a circle.
    #[error("{path} can't be reached: {reason}")]
    Unreachable {
        /// The path as it was given.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// Another node keeps its vote here (defect G18 of the Go original).
    #[error("{path} is in use by another node")]
    InUse {
        /// The vote file.
        path: PathBuf,
    },
    /// The lock file can't be created or locked.
    #[error("{path} can't be locked: {reason}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The file can't be replaced, so the node could never vote.
    #[error(transparent)]
    Unwritable(SaveError),
    /// The record can't be read, or a node can't start from it.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Why a vote record can't be had from a file. The Go original's `ErrLogNoState`, an empty file, is
/// no error: see [`LoadWarning::NoState`](crate::LoadWarning::NoState).
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is no such file: Go's `ErrLogNoExist`. To a node, that is how it starts out.
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
    /// It is too long to be a vote file, or holds so many unknown keys that it couldn't be written
    /// again.
    #[error("{path} is too large for a vote file")]
    TooLarge {
        /// The vote file.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("{path} can't be read: {reason}")]
    Read {
        /// The vote file.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// What it holds is no vote record, or a damaged one: Go's `ErrLogCorrupt`.
    #[error("{path} is corrupt: {reason}")]
    Corrupt {
        /// The vote file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Corruption,
    },
    /// It holds a record from which a node can't start.
    #[error("{path} can't be used: {reason}")]
    Unusable {
        /// The vote file.
        path: PathBuf,
        /// What is wrong with the record.
        reason: Unusable,
    },
}

/// Why a node can't start from a vote record that was read without error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unusable {
    /// Rule T4: terms from 2^63 are malformed.
    #[error("term {term} is out of range")]
    TermOutOfRange {
        /// The stored term.
        term: u64,
    },
    /// The vote is for a name that is no node id, and there is no later term to start from.
    #[error("the vote of term {term} can't be repeated, and no term follows it")]
    NoTermLeft {
        /// The stored term.
        term: u64,
    },
    /// The kept id is none: the record may be another node's.
    #[error("the kept node id {id:?} is malformed: {reason}")]
    Id {
        /// The kept id.
        id: String,
        /// What is wrong with it.
        reason: NodeIdError,
    },
}

/// A record that may not be durable: the file holds the old one or, if the last step failed, the
/// new one.
#[derive(Debug, Error)]
#[error("the vote can't be saved in {path}: failed to {step}: {reason}")]
pub struct SaveError {
    /// The vote file.
    pub path: PathBuf,
    /// The step that failed.
    pub step: SaveStep,
    /// What the operating system says.
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
    /// Putting it in the vote file's place.
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
#[error("{path} can't be removed: {reason}")]
pub struct DeleteError {
    /// The file that remains: the vote file or one beside it.
    pub path: PathBuf,
    /// What the operating system says.
    pub reason: io::Error,
}
