//! The scripts that accompany a node, as the command line describes them.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::check::Check;
use super::command_args::seconds;
use super::on_change::OnChange;
use crate::process::Reaper;

/// Scripts that say whether the node is fit to lead, and that learn who leads.
#[derive(Debug, Args)]
#[command(next_help_heading = "Scripts")]
pub(crate) struct ScriptArgs {
    /// A script for `sh` that says with status 0 that this node is fit to lead. A node whose check
    /// fails ends COMMAND and hands over, and does not campaign before its check passes.
    #[arg(long, value_name = "SCRIPT")]
    check: Option<OsString>,
    /// How many seconds pass between the end of a check and the next.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    check_interval: Duration,
    /// After how many seconds a check is killed, and has failed.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    check_timeout: Duration,
    /// A script for `sh` to run at the start, and whenever this node begins or ceases to lead or
    /// another one leads, with GRAFT_STATE, GRAFT_LEADER, GRAFT_TERM, GRAFT_ID and GRAFT_CLUSTER in
    /// its environment. GRAFT_STATE is leader, follower, no_leader or, at the end, closed. One runs
    /// at a time, and after it another one for the latest change, so some may be skipped. The
    /// election doesn't wait: what must end in time belongs into COMMAND.
    #[arg(long, value_name = "SCRIPT")]
    on_change: Option<OsString>,
    /// After how many seconds such a script is killed.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    on_change_timeout: Duration,
}

impl ScriptArgs {
    pub(crate) fn has_check(&self) -> bool {
        self.check.is_some()
    }

    pub(crate) fn check(&self, reaper: &Reaper) -> Option<Check> {
        let script = self.check.clone()?;
        Some(Check::new(script, self.check_interval, self.check_timeout, reaper.clone()))
    }

    pub(crate) fn on_change(&self, reaper: &Reaper) -> Option<OnChange> {
        let script = self.on_change.clone()?;
        Some(OnChange::new(script, self.on_change_timeout, reaper.clone()))
    }
}
