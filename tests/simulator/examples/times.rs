//! Measures how long simulated clusters have no leader, for the table in `docs/times.md`.
//! `cargo xtask times` runs it.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use graft_election_simulator::times::Times;

/// The lines around the table.
const BEGIN: &str = "<!-- what `cargo xtask times --write` writes -->\n";

const END: &str = "<!-- the end of that -->\n";

/// Measures how long clusters have no leader, in units of T_min.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each scene is played.
    #[arg(long, default_value = "10000")]
    runs: NonZeroU64,
    /// Don't print the table, but compare it with the one in docs/times.md.
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Put the table into docs/times.md.
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("times: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let times = Times::measure(arguments.runs.get(), threads)?;
    if arguments.check {
        let contradictions = times.contradictions(&read()?);
        let runs = arguments.runs;
        ensure!(
            contradictions.is_empty(),
            "docs/times.md is out of date; {runs} runs each say otherwise of\n{}\n\
             `cargo xtask times --write` updates it",
            contradictions.join("\n")
        );
        println!("docs/times.md agrees with {runs} runs of each scene");
    } else if arguments.write {
        let (path, document) = (path(), read()?);
        let parts = document
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) =
            parts.with_context(|| format!("{} has no place for the table", path.display()))?;
        let document = format!("{before}{BEGIN}{times}{END}{after}");
        fs::write(&path, document).with_context(|| format!("can't write {}", path.display()))?;
    } else {
        print!("{times}");
    }
    Ok(())
}

fn read() -> Result<String> {
    let path = path();
    fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/times.md")
}
