//! From a seed that breaks a rule to a few steps that break it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::judgement::Violation;
use crate::{Figures, Kind, Setup, Simulation, Step, World};

/// How many steps are tried in pairs: the number of pairs grows with the square.
const PAIRED_STEPS_MAX: usize = 100;

/// After how many steps, those of all attempts together, shrinking ends as far as it has come: more
/// would take minutes.
const REPLAYED_STEPS_MAX: u64 = 10_000_000;

/// The steps that lead a world to break a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind of world it is.
    pub kind: Kind,
    /// How it begins.
    pub setup: Setup,
    /// What happens.
    pub steps: Vec<Step>,
    /// What is wrong after these steps, or once the world has had time to recover (A1, A2).
    pub violation: Violation,
    /// How many steps have been replayed so far.
    replayed: u64,
}

/// Runs the simulation of a seed.
///
/// # Errors
///
/// The first rule that was broken. A panic breaks I7.
pub fn simulate(seed: u64) -> Result<Figures, Violation> {
    let mut simulation = None;
    run(|| simulation.insert(Simulation::new(seed, false)).run())?;
    Ok(simulation.map(|simulation| simulation.figures()).unwrap_or_default())
}

impl Failure {
    /// The failure of a seed; `None` if it breaks no rule.
    pub fn of(seed: u64) -> Option<Self> {
        let mut simulation = Simulation::new(seed, true);
        let ran = run(|| simulation.run_faults());
        let faulty_steps = simulation.recorded().len();
        let violation = ran.and_then(|()| run(|| simulation.recover())).err()?;
        let (kind, setup) = (simulation.kind(), simulation.setup().clone());
        let all = simulation.recorded().to_vec();
        let mut failure = Self { kind, setup, steps: all, violation, replayed: 0 };
        if failure.is_about_recovery() {
            // Recovery needs no steps of its own, unless it depends on the random numbers.
            let faulty = failure.steps[..faulty_steps].to_vec();
            if failure.happens_after(&faulty).is_some() {
                failure.steps = faulty;
            }
        }
        Some(failure)
    }

    /// Leaves out the steps that aren't needed to break the rule (delta debugging). Returns whether
    /// the steps break it at all: it may take a drill of the simulation to see that they do.
    pub fn shrink(&mut self) -> bool {
        if !self.keep_if_it_fails(self.steps.clone()) {
            return false;
        }
        loop {
            let before = self.steps.len();
            let mut chunk = before.div_ceil(2);
            while chunk > 0 {
                self.leave_out_chunks(chunk);
                chunk /= 2;
            }
            self.leave_out_pairs();
            if self.steps.len() == before || self.is_tired() {
                break;
            }
        }
        self.prefer_oldest_messages();
        true
    }

    /// The failure in the language of scripts.
    pub fn script(&self) -> String {
        let mut script = format!("# {}\n", self.violation);
        if self.is_about_recovery() {
            script += "# It shows when nothing more goes wrong after these steps.\n";
        }
        script += &self.setup.to_string();
        script.push('\n');
        for step in &self.steps {
            script += &format!("{step}\n");
        }
        script
    }

    fn leave_out_chunks(&mut self, chunk: usize) {
        // From the end: a step that depends on another is left out before it.
        let mut end = self.steps.len();
        while end > 0 {
            let begin = end.saturating_sub(chunk);
            let mut fewer = self.steps.clone();
            fewer.drain(begin..end);
            self.keep_if_it_fails(fewer);
            end = begin.min(self.steps.len());
        }
    }

    /// Leaves out pairs of steps that can only go together: two campaigns, say, so that the terms
    /// still match.
    fn leave_out_pairs(&mut self) {
        let mut first = 0;
        while first < self.steps.len().min(PAIRED_STEPS_MAX) {
            let before = self.steps.len();
            for second in (first + 1..before).rev() {
                let mut fewer = self.steps.clone();
                fewer.remove(second);
                fewer.remove(first);
                self.keep_if_it_fails(fewer);
                if self.steps.len() < before {
                    break;
                }
            }
            if self.steps.len() == before {
                first += 1;
            }
        }
    }

    fn prefer_oldest_messages(&mut self) {
        for index in 0..self.steps.len() {
            let mut simpler = self.steps.clone();
            if let Some(Step::Deliver(pick) | Step::Drop(pick) | Step::Duplicate(pick)) =
                simpler.get_mut(index)
                && pick.older > 0
            {
                pick.older = 0;
                self.keep_if_it_fails(simpler);
            }
        }
    }

    /// Returns whether these steps break the rule, and are kept.
    fn keep_if_it_fails(&mut self, steps: Vec<Step>) -> bool {
        let failed = if self.is_tired() { None } else { self.happens_after(&steps) };
        let fails = failed.is_some();
        if let Some((steps, violation)) = failed {
            self.steps = steps;
            self.violation = violation;
        }
        fails
    }

    fn is_tired(&self) -> bool {
        self.replayed > REPLAYED_STEPS_MAX
    }

    /// How these steps break the same rule, if they do. Those that can't happen are left out of the
    /// steps returned.
    fn happens_after(&mut self, steps: &[Step]) -> Option<(Vec<Step>, Violation)> {
        let mut happened = Vec::new();
        let mut simulation = None;
        let ran = run(|| {
            let mut world = World::new(self.setup.clone(), &mut ());
            for step in steps {
                happened.push(step.clone());
                if world.apply(step, &mut ()).is_err() {
                    happened.pop();
                }
                if let Some(violation) = world.violation() {
                    return Err(violation.clone());
                }
            }
            if self.is_about_recovery() {
                let after = Simulation::after(world, self.setup.clone(), self.kind);
                simulation.insert(after).recover()?;
            }
            Ok(())
        });
        let recovery = simulation.map_or(0, |simulation| simulation.figures().steps);
        self.replayed += happened.len() as u64 + recovery;
        let violation = ran.err().filter(|violation| violation.rule == self.violation.rule)?;
        Some((happened, violation))
    }

    /// Whether the rule is one that a cluster can break only while it recovers.
    fn is_about_recovery(&self) -> bool {
        self.violation.rule.starts_with('A')
    }
}

/// Runs what may panic.
fn run(simulation: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    catch_unwind(AssertUnwindSafe(simulation)).unwrap_or_else(|panic| {
        Err(Violation { rule: "I7", what: format!("a node panicked: {}", words(&*panic)) })
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
