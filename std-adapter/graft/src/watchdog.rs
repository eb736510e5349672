//! The process that ends the COMMAND in time even if the node can't, because it is stopped or gets
//! no processor time.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
#[cfg(target_os = "linux")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_current_process_group};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, getpgrp, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process;
use tokio::runtime::Builder;

use crate::permit::Permit;
use crate::process::{own_program, pid_of, tie_to_parent};
use crate::stop::Stop;

/// The hidden subcommand that runs it.
pub(crate) const WATCHDOG_TASK: &str = "__watchdog";

/// How often it compares the clock with the deadline: timers stop while the machine is suspended,
/// and the clock doesn't.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The process that leads the COMMAND's process group. It kills that group at the last deadline
/// that it was sent, or when the node is gone.
#[derive(Debug)]
pub(crate) struct Watchdog {
    process: process::Child,
    deadlines: pipe::Sender,
}

impl Watchdog {
    /// Starts a watchdog and waits until it is ready; `None` if the permit never expires.
    pub(crate) async fn start(permit: &Permit) -> Result<Option<Self>> {
        if permit.time_left().is_none() {
            return Ok(None);
        }
        let (deadlines, receiver) = pipe::pipe().context("could not make a pipe")?;
        let receiver: OwnedFd = receiver.into_blocking_fd().context("could not make a pipe")?;
        let mut process = process::Command::new(own_program()?)
            .args([WATCHDOG_TASK, &std::process::id().to_string()])
            .stdin(Stdio::from(receiver))
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("could not start the command's watchdog")?;
        let mut output = process.stdout.take().context("the command's watchdog has no output")?;
        let ready = output.read_u8().await;
        ready.context("the command's watchdog did not start")?;
        let mut watchdog = Self { process, deadlines };
        watchdog.renew(permit);
        Ok(Some(watchdog))
    }

    /// The process group that it leads and kills.
    pub(crate) fn group(&self) -> Option<Pid> {
        pid_of(&self.process)
    }

    /// Moves the deadline to when `permit` now expires.
    pub(crate) fn renew(&mut self, permit: &Permit) {
        // Read before what is left of the lease, so that an interruption in between shortens it.
        let now = now();
        if let Some(time_left) = permit.time_left() {
            let deadline = u64::try_from((now + time_left).as_micros()).unwrap_or(u64::MAX);
            // A pipe takes so few bytes as a whole or not at all. If not, the old deadline holds.
            let _ = self.deadlines.try_write(&deadline.to_le_bytes());
        }
    }

    /// Whether the watchdog has fired. Call it when the COMMAND was just found to be gone.
    pub(crate) async fn has_fired(&mut self) -> bool {
        // It kills itself with the same call.
        tokio::time::timeout(CHECK_INTERVAL, self.process.wait()).await.is_ok()
    }
}

/// The time on a clock that both processes share, and that runs while the machine is suspended.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Kill this process group at a deadline. Later deadlines arrive on the standard input.
#[derive(Debug, Args)]
pub(crate) struct WatchdogArgs {
    /// The process id of the node.
    parent: i32,
}

impl WatchdogArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        // SIGTERM goes to the whole group. This process must outlive it, until the COMMAND has
        // ended.
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        let _caught = Stop::new()?;
        if !tie_to_parent(self.parent)? {
            return Ok(ExitCode::FAILURE);
        }
        io::stdout().write_all(&[0])?;
        io::stdout().flush()?;
        let (sender, deadlines) = channel();
        std::thread::spawn(move || {
            let mut deadline = [0; 8];
            while io::stdin().read_exact(&mut deadline).is_ok()
                && sender.send(Duration::from_micros(u64::from_le_bytes(deadline))).is_ok()
            {
            }
        });
        let mut deadline = Duration::MAX;
        loop {
            let time_left = deadline.saturating_sub(now());
            if time_left.is_zero() {
                break;
            }
            match deadlines.recv_timeout(time_left.min(CHECK_INTERVAL)) {
                Ok(later) => deadline = later,
                Err(RecvTimeoutError::Timeout) => {}
                // The node is gone.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        kill_current_process_group(Signal::KILL).context("could not kill the command")?;
        Ok(ExitCode::FAILURE)
    }
}

/// Kills this process, which has just joined its group, if the leader of the group is gone. If the
/// node was paused before it started the COMMAND, the watchdog may have fired already, and won't do
/// so again. If it fires from now on, it kills this process too.
pub(crate) fn die_with_watchdog() -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let is_gone = match pidfd_open(getpgrp(), PidfdFlags::empty()) {
            Ok(leader) => {
                // It is readable once that process is gone, even before its parent has waited for
                // it.
                let mut gone = [PollFd::new(&leader, PollFlags::IN)];
                poll(&mut gone, Some(&Timespec::default())).context("could not poll")? > 0
            }
            // Kernels before 5.3 can't tell, nor can containers that allow no newer system calls.
            Err(Errno::NOSYS | Errno::PERM) => false,
            Err(_) => true,
        };
        if is_gone {
            kill_current_process_group(Signal::KILL).context("could not die with the watchdog")?;
        }
    }
    Ok(())
}
