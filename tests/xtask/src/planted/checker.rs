//! The checkers, and what they make of a planted defect.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::plot::Plot;
use crate::command::{SAME_EXAMPLES, cargo_of, output, succeeds};

/// How many seconds tests have. Only such as make no progress need more.
const TESTS_SECONDS_MAX: u32 = 180;

/// How many seconds the simulator has; it needs few.
const SIMULATOR_SECONDS_MAX: u32 = 60;

/// How many seconds the model has: enough for all clusters but the greatest.
const MODEL_SECONDS_MAX: u32 = 180;

/// What `timeout` returns if it had to end a program.
const TIMED_OUT: i32 = 124;

/// How many worlds the simulator has: half as many as in CI.
const SEEDS: u64 = 10_000;

/// How a checker's packages are built: quickly, and to run quickly.
const PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_INCREMENTAL", "0"),
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
    /// All there are, in the order in which they look.
    pub(super) const ALL: [Self; 5] =
        [Self::Core, Self::Simulator, Self::Model, Self::Proto, Self::VoteFile];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Simulator => "simulator",
            Self::Model => "model",
            Self::Proto => "proto",
            Self::VoteFile => "vote-file",
        }
    }

    /// Lets the checker look at what is planted.
    ///
    /// # Errors
    ///
    /// What is planted doesn't compile, or the checker fails without saying of what.
    pub(super) fn check(self, plot: &Plot) -> Result<Verdict> {
        let mut build = cargo(plot, "cargo")?;
        build.args(self.build());
        succeeds(&output(build)?)?;
        let mut check = cargo(plot, "timeout")?;
        check.args([&self.seconds_max().to_string(), "cargo"]).args(self.run());
        self.judge(&output(check)?)
    }

    fn seconds_max(self) -> u32 {
        match self {
            Self::Core | Self::Proto | Self::VoteFile => TESTS_SECONDS_MAX,
            Self::Simulator => SIMULATOR_SECONDS_MAX,
            Self::Model => MODEL_SECONDS_MAX,
        }
    }

    fn build(self) -> Vec<String> {
        let words = match self {
            Self::Core => "test --no-run --package graft-election-core",
            Self::Simulator => "build --package graft-election-simulator",
            Self::Model => "build --package graft-election-model",
            Self::Proto => "test --no-run --package graft-election-proto",
            Self::VoteFile => "test --no-run --package graft-election --no-default-features",
        };
        words.split(' ').map(str::to_owned).collect()
    }

    fn run(self) -> Vec<String> {
        let words = match self {
            Self::Core => "test --no-fail-fast --package graft-election-core --lib --tests".into(),
            Self::Simulator => {
                format!("run --package graft-election-simulator -- --seed 1 --seeds {SEEDS}")
            }
            Self::Model => "run --package graft-election-model".into(),
            Self::Proto => "test --no-fail-fast --package graft-election-proto --tests".into(),
            Self::VoteFile => {
                "test --no-fail-fast --package graft-election --no-default-features --lib \
                 --test vote_file"
                    .into()
            }
        };
        words.split(' ').map(str::to_owned).collect()
    }

    /// What the checker's output means.
    fn judge(self, output: &Output) -> Result<Verdict> {
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let catch = match self {
            Self::Core | Self::Proto | Self::VoteFile => failed_tests(&said),
            Self::Simulator => said.lines().find(|line| line.starts_with("seed ")).map(shortened),
            Self::Model => errors.lines().find_map(violation),
        };
        if let Some(catch) = catch {
            return Ok(Verdict::Caught(catch));
        }
        if output.status.code() == Some(TIMED_OUT) {
            let looked = format!("nothing in {} s", self.seconds_max());
            // Tests that never end are noticed too.
            return Ok(match self {
                Self::Core | Self::Proto | Self::VoteFile => {
                    Verdict::Caught("the tests don't end".into())
                }
                Self::Simulator | Self::Model => Verdict::Missed(looked),
            });
        }
        ensure!(output.status.success(), "{} fails:\n{said}\n{errors}", self.name());
        Ok(Verdict::Missed(match self {
            Self::Core | Self::Proto | Self::VoteFile => "all tests pass".into(),
            Self::Simulator => format!("nothing in {SEEDS} seeds"),
            Self::Model => "nothing in all states".into(),
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

/// A program that runs in the copy of the project, with all that cargo has to know of it.
fn cargo(plot: &Plot, program: impl AsRef<OsStr>) -> Result<Command> {
    let mut cargo = cargo_of(program)?;
    cargo.current_dir(&plot.folder).env("CARGO_TARGET_DIR", &plot.target).envs(PROFILE);
    cargo.envs(SAME_EXAMPLES);
    Ok(cargo)
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

/// What the model finds, and after how many states; or why it stops.
fn violation(line: &str) -> Option<String> {
    let reason = line.strip_prefix("model: ")?;
    let violated = || {
        let (_, violated) = reason.split_once("violated: ")?;
        let (property, figures) = violated.split_once(" (found after ")?;
        Some(format!("after {}: {property}", figures.split_once(',')?.0))
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
        assert_eq!(violation(line), Some("after 42 states: I2: one vote".into()));
        assert_eq!(violation("model: no memory"), Some("no memory".into()));
        assert_eq!(violation("warning: violated: x"), None);
    }
}
