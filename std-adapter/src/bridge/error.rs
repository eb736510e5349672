use std::io;

use graft_election_core::ConfigError;

use crate::error::StartError;
use crate::nats::{NatsConnectError, NatsError};
use crate::serial_line::SerialLine;

/// Why a bridge can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The cluster's name is not a valid one.
    #[error(transparent)]
    Cluster(#[from] ConfigError),
    /// The line can't be opened.
    #[error("could not open {line}")]
    Open {
        /// Which line.
        line: SerialLine,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The NATS server can't be reached.
    #[error(transparent)]
    Connect(#[from] NatsConnectError),
    /// The bridge can't subscribe to the cluster's subjects.
    #[error(transparent)]
    Subscribe(#[from] NatsError),
    /// The system has no random numbers for the bridge's id.
    #[error(transparent)]
    Random(Box<StartError>),
}
