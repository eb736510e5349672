//! Steps, and what each of them costs.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// Where the times of ended children are, in `/proc/self/stat`, counted from the field that follows
/// the program's name: in user mode, and in the kernel.
const CHILDREN_TIMES: std::ops::Range<usize> = 13..15;

/// The steps that are done, in their order.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

/// A step that is done.
#[derive(Debug)]
struct Step {
    name: &'static str,
    cost: Cost,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    wall: Duration,
    /// Of all processors together. A step that is given all of an idle machine needs at least this
    /// time over the number of its processors.
    processor: Duration,
}

impl Steps {
    /// Does one step, between two lines with its name.
    ///
    /// # Errors
    ///
    /// Names the step that failed.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        println!("\n=== {name} ===");
        let (began, used) = (Instant::now(), children_time()?);
        let done = step().with_context(|| format!("the step \"{name}\" failed"))?;
        let processor = children_time()?.saturating_sub(used);
        let cost = Cost { wall: began.elapsed(), processor };
        println!("=== {name}: {} ===", cost.text().trim_start());
        self.0.push(Step { name, cost });
        Ok(done)
    }

    /// Prints what each step took, and all together.
    pub(crate) fn summarize(&self) {
        println!("\nEverything holds:");
        let mut total = Cost::default();
        for Step { name, cost } in &self.0 {
            println!("{}  {name}", cost.text());
            total.wall += cost.wall;
            total.processor += cost.processor;
        }
        println!("{}  in all", total.text());
    }
}

impl Cost {
    fn text(self) -> String {
        let Self { wall, processor } = self;
        format!(
            "{:>7.1} s, {:>7.1} s of processor time",
            wall.as_secs_f64(),
            processor.as_secs_f64()
        )
    }
}

/// The processor time of all programs that this one has run, and of those that they have.
fn children_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks = children_ticks(&stat).context("/proc/self/stat has another form")?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

fn children_ticks(stat: &str) -> Option<u64> {
    // A program's name may have spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    fields.get(CHILDREN_TIMES)?.iter().map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_found_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 200 0 0 11 12 130 14 20 0 1 0 500 0 0";
        assert_eq!(children_ticks(stat), Some(144));
        assert_eq!(children_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_step_says_what_it_returns() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("adding", || Ok(1 + 1)).unwrap(), 2);
        let failed = steps.run("failing", || -> Result<()> { anyhow::bail!("no") });
        assert_eq!(failed.unwrap_err().to_string(), "the step \"failing\" failed");
        assert_eq!(steps.0.len(), 1);
    }
}
