//! Clusters whose voters change while they run: rules R1 to R12, without the core.

mod narration;
mod rules;
mod world;

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use stateright::{Checker, HasDiscoveries, Model, Property};

pub use self::rules::Omission;
use self::rules::{Action, Broken, Rules};
use self::world::World;
use crate::search::Findings;

/// The clusters that are searched whenever everything is tested.
pub const QUICK_RENEWALS: &[Renewal] = &[
    Renewal::new(3, 3, 2, 2).with_promises(2),
    Renewal::new(4, 3, 2, 1).with_promises(1),
    Renewal::new(4, 3, 3, 1),
    Renewal::new(3, 1, 3, 2).with_promises(1),
];

/// The clusters that are searched after them.
pub const RENEWALS: &[Renewal] =
    &[Renewal::new(4, 3, 2, 2).with_promises(1), Renewal::new(4, 3, 2, 1).with_promises(2)];

/// The large clusters, which are searched on demand.
pub const LARGE_RENEWALS: &[Renewal] = &[
    Renewal::new(5, 3, 2, 2),
    Renewal::new(4, 3, 3, 2),
    Renewal::new(5, 3, 2, 1).with_promises(1),
    Renewal::new(4, 3, 3, 1).with_promises(1),
];

/// For each rule that safety rests on, a cluster in which it shows if the rule is left out.
pub const OMISSIONS: &[Renewal] = &[
    Renewal::new(3, 3, 2, 2).with_promises(1).without(Omission::Commit),
    Renewal::new(4, 4, 3, 2).without(Omission::Seal),
    Renewal::new(4, 3, 2, 2).with_promises(1).without(Omission::SealCommit),
    Renewal::new(3, 3, 2, 1).with_promises(1).without(Omission::OneVoter),
    Renewal::new(4, 3, 2, 1).with_promises(1).without(Omission::Compare),
    Renewal::new(4, 3, 2, 2).with_promises(1).without(Omission::LeaseList),
    Renewal::new(4, 3, 2, 2).with_promises(2).without(Omission::CarryOver),
    Renewal::new(3, 3, 2, 2).with_promises(1).without(Omission::Named),
    Renewal::new(4, 3, 2, 2).without(Omission::NewerList),
    Renewal::new(4, 3, 2, 2).with_promises(1).without(Omission::LostRecord),
];

/// What must happen somewhere, or the search proves nothing.
const COMMITTED: &str = "the voters change as often as they may, the last time in the last term";

/// A cluster whose voters change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// How many servers there are, voters or not.
    pub servers: usize,
    /// How many of them are voters at first.
    pub voters: usize,
    /// The highest term.
    pub term_max: u8,
    /// How often the voters change at most.
    pub changes_max: u8,
    /// For how many steps of time an acknowledgement holds at most; 0, if leases are left out.
    pub promise_max: u8,
    /// The rule that is broken, if one is.
    pub omission: Option<Omission>,
}

/// The cluster as a stateright model.
#[derive(Clone, Copy, Debug)]
struct Lists {
    start: World,
    rules: Rules,
}

/// A state, and what was broken on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judged {
    world: World,
    broken: Option<Broken>,
}

impl Renewal {
    /// Servers that keep all rules, without leases.
    pub const fn new(servers: usize, voters: usize, term_max: u8, changes_max: u8) -> Self {
        Self { servers, voters, term_max, changes_max, promise_max: 0, omission: None }
    }

    /// The same with leases.
    const fn with_promises(self, promise_max: u8) -> Self {
        Self { promise_max, ..self }
    }

    /// The same, but the servers break a rule.
    const fn without(self, omission: Omission) -> Self {
        Self { omission: Some(omission), ..self }
    }

    /// Searches all that can happen.
    ///
    /// # Errors
    ///
    /// An invariant doesn't hold, with the steps that lead there; or the voters don't change as
    /// often as they may.
    pub fn search(self, threads: NonZeroUsize) -> Result<Findings> {
        let began = Instant::now();
        let Self { servers, voters, term_max, changes_max, promise_max, omission } = self;
        let rules = Rules { term_max, changes_max, promise_max, omission };
        let lists = Lists { start: World::new(servers, voters), rules };
        let checker = lists
            .checker()
            .threads(threads.get())
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let findings = Findings {
            states: checker.unique_state_count(),
            steps: checker.state_count(),
            // Stateright counts the start as the first step.
            depth: checker.max_depth().saturating_sub(1),
            took: began.elapsed(),
        };
        let mut discoveries = checker.discoveries();
        if let Some(path) = discoveries.remove(Broken::PROPERTY) {
            let broken = path.last_state().broken;
            let broken = broken.map_or_else(String::new, |broken| broken.to_string());
            let mut story = format!("violated: {broken} (found after {findings})");
            for (number, (state, action)) in (0..).zip(path.into_vec()) {
                write!(story, "\n{number:>4}. {}", state.world)?;
                if let Some(action) = action {
                    write!(story, "\n      {action}")?;
                }
            }
            bail!(story);
        }
        ensure!(discoveries.contains_key(COMMITTED), "it never happens that {COMMITTED}");
        Ok(findings)
    }
}

impl Model for Lists {
    type State = Judged;
    type Action = Action;

    fn init_states(&self) -> Vec<Judged> {
        vec![Judged { world: self.start, broken: None }]
    }

    fn actions(&self, state: &Judged, actions: &mut Vec<Action>) {
        *actions = self.rules.actions(&state.world);
    }

    fn next_state(&self, state: &Judged, action: Action) -> Option<Judged> {
        let world = self.rules.take(&state.world, action)?;
        Some(Judged { world, broken: Rules::broken_by(&state.world, action, &world) })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Broken::PROPERTY, |_, state: &Judged| state.broken.is_none()),
            Property::sometimes(COMMITTED, |lists: &Self, state: &Judged| {
                let Rules { term_max, changes_max, .. } = lists.rules;
                state.world.committed.term() == term_max && state.world.changes == changes_max
            }),
        ]
    }
}

impl Hash for Judged {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.world.hash(hasher);
        self.broken.map(|broken| broken as u8).hash(hasher);
    }
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, voters, term_max, changes_max, promise_max, .. } = self;
        let voters_word = if *voters == 1 { "voter" } else { "voters" };
        write!(f, "{voters} {voters_word} of {servers} servers, terms 0 to {term_max}, ")?;
        let changes = if *changes_max == 1 { "change" } else { "changes" };
        write!(f, "{changes_max} {changes}, ")?;
        match promise_max {
            0 => f.write_str("no leases"),
            1 => f.write_str("promises of 1 step"),
            _ => write!(f, "promises of up to {promise_max} steps"),
        }?;
        match self.omission {
            Some(omission) => write!(f, ", without {omission}"),
            None => Ok(()),
        }
    }
}
