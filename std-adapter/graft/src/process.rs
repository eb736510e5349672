//! What this program needs as the parent of others.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

/// The program that is running, even if its file has been replaced meanwhile.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// Starts a program that is deaf to all signals that can be blocked, from its first instant on.
pub(crate) fn spawn_deaf(command: &mut Command) -> Result<Child> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let spawned = command.spawn();
    before.thread_set_mask()?;
    Ok(spawned?)
}

/// Reaps all children of this process, also those that it has adopted: as the first process of a
/// container, or because their watchdog is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper {
    watchdogs: Arc<Mutex<BTreeSet<i32>>>,
}

impl Reaper {
    /// Reaps from now on, on the current runtime.
    pub(crate) fn start() -> Result<Self> {
        let reaper = Self::default();
        let mut child_signal =
            signal(SignalKind::child()).context("could not listen for signals")?;
        let reaping = reaper.clone();
        tokio::spawn(async move {
            loop {
                reaping.reap();
                child_signal.recv().await;
            }
        });
        Ok(reaper)
    }

    /// Kills this child as soon as it is stopped: a watchdog that is stopped doesn't watch.
    pub(crate) fn keep_running(&self, watchdog: &Child) {
        self.lock().insert(Pid::from_child(watchdog).as_raw_nonzero().get());
    }

    fn reap(&self) {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) => {
                    let number = pid.as_raw_nonzero().get();
                    let is_stopped = status.stopped();
                    if is_stopped && self.lock().contains(&number) {
                        let _ = kill_process(pid, Signal::KILL);
                    } else if !is_stopped {
                        self.lock().remove(&number);
                    }
                }
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.watchdogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
