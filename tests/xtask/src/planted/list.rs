//! The list of defects, as the files in `tests/planted` have it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::checker::{Checker, Verdict};
use crate::workspace::root;

/// Where the lists are.
const FOLDER: &str = "tests/planted";

/// Who looks for any defect of the core, whether or not it is to be caught there. The model takes
/// minutes to be sure that there is nothing.
const QUICK_CHECKERS: [Checker; 2] = [Checker::Core, Checker::Simulator];

/// A defect to plant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defect {
    /// What it is called.
    pub(super) name: String,
    /// What is wrong with it planted.
    pub(super) what: String,
    /// Who must catch it.
    caught_by: Vec<Checker>,
    /// Who can't catch it.
    #[serde(default)]
    missed_by: Vec<Checker>,
    /// How it is planted.
    #[serde(rename = "edit")]
    pub(super) edits: Vec<Edit>,
}

/// A text to replace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// The folder of the one Rust file that has the text.
    #[serde(rename = "in")]
    pub(super) folder: PathBuf,
    pub(super) text: String,
    pub(super) with: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(rename = "defect")]
    defects: Vec<Defect>,
}

/// Reads all lists.
pub(super) fn read() -> Result<Vec<Defect>> {
    let folder = root()?.join(FOLDER);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("can't read {FOLDER}"))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut defects = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("can't read {}", path.display()))?;
        let list: List = toml::from_str(&text).with_context(|| path.display().to_string())?;
        defects.extend(list.defects);
    }
    let mut names = BTreeSet::new();
    for defect in &defects {
        let name = &defect.name;
        ensure!(names.insert(name), "two planted defects are called {name}");
        let is_judged = !defect.caught_by.is_empty() || !defect.missed_by.is_empty();
        ensure!(is_judged, "{name} says of no checker what it must do");
        ensure!(!defect.edits.is_empty(), "{name} changes nothing");
    }
    Ok(defects)
}

impl Defect {
    /// The checkers that look for it.
    pub(super) fn checkers(&self) -> Vec<Checker> {
        let is_in_core = self.edits.iter().all(|edit| edit.folder.starts_with("core"));
        let looks = |checker: &Checker| {
            self.concerns(*checker) || is_in_core && QUICK_CHECKERS.contains(checker)
        };
        Checker::ALL.into_iter().filter(looks).collect()
    }

    /// Whether the list says what this checker is to make of it.
    pub(super) fn concerns(&self, checker: Checker) -> bool {
        self.caught_by.contains(&checker) || self.missed_by.contains(&checker)
    }

    /// Whether it may be so; of a checker that the list doesn't name, anything may.
    pub(super) fn expects(&self, checker: Checker, verdict: &Verdict) -> bool {
        match verdict.is_caught() {
            true => !self.missed_by.contains(&checker),
            false => !self.caught_by.contains(&checker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_can_be_read() {
        assert!(!read().unwrap().is_empty());
    }

    #[test]
    fn a_checker_that_is_named_must_do_as_the_list_says() {
        let defect: Defect = toml::from_str(
            "name = 'd'\nwhat = 'w'\ncaught_by = ['core']\nmissed_by = ['simulator']\nedit = []",
        )
        .unwrap();
        let (caught, missed) = (Verdict::Caught("x".into()), Verdict::Missed("x".into()));
        assert!(defect.expects(Checker::Core, &caught));
        assert!(!defect.expects(Checker::Core, &missed));
        assert!(!defect.expects(Checker::Simulator, &caught));
        assert!(defect.expects(Checker::Simulator, &missed));
        assert!(defect.expects(Checker::Model, &caught) && defect.expects(Checker::Model, &missed));
    }
}
