//! `graft key`: a key for a cluster.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use graft_election::Key;
use rustix::rand::{GetRandomFlags, getrandom};

/// Print a new key for a cluster, from the system's random source.
///
/// Each of the cluster's nodes, and whoever operates it, needs the same one, in a file that nobody
/// else can read: (umask 077; graft key > billing.key). Then graft run --key-file billing.key.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {}

impl KeyArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut key = [0; Key::LEN];
        if getrandom(&mut key[..], GetRandomFlags::empty())? != Key::LEN {
            bail!("the system's random source gave too little");
        }
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(io::stdout(), "{digits}")?;
        Ok(ExitCode::SUCCESS)
    }
}
