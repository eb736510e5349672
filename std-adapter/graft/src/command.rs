//! The command that runs while this node leads, one at a time.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use graft_election::{Config, Node};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process;
use tokio::time::{Instant, sleep, sleep_until};

use crate::permit::Permit;
use crate::process::{own_program, pid_of, tie_to_parent};
use crate::report::print_error;
use crate::watchdog::{Watchdog, die_with_watchdog};

/// The hidden subcommand through which the program becomes the command.
pub(crate) const CHILD_TASK: &str = "__child";

/// How often the watchdog hears how long the lease lasts: twice per renewal.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(50);
const _: () = assert!(2 * RENEWAL_INTERVAL.as_millis() == Config::HEARTBEAT_INTERVAL.as_millis());

/// A command, which runs under one permit at a time.
#[derive(Debug)]
pub(crate) struct Command {
    words: Vec<OsString>,
    grace: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: process::Child,
    permit: Permit,
    /// The process group of the command and all that it starts.
    group: Option<Pid>,
    watchdog: Option<Watchdog>,
    /// When to kill it, once it was sent SIGTERM.
    kill_at: Option<Instant>,
}

impl Command {
    /// The command of these `words`, which has `grace` to end after SIGTERM; `None` without words.
    pub(crate) fn new(words: Vec<OsString>, grace: Duration) -> Option<Self> {
        (!words.is_empty()).then_some(Self { words, grace, running: None })
    }

    /// Waits until the command has ended, or forever if it is not running. It gets SIGTERM when its
    /// permit is about to expire, and SIGKILL when the permit or its grace has expired.
    /// Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<Ended> {
        let status = loop {
            let Some(running) = &mut self.running else {
                return pending().await;
            };
            if let Some(watchdog) = &mut running.watchdog {
                watchdog.renew(&running.permit);
            }
            let kill_at = running.kill_at;
            tokio::select! {
                biased;
                status = running.child.wait() => break status,
                () = running.permit.expired() => {
                    running.kill_at = Some(Instant::now());
                    signal(running.group, Signal::KILL);
                    break running.child.wait().await;
                }
                () = running.permit.ending(), if kill_at.is_none() => self.stop(),
                () = wait_until(kill_at) => {
                    signal(running.group, Signal::KILL);
                    break running.child.wait().await;
                }
                () = sleep(RENEWAL_INTERVAL), if running.watchdog.is_some() => {}
            }
        };
        let status = status.context("could not wait for the command")?;
        let Some(running) = self.running.take() else {
            return pending().await;
        };
        let by_itself = running.kill_at.is_none() && !running.was_ended_by_watchdog(status).await;
        Ok(Ended { by_itself, status })
    }

    /// Sends the command SIGTERM, once; its grace begins.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = &mut self.running
            && running.kill_at.is_none()
        {
            signal(running.group, Signal::TERM);
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

    /// Starts the command under `permit`.
    pub(crate) async fn start(&mut self, node: &Node, permit: Permit) -> Result<()> {
        let watchdog = Watchdog::start(&permit).await?;
        // The command has a process group of its own, so that a signal reaches all that it starts,
        // and the terminal's interrupt reaches it through this program only.
        let group = watchdog.as_ref().and_then(Watchdog::group);
        let child = process::Command::new(own_program()?)
            .args([CHILD_TASK, &std::process::id().to_string()])
            .args(&self.words)
            .env("GRAFT_TERM", permit.token().to_string())
            .env("GRAFT_ID", node.id().as_str())
            .env("GRAFT_CLUSTER", node.cluster_info().name)
            .process_group(group.map_or(0, |group| group.as_raw_nonzero().get()))
            .kill_on_drop(true)
            .spawn()
            .context("could not start the command")?;
        let group = group.or(pid_of(&child));
        self.running = Some(Running { child, permit, group, watchdog, kill_at: None });
        Ok(())
    }
}

impl Running {
    /// Whether the watchdog ended the command, which is gone and left this status. Either way, what
    /// the command may have left behind is killed now, and so is the watchdog.
    async fn was_ended_by_watchdog(mut self, status: ExitStatus) -> bool {
        let Some(watchdog) = &mut self.watchdog else {
            return false;
        };
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        let has_fired = is_killed && watchdog.has_fired().await;
        signal(self.group, Signal::KILL);
        has_fired
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Neither a signal nor the end of its permit ended it.
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

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Signals the command and all that it started. A group that is gone is no error.
fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// Become the command. On Linux it dies with the node, even if the node is killed, because another
/// node may run its own command soon after.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The process id of the node.
    parent: i32,
    /// The command.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl ChildArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if !tie_to_parent(self.parent)? {
            return Ok(ExitCode::FAILURE);
        }
        die_with_watchdog()?;
        let Some((program, arguments)) = self.words.split_first() else {
            return Ok(ExitCode::FAILURE);
        };
        let error = std::process::Command::new(program).args(arguments).exec();
        print_error(format_args!("could not run {program:?}: {error}"));
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        Ok(ExitCode::from(if is_missing { 127 } else { 126 }))
    }
}
