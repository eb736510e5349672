//! What each step towards safety costs: in time, in messages and bytes, and on the disk.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use graft_election::{NodeId, VoteFile, VoteRecord, VoteStore};
use graft_election_costs::cluster::{Safety, Traffic, Wire};
use graft_election_costs::scene::{BOARD, election, round, traffic};
use serde::Serialize;

use crate::meter::{Contestant, Cost, Play, measure};
use crate::{ELECTION, ROUND};

/// The steps, each with all before it.
const STEPS: [(&str, Safety); 4] = [
    ("plain", Safety::Plain),
    ("lease", Safety::Lease),
    ("list", Safety::List),
    ("key", Safety::Key),
];

/// How many voters there are.
const VOTERS: usize = 3;

/// All that is measured.
#[derive(Serialize)]
pub struct Costs {
    costs: Vec<Cost>,
    /// For each step, what is said in an election and in a round, and its bytes.
    said: Vec<[(usize, usize); 2]>,
    /// How long it takes to store a vote, in microseconds, and without waiting for the disk.
    durable: Vec<f64>,
    hasty: Vec<f64>,
}

/// Measures all of it.
///
/// # Errors
///
/// A file can't be written.
pub fn costs(batches: u64, folder: &Path) -> Result<Costs> {
    let contestants: Vec<Contestant> =
        STEPS.into_iter().flat_map(|(step, safety)| contestants(step, safety)).collect();
    let pair = |said: Traffic| (said.said, said.bytes);
    let said = STEPS.map(|(_, safety)| traffic::<BOARD>(VOTERS, safety).map(pair)).to_vec();
    let [durable, hasty] = saves(batches, folder)?;
    Ok(Costs { costs: measure(&contestants, batches), said, durable, hasty })
}

fn contestants(step: &'static str, safety: Safety) -> [Contestant; 2] {
    let contestant = |scene, prepare: Box<dyn Fn(u64) -> Play>| Contestant {
        library: step,
        scene,
        voters: VOTERS,
        prepare,
        messages: None,
    };
    let elect = move |seed| election::<BOARD>(VOTERS, safety, Wire::Bytes, seed);
    let keep = move |seed| round::<BOARD>(VOTERS, safety, Wire::Bytes, seed);
    [contestant(ELECTION, Box::new(elect)), contestant(ROUND, Box::new(keep))]
}

/// How long it takes to store a vote: as the vote file does it, which waits for the disk, and a
/// file of the same size that is replaced without waiting.
fn saves(times: u64, folder: &Path) -> Result<[Vec<f64>; 2]> {
    let place = tempfile::tempdir_in(folder)?;
    let id = NodeId::new("a")?;
    let path = place.path().join("vote");
    let mut file = VoteFile::open(&path)?;
    file.load()?;
    let (mut durable, mut hasty) = (Vec::new(), Vec::new());
    for term in 1..=times {
        let record = VoteRecord { term, ..VoteRecord::default() };
        let began = Instant::now();
        file.save(&id, &record)?;
        durable.push(began.elapsed().as_secs_f64() * 1e6);
        let content = fs::read(&path)?;
        let (new, old) = (place.path().join("new"), place.path().join("old"));
        let began = Instant::now();
        fs::write(&new, content)?;
        fs::rename(new, old)?;
        hasty.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok([durable, hasty])
}
