//! How long clusters have no leader, measured in scenes that are each played with many seeds.
//!
//! [`Times`] are displayed as the table in the project's `docs/times.md`.

mod sample;
mod scene;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use graft_election_core::Mode;

use crate::judgement::Violation;
use sample::Sample;
use scene::Scene;

/// The first line of the table.
const HEAD: &str = "| | nodes | Extended: median | 95 % | 99 % | worst \
                    | Graft: median | 95 % | 99 % | worst |";

/// The times of all scenes.
#[derive(Clone, Debug)]
pub struct Times(Vec<Row>);

/// The times of one scene in clusters of one size.
#[derive(Clone, Debug)]
struct Row {
    scene: Scene,
    size: usize,
    extended: Sample,
    /// Absent if the scene can't happen in Graft mode.
    graft: Option<Sample>,
}

/// A scene that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{scene}\", {size} nodes in {mode:?} mode, seed {seed}: {violation}")]
pub struct SceneFailed {
    scene: Scene,
    size: usize,
    mode: Mode,
    seed: u64,
    violation: Violation,
}

impl Times {
    /// Plays each scene `runs` times, with the seeds from 0 on, on this many threads.
    ///
    /// # Errors
    ///
    /// A scene in which a rule was broken, or nobody led for too long.
    pub fn measure(runs: u64, threads: usize) -> Result<Self, SceneFailed> {
        let of_all_sizes = |(scene, sizes): &(Scene, &'static [usize])| {
            let scene = *scene;
            sizes.iter().map(move |size| (scene, *size))
        };
        let rows: Vec<_> = Scene::ALL.iter().flat_map(of_all_sizes).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut measured = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((scene, size)) = rows.get(index) else { return Ok(measured) };
                measured.push((index, Row::measure(*scene, *size, runs)?));
            }
        };
        let mut measured = Vec::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                measured.extend(worker.join().expect("a scene doesn't panic")?);
            }
            Ok(())
        })?;
        measured.sort_by_key(|(index, _)| *index);
        Ok(Self(measured.into_iter().map(|(_, row)| row).collect()))
    }

    /// The rows that `document` lacks, or whose medians or 95th percentiles there can't be those of
    /// these times. Chance alone would make that seem so for one table in a thousand.
    pub fn contradictions(&self, document: &str) -> Vec<String> {
        let is_contradicted = |row: &&Row| {
            let cells = document.lines().find_map(|line| line.strip_prefix(&row.head()));
            !cells.is_some_and(|cells| row.agrees(cells))
        };
        self.0.iter().filter(is_contradicted).map(Row::to_string).collect()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl Row {
    fn measure(scene: Scene, size: usize, runs: u64) -> Result<Self, SceneFailed> {
        let sample = |mode| {
            let play = |seed| {
                let failed = |violation| SceneFailed { scene, size, mode, seed, violation };
                scene.play(size, mode, seed).map_err(failed)
            };
            (0..runs).map(play).collect::<Result<Sample, _>>()
        };
        let graft = scene.happens_in(Mode::Graft).then(|| sample(Mode::Graft)).transpose()?;
        Ok(Self { scene, size, extended: sample(Mode::Extended)?, graft })
    }

    /// The beginning of its line.
    fn head(&self) -> String {
        format!("| {} | {} |", self.scene, self.size)
    }

    /// Whether the other cells of its line agree with its times.
    fn agrees(&self, cells: &str) -> bool {
        let numbers: Vec<f64> =
            cells.split('|').map_while(|cell| cell.trim().parse().ok()).collect();
        match (&self.graft, &numbers[..]) {
            (None, extended @ [_, _, _, _]) => self.extended.agrees(extended),
            (Some(graft), [extended @ .., _, _, _, _]) if extended.len() == 4 => {
                self.extended.agrees(extended) && graft.agrees(&numbers[4..])
            }
            _ => false,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} |", self.head(), self.extended)?;
        match &self.graft {
            Some(graft) => write!(f, " {graft} |"),
            None => f.write_str(" – | – | – | – |"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_with_other_times_is_contradicted() {
        let times = Times::measure(20, 2).unwrap();
        let table = times.to_string();
        assert_eq!(times.contradictions(&table), Vec::<String>::new());

        let row = times.0.iter().find(|row| row.scene == Scene::LeaderCrashes).unwrap();
        let line = row.to_string();
        let slower = line.replacen("| 0.", "| 1.", 1);
        assert_ne!(slower, line);
        for changed in [slower.as_str(), ""] {
            assert_eq!(*times.contradictions(&table.replace(&line, changed)), [line.as_str()]);
        }
    }

    #[test]
    fn the_same_seeds_take_the_same_times() {
        let play = || Row::measure(Scene::RollingRestart, 3, 5).unwrap().to_string();
        assert_eq!(play(), play());
    }
}
