//! Where things are.

use std::env;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result};

/// The manifest of the program that links only if nothing panics.
pub(crate) const NO_PANIC: &str = "tests/no_panic/Cargo.toml";

/// The package of what is fuzzed.
pub(crate) const FUZZ: &str = "tests/fuzz";

/// The manifest of the program that is weighed.
pub(crate) const SIZES: &str = "tests/sizes/Cargo.toml";

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
