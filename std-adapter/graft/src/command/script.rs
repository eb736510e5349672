//! A script of the operator's: it runs once, with a limit, and holds nothing up.
//!
//! It has a watchdog as COMMAND has, so it and all that it has started are killed at the limit, and
//! when the node is gone.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use graft_election::Node;

use super::messages::News;
use super::processes::Process;
use super::watchdog::{Watchdog, Watched};
use crate::machine_clock::now;
use crate::process::Reaper;

/// A script that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Script {
    /// None when it has ended.
    watchdog: Option<Watchdog>,
    limit: Duration,
    survivors: Vec<Process>,
}

/// Why a script didn't do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// It told so itself, or was killed by somebody else.
    #[error("{0}")]
    Failed(ExitStatus),
    /// It was killed.
    #[error("it took longer than {0:?}")]
    TooLong(Duration),
    /// It was to be killed, and these can't be.
    #[error("it took longer than {0:?}, and can't be killed: {1}")]
    Unkillable(Duration, String),
    /// Its watchdog was killed, and it with it.
    #[error("its watchdog is gone")]
    Unwatched,
    /// There was no process for it.
    #[error("it could not be started: {0:#}")]
    NotStarted(anyhow::Error),
}

impl Script {
    /// Starts the text, which is for the shell, with this `environment`. It must be gone after
    /// `limit`.
    pub(crate) fn start(
        text: &OsString,
        environment: Vec<(&'static str, String)>,
        limit: Duration,
        node: &Node,
        reaper: &Reaper,
    ) -> Result<Self, ScriptError> {
        let watched = Watched {
            words: &["sh".into(), "-c".into(), text.clone()],
            group: None,
            environment,
            deadline: Some(now() + limit),
            is_script: true,
        };
        let watchdog = Watchdog::start(watched, node, reaper).map_err(ScriptError::NotStarted)?;
        Ok(Self { watchdog: Some(watchdog), limit, survivors: Vec::new() })
    }

    /// Waits until it has ended, and what it has started is gone. Cancel-safe.
    pub(crate) async fn end(&mut self) -> Result<(), ScriptError> {
        while let Some(watchdog) = &mut self.watchdog {
            match watchdog.next().await {
                Some(News::Ended { has_fired: true, .. }) => {
                    return Err(ScriptError::TooLong(self.limit));
                }
                Some(News::Ended { status, .. }) => {
                    let status = ExitStatus::from_raw(status);
                    return if status.success() {
                        Ok(())
                    } else {
                        Err(ScriptError::Failed(status))
                    };
                }
                // The watchdog goes on for a while.
                Some(News::Unkillable(survivors)) => self.survivors = survivors,
                Some(News::Started { .. } | News::Stopped { .. } | News::Continued) => {}
                None => {
                    if let Some(watchdog) = self.watchdog.take() {
                        watchdog.abandon();
                    }
                }
            }
        }
        let names: Vec<_> = self.survivors.iter().map(Process::to_string).collect();
        Err(match names.is_empty() {
            true => ScriptError::Unwatched,
            false => ScriptError::Unkillable(self.limit, names.join(", ")),
        })
    }
}
