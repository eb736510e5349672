//! Packages of PyPI: libraries for Python, and programs that it has built.

use std::path::Path;

use anyhow::{Context, Result};

use super::debian;
use crate::command::{command, run, text};

/// Fills a folder with these packages, each given as `name==version`, unless it has these very
/// versions.
///
/// # Errors
///
/// Says what is missing, and what to do about it.
pub(super) fn need(folder: &Path, packages: &[&str]) -> Result<()> {
    let is_there = packages.iter().all(|package| folder.join(information(package)).is_dir());
    if !is_there {
        install(folder, packages)?;
    }
    eprintln!("found {} at {}", packages.join(" and "), folder.display());
    Ok(())
}

/// The name of the folder in which pip keeps what it knows of an installed package.
fn information(package: &str) -> String {
    // A hyphen in a name is an underscore there.
    package.replace('-', "_").replace("==", "-") + ".dist-info"
}

fn install(folder: &Path, packages: &[&str]) -> Result<()> {
    need_pip()?;
    eprintln!("installing {} from PyPI into {}", packages.join(" and "), folder.display());
    let mut pip = command("python3")?;
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"])
        // There is nothing to build: what has no binary for this machine fails at once.
        .args(["--root-user-action", "ignore", "--only-binary", ":all:", "--target"])
        .arg(folder)
        .args(packages);
    run(pip)
}

/// A fresh Debian has Python at most, and no pip.
fn need_pip() -> Result<()> {
    let find_pip = || {
        let mut pip = command("python3")?;
        pip.args(["-m", "pip", "--version"]);
        text(pip)
    };
    if find_pip().is_ok() {
        return Ok(());
    }
    debian::install(&["python3-pip"]).context("pip is missing")?;
    find_pip().context("pip is still missing").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_package_is_known_by_its_folder() {
        assert_eq!(information("grpcio-tools==1.85.1"), "grpcio_tools-1.85.1.dist-info");
    }
}
