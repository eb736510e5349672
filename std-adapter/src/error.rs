use std::error::Error;
use std::io;

use graft_election_core::ConfigError;

/// Why a node could not be started. [`ErrorChain`](crate::ErrorChain) prints it with its causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid. It covers Go's `ErrClusterName` and `ErrClusterSize`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The stored vote could not be loaded: the [`VoteStore`](crate::VoteStore)'s error.
    #[error("could not load the stored vote")]
    Load(#[source] Box<dyn Error + Send + Sync>),
    /// The node's id, which was not yet stored with the vote, could not be saved: the
    /// [`VoteStore`](crate::VoteStore)'s error.
    #[error("could not save the node's id")]
    Save(#[source] Box<dyn Error + Send + Sync>),
    /// The count of the node's starts could not be saved, which a cluster's key needs (rule K2):
    /// the [`VoteStore`](crate::VoteStore)'s error.
    #[error("could not save how often the node has started, which its key needs")]
    SaveStart(#[source] Box<dyn Error + Send + Sync>),
    /// The node has started as often with a key as can be counted.
    #[error("the node has started 2^28 times with a key: it needs a new record")]
    NoStartLeft,
    /// A node of Graft mode was given a key.
    #[error("a node in Graft mode can't have a key: Go nodes seal nothing, and would not be heard")]
    KeyInGraftMode,
    /// The stored vote is another node's.
    #[error("the stored vote belongs to node {kept}, not to {given}")]
    OtherId {
        /// The id that was given.
        given: String,
        /// The id that is stored with the vote.
        kept: String,
    },
    /// There is a vote record, so [`first_record`](crate::NodeBuilder::first_record) must not make
    /// one.
    #[error("node {id} has a vote record already; start it without making its first")]
    RecordExists {
        /// The node's id.
        id: String,
    },
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random(#[source] Box<dyn Error + Send + Sync>),
    /// The transport could not join the cluster: the [`Transport`](crate::Transport)'s error.
    #[error("could not join the cluster")]
    Join(#[source] Box<dyn Error + Send + Sync>),
    /// A thread for the application or the handler could not be started.
    #[error("could not start a thread")]
    Thread(#[source] io::Error),
}
