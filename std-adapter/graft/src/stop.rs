//! The signals that ask the program to end.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives SIGINT, SIGTERM, SIGQUIT and SIGHUP.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    /// None under `nohup`, which has a program ignore it.
    hangup: Option<Signal>,
}

impl Stop {
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        let hangup = SignalKind::hangup();
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
            hangup: if is_ignored(hangup) { None } else { Some(listen(hangup)?) },
        })
    }

    /// Waits for the next of them. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
            _ = hung_up => {}
        }
    }
}

/// Whether this process was started with the signal ignored, as far as the system tells.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.unwrap_or_default() >> (kind.as_raw_value() - 1) & 1 == 1
}
