//! Three contenders for one job, and what happens when the one that has it is struck.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::group::Group;
use super::{Peer, patroni};

/// How long it is looked whether the old job works beside the next.
const OVERLAP: Duration = Duration::from_secs(1);

/// How often what the jobs write is read.
const STEP: Duration = Duration::from_millis(2);

/// The contenders for each job.
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// The job: it writes its name, again and again.
const JOB: &str = r#"while :; do echo "$0" >>"$1"; sleep 0.01; done"#;

/// Where the jobs write.
const BEATS: &str = "beats";

/// How it shows which contender is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Its program runs a command, which writes the name.
    Command,
    /// Its program has no job, and prints the name itself, once.
    Output,
    /// Its program is Patroni, and a client of the database writes the name.
    Database,
}

/// What came of one trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// How long after the strike the next job began to write.
    pub(super) next_after: Option<Duration>,
    /// Whether the old job wrote after the next one had begun.
    pub(super) overlaps: bool,
    /// Whether the old job wrote at the end.
    pub(super) goes_on: bool,
}

/// A folder, and the server that all contenders share.
pub(super) struct Contest<'a> {
    peer: &'a Peer,
    place: PathBuf,
    /// Ends with the value.
    _server: Option<Group>,
}

impl<'a> Contest<'a> {
    pub(super) fn open(place: PathBuf, peer: &'a Peer) -> Result<Self> {
        fs::create_dir_all(&place)?;
        let start = |words: &Vec<String>| Group::start(words, &place, Stdio::null(), None);
        let server = peer.server.as_ref().map(start).transpose()?;
        Ok(Self { peer, place, _server: server })
    }

    /// Starts three contenders, waits until one works and for this time more, and sends it this
    /// signal.
    ///
    /// # Errors
    ///
    /// None comes to work.
    pub(super) fn play(&self, lock: &str, signal: Signal, later: Duration) -> Result<Trial> {
        let Peer { words, patience, .. } = self.peer;
        let folder = self.place.join(lock);
        fs::create_dir_all(&folder)?;
        let beats = folder.join(BEATS);
        File::create(&beats)?;
        let mut contenders = Vec::new();
        for number in 0..NAMES.len() {
            contenders.push(self.start(&folder, lock, number)?);
        }
        let began = Instant::now();
        let holder = loop {
            if let Some(holder) = writers(&beats)?.last() {
                break *holder;
            }
            if began.elapsed() > *patience {
                bail!("nobody comes to work with {words:?}");
            }
            sleep(STEP);
        };
        sleep(later);
        let struck_at = Instant::now();
        contenders[holder].0.signal(signal);
        let is_next = |writer: &usize| *writer != holder;
        let mut next_after = None;
        while next_after.is_none() && struck_at.elapsed() < *patience {
            sleep(STEP);
            let has_begun = writers(&beats)?.iter().any(is_next);
            next_after = has_begun.then(|| struck_at.elapsed());
        }
        let seen = writers(&beats)?.len();
        sleep(OVERLAP);
        let all = writers(&beats)?;
        let mut after_next = all.iter().skip_while(|writer| !is_next(writer));
        let overlaps = after_next.any(|writer| !is_next(writer));
        let goes_on = all.iter().skip(seen).any(|writer| !is_next(writer));
        drop(contenders);
        // Three databases are 200 megabytes. A job that its own watchdog ends may still write.
        let _ = fs::remove_dir_all(&folder);
        Ok(Trial { next_after, overlaps, goes_on })
    }

    /// Starts a contender, and its job if that is a program of its own.
    fn start(&self, folder: &Path, lock: &str, number: usize) -> Result<(Group, Option<Group>)> {
        let name = NAMES[number];
        let words = self.peer.words.iter();
        let mut words: Vec<_> =
            words.map(|word| word.replace("LOCK", lock).replace("NAME", name)).collect();
        match self.peer.job {
            Job::Command => {
                words.extend(["sh", "-c", JOB, name, BEATS].map(str::to_owned));
                Ok((Group::start(&words, folder, Stdio::null(), None)?, None))
            }
            Job::Output => {
                let beats = OpenOptions::new().append(true).open(folder.join(BEATS))?;
                Ok((Group::start(&words, folder, beats.into(), None)?, None))
            }
            Job::Database => {
                patroni::prepare(folder, lock, number, name)?;
                let member = Group::start(&words, folder, Stdio::null(), Some(name))?;
                let client = patroni::client(number, name);
                let client = Group::start(&client, folder, Stdio::null(), None)?;
                Ok((member, Some(client)))
            }
        }
    }
}

/// Who wrote, in that order. `etcdctl elect` also prints a key, which is no name.
fn writers(beats: &Path) -> Result<Vec<usize>> {
    let text = fs::read_to_string(beats)?;
    let place = |line| NAMES.iter().position(|name| *name == line);
    Ok(text.lines().filter_map(place).collect())
}
