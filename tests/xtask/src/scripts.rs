//! The scripts in `tests/scripts`: `cargo xtask scripts`.

use anyhow::Result;

use crate::command::{cargo, run};

/// Plays all scripts; with `write` their transcripts are written anew. The last line has the
/// figures.
///
/// # Errors
///
/// A script doesn't hold, or breaks off; what is wrong, and where, has been printed.
pub(crate) fn play(write: bool) -> Result<()> {
    let mut scripts = cargo(["run", "--quiet", "--locked"])?;
    scripts.args(["--package", "graft-election-simulator", "--example", "scripts"]);
    if write {
        scripts.args(["--", "--write"]);
    }
    run(scripts)
}
