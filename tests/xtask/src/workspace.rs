//! Where things are.

use std::env;
use std::ffi::OsStr;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

/// The manifest of the program that links only if nothing panics.
pub(crate) const NO_PANIC: &str = "tests/no_panic/Cargo.toml";

/// The package of what is fuzzed.
pub(crate) const FUZZ: &str = "tests/fuzz";

/// The manifest of the program that is weighed.
pub(crate) const SIZES: &str = "tests/sizes/Cargo.toml";

/// The manifest of the program in which other libraries elect leaders.
pub(crate) const BENCH: &str = "tests/bench/Cargo.toml";

/// The folder of the boards, each of which has a package of its own.
pub(crate) const BOARDS_FOLDER: &str = "embassy-example/boards";

/// The workspace's folder.
pub(crate) fn root() -> Result<&'static Path> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).context("xtask is not in the workspace's folder tests")
}

/// Where cargo builds, as an absolute path.
pub(crate) fn target_dir() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(given) => Ok(path::absolute(given)?),
        None => Ok(root()?.join("target")),
    }
}

/// All files in `folder`, by their paths in it, except what cargo has built and git keeps.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_foreign = |name: &OsStr| name == ".git" || name == "target";
    let mut files = Vec::new();
    let entries = WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| !is_foreign(entry.file_name())) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push(entry.path().strip_prefix(folder)?.to_owned());
        }
    }
    Ok(files)
}
