//! Three contenders for one job, and what happens when the one that has it is struck.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long the next job is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long it is looked whether the old job works beside the next.
const OVERLAP: Duration = Duration::from_secs(1);

/// How often what the jobs write is read.
const STEP: Duration = Duration::from_millis(2);

/// The contenders for each job.
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// The job: it writes its name, again and again.
const JOB: &str = r#"while :; do echo "$0" >>"$1"; sleep 0.01; done"#;

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
pub(super) struct Contest {
    place: PathBuf,
    /// Ends with the value.
    _server: Option<Group>,
}

impl Contest {
    pub(super) fn open(place: &Path, server: Option<&[String]>) -> Result<Self> {
        let server = server.map(|words| Group::start(words, place)).transpose()?;
        Ok(Self { place: place.to_owned(), _server: server })
    }

    /// Starts three contenders, waits until one works, and sends it this signal.
    ///
    /// # Errors
    ///
    /// None comes to work.
    pub(super) fn play(&self, words: &[String], lock: &str, signal: &str) -> Result<Trial> {
        let folder = self.place.join(lock);
        fs::create_dir_all(&folder)?;
        let beats = folder.join("beats");
        File::create(&beats)?;
        let mut contenders = Vec::new();
        for name in NAMES {
            let mut all: Vec<_> =
                words.iter().map(|word| word.replace("LOCK", lock).replace("NAME", name)).collect();
            let job = ["sh", "-c", JOB, name, "beats"];
            all.extend(job.map(str::to_owned));
            contenders.push(Group::start(&all, &folder)?);
        }
        let began = Instant::now();
        let holder = loop {
            let working = fs::read_to_string(&beats)?.lines().last().map(str::to_owned);
            let place = |name: String| NAMES.iter().position(|it| *it == name);
            if let Some(holder) = working.and_then(place) {
                break holder;
            }
            if began.elapsed() > PATIENCE {
                bail!("nobody comes to work with {words:?}");
            }
            sleep(STEP);
        };
        let struck_at = Instant::now();
        contenders[holder].signal(if signal == "KILL" { Signal::KILL } else { Signal::TERM });
        let is_next = |line: &str| line != NAMES[holder];
        let mut next_after = None;
        while next_after.is_none() && struck_at.elapsed() < PATIENCE {
            sleep(STEP);
            let has_begun = fs::read_to_string(&beats)?.lines().any(is_next);
            next_after = has_begun.then(|| struck_at.elapsed());
        }
        let seen = fs::read_to_string(&beats)?.lines().count();
        sleep(OVERLAP);
        let all = fs::read_to_string(&beats)?;
        let mut after_next = all.lines().skip_while(|line| !is_next(line));
        let overlaps = after_next.any(|line| !is_next(line));
        let goes_on = all.lines().skip(seen).any(|line| !is_next(line));
        Ok(Trial { next_after, overlaps, goes_on })
    }
}

/// A program with all that it starts, which is killed with the value.
struct Group(Child);

impl Group {
    fn start(words: &[String], folder: &Path) -> Result<Self> {
        let (program, arguments) = words.split_first().context("there is no program")?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Ok(Self(child.with_context(|| format!("could not start {program}"))?))
    }

    /// Strikes the program alone, and waits for nothing.
    fn signal(&self, signal: Signal) {
        // It may have ended.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever has ended can't be killed.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}
