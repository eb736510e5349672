//! `cargo xtask crash-files`: the vote file when the power is lost, the disk fails, or a process is
//! killed, at full size.

use anyhow::{Result, ensure};

use crate::command::{cargo, output};

/// The test that plays with a model of a disk, and what cargo must be told to find it.
const MODEL: [&str; 2] = ["--lib", "vote_file::tests::i2_after_any_crashes_and_faults"];

/// The test that kills real processes.
const KILLS: [&str; 3] = ["--test", "vote_file", "g2_a_node_killed_a_thousand_times"];

/// How a test begins the line that says what it has done.
const FIGURES: &str = "figures: ";

/// Runs the tests that are too long for every day.
///
/// # Errors
///
/// Shows what the test that failed says.
pub(crate) fn crash_files() -> Result<()> {
    let figures = [figures(&MODEL)?, figures(&KILLS)?];
    println!("{}: the old record or the new, each time", figures.join("; "));
    Ok(())
}

/// What a test says that it has done.
fn figures(test: &[&str]) -> Result<String> {
    let mut cargo = cargo(["test", "--release", "--package", "graft-election"])?;
    cargo.args(test).args(["--", "--ignored", "--nocapture"]);
    println!("$ cargo test --release --package graft-election {}", test.join(" "));
    let output = output(cargo)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let figures = said.lines().find_map(|line| line.strip_prefix(FIGURES));
    let is_done = output.status.success();
    ensure!(is_done && figures.is_some(), "the test failed:\n{said}\n{errors}");
    Ok(figures.unwrap_or_default().to_owned())
}
