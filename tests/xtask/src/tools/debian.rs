//! Programs from packages of Debian.

use std::io::stderr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::{on_path, show_version};
use crate::command::{command, run};

/// Finds programs on the path, and installs the packages of those that are missing, all at once.
///
/// # Errors
///
/// Says what is missing, and what to do about it.
pub(crate) fn need(programs: &[(&str, &str)]) -> Result<()> {
    let is_missing = |(program, _): &&(&str, &str)| on_path(program).is_none();
    let missing: Vec<&str> = programs.iter().filter(is_missing).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    programs.iter().try_for_each(|(program, _)| {
        show_version(Path::new(program)).with_context(|| format!("{program} is missing")).map(drop)
    })
}

/// Installs packages.
///
/// # Errors
///
/// This is not Debian, or this user may not install; or a package can't be found.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !geteuid().is_root() || on_path("apt-get").is_none() {
        bail!("it takes `sudo apt-get install {}`", packages.join(" "));
    }
    eprintln!("installing {} with apt-get", packages.join(" "));
    let mut update = command("apt-get")?;
    // What a task prints may be for programs.
    update.arg("update").stdout(stderr());
    run(update)?;
    let mut install = command("apt-get")?;
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages).stdout(stderr());
    run(install)
}
