//! One round: contenders start, and the one at work is struck, again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Contender;
use crate::compare::group::Group;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked.
const STEP: Duration = Duration::from_millis(2);

/// How long all is left alone before each strike.
const CALM: Duration = Duration::from_millis(1_200);

/// How long all are down before they start again.
const DOWN: Duration = Duration::from_millis(50);

/// What the contenders run: it writes who is at work, and since when.
const JOB: &str = r#"echo "$0 $(date +%s%N)" >>acts; exec sleep 1000"#;

/// Where they write.
const ACTS: &str = "acts";

/// The times of a round, in milliseconds. What a contender doesn't tell is absent.
pub(super) struct Round {
    /// From the start of a quorum until there is a leader.
    pub(super) first: Option<f64>,
    pub(super) kill: Takeover,
    /// Absent if it doesn't end on SIGTERM.
    pub(super) close: Option<Takeover>,
    /// The same as the first, after all were killed.
    pub(super) restart: Option<f64>,
}

/// The times from a strike on.
pub(super) struct Takeover {
    /// Until the next leader has its lease.
    pub(super) leads: Option<f64>,
    /// Until one of the others knows of it.
    pub(super) first_knows: Option<f64>,
    /// Until all of them do.
    pub(super) all_know: Option<f64>,
    /// Until the next job is at work.
    pub(super) acts: Option<f64>,
}

/// What a node writes into its file.
#[derive(Clone, Debug, Deserialize)]
struct Event {
    /// In nanoseconds of the time of day.
    #[serde(deserialize_with = "nanoseconds")]
    ts: u64,
    event: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    leader: String,
}

/// Contenders in a folder of their own, which end with the value.
pub(super) struct Race<'a> {
    contender: &'a Contender,
    folder: PathBuf,
    lock: String,
    nodes: Vec<Option<Group>>,
    /// When the last of them was started, in nanoseconds of the time of day.
    started_at: u64,
}

impl<'a> Race<'a> {
    /// Starts all contenders.
    ///
    /// # Errors
    ///
    /// The program can't be started.
    pub(super) fn start(place: &Path, contender: &'a Contender, number: u32) -> Result<Self> {
        let words = contender.name.chars().filter(char::is_ascii_alphanumeric);
        let lock = format!("{}-{}-{number}", words.collect::<String>(), contender.size);
        let folder = place.join(&lock);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(ACTS), "")?;
        let nodes = (0..contender.size).map(|_| None).collect();
        let mut race = Self { contender, folder, lock, nodes, started_at: 0 };
        race.start_all()?;
        Ok(race)
    }

    /// Strikes the one at work with each signal, and then all.
    ///
    /// # Errors
    ///
    /// Nobody comes to work.
    pub(super) fn play(&mut self, later: Duration) -> Result<Round> {
        let tells = self.contender.tells;
        let first = self.first_leader()?;
        let kill = self.strike(Signal::KILL, later)?;
        let close =
            if self.contender.ends { Some(self.strike(Signal::TERM, later)?) } else { None };
        let mut restart = None;
        if tells {
            sleep(CALM + later);
            self.nodes.iter().flatten().for_each(|node| node.signal(Signal::KILL));
            self.nodes.iter_mut().for_each(|node| drop(node.take()));
            sleep(DOWN);
            self.start_all()?;
            restart = self.first_leader()?;
        }
        Ok(Round { first, kill, close, restart })
    }

    fn start_all(&mut self) -> Result<()> {
        self.started_at = time_of_day()?;
        (0..self.nodes.len()).try_for_each(|index| self.start_one(index))
    }

    fn start_one(&mut self, index: usize) -> Result<()> {
        let name = name(index);
        // What it said in an earlier life is of no interest.
        let _ = fs::remove_file(self.folder.join(format!("{name}.json")));
        let words = self.contender.words.iter();
        let mut words: Vec<String> =
            words.map(|word| word.replace("LOCK", &self.lock).replace("NAME", &name)).collect();
        words.extend(["sh", "-c", JOB, &name].map(str::to_owned));
        self.nodes[index] = Some(Group::start(&words, &self.folder, Stdio::null(), None)?);
        Ok(())
    }

    /// How long it takes from the start of a quorum until somebody leads; it is waited until all
    /// know.
    fn first_leader(&self) -> Result<Option<f64>> {
        let (since, all) = (self.started_at, 0..self.nodes.len());
        self.wait_for_act(since)?;
        if !self.contender.tells {
            return Ok(None);
        }
        self.wait_until_all_know(since, &all.clone().collect::<Vec<_>>())?;
        let mut starts: Vec<u64> = all
            .clone()
            .filter_map(|index| self.events(index, since).ok()?.first().map(|event| event.ts))
            .collect();
        starts.sort_unstable();
        let quorum_at = *starts.get(self.nodes.len() / 2).context("not all have started")?;
        let leads_at = self.first_lease(since).context("nobody says that it leads")?;
        Ok(Some(millis(quorum_at, leads_at)))
    }

    /// Strikes the one at work, waits for the next, and starts the old one again.
    fn strike(&mut self, signal: Signal, later: Duration) -> Result<Takeover> {
        sleep(CALM + later);
        let (holder, _) = self.last_act()?.context("nobody is at work")?;
        let struck_at = time_of_day()?;
        if let Some(node) = &self.nodes[holder] {
            node.signal(signal);
        }
        let acts_at = self.wait_for_act(struck_at)?;
        let since = |at: u64| Some(millis(struck_at, at));
        let mut takeover =
            Takeover { leads: None, first_knows: None, all_know: None, acts: since(acts_at) };
        if self.contender.tells {
            let others: Vec<usize> =
                (0..self.nodes.len()).filter(|index| *index != holder).collect();
            let mut known_at = self.wait_until_all_know(struck_at, &others)?;
            known_at.sort_unstable();
            takeover.leads = self.first_lease(struck_at).and_then(since);
            takeover.first_knows = known_at.first().copied().and_then(since);
            takeover.all_know = known_at.last().copied().and_then(since);
        }
        drop(self.nodes[holder].take());
        self.start_one(holder)?;
        Ok(takeover)
    }

    /// When the next job begins to act.
    fn wait_for_act(&self, since: u64) -> Result<u64> {
        wait_for("nobody comes to work", || {
            Ok(self.last_act()?.filter(|(_, at)| *at > since).map(|(_, at)| at))
        })
    }

    /// Who acts, and since when.
    fn last_act(&self) -> Result<Option<(usize, u64)>> {
        let text = fs::read_to_string(self.folder.join(ACTS))?;
        let act = text.lines().filter_map(|line| line.split_once(' ')).next_back();
        let index = |given: &str| (0..self.nodes.len()).find(|index| name(*index) == given);
        Ok(act.and_then(|(name, at)| Some((index(name)?, at.parse().ok()?))))
    }

    /// When each of them came to know a leader, none of which had been one before.
    fn wait_until_all_know(&self, since: u64, who: &[usize]) -> Result<Vec<u64>> {
        wait_for("not all know who leads", || {
            let mut known_at = Vec::new();
            for index in who {
                let events = self.events(*index, since)?;
                let knows = events.iter().find(|it| it.event == "leader" && !it.leader.is_empty());
                known_at.extend(knows.map(|event| event.ts));
            }
            Ok(Some(known_at).filter(|known_at| known_at.len() == who.len()))
        })
    }

    fn first_lease(&self, since: u64) -> Option<u64> {
        let all = (0..self.nodes.len()).filter_map(|index| self.events(index, since).ok());
        let held = |it: &Event| it.event == "lease" && it.to == "held";
        all.flatten().filter(held).map(|event| event.ts).min()
    }

    /// What a node has told since then; the last line may not be complete.
    fn events(&self, index: usize, since: u64) -> Result<Vec<Event>> {
        let path = self.folder.join(format!("{}.json", name(index)));
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events: serde_json::Result<Vec<Event>> = lines.map(serde_json::from_str).collect();
        Ok(events?.into_iter().filter(|event| event.ts > since).collect())
    }
}

fn wait_for<T>(missing: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = look()? {
            return Ok(found);
        }
        sleep(STEP);
    }
    bail!("{missing}")
}

fn name(index: usize) -> String {
    format!("n{index}")
}

fn time_of_day() -> Result<u64> {
    since_1970(SystemTime::now())
}

fn since_1970(at: SystemTime) -> Result<u64> {
    Ok(u64::try_from(at.duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?)
}

fn nanoseconds<'d, D: Deserializer<'d>>(text: D) -> Result<u64, D::Error> {
    let text = String::deserialize(text)?;
    let at = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
    since_1970(at).map_err(D::Error::custom)
}

fn millis(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_the_program_prints_it() {
        let line = concat!(
            r#"{"event":"lease","from":"","id":"n0","leader":"n0","term":1,"to":"held","#,
            r#""ts":"1970-01-01T00:00:01.000250Z"}"#
        );
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!((event.ts, &*event.event, &*event.to), (1_000_250_000, "lease", "held"));
    }
}
