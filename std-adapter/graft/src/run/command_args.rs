//! COMMAND, as the command line describes it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::keep::Keep;
use super::once::Once;
use super::patience::Wait;
use crate::command::unless_runnable;

/// The longest grace: a century, in seconds.
const SECONDS_MAX: f64 = 100.0 * 365.25 * 86_400.0;

/// What to run, and what becomes of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "COMMAND")]
pub(crate) struct CommandArgs {
    /// How many seconds COMMAND has between SIGTERM and SIGKILL. In Extended mode it never outlives
    /// the lease, so it has that long only while the node keeps the lease.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    grace: Duration,
    /// Give up with status 73 if this node doesn't get to lead within SECONDS after its start. A
    /// node that has given up no longer votes: make sure that enough voters stay.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Duration>,
    /// Give up with status 73 as soon as another node leads, or when none does for long. As with
    /// --wait, make sure that enough voters stay.
    #[arg(long = "try", conflicts_with = "wait")]
    is_try: bool,
    /// Start COMMAND again under the same leadership whenever it ends by itself, whatever its
    /// status. If it ends within 10 seconds, it waits before the next start, first for 100ms, then
    /// for twice as long each time; after 5 such ends in a row the node hands over.
    #[arg(long, requires = "command")]
    keep: bool,
    /// Have COMMAND's job done once in the cluster: when it ends with 0, the leader says so, and
    /// all nodes exit with 0. They stay for ten of the greatest election timeouts before, so that
    /// nodes that start late learn it. If it ends otherwise, the next leader tries. All nodes have
    /// this option, or none. Needs Extended mode.
    #[arg(long, requires = "command", conflicts_with = "value")]
    once: bool,
    /// The command to run while this node leads, with GRAFT_TERM, GRAFT_ID and GRAFT_CLUSTER in its
    /// environment. GRAFT_TERM is the fencing token: pass it along with every write, and have the
    /// store reject any token lower than the highest it has seen. When COMMAND exits by itself, the
    /// node closes, and the program exits with COMMAND's status. In Extended mode COMMAND runs only
    /// under a valid lease. It and all that it has started are killed before the lease ends, as far
    /// as this system lets them be reached: each start is reported with what contains COMMAND.
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl CommandArgs {
    pub(crate) fn is_given(&self) -> bool {
        !self.command.is_empty()
    }

    pub(crate) fn take_words(&mut self) -> Vec<OsString> {
        std::mem::take(&mut self.command)
    }

    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    pub(crate) fn keep(&self) -> Option<Keep> {
        self.keep.then(Keep::default)
    }

    pub(crate) fn is_once(&self) -> bool {
        self.once
    }

    pub(crate) fn once(&self, election_timeout_max: Duration) -> Option<Once> {
        self.once.then(|| Once::new(election_timeout_max))
    }

    /// How long this node may take to lead.
    pub(crate) fn wait(&self, election_timeout_max: Duration) -> Wait {
        match self.wait {
            Some(limit) => Wait::For(limit),
            None if self.is_try => Wait::UntilOtherLeads { election_timeout_max },
            None => Wait::Forever,
        }
    }

    /// Says so if COMMAND can't be run, and returns the exit status for that.
    pub(crate) fn unless_runnable(&self) -> Option<ExitCode> {
        self.command.first().and_then(|program| unless_runnable(program))
    }
}

/// A time of any length. One that no clock could tell ends after a century.
pub(super) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if !(0.0..f64::INFINITY).contains(&seconds) {
        return Err("not a number of seconds from 0 on");
    }
    Ok(Duration::from_secs_f64(seconds.min(SECONDS_MAX)))
}
