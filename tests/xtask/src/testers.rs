//! Programs that test the election by itself: `cargo xtask simulate`, `model`, `scripts` and
//! `times`.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run};
use crate::workspace::target_dir;

/// How many clusters `cargo xtask test` simulates.
pub(crate) const SEEDS: u64 = 20_000;

/// How often `cargo xtask times` plays each scene.
pub(crate) const RUNS: u64 = 10_000;

/// How often `cargo xtask test` does.
const RUNS_TO_CHECK: u64 = 500;

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

/// Which clusters the model checker searches.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Model {
    /// Search only the clusters that `cargo xtask test` searches.
    #[arg(long, conflicts_with = "large")]
    pub(crate) quick: bool,
    /// Search larger clusters instead.
    #[arg(long)]
    pub(crate) large: bool,
    /// Search clusters whose voters change instead.
    #[arg(long)]
    pub(crate) voters: bool,
}

/// Lets the model checker search clusters for what breaks an invariant.
///
/// # Errors
///
/// The program has said what was violated, never seen or left out.
pub(crate) fn search(clusters: Model) -> Result<()> {
    let mut model = cargo(["run", "--release", "--package", "graft-election-model", "--"])?;
    model.args(clusters.quick.then_some("--quick"));
    model.args(clusters.large.then_some("--large"));
    model.args(clusters.voters.then_some("--voters"));
    run(model)
}

/// Plays all scripts; with `write` their transcripts are rewritten. The last line has the
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

/// Plays scenes of clusters that lose their leader, so many times each, and prints how long they
/// had none; with `write` that goes into `docs/times.md`.
///
/// # Errors
///
/// A rule is broken in a scene, or the document has no place for the table.
pub(crate) fn measure_times(runs: u64, write: bool) -> Result<()> {
    let mut times = times(runs)?;
    if write {
        times.arg("--write");
    }
    run(times)
}

/// Checks that the times in `docs/times.md` may be those of today.
///
/// # Errors
///
/// Shows the rows that can't.
pub(crate) fn check_times() -> Result<()> {
    let mut times = times(RUNS_TO_CHECK)?;
    times.arg("--check");
    run(times)
}

fn times(runs: u64) -> Result<Command> {
    let mut times = cargo(["run", "--quiet", "--release", "--locked"])?;
    times.args(["--package", "graft-election-simulator", "--example", "times", "--"]);
    times.arg(format!("--runs={runs}"));
    Ok(times)
}
