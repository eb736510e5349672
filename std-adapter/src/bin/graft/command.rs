//! The command that runs while this node leads, and never twice.

use std::future::pending;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use graft_election::{State, Status};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process;
use tokio::time::{Instant, sleep_until};

use crate::report::complain;

/// The hidden task through which the program becomes the command.
pub(crate) const CHILD_TASK: &str = "__child";

/// Runs one command under one leadership at a time.
#[derive(Debug)]
pub(crate) struct Command {
    words: Vec<String>,
    grace: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: process::Child,
    term: u64,
    /// Told to end; from then on it has until this instant.
    kill_at: Option<Instant>,
}

impl Command {
    /// The command of these `words`, which has `grace` to end by itself; none if there are no words.
    pub(crate) fn new(words: Vec<String>, grace: Duration) -> Option<Self> {
        (!words.is_empty()).then_some(Self { words, grace, running: None })
    }

    /// Makes what runs agree with the node: the command of exactly the term it leads in, or none.
    /// While an old one is still ending, nothing new is started.
    pub(crate) fn follow(&mut self, status: &Status) -> Result<()> {
        let term = (status.state == State::Leader).then_some(status.term);
        match (&self.running, term) {
            (None, Some(_)) => self.start(status),
            (Some(running), term) if Some(running.term) != term => {
                self.stop();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Waits until the command has ended; for ever if none runs. It is killed when its grace is
    /// over. True if it ended without being told to. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<Ended> {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let status = match running.kill_at {
            None => running.child.wait().await,
            Some(kill_at) => tokio::select! {
                status = running.child.wait() => status,
                () = sleep_until(kill_at) => {
                    signal(&running.child, Signal::KILL);
                    running.child.wait().await
                }
            },
        };
        let status = status.context("could not wait for the command")?;
        let by_itself = running.kill_at.is_none();
        self.running = None;
        Ok(Ended { by_itself, status })
    }

    /// Tells the command to end, once; then it has its grace.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = &mut self.running
            && running.kill_at.is_none()
        {
            signal(&running.child, Signal::TERM);
            running.kill_at = Some(Instant::now() + self.grace);
        }
    }

    /// Ends the command's grace.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            running.kill_at = Some(Instant::now());
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn start(&mut self, status: &Status) -> Result<()> {
        let child = process::Command::new(own_program()?)
            .args([CHILD_TASK, &std::process::id().to_string()])
            .args(&self.words)
            .env("GRAFT_TERM", status.term.to_string())
            .env("GRAFT_ID", status.id.as_str())
            .env("GRAFT_CLUSTER", &status.cluster.name)
            // A group of its own: what the command starts is signalled with it, and the terminal's
            // interrupt reaches it through this program alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("could not start the command")?;
        self.running = Some(Running { child, term: status.term, kill_at: None });
        Ok(())
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// It was not told to.
    pub(crate) by_itself: bool,
    status: ExitStatus,
}

impl Ended {
    /// The command's own status, as a shell would give it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let code = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 1,
        };
        u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the command ended ({})", self.status)
    }
}

/// Signals the command and all that it started; if it is gone there is nothing to signal.
fn signal(child: &process::Child, signal: Signal) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// The program as it runs, even if its file has been replaced meanwhile.
fn own_program() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// The process that becomes the command. On Linux the command dies with the node, even if the node
/// is killed: another node may lead by then, and run its own.
#[derive(Debug, Args)]
pub(crate) struct Child {
    /// The process id of the node.
    parent: i32,
    /// The command.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Child {
    pub(crate) fn run(self) -> Result<ExitCode> {
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .context("could not tie the command to the node")?;
            // The node may have died just before.
            if rustix::process::getppid().map(Pid::as_raw_nonzero) != self.parent.try_into().ok() {
                return Ok(ExitCode::FAILURE);
            }
        }
        let Some((program, arguments)) = self.words.split_first() else {
            return Ok(ExitCode::FAILURE);
        };
        let error = std::process::Command::new(program).args(arguments).exec();
        complain(format_args!("could not run {program:?}: {error}"));
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        Ok(ExitCode::from(if is_missing { 127 } else { 126 }))
    }
}
