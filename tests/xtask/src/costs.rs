//! `cargo xtask costs`: how many instructions, messages and bytes the core takes, compared with
//! those that were counted before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::command::{cargo, command, output, run, succeeds, text};
use crate::tools;
use crate::workspace::{root, target_dir};

/// Where the figures are.
const FIGURES: &str = "tests/costs/costs.toml";

/// What the file begins with.
const HEAD: &str = "\
# What the core and the wire format take. Made by `cargo xtask costs --write`, which counts:
# instructions of x86-64 under callgrind, and what is said and heard in an election and in a round
# of heartbeats, and its bytes.
";

/// By how much more instructions it may take: the addresses of things differ, for one.
const PERCENT: u64 = 2;

/// The same, if another compiler built it.
const PERCENT_OF_OTHERS: u64 = 15;

/// The figures of the core.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Costs {
    /// What built it when they were counted.
    compiler: String,
    /// For each scene, once.
    instructions: BTreeMap<String, u64>,
    /// For each cluster: messages said, messages heard, bytes said.
    traffic: BTreeMap<String, [u64; 3]>,
}

/// Counts, and compares; with `write` the file has the new figures afterwards.
///
/// # Errors
///
/// Shows what takes more than it did, or says otherwise.
pub(crate) fn costs(write: bool) -> Result<()> {
    tools::valgrind()?;
    let counted = Costs::count()?;
    let path = root()?.join(FIGURES);
    if write {
        fs::write(path, counted.text())?;
        println!("wrote {FIGURES}");
        return Ok(());
    }
    let written = fs::read_to_string(path).with_context(|| format!("can't read {FIGURES}"))?;
    let written: Costs = toml::from_str(&written).with_context(|| FIGURES.to_owned())?;
    let complaints = counted.compare(&written);
    ensure!(
        complaints.is_empty(),
        "the core takes other than {FIGURES} says:\n{}\n\
         if that is as it should be, `cargo xtask costs --write` updates it",
        complaints.join("\n")
    );
    println!("the core takes what {FIGURES} says");
    Ok(())
}

impl Costs {
    fn count() -> Result<Self> {
        let package = ["--quiet", "--release", "--locked", "--package", "graft-election-costs"];
        run(cargo(["build"].into_iter().chain(package))?)?;
        let program = target_dir()?.join("release/graft-election-costs");
        let ask = |arguments: &[&str]| {
            let mut program = command(&program)?;
            program.args(arguments);
            text(program)
        };
        let mut instructions = BTreeMap::new();
        for scene in ask(&["scenes"])?.lines() {
            instructions.insert(scene.to_owned(), count_instructions(&program, scene)?);
        }
        let mut traffic = BTreeMap::new();
        for line in ask(&["traffic"])?.lines() {
            let (name, numbers) = line.split_once(' ').context("a line has a name")?;
            let numbers: Vec<u64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let numbers = numbers.try_into().ok().context("there are three numbers")?;
            traffic.insert(name.to_owned(), numbers);
        }
        let mut rustc = command("rustc")?;
        rustc.arg("--version");
        Ok(Self { compiler: text(rustc)?.trim().to_owned(), instructions, traffic })
    }

    /// What these figures have against those that were written.
    fn compare(&self, written: &Self) -> Vec<String> {
        let is_same = self.compiler == written.compiler;
        let percent = if is_same { PERCENT } else { PERCENT_OF_OTHERS };
        let mut complaints = Vec::new();
        for (scene, now) in &self.instructions {
            match written.instructions.get(scene) {
                Some(before) if *now * 100 > before * (100 + percent) => complaints.push(format!(
                    "{scene}: {now} instructions, more than {before} by {percent} %"
                )),
                // Or the next loss would hide in what is gained now.
                Some(before) if is_same && *now * (100 + percent) < before * 100 => complaints
                    .push(format!("{scene}: {now} instructions, no longer {before}: write it")),
                Some(_) => {}
                None => complaints.push(format!("{scene}: {now} instructions, not yet written")),
            }
        }
        for (cluster, now) in &self.traffic {
            let before = written.traffic.get(cluster);
            if before != Some(now) {
                complaints.push(format!("{cluster}: said, heard, bytes {now:?}, not {before:?}"));
            }
        }
        complaints
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}compiler = \"{}\"\n\n[instructions]\n", self.compiler);
        for (scene, count) in &self.instructions {
            text += &format!("{scene} = {count}\n");
        }
        text += "\n[traffic]\n";
        for (cluster, [said, heard, bytes]) in &self.traffic {
            text += &format!("{cluster} = [{said}, {heard}, {bytes}]\n");
        }
        text
    }
}

/// How many instructions a scene takes, on average.
fn count_instructions(program: &Path, scene: &str) -> Result<u64> {
    let mut valgrind = command("valgrind")?;
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg("--toggle-collect=graft_election_costs::measured*");
    valgrind.arg(program).args(["play", scene]);
    let output = output(valgrind)?;
    succeeds(&output)?;
    let times: u64 = str::from_utf8(&output.stdout)?.trim().parse()?;
    let report = str::from_utf8(&output.stderr)?;
    let collected = collected(report).with_context(|| format!("callgrind says\n{report}"))?;
    ensure!(collected > times, "callgrind saw nothing of the scene {scene}");
    Ok(collected / times)
}

/// The count in a line like `==7== Collected : 1234`.
fn collected(report: &str) -> Option<u64> {
    let line = report.lines().find_map(|line| line.split_once("Collected : "));
    line?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(instructions: u64, heard: u64) -> Costs {
        Costs {
            compiler: "rustc 1".to_owned(),
            instructions: [("heartbeat".to_owned(), instructions)].into(),
            traffic: [("election".to_owned(), [5, heard, 100])].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let costs = costs(100, 7);
        assert_eq!(toml::from_str::<Costs>(&costs.text()).unwrap(), costs);
    }

    #[test]
    fn more_instructions_and_other_messages_are_complained_of() {
        let before = costs(1_000, 7);
        assert!(costs(1_020, 7).compare(&before).is_empty());
        assert!(costs(981, 7).compare(&before).is_empty());
        assert_eq!(costs(1_021, 7).compare(&before).len(), 1);
        assert_eq!(costs(900, 7).compare(&before).len(), 1);
        assert_eq!(costs(1_000, 8).compare(&before).len(), 1);
        let other = Costs { compiler: "rustc 2".to_owned(), ..costs(1_150, 7) };
        assert!(other.compare(&before).is_empty());
    }

    #[test]
    fn callgrinds_count_is_found() {
        assert_eq!(collected("==7== \n==7== Collected : 1234\n"), Some(1_234));
        assert_eq!(collected("nothing"), None);
    }
}
