//! Programs that test the election by itself: `cargo xtask simulate`.

use anyhow::Result;

use crate::command::{cargo, run};
use crate::workspace::target_dir;

/// How many clusters `cargo xtask test` simulates.
pub(crate) const SEEDS: u64 = 20_000;

/// Simulates so many clusters, each from a seed of its own: `seed` and those after it, or today's.
///
/// # Errors
///
/// A rule is broken; the simulator has said which, and where its script and drawing are.
pub(crate) fn simulate(seeds: u64, seed: Option<u64>) -> Result<()> {
    let mut simulator = cargo(["run", "--quiet", "--release", "--locked"])?;
    simulator.args(["--package", "graft-election-simulator", "--"]);
    simulator.arg(format!("--seeds={seeds}"));
    simulator.args(seed.map(|seed| format!("--seed={seed}")));
    for (option, file) in [("--script", "failure.txt"), ("--svg", "failure.svg")] {
        simulator.arg(option).arg(target_dir()?.join(file));
    }
    run(simulator)
}

/// Simulates the clusters that every change must stand; always the same, so that a failure is the
/// change's.
///
/// # Errors
///
/// A rule is broken.
pub(crate) fn simulate_some() -> Result<()> {
    simulate(SEEDS, Some(1))
}
