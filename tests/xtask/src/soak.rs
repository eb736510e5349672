//! `cargo xtask soak`: real nodes whose COMMANDs try to be at work when they must not.

use std::path::Path;

use anyhow::Result;

use crate::command::{cargo, run};
use crate::workspace::target_dir;

/// How long `cargo xtask test` does it.
pub(crate) const MINUTES: f64 = 1.0;

/// Runs three nodes and their faults for so long.
///
/// # Errors
///
/// Two COMMANDs were at work at once, one was left over, or nothing was shown.
pub(crate) fn soak(nats_server: &Path, minutes: f64, seed: u64) -> Result<()> {
    run(cargo(["build", "--quiet", "--locked", "--package", "graft-election-cli"])?)?;
    let mut soak = cargo(["run", "--quiet", "--locked", "--package", "graft-election-tests"])?;
    soak.args(["--bin", "soak", "--", &format!("--minutes={minutes}"), &format!("--seed={seed}")]);
    soak.arg("--graft").arg(target_dir()?.join("debug/graft"));
    soak.env("NATS_SERVER", nats_server);
    run(soak)
}
