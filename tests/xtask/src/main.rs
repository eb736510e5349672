//! The project's own commands.

#![forbid(unsafe_code)]

mod checks;
mod citations;
mod command;
mod firmware;
mod proofs;
mod scripts;
mod sizes;
mod test;
mod testers;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Error;
use clap::{CommandFactory, Parser, Subcommand};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing, and run every check and every test: all that CI runs.
    Test,
    /// Check the house rules that no other tool knows.
    Tidy,
    /// Prove that the core and the wire format need neither std nor an allocator.
    NoStd,
    /// Prove that the core and the wire format can't panic.
    NoPanic,
    /// Play the scripts in `tests/scripts`, and compare what happens with what they say.
    Scripts {
        /// Write their transcripts anew instead.
        #[arg(long)]
        write: bool,
    },
    /// Build the firmware, and let clippy look at it.
    Firmware,
    /// Print how much flash and memory the election takes on a microcontroller.
    Sizes {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Simulate clusters full of faults, and check what must always hold.
    Simulate {
        /// How many.
        #[arg(long, default_value_t = testers::SEEDS)]
        seeds: u64,
        /// The first one's seed; today's, if absent.
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        None => Arguments::command().print_help().map_err(Error::from),
        Some(Task::Test) => test::test(),
        Some(Task::Tidy) => tidy::tidy(),
        Some(Task::NoStd) => proofs::no_std(),
        Some(Task::NoPanic) => proofs::no_panic(),
        Some(Task::Scripts { write }) => scripts::play(write),
        Some(Task::Firmware) => firmware::Toolchain::install().and_then(firmware::check),
        Some(Task::Sizes { json }) => sizes::print(json),
        Some(Task::Simulate { seeds, seed }) => testers::simulate(seeds, seed),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
