//! `graft is-leader`: whether a node on this machine leads, for scripts.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::exit_status::{ExitStatus, ExitsWith};
use crate::leader_file::LeaderFile;

/// What its help says at the end.
const HELP: &str = "\
Exit statuses:
  0   the node leads: its lease is valid
  1   it doesn't
  64  usage: the arguments are wrong
  78  configuration: FILE can't be read, or is no leader file";

/// Exit with 0 if the node that keeps FILE has a valid lease, else with 1.
///
/// FILE is what `graft run --leader-file FILE` keeps on this machine. A file that was left behind
/// is not believed: it says until when the lease lasts, on a clock of the machine that nobody sets.
/// The lease may end between this answer and what is done about it, so have all that is written
/// carry the fencing token.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct IsLeaderArgs {
    /// The leader file.
    file: PathBuf,
    /// Print the fencing token, if the node leads.
    #[arg(long)]
    token: bool,
}

impl IsLeaderArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let file = LeaderFile::read(&self.file).exits_with(ExitStatus::Configuration)?;
        let Some(file) = file else { return Ok(ExitCode::FAILURE) };
        if !file.is_valid().exits_with(ExitStatus::Configuration)? {
            return Ok(ExitCode::FAILURE);
        }
        if self.token {
            writeln!(std::io::stdout(), "{}", file.token)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
