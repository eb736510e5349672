//! What the COMMAND and its watchdog need as processes that this program starts.

use std::io;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
use anyhow::Context;
use anyhow::Result;
use rustix::process::Pid;
use tokio::process::Child;

/// The program that is running, even if its file has been replaced meanwhile.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// The process id, until the process is gone.
pub(crate) fn pid_of(process: &Child) -> Option<Pid> {
    process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// On Linux, makes this process die with its parent, whose process id is `parent`. Returns false if
/// the parent is already gone.
pub(crate) fn tie_to_parent(parent: i32) -> Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};

        set_parent_process_death_signal(Some(Signal::KILL))
            .context("could not tie the command to the node")?;
        // The node may have died just before that.
        if getppid().map(Pid::as_raw_nonzero) != parent.try_into().ok() {
            return Ok(false);
        }
    }
    Ok(true)
}
