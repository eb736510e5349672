//! Runs simulations, one for each seed, and shows how the first failing one fails.

#![forbid(unsafe_code)]

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::Parser;
use graft_election_simulator::shrink::{Failure, simulate};
use graft_election_simulator::{Figures, timeline};
use rustix::time::{ClockId, clock_gettime};

/// Simulates clusters, each with its own faults, and checks what must always hold.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value = "1000")]
    seeds: NonZeroU64,
    /// The first seed; taken from the clock if absent.
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// Where to put the drawing of a failure.
    #[arg(long, value_name = "FILE", default_value = "failure.svg")]
    svg: PathBuf,
    /// Where to put the script of a failure.
    #[arg(long, value_name = "FILE", default_value = "failure.txt")]
    script: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the seeds. Returns whether all rules hold.
fn run(arguments: &Arguments) -> Result<bool> {
    let first = arguments.seed.unwrap_or_else(seed_from_clock);
    let count = arguments.seeds.get();
    println!("seeds {first} to {}", first.wrapping_add(count - 1));
    let began = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let totals = run_seeds(first, count, cores);
    if let Some(seed) = totals.failed {
        show(seed, arguments)?;
    }
    println!("{}", summary(&totals, began.elapsed()));
    Ok(totals.failed.is_none())
}

fn seed_from_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

/// The figures of all seeds together.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    seeds: u64,
    figures: Figures,
    violations: u64,
    /// The processor time of all threads together.
    busy: Duration,
    /// The lowest seed that broke a rule.
    failed: Option<u64>,
}

/// Shares the seeds among all cores. After a violation no further seed is begun.
fn run_seeds(first: u64, count: u64, cores: usize) -> Totals {
    let next = AtomicU64::new(0);
    let work = || {
        let mut totals = Totals::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                totals.busy = busy_time();
                return totals;
            }
            let seed = first.wrapping_add(index);
            totals.seeds += 1;
            match simulate(seed) {
                Ok(figures) => totals.figures += figures,
                Err(violation) => {
                    println!("seed {seed}: {violation}");
                    totals.violations += 1;
                    totals.failed = Some(totals.failed.map_or(seed, |failed| failed.min(seed)));
                    next.fetch_max(count, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut totals = Totals::default();
        for worker in workers {
            // A worker catches the panics of its nodes, and doesn't panic itself.
            let part = worker.join().unwrap_or_default();
            totals.seeds += part.seeds;
            totals.figures += part.figures;
            totals.violations += part.violations;
            totals.busy += part.busy;
            totals.failed = totals.failed.into_iter().chain(part.failed).min();
        }
        totals
    })
}

/// The processor time of this thread.
fn busy_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// Shrinks a failure, then prints, writes and draws what is left.
fn show(seed: u64, arguments: &Arguments) -> Result<()> {
    let Some(mut failure) = Failure::of(seed) else {
        println!("seed {seed} doesn't fail again");
        return Ok(());
    };
    let steps = failure.steps.len();
    if failure.shrink() {
        println!("seed {seed} shrank from {steps} steps to {}:\n", failure.steps.len());
        println!("{}", failure.script());
    } else {
        println!("seed {seed} doesn't shrink: its steps alone don't show that a rule is broken");
    }
    write(&arguments.script, &failure.script())?;
    write(&arguments.svg, &timeline::draw(&failure.setup, &failure.steps))?;
    println!("script: {}", arguments.script.display());
    println!("drawing: {}", arguments.svg.display());
    println!("again: --seeds 1 --seed {seed}");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

fn summary(totals: &Totals, took: Duration) -> String {
    let Figures { steps, elections, crashes, saves, failed_saves, interrupted_saves, .. } =
        totals.figures;
    let Figures { recovery, recovery_percent, comeback, succession, reunion, .. } = totals.figures;
    let seconds = took.as_secs_f64();
    // Other programs may share the cores.
    let rate = steps as f64 / totals.busy.as_secs_f64() / 1e6;
    format!(
        "{} seeds, {steps} steps in {seconds:.1} s ({rate:.2} million a second and core), \
         {elections} elections, {crashes} crashes, {saves} saves \
         ({failed_saves} failed, {interrupted_saves} cut short), worst recovery {} ms \
         ({recovery_percent} % of its limit at most), worst time without a lease {} ms after a \
         node came back with a higher term, {} ms after the leader closed, {} ms after links were \
         cut, {} violations",
        totals.seeds,
        recovery.as_millis(),
        comeback.as_millis(),
        succession.as_millis(),
        reunion.as_millis(),
        totals.violations
    )
}
