//! `cargo xtask bench`: measures the project beside others, and writes `BENCHMARKS.md`.

mod core;
mod failover;
mod figure16;
mod idle;
mod page;
mod plot;
mod safety;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use self::page::Page;
use crate::command::{cargo, run};
use crate::sizes;
use crate::workspace::{BENCH, target_dir};

/// What to measure, and how well.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Bench {
    /// Only this part; everything, if absent.
    part: Option<Part>,
    /// Try everything a few times, to see whether it works, and print the page's sections instead
    /// of writing them.
    #[arg(long)]
    quick: bool,
}

/// A section of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The core beside other libraries.
    Core,
    /// The elections of the Raft paper.
    Figure16,
    /// What safety costs.
    Safety,
    /// Until another is at work.
    Failover,
    /// What programs take while nothing happens.
    Idle,
    /// What the election takes of a microcontroller.
    Sizes,
}

impl Bench {
    /// Measures, and writes what came of it.
    ///
    /// # Errors
    ///
    /// Something can't be installed, built or run.
    pub(crate) fn run(self) -> Result<()> {
        // The sections of a whole page are in their order.
        let mut page = if self.part.is_some() { Page::read()? } else { Page::default() };
        for part in Part::value_variants() {
            if self.part.is_some_and(|only| only != *part) {
                continue;
            }
            let (name, began) = (part.name()?, Instant::now());
            let section = part.measure(self.quick).with_context(|| format!("bench {name}"))?;
            eprintln!("{name}: {:.0} s", began.elapsed().as_secs_f64());
            if self.quick {
                println!("{section}");
            } else {
                page.put(&name, &section)?;
                page.write()?;
            }
        }
        Ok(())
    }
}

impl Part {
    fn name(self) -> Result<String> {
        let value = self.to_possible_value().context("a part has a name")?;
        Ok(value.get_name().to_owned())
    }

    /// What is measured, as a section of the page, without its heading.
    fn measure(self, quick: bool) -> Result<String> {
        match self {
            Self::Core => core::measure(quick),
            Self::Figure16 => figure16::measure(quick),
            Self::Safety => safety::measure(quick),
            Self::Failover => failover::measure(quick),
            Self::Idle => idle::measure(quick),
            Self::Sizes => sizes::section(),
        }
    }
}

/// The program that has the other libraries in it.
///
/// # Errors
///
/// It can't be built.
fn peers() -> Result<PathBuf> {
    let target = target_dir()?.join("bench");
    let mut build = cargo(["build", "--quiet", "--release", "--locked", "--manifest-path", BENCH])?;
    build.arg("--target-dir").arg(&target);
    run(build)?;
    Ok(target.join("release/bench"))
}
