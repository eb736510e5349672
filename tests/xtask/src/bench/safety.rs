//! What each step towards safety costs.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::peers;
use super::table::{Table, share, short};
use crate::command::{command, text};
use crate::workspace::target_dir;

/// How many batches are measured of everything.
const BATCHES: &str = "40";
const QUICK_BATCHES: &str = "3";

/// The steps, as the program names them, and what each adds.
const STEPS: [(&str, &str); 4] = [
    ("plain", "plain Raft (Graft mode)"),
    ("lease", "pre-votes, acknowledgements and the lease (Extended mode)"),
    ("list", "and a declared list of voters"),
    ("key", "and a cluster's key, which seals each message"),
];

#[derive(Debug, Deserialize)]
struct Costs {
    costs: Vec<Cost>,
    said: Vec<[(usize, usize); 2]>,
    durable: Vec<f64>,
    hasty: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Cost {
    library: String,
    scene: String,
    median: f64,
}

/// Measures all steps.
///
/// # Errors
///
/// The program can't be built or run.
pub(super) fn measure(quick: bool) -> Result<String> {
    let mut bench = command(peers()?)?;
    bench.args(["safety", "--batches", if quick { QUICK_BATCHES } else { BATCHES }]);
    bench.arg("--folder").arg(target_dir()?);
    let costs: Costs = serde_json::from_str(&text(bench)?)?;
    section(costs)
}

fn section(costs: Costs) -> Result<String> {
    let median = |step: &str, scene: &str| {
        let cost = costs.costs.iter().find(|it| it.library == step && it.scene == scene);
        Ok::<f64, anyhow::Error>(cost.with_context(|| format!("no {scene} of {step}"))?.median)
    };
    let mut sections = String::new();
    for (index, scene) in ["election", "round"].into_iter().enumerate() {
        let what = if index == 0 { "an election" } else { "a round of heartbeats" };
        let mut table = Table::new(&[
            &format!("{what} of 3, from bytes to bytes"),
            "times as long as plain",
            "ns",
            "messages said",
            "bytes said",
        ]);
        let plain = median(STEPS[0].0, scene)?;
        for ((step, title), said) in STEPS.into_iter().zip(&costs.said) {
            let (took, (messages, bytes)) = (median(step, scene)?, said[index]);
            table.row(&[
                title.to_owned(),
                short(took / plain),
                short(took),
                messages.to_string(),
                bytes.to_string(),
            ]);
        }
        sections += &format!("{}\n", table.finish());
    }
    let [durable, hasty] = [costs.durable, costs.hasty].map(|mut times| {
        times.sort_by(f64::total_cmp);
        times
    });
    let ratio = share(&durable, 0.5) / share(&hasty, 0.5);
    let mut table = Table::new(&["a vote is stored", "times as long", "median µs", "95 %"]);
    for (what, ratio, times) in [
        ("and nobody waits for the disk", 1.0, &hasty),
        ("durably, as the vote file does it", ratio, &durable),
    ] {
        let [median, most] = [0.5, 0.95].map(|part| short(share(times, part)));
        table.row(&[what.to_owned(), short(ratio), median, most]);
    }
    Ok(format!(
        "What safety costs\n\
         Each step has all that the one before has. A message for everyone counts once; ids have \
         two bytes.\nAll three nodes' work is counted, in one thread. A vote is stored once in an \
         election by each voter,\nand twice by nobody.\n\n{sections}{}",
        table.finish()
    ))
}
