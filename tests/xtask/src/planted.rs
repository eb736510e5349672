//! `cargo xtask planted`: whether the tests and checkers notice defects that are put into the code
//! on purpose.

mod checker;
mod list;
mod sandbox;

use std::fmt;
use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context, Result, ensure};

use checker::{Checker, Verdict};
use list::Defect;
use sandbox::Sandbox;

/// What CI plants: a defect of each kind that the simulator looks at, and of the simulator itself.
const FOR_THE_SIMULATOR: [&str; 8] = [
    "g1-vote-forgotten",
    "g14-denial-not-heeded",
    "quorum-of-half",
    "t1-reply-before-save",
    "v8-any-message-restarts-timer",
    "h2-no-flag",
    "leases-alone-and-promise-not-looked-at",
    "no-save-and-crashes-amid-saves-only",
];

/// The defects to plant.
#[derive(Debug, clap::Args)]
pub(crate) struct Planted {
    /// Plant these alone, by name.
    names: Vec<String>,
}

impl Planted {
    /// Plants each defect in a copy of the project, and lets the checkers look for it.
    ///
    /// # Errors
    ///
    /// A checker misses a defect that it is to catch, or a defect can't be planted any more.
    pub(crate) fn run(self) -> Result<()> {
        let mut defects = list::read()?;
        for name in &self.names {
            let is_known = defects.iter().any(|defect| defect.name == *name);
            ensure!(is_known, "there is no planted defect {name}");
        }
        defects.retain(|defect| self.names.is_empty() || self.names.contains(&defect.name));
        check_all(&defects, Defect::checkers)
    }
}

/// Plants a few defects, and lets the simulator alone look for them: what CI has time for.
///
/// # Errors
///
/// As [`Planted::run`].
pub(crate) fn some_for_the_simulator() -> Result<()> {
    let mut defects = list::read()?;
    defects.retain(|defect| FOR_THE_SIMULATOR.contains(&defect.name.as_str()));
    ensure!(defects.len() == FOR_THE_SIMULATOR.len(), "a defect that CI plants is not listed");
    check_all(&defects, |_| vec![Checker::Simulator])
}

fn check_all(defects: &[Defect], checkers: impl Fn(&Defect) -> Vec<Checker>) -> Result<()> {
    let sandbox = Sandbox::new()?;
    let asked: Vec<Checker> = defects.iter().flat_map(&checkers).collect();
    let asked: Vec<Checker> = Checker::ALL.into_iter().filter(|it| asked.contains(it)).collect();
    for (checker, verdict) in verdicts(&sandbox, &asked)? {
        // Who cries wolf catches everything.
        ensure!(!verdict.is_caught(), "with nothing planted, {} says {verdict}", checker.name());
    }
    let mut figures = Figures::default();
    for defect in defects {
        let planted = sandbox.plant(defect).and_then(|()| verdicts(&sandbox, &checkers(defect)));
        let verdicts = planted.with_context(|| format!("planting {}", defect.name))?;
        println!("{}: {}", defect.name, defect.what);
        for (checker, verdict) in &verdicts {
            let is_as_expected = defect.expects(*checker, verdict);
            figures.count(is_as_expected, verdict);
            let remark = if is_as_expected { "" } else { "  <- not as the list says" };
            println!("    {:<10} {verdict}{remark}", checker.name());
        }
    }
    figures.defects = defects.len();
    println!("{figures}");
    ensure!(figures.surprises == 0, "{} verdicts are not as the list says", figures.surprises);
    Ok(())
}

/// What the checkers make of what is planted, in their order. Tests look at the same time as the
/// others, since neither keeps two processors busy by itself.
fn verdicts(sandbox: &Sandbox, checkers: &[Checker]) -> Result<Vec<(Checker, Verdict)>> {
    let check = |checkers: Vec<Checker>| -> Result<Vec<(Checker, Verdict)>> {
        checkers.into_iter().map(|it| Ok((it, it.check(sandbox)?))).collect()
    };
    let (tests, others) = checkers.iter().partition(|checker| checker.is_tests());
    thread::scope(|scope| {
        let tests = scope.spawn(|| check(tests));
        let others = check(others);
        let mut all = match tests.join() {
            Ok(verdicts) => verdicts?,
            Err(panic) => resume_unwind(panic),
        };
        all.extend(others?);
        Ok(all)
    })
}

#[derive(Debug, Default)]
struct Figures {
    defects: usize,
    caught: usize,
    missed: usize,
    surprises: usize,
}

impl Figures {
    fn count(&mut self, is_as_expected: bool, verdict: &Verdict) {
        *(if verdict.is_caught() { &mut self.caught } else { &mut self.missed }) += 1;
        self.surprises += usize::from(!is_as_expected);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { defects, caught, missed, surprises } = self;
        write!(
            f,
            "{defects} defects planted; checked {} times: {caught} caught, {missed} missed, \
             {surprises} not as the list says",
            caught + missed
        )
    }
}
