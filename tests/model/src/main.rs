//! Searches all that can happen in small clusters; see the library.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Parser;
use graft_election_model::{
    CLUSTERS, Findings, LARGE_CLUSTERS, LARGE_RENEWALS, OMISSIONS, QUICK_CLUSTERS, QUICK_RENEWALS,
    RENEWALS, search,
};

/// Searches all that can happen in small clusters, and checks that the election's invariants hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// Search only the clusters that are searched whenever everything is tested.
    #[arg(long, conflicts_with = "large")]
    quick: bool,
    /// Search larger clusters instead.
    #[arg(long)]
    large: bool,
    /// Search clusters whose voters change instead.
    #[arg(long)]
    voters: bool,
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
    if arguments.voters {
        return search_renewals(arguments, threads);
    }
    let clusters = match arguments {
        Arguments { quick: true, .. } => QUICK_CLUSTERS.to_vec(),
        Arguments { large: true, .. } => LARGE_CLUSTERS.to_vec(),
        _ => [QUICK_CLUSTERS, CLUSTERS].concat(),
    };
    search_all(&clusters, |cluster| search(cluster, threads))
}

fn search_renewals(arguments: &Arguments, threads: NonZeroUsize) -> Result<()> {
    let renewals = match arguments {
        Arguments { quick: true, .. } => QUICK_RENEWALS.to_vec(),
        Arguments { large: true, .. } => LARGE_RENEWALS.to_vec(),
        _ => [QUICK_RENEWALS, RENEWALS].concat(),
    };
    search_all(&renewals, |renewal| renewal.search(threads))?;
    if arguments.large { Ok(()) } else { miss_nothing(threads) }
}

fn search_all<C: Copy + Display>(
    clusters: &[C],
    search: impl Fn(C) -> Result<Findings>,
) -> Result<()> {
    let mut total = Findings::default();
    for cluster in clusters {
        let findings = search(*cluster).with_context(|| cluster.to_string())?;
        println!("{cluster}: {findings}");
        total += findings;
    }
    println!("{} clusters searched, nothing left out: {total}", clusters.len());
    Ok(())
}

/// Leaves out one rule after the other; a search that finds nothing wrong with that is too weak.
fn miss_nothing(threads: NonZeroUsize) -> Result<()> {
    for renewal in OMISSIONS {
        match renewal.search(threads) {
            Ok(findings) => bail!("{renewal}: nothing is found to be wrong: {findings}"),
            Err(violation) => {
                let violation = violation.to_string();
                println!("{renewal}: {}", violation.lines().next().unwrap_or_default());
            }
        }
    }
    Ok(())
}
