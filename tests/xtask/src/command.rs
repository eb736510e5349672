//! Other programs, and what they say.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::root;

/// Lets tests that draw examples draw the same ones each time, and keep none that failed: they fail
/// on purpose.
pub(crate) const SAME_EXAMPLES: [(&str, &str); 2] =
    [("PROPTEST_RNG_SEED", "1"), ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")];

/// Cargo, in the workspace's folder.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Command> {
    let mut cargo = cargo_of("cargo")?;
    cargo.args(arguments);
    Ok(cargo)
}

/// `program`, which is a cargo, in the workspace's folder.
pub(crate) fn cargo_of(program: impl AsRef<OsStr>) -> Result<Command> {
    let mut cargo = command(program)?;
    // What cargo has set for this program would look to build scripts like a change.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    Ok(cargo)
}

/// A program that runs in the workspace's folder.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(root()?);
    Ok(command)
}

/// Runs a command and shows what it says.
///
/// # Errors
///
/// The command can't be run, or did not succeed.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let words = words(&command);
    eprintln!("$ {words}");
    let status = command.status();
    let status = status.with_context(|| format!("could not run {words}"))?;
    ensure!(status.success(), "{words}: {status}");
    Ok(())
}

/// Runs a command and keeps what it says.
///
/// # Errors
///
/// The command can't be run.
pub(crate) fn output(mut command: Command) -> Result<Output> {
    let output = command.output();
    output.with_context(|| format!("could not run {}", words(&command)))
}

/// What a command prints, or why it did not succeed.
pub(crate) fn text(command: Command) -> Result<String> {
    let output = output(command)?;
    succeeds(&output)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// That the command succeeded; otherwise what it complained of.
pub(crate) fn succeeds(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", str::from_utf8(&output.stderr)?);
    Ok(())
}

/// That the command failed, and for this reason.
pub(crate) fn fails(output: &Output, reason: &str) -> Result<()> {
    let errors = str::from_utf8(&output.stderr)?;
    if output.status.success() {
        bail!("the proof proves nothing: it also holds where it must not");
    }
    ensure!(errors.contains(reason), "it failed for another reason than \"{reason}\":\n{errors}");
    Ok(())
}

/// The command as it would be typed.
fn words(command: &Command) -> String {
    let arguments = command.get_args().map(OsStr::to_string_lossy);
    let program = command.get_program().to_string_lossy();
    let words: Vec<_> = [program].into_iter().chain(arguments).collect();
    words.join(" ")
}
