//! The runtime of everything but a node, which has threads of its own.

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime on this thread alone.
pub(crate) fn on_this_thread() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("could not start the runtime")
}
