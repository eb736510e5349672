//! The core beside other libraries, and how all of them grow with the voters.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::peers;
use super::plot::{Plot, Scale, Series};
use super::table::{Aims, Table, short};
use crate::command::{command, text};
use crate::workspace::{BENCH, root};

/// Where the drawing of the growth is.
const GROWTH: &str = "docs/pictures/growth.svg";

/// How many batches are measured of everything.
const BATCHES: &str = "40";
const QUICK_BATCHES: &str = "3";

/// The contestants, as the program names them.
const SERVER: &str = "graft, room for 64";
const BOARD: &str = "graft, room for 7";
const PACKAGES: [&str; 3] = ["raft", "omnipaxos", "openraft"];
const LIBRARIES: [&str; 5] = [BOARD, SERVER, "raft-rs", "OmniPaxos", "openraft"];

/// What they do, and what that is called in tables.
const SCENES: [(&str, &str); 5] = [
    ("heartbeat", "a follower takes a heartbeat and answers"),
    ("heartbeat-bytes", "the same, from bytes to bytes"),
    ("acknowledgement", "a leader takes an answer"),
    ("round", "a round of heartbeats, all answers included"),
    ("election", "an election"),
];

/// What something takes, as the program prints it.
#[derive(Debug, Deserialize)]
struct Cost {
    library: String,
    scene: String,
    voters: usize,
    median: f64,
    low: f64,
    high: f64,
    allocations: f64,
    messages: Option<usize>,
}

struct Costs(Vec<Cost>);

/// Which versions of the others were built.
#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// Measures all, and draws how it grows.
///
/// # Errors
///
/// The program can't be built or run.
pub(super) fn measure(quick: bool) -> Result<String> {
    let mut bench = command(peers()?)?;
    bench.args(["core", "--batches", if quick { QUICK_BATCHES } else { BATCHES }]);
    let costs = Costs(serde_json::from_str(&text(bench)?)?);
    if !quick {
        fs::write(root()?.join(GROWTH), costs.drawing())?;
    }
    costs.section()
}

/// The others' packages, with their versions.
fn versions() -> Result<String> {
    let path = root()?.join(BENCH).with_file_name("Cargo.lock");
    let lock: Lock = toml::from_str(&fs::read_to_string(path)?)?;
    let is_peer = |package: &&Package| PACKAGES.contains(&package.name.as_str());
    let peers = lock.package.iter().filter(is_peer);
    let shown: Vec<String> = peers.map(|it| format!("{} {}", it.name, it.version)).collect();
    Ok(shown.join(", "))
}

impl Costs {
    fn of(&self, library: &str, scene: &str, voters: usize) -> Option<&Cost> {
        self.0.iter().find(|cost| {
            (cost.library.as_str(), cost.scene.as_str(), cost.voters) == (library, scene, voters)
        })
    }

    fn median(&self, library: &str, scene: &str, voters: usize) -> Result<f64> {
        let cost = self.of(library, scene, voters);
        Ok(cost.with_context(|| format!("{library} has no {scene} of {voters}"))?.median)
    }

    fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.0.iter().map(|cost| cost.voters).collect();
        sizes.dedup();
        sizes
    }

    fn section(&self) -> Result<String> {
        Ok(format!(
            "The core beside other libraries\n\
             Nanoseconds of one thread's processor time: medians of batches in which all take \
             turns, and the 10th\nand the 90th percentile. All clusters are in memory, nothing is \
             stored, and every message arrives at\nonce. raft-rs has pre-votes and the quorum \
             check. OmniPaxos' nodes all ask each other at each timeout,\nso that its round is \
             that. openraft's nodes are tasks of tokio on one thread, and its election \
             includes\nthe log entry with the voters. These libraries replicate a log, too, \
             which is part of what they cost;\nthe core does nothing but elect. A node with room \
             for 64 voters is that of a server whose\ncluster has more than 7. Here are \
             {}.\n\n{}\n{}\n{}\n{}",
            versions()?,
            self.comparison()?,
            self.growth(),
            self.messages(),
            self.aims()?,
        ))
    }

    /// Three voters: ratios first, then times and allocations.
    fn comparison(&self) -> Result<String> {
        let mut heads = vec!["3 voters: times as long as on a board".to_owned()];
        heads.extend(LIBRARIES.map(str::to_owned));
        let mut ratios = Table::new(&heads);
        let mut details = Table::new(&["", "library", "ns", "10 % – 90 %", "allocations"]);
        for (scene, what) in SCENES {
            let least = self.median(BOARD, scene, 3)?;
            let mut cells = vec![what.to_owned()];
            for library in LIBRARIES {
                let cost = self.of(library, scene, 3);
                cells.push(cost.map_or("–".to_owned(), |cost| short(cost.median / least)));
                let Some(cost) = cost else { continue };
                details.row(&[
                    what.to_owned(),
                    library.to_owned(),
                    short(cost.median),
                    format!("{} – {}", short(cost.low), short(cost.high)),
                    short(cost.allocations),
                ]);
            }
            ratios.row(&cells);
        }
        Ok(format!("{}\n{}", ratios.finish(), details.finish()))
    }

    /// How an election and an acknowledgement grow with the voters.
    fn growth(&self) -> String {
        let mut text = format!(
            "![Nanoseconds of an election and of an acknowledgement, by the number of \
             voters.]({GROWTH})\n\n"
        );
        for (scene, what) in [SCENES[4], SCENES[2]] {
            let mut heads = vec![format!("{what}, ns: voters")];
            heads.extend(LIBRARIES.map(str::to_owned));
            let mut table = Table::new(&heads);
            for voters in self.sizes() {
                let mut cells = vec![voters.to_string()];
                cells.extend(LIBRARIES.map(|library| {
                    let cost = self.of(library, scene, voters);
                    cost.map_or("–".to_owned(), |cost| short(cost.median))
                }));
                table.row(&cells);
            }
            text += &format!("{}\n", table.finish());
        }
        text
    }

    /// How many messages an election takes.
    fn messages(&self) -> String {
        let mut heads = vec!["messages that are heard in an election: voters".to_owned()];
        let libraries = &LIBRARIES[1..];
        heads.extend(libraries.iter().map(|library| (*library).to_owned()));
        let mut table = Table::new(&heads);
        for voters in self.sizes() {
            let mut cells = vec![voters.to_string()];
            for library in libraries {
                let cost = self.of(library, "election", voters);
                let messages = cost.and_then(|cost| cost.messages);
                cells.push(messages.map_or("–".to_owned(), |messages| short(messages as f64)));
            }
            table.row(&cells);
        }
        table.finish()
    }

    fn aims(&self) -> Result<String> {
        let mut aims = Aims::new();
        let median = |library, scene, voters| self.median(library, scene, voters);
        aims.at_most("a heartbeat", median(BOARD, "heartbeat", 3)?, 50.0, "ns");
        let bytes = median(BOARD, "heartbeat-bytes", 3)?;
        aims.at_most("a heartbeat, from bytes to bytes", bytes, 120.0, "ns");
        aims.at_most("an election of 3", median(BOARD, "election", 3)?, 800.0, "ns");
        let answer = median(SERVER, "acknowledgement", 64)?;
        aims.at_most("an answer to the leader among 64", answer, 100.0, "ns");
        let per_voter = |voters: usize| {
            let cost = self.of(SERVER, "election", voters);
            let messages = cost.and_then(|cost| cost.messages).unwrap_or(usize::MAX);
            messages as f64 / (voters - 1) as f64
        };
        aims.at_most("messages of an election, for each other voter", per_voter(64), 6.0, "");
        let own = self.0.iter().filter(|cost| cost.library.starts_with("graft"));
        let allocations = own.map(|cost| cost.allocations).fold(0.0, f64::max);
        aims.at_most("allocations of the core", allocations, 0.0, "");
        Ok(aims.finish())
    }

    fn drawing(&self) -> String {
        let series = |scene: &str, colour: usize, is_dashed| {
            let library = LIBRARIES[colour];
            let points = self.0.iter().filter(|it| it.library == library && it.scene == scene);
            let points = points.map(|cost| (cost.voters as f64, cost.median)).collect();
            let name = format!("{scene}: {}", library.split(',').next().unwrap_or(library));
            Series { name, colour, points, is_dashed }
        };
        let elections = (1..LIBRARIES.len()).map(|library| series("election", library, false));
        let answers = (1..3).map(|library| series("acknowledgement", library, true));
        Plot {
            title: "What grows with the voters",
            x: ("voters", Scale::Logarithmic(3.0, 64.0)),
            y: ("nanoseconds", Scale::Logarithmic(10.0, 100_000_000.0)),
            series: elections.chain(answers).collect(),
        }
        .draw()
    }
}
