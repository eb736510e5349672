//! `cargo xtask mutants`: whether the tests of the core and the wire format notice each small
//! change that makes the code do something else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::command::{SAME_EXAMPLES, cargo_of};
use crate::tools;
use crate::workspace::target_dir;

/// What is changed.
const PACKAGES: [&str; 2] = ["graft-election-proto", "graft-election-core"];

/// What its tests are told. Few random examples will do for changes that are not rare cases, and
/// whole clusters take too long: that they notice as well would not say much for the other tests.
const TESTS: [&str; 4] = ["--cargo-test-arg=--tests", "--", "--", "--skip=whole_cluster"];

/// What cargo-mutants returns if it could try all: also if tests missed a mutant, or never ended.
const TRIED_ALL: [i32; 3] = [0, 2, 3];

/// Changes the packages in every way that cargo-mutants knows and `.cargo/mutants.toml` doesn't
/// exclude, and runs the package's own tests on each. A test that never ends notices, too: one that
/// takes five times as long as without a change.
///
/// # Errors
///
/// Lists the changes that no test notices.
pub(crate) fn mutants() -> Result<()> {
    let program = tools::cargo_mutants()?;
    let (mut total, mut missed) = (Outcomes::default(), String::new());
    for package in PACKAGES {
        let (outcomes, list) = try_package(&program, package)?;
        println!("{package}: {}", outcomes.text());
        total.add(&outcomes);
        missed += &list;
    }
    println!("core and proto: {}", total.text());
    ensure!(missed.is_empty(), "no test notices:\n{missed}");
    Ok(())
}

/// How it went with a package's mutants, and a list of those that were missed.
fn try_package(program: &Path, package: &str) -> Result<(Outcomes, String)> {
    let folder = target_dir()?.join("mutants").join(package);
    fs::create_dir_all(&folder)?;
    let mut mutants = cargo_of(program)?;
    mutants.args(["mutants", "--package", package]);
    mutants.arg("--output").arg(&folder).args(TESTS);
    // It copies the project, and builds the copy inside of that.
    mutants.env_remove("CARGO_TARGET_DIR").env("CARGO_PROFILE_DEV_DEBUG", "0");
    mutants.envs(SAME_EXAMPLES).env("PROPTEST_CASES", "64");
    let status = mutants.status().context("could not run cargo-mutants")?;
    let has_tried_all = status.code().is_some_and(|code| TRIED_ALL.contains(&code));
    ensure!(has_tried_all, "cargo-mutants could not try {package}: {status}");
    let results = folder.join("mutants.out");
    let outcomes = fs::read_to_string(results.join("outcomes.json"))?;
    Ok((serde_json::from_str(&outcomes)?, fs::read_to_string(results.join("missed.txt"))?))
}

/// How many mutants came to which end.
#[derive(Debug, Default, Deserialize)]
struct Outcomes {
    /// A test failed.
    caught: u64,
    /// A test never ended.
    timeout: u64,
    /// All tests passed.
    missed: u64,
    /// It doesn't compile.
    unviable: u64,
}

impl Outcomes {
    fn add(&mut self, other: &Self) {
        self.caught += other.caught;
        self.timeout += other.timeout;
        self.missed += other.missed;
        self.unviable += other.unviable;
    }

    fn text(&self) -> String {
        let Self { caught, timeout, missed, unviable } = self;
        format!(
            "{} of {} mutants caught, {timeout} of them by tests that never end; \
             {unviable} others don't compile",
            caught + timeout,
            caught + timeout + missed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_caught_by_a_test_that_fails_and_by_one_that_never_ends() {
        let json = r#"{ "outcomes": [], "total_mutants": 270, "missed": 9, "caught": 183,
            "timeout": 5, "unviable": 73, "success": 0 }"#;
        let mut outcomes: Outcomes = serde_json::from_str(json).unwrap();
        let text = "188 of 197 mutants caught, 5 of them by tests that never end; 73 others don't \
                    compile";
        assert_eq!(outcomes.text(), text);
        outcomes.add(&Outcomes { caught: 1, timeout: 1, missed: 1, unviable: 1 });
        assert_eq!((outcomes.caught, outcomes.missed), (184, 10));
    }
}
