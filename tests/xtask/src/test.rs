//! `cargo xtask test`: every check and every test, one step after the other.

use anyhow::Result;

use crate::steps::Steps;
use crate::testers::Model;
use crate::tools::Tools;
use crate::{
    checks, costs, crate_count, firmware, fuzz, planted, proofs, sizes, soak, testers, tidy,
};

/// Runs all that must hold of the project, until something doesn't. What is missing is installed
/// or is an error: no step is ever skipped.
///
/// # Errors
///
/// Names the step that failed, and the command.
pub(crate) fn test() -> Result<()> {
    let mut steps = Steps::default();
    let tools = Tools::install(&mut steps)?;
    steps.run("formatting", checks::formatting)?;
    steps.run("house rules", tidy::tidy)?;
    steps.run("oldest compiler", checks::oldest_compiler)?;
    steps.run("dependencies", || checks::dependencies(&tools.cargo_deny))?;
    steps.run("crates to compile", crate_count::crate_count)?;
    steps.run("clippy", checks::clippy)?;
    steps.run("documentation", checks::documentation)?;
    steps.run("firmware", || firmware::check(tools.toolchain))?;
    steps.run("sizes", || sizes::check_readme(tools.toolchain))?;
    steps.run("building the tests", checks::build_tests)?;
    steps.run("tests", || checks::tests(&tools))?;
    steps.run("soak", || soak::soak(&tools.nats_server, soak::MINUTES, 1))?;
    steps.run("costs", || costs::costs(false))?;
    steps.run("simulation", testers::simulate_some)?;
    steps.run("times", testers::check_times)?;
    steps.run("planted defects", planted::some_for_the_simulator)?;
    steps.run("fuzzing", || fuzz::fuzz(&tools.cargo_fuzz, fuzz::RUNS, fuzz::SEED))?;
    let quick = Model { quick: true, ..Model::default() };
    steps.run("model", || testers::search(quick))?;
    let voters = Model { voters: true, ..quick };
    steps.run("model of voters that change", || testers::search(voters))?;
    steps.run("proof that no std is needed", proofs::no_std)?;
    steps.run("proof that nothing panics", proofs::no_panic)?;
    steps.summarize();
    Ok(())
}
