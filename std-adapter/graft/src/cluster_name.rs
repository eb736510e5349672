//! The name of a cluster on the command line.

use graft_election::{Config, ConfigError};

/// Takes a name that a cluster can have.
pub(crate) fn cluster_name(text: &str) -> Result<String, ConfigError> {
    Config::check_cluster(text)?;
    Ok(text.to_owned())
}
