//! Plays the elections of the Raft paper's Figure 16, and prints the times of all as JSON.
//! `cargo xtask bench figure16` runs it.

use std::num::NonZeroU64;
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Parser;
use graft_election_core::Mode;
use graft_election_simulator::raft_paper::Elections;
use serde_json::{Value, json};

/// Measures how long it takes to elect a leader in the Raft paper's clusters.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many elections of each kind.
    #[arg(long, default_value = "1000")]
    trials: NonZeroU64,
}

fn main() -> ExitCode {
    match run(Arguments::parse().trials.get()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figure16: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(trials: u64) -> Result<()> {
    let all = Elections::all();
    let play = |elections: &Elections| -> Result<Value> {
        let mut row = json!({"part": format!("{:?}", elections.part), "name": elections.name});
        for (name, mode) in [("graft", Mode::Graft), ("extended", Mode::Extended)] {
            let played = elections.play(mode, trials);
            let times = played.map_err(|it| anyhow!("\"{}\": {it}", elections.name))?;
            let millis = |time: &Option<Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
            row[name] = json!(times.iter().map(millis).collect::<Vec<_>>());
        }
        Ok(row)
    };
    let rows: Result<Vec<Value>> = thread::scope(|scope| {
        let workers: Vec<_> = all.iter().map(|it| scope.spawn(move || play(it))).collect();
        let join = |it: ScopedJoinHandle<'_, Result<Value>>| {
            it.join().unwrap_or_else(|_| Err(anyhow!("a trial panicked")))
        };
        workers.into_iter().map(join).collect()
    });
    println!("{}", json!(rows?));
    Ok(())
}
