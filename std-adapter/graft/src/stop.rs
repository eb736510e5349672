//! The signals that ask the program to end.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal as Held};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long work that is no longer wanted may take to notice that, unless it is blocked.
const CANCEL_TIME_MAX: Duration = Duration::from_millis(100);

/// Has the signals that ask the program to end wait until [`Stop`] receives them. Without this they
/// would end it at once.
pub(crate) fn hold() -> Result<()> {
    held().thread_block().context("could not hold signals")
}

fn held() -> SigSet {
    [Held::SIGINT, Held::SIGTERM, Held::SIGQUIT, Held::SIGHUP].into_iter().collect()
}

/// Receives SIGINT, SIGTERM, SIGQUIT and SIGHUP.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    /// None under `nohup`, which has a program ignore it.
    hangup: Option<Signal>,
}

impl Stop {
    /// Receives those that were held back, too.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        let hangup = SignalKind::hangup();
        let stop = Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
            hangup: if is_ignored(hangup) { None } else { Some(listen(hangup)?) },
        };
        held().thread_unblock().context("could not listen for signals")?;
        Ok(stop)
    }

    /// What `work` comes to, or `None` if one of them comes first. The work may block, as a disk
    /// may hang and a file may be a pipe to which nobody writes, so it has a thread that nobody
    /// waits for.
    pub(crate) async fn unless_asked<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = Handle::current();
        let (cancel, cancelled) = oneshot::channel::<()>();
        let mut working = spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    done = work => Some(done),
                    _ = cancelled => None,
                }
            })
        });
        tokio::select! {
            done = &mut working => match done {
                Ok(done) => done,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = self.wait() => {
                drop(cancel);
                // It must not find that the runtime is gone.
                let _ = timeout(CANCEL_TIME_MAX, working).await;
                None
            }
        }
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
