//! COMMAND on a terminal. It is in a process group of its own, so, as a shell does for a job, the
//! node lends it the terminal: COMMAND can read from it, and Ctrl-C and Ctrl-Z reach COMMAND.
//!
//! The kernel has Ctrl-Z stop only those in whose process group somebody's parent is in the same
//! session, but in another group: a shell that would see it. COMMAND's parent is the watchdog, in
//! a session of its own. So the group has a first member that does nothing, the placeholder, whose
//! parent is the node.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::signal::{SigSet, Signal as BlockedSignal};
use nix::unistd::{getpgid, getpgrp, getsid};
use rustix::process::{Pid, Signal, getppid, kill_current_process_group, test_kill_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use super::processes::parent_of;
use crate::process::{own_program, spawn_deaf};

/// The hidden subcommand that runs the placeholder. People see it in `ps`.
pub(crate) const PLACEHOLDER_TASK: &str = "placeholder";

/// The terminal that is this program's standard input, while COMMAND runs on it. Dropping it takes
/// the terminal back.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Led by the placeholder, and COMMAND's too.
    group: Pid,
    /// The placeholder ends when this does.
    _placeholder: ChildStdin,
}

impl Terminal {
    /// Lends COMMAND the terminal, if the standard input is the one that controls this program.
    pub(super) fn lend() -> Result<Option<Self>> {
        if tcgetpgrp(io::stdin()).is_err() {
            return Ok(None);
        }
        let mut placeholder = std::process::Command::new(own_program()?);
        placeholder
            .arg0("graft")
            .arg(PLACEHOLDER_TASK)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut placeholder = spawn_deaf(&mut placeholder).context("could not start a process")?;
        let group = Pid::from_child(&placeholder);
        let input = placeholder.stdin.take().context("the placeholder has no input")?;
        let terminal = Self { group, _placeholder: input };
        terminal.resume();
        Ok(Some(terminal))
    }

    /// The process group that COMMAND is to join.
    pub(super) fn group(&self) -> Pid {
        self.group
    }

    /// Gives COMMAND the terminal if it is this program's turn.
    pub(super) fn resume(&self) {
        if is_ours() {
            // A terminal that is gone is nobody's.
            let _ = tcsetpgrp(io::stdin(), self.group);
        }
    }

    /// COMMAND was stopped by a signal. If that is the terminal's doing, this program stops too, as
    /// the one job that both are for their shell. Returns false if no shell could continue it: then
    /// Ctrl-Z should not stop it either.
    pub(super) fn suspend(&self, signal: i32) -> bool {
        let by_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
        let by_terminal = by_terminal.into_iter().find(|it| it.as_raw() == signal);
        if !self.take_back() && by_terminal.is_none() {
            return true;
        }
        if !has_shell() {
            self.resume();
            return false;
        }
        let _ = kill_current_process_group(by_terminal.unwrap_or(Signal::TSTP));
        true
    }

    /// COMMAND has ended. If a key on the terminal did that, those that share this program's
    /// process group would have got the signal as well, and so would this program.
    pub(super) fn pass_on(&self, signal: Option<i32>) {
        let by_key = [Signal::INT, Signal::QUIT].into_iter().find(|it| Some(it.as_raw()) == signal);
        if let Some(signal) = by_key
            && self.take_back()
        {
            let _ = kill_current_process_group(signal);
        }
    }

    /// Whether the terminal was COMMAND's. It may have been that of a group that COMMAND has made.
    fn take_back(&self) -> bool {
        let holder = tcgetpgrp(io::stdin()).ok();
        let is_lent = holder.is_some_and(|it| it == self.group || !exists(it));
        if is_lent && let Some(group) = own_group() {
            let _ = tcsetpgrp(io::stdin(), group);
        }
        is_lent
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.take_back();
    }
}

fn is_ours() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|holder| Some(holder) == own_group())
}

/// `None` if it was made outside of this program's namespace of process ids: there it has none.
/// (The kernel says 0 then, for a session too, which rustix takes for impossible.)
pub(crate) fn own_group() -> Option<Pid> {
    Pid::from_raw(getpgrp().as_raw())
}

fn exists(group: Pid) -> bool {
    test_kill_process_group(group).is_ok()
}

/// Whether this program's process group has a parent in its session, as the job of a shell has.
pub(crate) fn has_shell() -> bool {
    let (session, group) = (getsid(None).ok(), Some(getpgrp()));
    let mut process = getppid();
    while let Some(parent) = process {
        let id = Some(nix::unistd::Pid::from_raw(parent.as_raw_nonzero().get()));
        if getsid(id).ok() != session {
            return false;
        }
        if getpgid(id).ok() != group {
            return true;
        }
        process = parent_of(parent);
    }
    false
}

/// Lets this program use the terminal while another has it: the kernel would stop it.
pub(crate) fn keep_running_in_background() -> Result<()> {
    let mut set = SigSet::empty();
    set.add(BlockedSignal::SIGTTOU);
    set.thread_block().context("could not block a signal")
}

/// Do nothing until the input ends.
#[derive(Debug, Args)]
pub(crate) struct PlaceholderArgs {}

impl PlaceholderArgs {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        io::copy(&mut io::stdin(), &mut io::sink()).context("could not wait")?;
        Ok(ExitCode::SUCCESS)
    }
}
