//! Searches all that can happen in small clusters; see the library.

#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::Parser;
use graft_election_model::{CLUSTERS, Findings, LARGE_CLUSTERS, QUICK_CLUSTERS, search};

/// Searches all that can happen in small clusters, and checks that the election's invariants hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// Search only the clusters that are searched whenever everything is tested.
    #[arg(long, conflicts_with = "large")]
    quick: bool,
    /// Search larger clusters instead.
    #[arg(long)]
    large: bool,
    /// How many threads search; as many as there are processors if absent.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("model: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let threads = match arguments.threads {
        Some(threads) => threads,
        None => thread::available_parallelism()?,
    };
    let mut total = Findings::default();
    let clusters = match arguments {
        Arguments { quick: true, .. } => QUICK_CLUSTERS.to_vec(),
        Arguments { large: true, .. } => LARGE_CLUSTERS.to_vec(),
        _ => [QUICK_CLUSTERS, CLUSTERS].concat(),
    };
    for cluster in &clusters {
        let findings = search(*cluster, threads).with_context(|| cluster.to_string())?;
        println!("{cluster}: {findings}");
        total += findings;
    }
    println!("{} clusters searched, nothing left out: {total}", clusters.len());
    Ok(())
}
