use std::error::Error;
use std::io;

use graft_election_core::ConfigError;

use crate::vote_file::{LoadError, SaveError};

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cluster or a time makes no sense. It covers Go's `ErrClusterName` and `ErrClusterSize`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The stored vote can't be had. It covers Go's `ErrLogNoExist` and `ErrLogCorrupt`.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The node's id, which was not kept with the vote yet, could not be stored.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The stored vote is another node's.
    #[error("the stored vote belongs to node {kept}, not to {given}")]
    OtherId {
        /// The id that was given.
        given: String,
        /// The id that is kept with the vote.
        kept: String,
    },
    /// The system's random source failed.
    #[error("the system's random source failed: {0}")]
    Random(Box<dyn Error + Send + Sync>),
    /// The transport could not join the cluster.
    #[error("the transport could not join the cluster: {0}")]
    Join(#[source] Box<dyn Error + Send + Sync>),
    /// A thread for the handler could not be started.
    #[error("a thread for the handler could not be started: {0}")]
    Thread(#[source] io::Error),
}
