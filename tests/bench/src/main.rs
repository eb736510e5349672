//! The election's core beside other libraries that elect a leader, on one machine, in one run.

mod graft;
mod kv_lease;
mod meter;
mod omni;
mod open_raft;
mod raft_rs;
mod safety;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

/// What the contestants do.
const ELECTION: &str = "election";
const ROUND: &str = "round";
const HEARTBEAT: &str = "heartbeat";
const HEARTBEAT_BYTES: &str = "heartbeat-bytes";
const ACKNOWLEDGEMENT: &str = "acknowledgement";

/// How often what is short is done at a time.
const REPEATED: u64 = 1_000;

/// The sizes of the clusters.
const SIZES: [usize; 7] = [3, 5, 9, 16, 32, 48, 64];

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measures the core and the others, and prints JSON.
    Core {
        /// How many batches of each are measured.
        #[arg(long, default_value_t = 40)]
        batches: u64,
    },
    /// Measures what safety costs, and prints JSON.
    Safety {
        /// How many batches of each are measured, and how often a vote is stored.
        #[arg(long, default_value_t = 40)]
        batches: u64,
        /// On which disk votes are stored.
        #[arg(long)]
        folder: PathBuf,
    },
    /// Runs a command while it has a lease in JetStream.
    KvLease {
        /// The server's address.
        #[arg(long)]
        nats: String,
        /// The bucket with the lease.
        #[arg(long)]
        bucket: String,
        /// Who contends.
        #[arg(long)]
        name: String,
        /// What to run.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Core { batches } => core(batches),
        Task::Safety { batches, folder } => {
            println!("{}", serde_json::to_string(&safety::costs(batches, &folder)?)?);
            Ok(())
        }
        Task::KvLease { nats, bucket, name, command } => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(kv_lease::contend(&nats, &bucket, &name, &command))
        }
    }
}

fn core(batches: u64) -> Result<()> {
    let mut costs = Vec::new();
    for voters in SIZES {
        eprintln!("{voters} voters");
        let mut contestants = graft::contestants(voters);
        contestants.extend(raft_rs::contestants(voters));
        contestants.extend(omni::contestants(voters));
        contestants.extend(open_raft::contestants(voters));
        costs.extend(meter::measure(&contestants, batches));
    }
    println!("{}", serde_json::to_string(&costs)?);
    Ok(())
}
