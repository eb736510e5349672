//! `graft inspect`: a look into a vote file.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use graft_election::{Digest, ListContents, Printable, VoteFile};

use crate::report::print_error;

/// Show what is in a vote file, and whether a node could start from it.
///
/// Exits with 0 if a node could start from FILE, else with 1.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The vote file, written by this program or by a Go node. It may be in use, and is not
    /// changed.
    file: PathBuf,
}

impl InspectArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut out = io::stdout().lock();
        writeln!(out, "file       {}", Printable(self.file.display()))?;
        let Some(contents) = VoteFile::inspect(&self.file)? else {
            writeln!(out, "state      none yet")?;
            print_error(
                "the file is empty, as a new Go node leaves it; \
                 if this node has voted before, its vote is lost",
            );
            return Ok(ExitCode::SUCCESS);
        };
        writeln!(out, "term       {}", contents.term)?;
        // Text from the file is quoted, because it may contain escape sequences for the terminal.
        match contents.voted_for.as_str() {
            "" => writeln!(out, "voted for  nobody")?,
            vote => writeln!(out, "voted for  {vote:?}")?,
        }
        match &contents.id {
            Some(id) => writeln!(out, "node id    {id:?}")?,
            None => writeln!(out, "node id    none, as in a Go node's file")?,
        }
        match &contents.list {
            Some(list) if list.voters.is_empty() => writeln!(out, "voters     list {}", list.id)?,
            Some(ListContents { id, voters, .. }) => {
                writeln!(out, "voters     {voters:?}, as list {id}")?;
            }
            None => writeln!(out, "voters     not declared")?,
        }
        match contents.bound_for {
            0 => writeln!(out, "promised   nothing")?,
            micros => writeln!(out, "promised   its vote for up to {micros} µs")?,
        }
        if contents.is_paused {
            writeln!(out, "paused     yes: it doesn't lead until an operator resumes it")?;
        }
        if contents.starts > 0 {
            writeln!(out, "starts     {} with a key", contents.starts)?;
        }
        let digest = match contents.digest {
            Digest::Sha1 => "SHA-1",
            Digest::Legacy => "the data itself, as old Go nodes wrote it",
        };
        writeln!(out, "digest     {digest}")?;
        let stored = match contents.to_stored_vote() {
            Ok(stored) => stored,
            Err(error) => {
                writeln!(out, "sound      no")?;
                let file = self.file.display();
                return Err(error).with_context(|| format!("no node can start from {file}"));
            }
        };
        for warning in &stored.warnings {
            print_error(warning);
        }
        writeln!(out, "sound      yes")?;
        Ok(ExitCode::SUCCESS)
    }
}
