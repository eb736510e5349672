//! The command that runs while this node leads, and never twice.

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

use crate::authority::Authority;
use crate::report::complain;
use crate::watchdog::{Watchdog, die_with_watchdog};

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
    authority: Authority,
    /// The process group of the command and all that it starts.
    group: Option<Pid>,
    watchdog: Option<Watchdog>,
    /// Told to end; from then on it has until this instant.
    kill_at: Option<Instant>,
}

impl Command {
    /// The command of these `words`, which has `grace` to end by itself; none if there are no words.
    pub(crate) fn new(words: Vec<String>, grace: Duration) -> Option<Self> {
        (!words.is_empty()).then_some(Self { words, grace, running: None })
    }

    /// Waits until the command has ended; for ever if none runs. It is told to end when its authority
    /// is about to, and killed when that or its grace is over. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Result<Ended> {
        let status = loop {
            let Some(running) = &mut self.running else {
                return pending().await;
            };
            if let Some(watchdog) = &mut running.watchdog {
                watchdog.renew(&running.authority);
            }
            let kill_at = running.kill_at;
            tokio::select! {
                biased;
                status = running.child.wait() => break status,
                () = running.authority.over() => {
                    running.kill_at = Some(Instant::now());
                    signal(running.group, Signal::KILL);
                    break running.child.wait().await;
                }
                () = running.authority.ending(), if kill_at.is_none() => self.stop(),
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
        let by_itself = running.kill_at.is_none() && !running.was_struck(status).await;
        Ok(Ended { by_itself, status })
    }

    /// Tells the command to end, once; then it has its grace.
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

    /// Starts the command under `authority`.
    pub(crate) async fn start(&mut self, node: &Node, authority: Authority) -> Result<()> {
        let watchdog = Watchdog::start(&authority).await?;
        // A group of its own: what the command starts is signalled with it, and the terminal's
        // interrupt reaches it through this program alone.
        let group = watchdog.as_ref().and_then(Watchdog::group);
        let child = process::Command::new(own_program()?)
            .args([CHILD_TASK, &std::process::id().to_string()])
            .args(&self.words)
            .env("GRAFT_TERM", authority.token().to_string())
            .env("GRAFT_ID", node.id().as_str())
            .env("GRAFT_CLUSTER", node.cluster_info().name)
            .process_group(group.map_or(0, |group| group.as_raw_nonzero().get()))
            .kill_on_drop(true)
            .spawn()
            .context("could not start the command")?;
        let group = group.or(pid_of(&child));
        self.running = Some(Running { child, authority, group, watchdog, kill_at: None });
        Ok(())
    }
}

impl Running {
    /// Whether the watchdog ended the command, which is gone with this status. If not, it does so now
    /// with all that the command may have left behind.
    async fn was_struck(mut self, status: ExitStatus) -> bool {
        let Some(watchdog) = &mut self.watchdog else {
            return false;
        };
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        let was_struck = is_killed && watchdog.has_struck().await;
        signal(self.group, Signal::KILL);
        was_struck
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

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Signals the command and all that it started; if it is gone there is nothing to signal.
fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// The process id, until the process is gone.
pub(crate) fn pid_of(process: &process::Child) -> Option<Pid> {
    process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// The program as it runs, even if its file has been replaced meanwhile.
pub(crate) fn own_program() -> io::Result<std::path::PathBuf> {
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
        if !tie_to_parent(self.parent)? {
            return Ok(ExitCode::FAILURE);
        }
        die_with_watchdog()?;
        let Some((program, arguments)) = self.words.split_first() else {
            return Ok(ExitCode::FAILURE);
        };
        let error = std::process::Command::new(program).args(arguments).exec();
        complain(format_args!("could not run {program:?}: {error}"));
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        Ok(ExitCode::from(if is_missing { 127 } else { 126 }))
    }
}

/// On Linux, has this process die with its parent, whose process id is `parent`. False if that one
/// is gone already.
pub(crate) fn tie_to_parent(parent: i32) -> Result<bool> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .context("could not tie the command to the node")?;
        // The node may have died just before.
        if rustix::process::getppid().map(Pid::as_raw_nonzero) != parent.try_into().ok() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How often the watchdog is told how long the lease lasts: twice as often as it is renewed.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(50);
const _: () = assert!(2 * RENEWAL_INTERVAL.as_millis() == Config::HEARTBEAT_INTERVAL.as_millis());
