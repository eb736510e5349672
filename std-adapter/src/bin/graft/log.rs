//! `graft log`: a look into a vote file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use graft_election::{Digest, VoteFile};

/// Exits with 0 if a node could start from FILE, else with 1.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The vote file, this implementation's or a Go node's. It is not changed, be it in use or not.
    file: PathBuf,
}

impl Log {
    pub(crate) fn run(self) -> Result<ExitCode> {
        println!("file       {}", self.file.display());
        let Some(contents) = VoteFile::inspect(&self.file)? else {
            println!("state      none yet");
            eprintln!(
                "graft: the file is empty, as a new Go node leaves it; \
                 if this node has voted before, its vote is lost"
            );
            return Ok(ExitCode::SUCCESS);
        };
        println!("term       {}", contents.term);
        match contents.voted_for.as_str() {
            "" => println!("voted for  nobody"),
            vote => println!("voted for  {vote:?}"),
        }
        match &contents.id {
            Some(id) => println!("node id    {id}"),
            None => println!("node id    none, as in a Go node's file"),
        }
        println!(
            "digest     {}",
            match contents.digest {
                Digest::Sha1 => "SHA-1",
                Digest::Legacy => "the data itself, as old Go nodes wrote it",
            }
        );
        for key in contents.unknown_keys() {
            println!("also has   {key:?}");
        }
        let stored = match contents.to_stored_vote() {
            Ok(stored) => stored,
            Err(reason) => {
                println!("sound      no");
                anyhow::bail!("no node can start from {}: {reason}", self.file.display());
            }
        };
        for warning in &stored.warnings {
            eprintln!("graft: {warning}");
        }
        println!("sound      yes");
        Ok(ExitCode::SUCCESS)
    }
}
