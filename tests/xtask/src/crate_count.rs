//! How many crates a user of the library compiles.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::command::{cargo, text};

/// Features of the library, and the most crates that it may take to compile it with them, itself
/// included.
const CRATES_MAX: [(&[&str], usize); 2] = [(&[], 143), (&["--no-default-features"], 57)];

/// That the library is compiled from no more crates than [`CRATES_MAX`] allows: every one of them
/// costs its users time, and is code that they have to trust.
pub(crate) fn crate_count() -> Result<()> {
    for (features, max) in CRATES_MAX {
        let mut tree = cargo(["tree", "--package", "graft-election", "--edges", "normal,build"])?;
        tree.args(["--prefix", "none", "--no-dedupe"]).args(features);
        let tree = text(tree)?;
        let crates: BTreeSet<&str> = tree.lines().collect();
        let with = if features.is_empty() { "default features" } else { &features.join(" ") };
        let count = crates.len();
        ensure!(
            count <= max,
            "graft-election with {with} is compiled from {count} crates, more than {max}; \
             `cargo tree --package graft-election --edges normal,build` shows where they come from"
        );
        println!("graft-election with {with} is compiled from {count} crates, at most {max}");
    }
    Ok(())
}
