//! `cargo xtask fuzz`: what libFuzzer finds in the wire format, the vote file and the core.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::command::{cargo_of, output, run};
use crate::workspace::{FUZZ, root, target_dir};

/// What is fuzzed: programs of the package.
const TARGETS: [&str; 4] = ["messages", "frames", "vote_file", "hostile_peers"];

/// How many inputs each target tries if nobody says otherwise, and in CI.
pub(crate) const RUNS: u64 = 100_000;

/// Where CI begins, so that it tries the same inputs each time.
pub(crate) const SEED: u32 = 1;

/// The longest input, in bytes: more than the longest frame, and several messages of a script.
const INPUT_MAX: u32 = 512;

/// Builds all targets, and has each try `runs` inputs.
///
/// They begin with the inputs of `corpus` in the package, and with `seed`. What they find on the
/// way is kept in `fuzz/found` under cargo's target folder, for the next time.
///
/// # Errors
///
/// Names the file that has the input on which a target failed.
pub(crate) fn fuzz(program: &Path, runs: u64, seed: u32) -> Result<()> {
    run(cargo_fuzz(program, "build")?)?;
    let figures: Result<Vec<String>> =
        TARGETS.iter().map(|target| fuzz_target(program, target, runs, seed)).collect();
    println!("fuzzed {}", figures?.join(", "));
    Ok(())
}

/// What one target has done.
fn fuzz_target(program: &Path, target: &str, runs: u64, seed: u32) -> Result<String> {
    let folder = target_dir()?.join("fuzz");
    let (found, failures) = (folder.join("found").join(target), folder.join("failures"));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&failures)?;
    let mut fuzz = cargo_fuzz(program, "run")?;
    // The first folder is the one that grows.
    fuzz.arg(target).arg(&found).arg(corpus(target));
    fuzz.args(["--", "-print_final_stats=1"])
        .args([format!("-runs={runs}"), format!("-seed={seed}"), format!("-max_len={INPUT_MAX}")])
        .arg(format!("-artifact_prefix={}/{target}-", failures.display()));
    println!("fuzzing {target}");
    let Output { status, stderr, .. } = output(fuzz)?;
    let log = String::from_utf8_lossy(&stderr);
    if !status.success() {
        let file = value_after(&log, "Test unit written to ");
        eprintln!("{log}");
        bail!("{target} fails on {}", file.unwrap_or("an input that libFuzzer has not kept"));
    }
    let statistic = |name: &str| value_after(&log, name).context("libFuzzer gives no statistics");
    let executions = statistic("stat::number_of_executed_units:")?;
    let rate = statistic("stat::average_exec_per_sec:")?;
    let inputs = count(&found)? + count(&corpus(target))?;
    Ok(format!("{target}: {executions} executions, {rate}/s, corpus of {inputs}"))
}

/// Where the inputs are that each run begins with.
fn corpus(target: &str) -> PathBuf {
    Path::new(FUZZ).join("corpus").join(target)
}

/// A stable compiler knows how to instrument programs, but has to be told that it is unstable.
fn cargo_fuzz(program: &Path, task: &str) -> Result<Command> {
    let mut fuzz = cargo_of(program)?;
    // What sanitizers look for takes unsafe code, of which there is none here.
    fuzz.args(["fuzz", task, "--sanitizer", "none", "--fuzz-dir", FUZZ, "--target-dir"]);
    fuzz.arg(target_dir()?.join("fuzz")).env("RUSTC_BOOTSTRAP", "1");
    Ok(fuzz)
}

fn count(folder: &Path) -> Result<usize> {
    let folder = root()?.join(folder);
    let entries = fs::read_dir(&folder);
    Ok(entries.with_context(|| format!("can't read {}", folder.display()))?.count())
}

/// The word after the last `name` in `log`.
fn value_after<'l>(log: &'l str, name: &str) -> Option<&'l str> {
    log.rsplit_once(name)?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_failures_are_found_in_the_log() {
        let log = "stat::number_of_executed_units: 200\nstat::average_exec_per_sec:     70\n";
        assert_eq!(value_after(log, "stat::average_exec_per_sec:"), Some("70"));
        assert_eq!(value_after(log, "Test unit written to "), None);
        let log = "artifact_prefix='f/'; Test unit written to f/crash-1\nBase64: AA==\n";
        assert_eq!(value_after(log, "Test unit written to "), Some("f/crash-1"));
    }
}
