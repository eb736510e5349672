//! Leader election for tokio programs.

#![forbid(unsafe_code)]

mod vote_file;
mod vote_store;

pub use vote_file::{
    Corruption, DeleteError, Digest, LoadError, OpenError, SaveError, SaveStep, Unusable, VoteFile,
    VoteFileContents,
};
pub use vote_store::{LoadWarning, MemoryVotes, StoredVote, VoteStore};
