//! The check that says whether a node is fit to lead.

use std::ffi::OsString;
use std::time::Duration;

use graft_election::Node;
use tokio::time::{Instant, sleep_until};

use crate::command::{Script, ScriptError};
use crate::process::Reaper;

/// A script that is run again and again.
#[derive(Debug)]
pub(crate) struct Check {
    script: OsString,
    interval: Duration,
    limit: Duration,
    reaper: Reaper,
    next_at: Instant,
    running: Option<Script>,
    /// Whether the last one passed; none before the first has ended.
    passed: Option<bool>,
}

/// What a check has found.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The node is fit to lead, and was not before.
    Passed,
    /// It is not fit, and was before, or not known to be.
    Failed(ScriptError),
}

impl Check {
    /// The first one is due at once.
    pub(crate) fn new(
        script: OsString,
        interval: Duration,
        limit: Duration,
        reaper: Reaper,
    ) -> Self {
        let next_at = Instant::now();
        Self { script, interval, limit, reaper, next_at, running: None, passed: None }
    }

    /// Whether the node is fit to lead, as far as is known.
    pub(crate) fn has_passed(&self) -> bool {
        self.passed == Some(true)
    }

    /// Waits until a check finds something new. Cancel-safe.
    pub(crate) async fn next(&mut self, node: &Node) -> Verdict {
        loop {
            let done = match &mut self.running {
                Some(running) => running.end().await,
                None => {
                    sleep_until(self.next_at).await;
                    let started =
                        Script::start(&self.script, Vec::new(), self.limit, node, &self.reaper);
                    match started {
                        Ok(script) => {
                            self.running = Some(script);
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            self.running = None;
            self.next_at = Instant::now() + self.interval;
            if self.passed.replace(done.is_ok()) == Some(done.is_ok()) {
                continue;
            }
            return match done {
                Ok(()) => Verdict::Passed,
                Err(error) => Verdict::Failed(error),
            };
        }
    }
}
