//! The checkers, and what they make of a planted defect.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::sandbox::Sandbox;
use crate::command::{SAME_EXAMPLES, cargo_of, output, succeeds};

/// How many seconds tests have. Only such as make no progress need more.
const TESTS_SECONDS_MAX: u32 = 180;

/// How many seconds the simulator has; it needs few.
const SIMULATOR_SECONDS_MAX: u32 = 120;

/// How many seconds the model has; on idle cores it needs a quarter of them to find nothing.
const MODEL_SECONDS_MAX: u32 = 600;

/// What `timeout` returns if it had to end a program.
const TIMED_OUT: i32 = 124;

/// How many worlds the simulator has: half as many as in CI.
const SEEDS: u64 = 10_000;

/// How a checker's packages are built: to run quickly, and quickly again after a small change.
const PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_INCREMENTAL", "1"),
];

/// Who looks for defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Checker {
    /// The core's own tests.
    Core,
    /// The simulator.
    Simulator,
    /// The search through all states of small clusters.
    Model,
    /// The wire format's own tests.
    Proto,
    /// The tests of the vote file.
    VoteFile,
    /// The tests of the driver for tokio.
    Driver,
    /// The tests of the driver for microcontrollers.
    Board,
}

/// What a checker makes of a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It notices: what it says first.
    Caught(String),
    /// It doesn't: how far it looked.
    Missed(String),
}

impl Checker {
    /// All there are, in the order in which they are listed.
    pub(super) const ALL: [Self; 7] = [
        Self::Core,
        Self::Proto,
        Self::VoteFile,
        Self::Driver,
        Self::Board,
        Self::Simulator,
        Self::Model,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Simulator => "simulator",
            Self::Model => "model",
            Self::Proto => "proto",
            Self::VoteFile => "vote-file",
            Self::Driver => "driver",
            Self::Board => "board",
        }
    }

    /// Whether it is tests that look, rather than a program of its own.
    pub(super) fn is_tests(self) -> bool {
        !matches!(self, Self::Simulator | Self::Model)
    }

    /// Lets the checker look at what is planted.
    ///
    /// # Errors
    ///
    /// What is planted doesn't compile, or the checker fails without saying of what.
    pub(super) fn check(self, sandbox: &Sandbox) -> Result<Verdict> {
        let mut build = self.cargo(sandbox, "cargo")?;
        build.args(self.build().split(' '));
        succeeds(&output(build)?)?;
        let mut check = self.cargo(sandbox, "timeout")?;
        check.args([&self.seconds_max().to_string(), "cargo"]).args(self.run().split(' '));
        self.judge(&output(check)?)
    }

    /// A program that runs in the copy of the project, with all that cargo has to know of it. Each
    /// checker builds in a folder of its own, so that none waits for another.
    fn cargo(self, sandbox: &Sandbox, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut cargo = cargo_of(program)?;
        cargo.current_dir(&sandbox.folder).envs(PROFILE).envs(SAME_EXAMPLES);
        cargo.env("CARGO_TARGET_DIR", sandbox.target.join(self.name()));
        Ok(cargo)
    }

    fn seconds_max(self) -> u32 {
        match self {
            Self::Simulator => SIMULATOR_SECONDS_MAX,
            Self::Model => MODEL_SECONDS_MAX,
            _ => TESTS_SECONDS_MAX,
        }
    }

    /// What cargo is told to build and to run.
    fn selection(self) -> &'static str {
        match self {
            Self::Core => "--package graft-election-core --tests",
            Self::Proto => "--package graft-election-proto --features seal --tests",
            Self::VoteFile => {
                "--package graft-election --no-default-features --lib --test vote_file"
            }
            Self::Driver => {
                "--package graft-election --package graft-election-tests --lib --test world"
            }
            Self::Board => "--package graft-election-embassy --tests",
            Self::Simulator => "--package graft-election-simulator",
            Self::Model => "--package graft-election-model",
        }
    }

    fn build(self) -> String {
        let task = if self.is_tests() { "test --no-run" } else { "build" };
        format!("{task} {}", self.selection())
    }

    fn run(self) -> String {
        let selection = self.selection();
        match self {
            Self::Simulator => format!("run {selection} -- --seed 1 --seeds {SEEDS}"),
            // Whatever the model must notice shows in these clusters.
            Self::Model => format!("run {selection} -- --quick"),
            // Those that need neither a server nor an emulator.
            Self::Driver => {
                let tests = "authentication:: driver:: leadership:: virtual_time::";
                format!("test --no-fail-fast {selection} -- {tests}")
            }
            _ => format!("test --no-fail-fast {selection}"),
        }
    }

    /// What the checker's output means.
    fn judge(self, output: &Output) -> Result<Verdict> {
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let catch = match self {
            Self::Simulator => said.lines().find(|line| line.starts_with("seed ")).map(shortened),
            Self::Model => errors.lines().find_map(violation),
            _ => failed_tests(&said),
        };
        if let Some(catch) = catch {
            return Ok(Verdict::Caught(catch));
        }
        if output.status.code() == Some(TIMED_OUT) {
            let looked = format!("nothing in {} s", self.seconds_max());
            // Tests that never end are noticed too.
            return Ok(match self {
                Self::Simulator | Self::Model => Verdict::Missed(looked),
                _ => Verdict::Caught("the tests don't end".into()),
            });
        }
        ensure!(output.status.success(), "{} fails:\n{said}\n{errors}", self.name());
        Ok(Verdict::Missed(match self {
            Self::Simulator => format!("nothing in {SEEDS} seeds"),
            Self::Model => "nothing in all states".into(),
            _ => "all tests pass".into(),
        }))
    }
}

impl Verdict {
    pub(super) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(what) => write!(f, "caught: {what}"),
            Self::Missed(looked) => write!(f, "missed: {looked}"),
        }
    }
}

/// How many tests have failed, and which was the first.
fn failed_tests(said: &str) -> Option<String> {
    let failed =
        said.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let failed: Vec<&str> = failed.collect();
    match failed[..] {
        [] => None,
        [test] => Some(format!("by {test}")),
        [test, ..] => Some(format!("by {} tests, {test} first", failed.len())),
    }
}

/// What the model finds, in which cluster and after how many states; or why it stops.
fn violation(line: &str) -> Option<String> {
    let reason = line.strip_prefix("model: ")?;
    let violated = || {
        let (cluster, violated) = reason.split_once(": violated: ")?;
        let (property, figures) = violated.split_once(" (found after ")?;
        Some(format!("after {}: {property} ({cluster})", figures.split_once(',')?.0))
    };
    Some(violated().unwrap_or_else(|| shortened(reason)))
}

/// As much of a line as a table has room for.
fn shortened(line: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    let mut short: String = line.chars().take(CHARACTERS_MAX).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_failed_tests_is_named() {
        assert_eq!(failed_tests("test a ... ok\ntest result: ok."), None);
        assert_eq!(failed_tests("test a ... FAILED\n"), Some("by a".into()));
        let two = failed_tests("test a ... FAILED\ntest b ... ok\ntest c ... FAILED\n");
        assert_eq!(two, Some("by 2 tests, a first".into()));
    }

    #[test]
    fn the_model_says_what_is_violated_and_after_how_many_states() {
        let line = "model: 2 nodes: violated: I2: one vote (found after 42 states, 9 steps)";
        assert_eq!(violation(line), Some("after 42 states: I2: one vote (2 nodes)".into()));
        assert_eq!(violation("model: no memory"), Some("no memory".into()));
        assert_eq!(violation("warning: violated: x"), None);
    }
}
