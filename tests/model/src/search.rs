//! The search through all states of a cluster, and what it found.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stateright::{Checker, HasDiscoveries, Model};

use crate::model::Election;
use crate::sights::Sight;
use crate::voter::Cluster;

/// The figures of a search that went through all there is and found nothing wrong.
#[derive(Clone, Copy, Debug)]
pub struct Findings {
    /// The different states of the cluster: those that differ only by the nodes' names are one.
    pub states: usize,
    /// The steps that were taken.
    pub steps: usize,
    /// The most steps that a state is away from the start.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
}

/// Searches all that can happen in `cluster`.
///
/// # Errors
///
/// Something doesn't hold, with the steps that lead to it; something that must happen never does;
/// or the search was cut short.
pub fn search(cluster: Cluster, threads: usize) -> Result<Findings> {
    let began = Instant::now();
    let election = Election::new(cluster)?;
    println!(
        "{cluster}: one node has {} states of {} kinds; {} messages",
        election.exploration.voters.iter().map(Vec::len).max().unwrap_or(0),
        election.class_count(),
        election.exploration.messages.len(),
    );
    let builder = election.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = builder.spawn_bfs().join();
    let (states, expanded) = (checker.unique_state_count(), checker.model().expanded());
    let findings = Findings {
        states,
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
    };
    for (name, path) in checker.discoveries() {
        let mut story = String::new();
        for (number, (state, action)) in (1..).zip(path.into_vec()) {
            if let Some(action) = action {
                let _ = writeln!(story, "{number:>3}. {}", checker.model().narrate(&state, action));
            }
        }
        anyhow::bail!("{name} is violated after {states} states in {:?}\n{story}", findings.took);
    }
    ensure!(expanded == states, "cut short: {expanded} of {states} states followed up");
    let seen = checker.model().seen();
    for sight in Sight::expected(cluster) {
        ensure!(seen.has(sight), "never seen: {sight}");
    }
    Ok(findings)
}
