//! The search through all states of a cluster, and what it found.

use std::fmt::{self, Write};
use std::num::NonZeroUsize;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use stateright::{Checker, HasDiscoveries, Model};

use crate::cluster::Cluster;
use crate::coverage::Milestone;
use crate::model::Election;

/// The figures of a search that visited every state and found nothing wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// The different states of the cluster. States that nothing can tell apart are one.
    pub states: usize,
    /// The steps between them.
    pub steps: usize,
    /// How many steps lead from the start to the state that is farthest from it.
    pub depth: usize,
    /// How long the search took.
    pub took: Duration,
}

/// Searches all that can happen in `cluster`.
///
/// # Errors
///
/// An invariant doesn't hold, with the steps that lead there; or something that must happen never
/// does; or a state was left out.
pub fn search(cluster: Cluster, threads: NonZeroUsize) -> Result<Findings> {
    let began = Instant::now();
    let checker = Election::new(cluster)?
        .checker()
        .threads(threads.get())
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let election = checker.model();
    // Before a path is narrated, which follows up its states once more.
    let expanded = election.expanded();
    let findings = Findings {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        // Stateright counts the start as the first step.
        depth: checker.max_depth().saturating_sub(1),
        took: began.elapsed(),
    };
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let mut story = format!("violated: {property} (found after {findings})");
        for (number, (state, action)) in (1..).zip(path.into_vec()) {
            if let Some(action) = action {
                write!(story, "\n{number:>4}. {}", election.narrate(&state, action))?;
            }
        }
        bail!(story);
    }
    let states = findings.states;
    ensure!(expanded == states, "only {expanded} of {states} states were followed up");
    for milestone in Milestone::expected(cluster) {
        ensure!(election.coverage().has(milestone), "it never happens that {milestone}");
    }
    Ok(findings)
}

impl AddAssign for Findings {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.steps += other.steps;
        self.depth = self.depth.max(other.depth);
        self.took += other.took;
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, took } = self;
        write!(f, "{states} states, {steps} steps, depth {depth}, {:.1} s", took.as_secs_f64())
    }
}
