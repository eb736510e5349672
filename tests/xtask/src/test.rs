//! `cargo xtask test`: every check and every test, one step after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::tools::Tools;
use crate::{checks, crate_count, firmware, fuzz, planted, proofs, sizes, testers, tidy};

/// Runs all that must hold of the project, until something doesn't. What is missing is installed
/// or is an error: no step is ever skipped.
///
/// # Errors
///
/// Names the step that failed, and the command.
pub(crate) fn test() -> Result<()> {
    let mut steps = Steps::default();
    let tools = steps.run("tools", Tools::install)?;
    steps.run("formatting", checks::formatting)?;
    steps.run("house rules", tidy::tidy)?;
    steps.run("oldest compiler", checks::oldest_compiler)?;
    steps.run("dependencies", || checks::dependencies(&tools.cargo_deny))?;
    steps.run("crates to compile", crate_count::crate_count)?;
    steps.run("clippy", checks::clippy)?;
    steps.run("documentation", checks::documentation)?;
    steps.run("firmware", || firmware::check(tools.toolchain))?;
    steps.run("sizes", || sizes::check_readme(tools.toolchain))?;
    steps.run("tests", || checks::tests(&tools))?;
    steps.run("simulation", testers::simulate_some)?;
    steps.run("times", testers::check_times)?;
    steps.run("planted defects", planted::some_for_the_simulator)?;
    steps.run("tests of the wire format's features", checks::proto_features)?;
    steps.run("fuzzing", || fuzz::fuzz(fuzz::RUNS, fuzz::SEED))?;
    steps.run("model", || testers::search(false))?;
    steps.run("what must not compile", checks::compile_errors)?;
    steps.run("proof that no std is needed", proofs::no_std)?;
    steps.run("proof that nothing panics", proofs::no_panic)?;
    steps.summarize();
    Ok(())
}

/// The steps that are done, and how long each took.
#[derive(Debug, Default)]
struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    fn run<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n=== {name} ===");
        let began = Instant::now();
        let done = step().with_context(|| format!("the step \"{name}\" failed"))?;
        let took = began.elapsed();
        println!("=== {name}: {:.1} s ===", took.as_secs_f64());
        self.0.push((name, took));
        Ok(done)
    }

    fn summarize(&self) {
        println!("\nEverything holds:");
        for (name, took) in &self.0 {
            println!("{:>8.1} s  {name}", took.as_secs_f64());
        }
        let total: Duration = self.0.iter().map(|(_, took)| took).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
    }
}
