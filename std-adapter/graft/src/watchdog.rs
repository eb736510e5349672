//! The process that ends the COMMAND in time even if the node can't: it may be stopped, or starved.

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

use crate::authority::Authority;
use crate::command::{own_program, pid_of, tie_to_parent};
use crate::stop::Stop;

/// The hidden task that the process does.
pub(crate) const WATCHDOG_TASK: &str = "__watchdog";

/// A process in the COMMAND's process group, which it leads. It kills that group at the instant it
/// was told last, or when the node is gone.
#[derive(Debug)]
pub(crate) struct Watchdog {
    process: process::Child,
    deadlines: pipe::Sender,
}

impl Watchdog {
    /// Starts it, if the authority has an end, and waits until it is ready.
    pub(crate) async fn start(authority: &Authority) -> Result<Option<Self>> {
        if authority.time_left().is_none() {
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
        let ready =
            process.stdout.take().context("the command's watchdog is mute")?.read_u8().await;
        ready.context("the command's watchdog did not start")?;
        let mut watchdog = Self { process, deadlines };
        watchdog.renew(authority);
        Ok(Some(watchdog))
    }

    /// The process group that it leads, and kills.
    pub(crate) fn group(&self) -> Option<Pid> {
        pid_of(&self.process)
    }

    /// Puts the end off for as long as `authority` lasts now.
    pub(crate) fn renew(&mut self, authority: &Authority) {
        // Read before what is left of the lease: an interruption in between makes it shorter.
        let now = now();
        if let Some(time_left) = authority.time_left() {
            let deadline = u64::try_from((now + time_left).as_micros()).unwrap_or(u64::MAX);
            // A pipe takes so few bytes at once or not at all; then the old deadline stands.
            let _ = self.deadlines.try_write(&deadline.to_le_bytes());
        }
    }

    /// Whether it was the watchdog that killed the COMMAND, which was seen to be gone just now.
    pub(crate) async fn has_struck(&mut self) -> bool {
        // It kills itself by the same call.
        tokio::time::timeout(LOOK_AGAIN_AFTER, self.process.wait()).await.is_ok()
    }
}

/// The time on the clock that both processes share, and that goes on while the machine is suspended.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Kills its process group at a deadline, which it is told anew on its standard input.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The process id of the node.
    parent: i32,
}

impl Watch {
    pub(crate) fn run(self) -> Result<ExitCode> {
        // The COMMAND is told to end by a signal to the group. This process must stay until it has.
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        let _heard = Stop::new()?;
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
            match deadlines.recv_timeout(time_left.min(LOOK_AGAIN_AFTER)) {
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

/// Kills this process, which has just joined its group, if the one that leads the group is gone. A
/// watchdog that has struck by then, since the node was paused before it started the COMMAND, won't
/// do so again. One that strikes from now on kills this process too.
pub(crate) fn die_with_watchdog() -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let is_gone = match pidfd_open(getpgrp(), PidfdFlags::empty()) {
            Ok(leader) => {
                // It can be read from once that process is gone, even if nobody has asked how it
                // ended.
                let mut gone = [PollFd::new(&leader, PollFlags::IN)];
                poll(&mut gone, Some(&Timespec::default())).context("could not poll")? > 0
            }
            // Kernels before 5.3, and containers that keep to what these had, can't tell.
            Err(Errno::NOSYS | Errno::PERM) => false,
            Err(_) => true,
        };
        if is_gone {
            kill_current_process_group(Signal::KILL).context("could not die with the watchdog")?;
        }
    }
    Ok(())
}

/// Timers stand still while the machine is suspended; the clock doesn't.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
