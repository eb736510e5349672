//! The project's own commands.

#![forbid(unsafe_code)]

mod bench;
mod checks;
mod command;
mod compare;
mod costs;
mod crash_files;
mod crate_count;
mod firmware;
mod follow;
mod fuzz;
mod mutants;
mod names;
mod pictures;
mod planted;
mod proofs;
mod show;
mod sizes;
mod soak;
mod steps;
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
    /// Measure the project beside others, and write BENCHMARKS.md.
    Bench(bench::Bench),
    /// Run `graft run` and other programs of which one among several is at work, side by side.
    Compare {
        /// How often each of them is struck in each way.
        #[arg(long, default_value_t = compare::RUNS)]
        runs: usize,
        /// Put the table into docs/comparison.md.
        #[arg(long)]
        write: bool,
    },
    /// Count the core's instructions, messages and bytes, and compare them with those before.
    Costs {
        /// Put them into tests/costs/costs.toml instead.
        #[arg(long)]
        write: bool,
    },
    /// Count the crates that a user of the library compiles.
    CrateCount,
    /// Prove that the core and the wire format need neither std nor an allocator.
    NoStd,
    /// Count the files that a reader opens to follow each input of the core.
    Follow,
    /// Search all that can happen in small clusters.
    Model(testers::Model),
    /// Change the core and the wire format in many small ways, and see whether their tests notice.
    Mutants,
    /// Print the tables of the names by which programs know what happens.
    Names {
        /// Put them into docs/events.md.
        #[arg(long)]
        write: bool,
    },
    /// Draw the computed pictures of the documentation again.
    Pictures,
    /// Plant known defects in a copy of the project, and see who notices.
    Planted(planted::Planted),
    /// Prove that the core and the wire format can't panic.
    NoPanic,
    /// Show three emulated boards with the firmware: keys take their power, or a script does.
    Firmware(show::Show),
    /// Build the firmware of every board, and let clippy look at it.
    BuildFirmware,
    /// Try the vote file with every crash and fault of a model disk, and kill a thousand processes.
    CrashFiles,
    /// Fuzz the wire format, the vote file and the core.
    Fuzz {
        /// How many inputs each target tries.
        #[arg(long, default_value_t = fuzz::RUNS)]
        runs: u64,
        /// Where the fuzzer's random numbers begin; 0 takes any.
        #[arg(long, default_value_t = fuzz::SEED)]
        seed: u32,
    },
    /// Play the scripts in `tests/scripts`, and compare what happens with what they say.
    Scripts {
        /// Rewrite their transcripts instead.
        #[arg(long)]
        write: bool,
    },
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
    /// Try for a long time to have two COMMANDs of `graft run` at work at once, or one left over.
    Soak {
        /// How long.
        #[arg(long, default_value_t = soak::MINUTES)]
        minutes: f64,
        /// The seed of the faults.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure how long simulated clusters are without a leader.
    Times {
        /// How often each scene is played.
        #[arg(long, default_value_t = testers::RUNS)]
        runs: u64,
        /// Put the table into docs/times.md.
        #[arg(long)]
        write: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        None => Arguments::command().print_help().map_err(Error::from),
        Some(Task::Test) => test::test(),
        Some(Task::Tidy) => tidy::tidy(),
        Some(Task::Bench(bench)) => bench.run(),
        Some(Task::Compare { runs, write }) => compare::compare(runs, write),
        Some(Task::Costs { write }) => costs::costs(write),
        Some(Task::CrateCount) => crate_count::crate_count(),
        Some(Task::NoStd) => proofs::no_std(),
        Some(Task::Follow) => follow::follow(),
        Some(Task::Model(model)) => testers::search(model),
        Some(Task::Mutants) => mutants::mutants(),
        Some(Task::Names { write }) => names::names(write),
        Some(Task::Pictures) => pictures::pictures(),
        Some(Task::Planted(planted)) => planted.run(),
        Some(Task::NoPanic) => proofs::no_panic(),
        Some(Task::Firmware(show)) => show.run(),
        Some(Task::BuildFirmware) => firmware::Toolchain::install().and_then(firmware::check),
        Some(Task::CrashFiles) => crash_files::crash_files(),
        Some(Task::Fuzz { runs, seed }) => {
            tools::cargo_fuzz().and_then(|it| fuzz::fuzz(&it, runs, seed))
        }
        Some(Task::Scripts { write }) => testers::play(write),
        Some(Task::Sizes { json }) => sizes::print(json),
        Some(Task::Simulate { seeds, seed }) => testers::simulate(seeds, seed),
        Some(Task::Soak { minutes, seed }) => {
            tools::nats_server().and_then(|server| soak::soak(&server, minutes, seed))
        }
        Some(Task::Times { runs, write }) => testers::measure_times(runs, write),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
