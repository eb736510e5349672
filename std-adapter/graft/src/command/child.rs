//! The process that becomes COMMAND.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::signal::SigSet;

use crate::report::print_error;

/// The hidden subcommand through which the program becomes COMMAND.
pub(crate) const CHILD_TASK: &str = "__child";

/// Become the command. On Linux it dies with its watchdog, even if that is killed.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The process id of the watchdog.
    parent: i32,
    /// The command.
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

impl ChildArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if !tie_to_parent(self.parent)? {
            return Ok(ExitCode::FAILURE);
        }
        // The watchdog is deaf, and what it starts would be, too.
        SigSet::empty().thread_set_mask().context("could not listen for signals")?;
        let Some((program, arguments)) = self.words.split_first() else {
            return Ok(ExitCode::FAILURE);
        };
        let error = Command::new(program).args(arguments).exec();
        print_error(format_args!("could not run {program:?}: {error}"));
        Ok(status_of(error.kind() == io::ErrorKind::NotFound))
    }
}

/// Says so if this program can't be run, and returns the exit status for that. A node that noticed
/// only when it leads would be no spare for the others.
pub(crate) fn unless_runnable(program: &OsStr) -> Option<ExitCode> {
    if which::which(program).is_ok() {
        return None;
    }
    let is_path = program.as_bytes().contains(&b'/');
    let is_missing = !is_path || !Path::new(program).exists();
    let why = match (is_path, is_missing) {
        (true, true) => "no such file",
        (true, false) => "not an executable file",
        (false, _) => "no such program in PATH",
    };
    print_error(format_args!("could not run {program:?}: {why}"));
    Some(status_of(is_missing))
}

/// As a shell has it.
fn status_of(is_missing: bool) -> ExitCode {
    ExitCode::from(if is_missing { 127 } else { 126 })
}

/// On Linux, makes this process die with its parent, whose process id is `parent`. Returns false if
/// the parent is already gone.
fn tie_to_parent(parent: i32) -> Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};

        set_parent_process_death_signal(Some(Signal::KILL))
            .context("could not tie the command to its watchdog")?;
        // It may have died just before that.
        if getppid().map(rustix::process::Pid::as_raw_nonzero) != parent.try_into().ok() {
            return Ok(false);
        }
    }
    Ok(true)
}
