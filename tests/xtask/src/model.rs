//! `cargo xtask model`: the search through all that can happen in small clusters.

use anyhow::Result;

use crate::command::{cargo, run};

/// Searches the clusters that every test searches, or those that are searched on demand.
///
/// # Errors
///
/// The program has said what was violated, never seen or left out.
pub(crate) fn search(large: bool) -> Result<()> {
    let mut model = cargo(["run", "--release", "--package", "graft-election-model"])?;
    if large {
        model.args(["--", "--large"]);
    }
    run(model)
}
