//! Running programs, listened to line by line.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// Longer than anything takes, on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a program may say other things than the one that a test waits for.
const TALK_MAX: Duration = Duration::from_secs(90);

/// How long the processes of a program that was killed may take to be gone.
const CLEANUP_TIME_MAX: Duration = Duration::from_secs(5);

/// A COMMAND for `graft run`. It says that it runs, and whether it does so alone: it holds a lock
/// until it dies, however it dies. It ends when it is told to, or after two minutes.
pub(crate) const COMMAND: &str = r#"
    exec 9>>lock; flock --nonblock 9 && alone=alone || alone=together
    echo "COMMAND $$ $alone $GRAFT_TERM $GRAFT_ID $GRAFT_CLUSTER"
    exec sleep 120"#;

/// One that ignores SIGTERM.
pub(crate) const DEAF_COMMAND: &str = r#"
    trap '' TERM
    exec 9>>lock; flock --nonblock 9 && alone=alone || alone=together
    echo "COMMAND $$ $alone $GRAFT_TERM $GRAFT_ID $GRAFT_CLUSTER"
    exec sleep 120"#;

/// Runs `graft` to its end.
pub(crate) fn graft(directory: &Path, arguments: &[&str]) -> Output {
    program(directory, arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn program(directory: &Path, arguments: &[&str]) -> Command {
    words(directory, &[&[env!("CARGO_BIN_EXE_graft")], arguments].concat())
}

fn words(directory: &Path, words: &[&str]) -> Command {
    let mut program = Command::new(words[0]);
    program
        .args(&words[1..])
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_remove("CLICOLOR_FORCE");
    program
}

/// A running `graft --json`. Dropping it kills it and all that it started; a test that fails prints
/// what all of its programs said.
pub(crate) struct Program {
    child: Child,
    output: BufReader<UnixStream>,
    /// All that it said so far.
    pub(crate) lines: Vec<Line>,
}

/// What a program and its COMMAND say.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Event(Value),
    Command(Started),
    /// What the program, or its COMMAND, says to people.
    Words(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(object) => write!(f, "{object}"),
            Self::Command(started) => write!(f, "{started:?}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// A COMMAND has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    pub(crate) is_alone: bool,
    pub(crate) term: u64,
    pub(crate) id: String,
    pub(crate) cluster: String,
}

impl Started {
    /// None for a line that broke off.
    fn read(words: &str) -> Option<Self> {
        let words: Vec<&str> = words.split(' ').collect();
        let [pid, alone, term, id, cluster] = words[..] else {
            return None;
        };
        Some(Self {
            pid: pid.parse().ok()?,
            is_alone: alone == "alone",
            term: term.parse().ok()?,
            id: id.to_owned(),
            cluster: cluster.to_owned(),
        })
    }
}

impl Line {
    fn read(line: &str) -> Self {
        if let Some(started) = line.strip_prefix("COMMAND ").and_then(Started::read) {
            return Self::Command(started);
        }
        let event = serde_json::from_str(line).map(Self::Event);
        event.unwrap_or_else(|_| Self::Words(line.to_owned()))
    }

    /// Whether it is an event with these values.
    pub(crate) fn is(&self, event: &str, values: &[(&str, &str)]) -> bool {
        let Self::Event(object) = self else {
            return false;
        };
        let has = |(key, value): &(&str, &str)| object[key] == **value;
        object["event"] == event && values.iter().all(has)
    }

    pub(crate) fn command(&self) -> Option<&Started> {
        match self {
            Self::Command(started) => Some(started),
            Self::Event(_) | Self::Words(_) => None,
        }
    }

    pub(crate) fn object(&self) -> &Value {
        match self {
            Self::Event(object) => object,
            Self::Command(_) | Self::Words(_) => panic!("not an event: {self:?}"),
        }
    }

    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Words(words) => words,
            Self::Event(_) | Self::Command(_) => "",
        }
    }

    pub(crate) fn str(&self, key: &str) -> &str {
        match self {
            Self::Event(object) => object[key].as_str().unwrap(),
            Self::Command(_) | Self::Words(_) => panic!("not an event: {self:?}"),
        }
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        match self {
            Self::Event(object) => object[key].as_u64().unwrap(),
            Self::Command(_) | Self::Words(_) => panic!("not an event: {self:?}"),
        }
    }

    pub(crate) fn term(&self) -> u64 {
        match self {
            Self::Event(object) => object["term"].as_u64().unwrap(),
            Self::Command(started) => started.term,
            Self::Words(_) => panic!("not an event: {self:?}"),
        }
    }
}

impl Program {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_words(directory, &[&[env!("CARGO_BIN_EXE_graft")], arguments].concat())
    }

    /// Starts it by way of other programs, which become it.
    pub(crate) fn start_words(directory: &Path, all: &[&str]) -> Self {
        // A socket, since a pipe has no time limit for reading.
        let (output, child_output) = UnixStream::pair().unwrap();
        output.set_read_timeout(Some(PATIENCE)).unwrap();
        let errors = child_output.try_clone().unwrap();
        let child = words(directory, all)
            .stdin(Stdio::piped())
            .stdout(OwnedFd::from(child_output))
            .stderr(OwnedFd::from(errors))
            .spawn()
            .unwrap();
        Self { child, output: BufReader::new(output), lines: Vec::new() }
    }

    /// The next line; none when the program *and* its COMMAND are gone.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<Line> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                let line = Line::read(line.trim_end());
                self.lines.push(line.clone());
                Some(line)
            }
            Err(error) => panic!("process {} says nothing more: {error}", self.pid()),
        }
    }

    /// Until there was a line that `is_meant`, which may be one that was read before.
    #[track_caller]
    pub(crate) fn wait_until_told(&mut self, is_meant: impl Fn(&Line) -> bool) {
        if !self.lines.iter().any(&is_meant) {
            self.wait_for(is_meant);
        }
    }

    /// The next line that `is_meant`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, is_meant: impl Fn(&Line) -> bool) -> Line {
        let began = Instant::now();
        while let Some(line) = self.next_line() {
            if is_meant(&line) {
                return line;
            }
            let pid = self.pid();
            assert!(began.elapsed() < TALK_MAX, "process {pid} says other things all the time");
        }
        panic!("process {} ended without it", self.pid());
    }

    #[track_caller]
    pub(crate) fn wait_for_start(&mut self) -> Line {
        self.wait_for(|line| line.is("start", &[]))
    }

    /// Waits until the program leads or follows someone.
    #[track_caller]
    pub(crate) fn wait_for_leader(&mut self) -> Line {
        self.wait_for(|line| line.is("leader", &[]) && !line.str("leader").is_empty())
    }

    #[track_caller]
    pub(crate) fn wait_for_command(&mut self) -> Started {
        let line = self.wait_for(|line| line.command().is_some());
        line.command().unwrap().clone()
    }

    /// Waits until the program and all that it started are gone.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        while self.next_line().is_some() {}
        self.child.wait().unwrap()
    }

    /// Says something to the program's COMMAND.
    pub(crate) fn say(&mut self, words: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{words}").unwrap();
    }

    /// Tells the program to close.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Has the program itself do nothing any more, but not what it started.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Has a program that was stopped go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Closes the end that the program prints to.
    pub(crate) fn stop_listening(&mut self) {
        let (nowhere, _) = UnixStream::pair().unwrap();
        self.output = BufReader::new(nowhere);
    }

    /// Waits for the program itself, without listening.
    pub(crate) fn wait_unheard(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Whether all that has the output is gone within `time`.
    fn falls_silent(&mut self, time: Duration) -> bool {
        let _ = self.output.get_ref().set_read_timeout(Some(time));
        loop {
            let mut line = String::new();
            match self.output.read_line(&mut line) {
                Ok(0) => return true,
                Ok(_) => self.lines.push(Line::read(line.trim_end())),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let is_silent = self.falls_silent(CLEANUP_TIME_MAX);
        if std::thread::panicking() {
            let lines: Vec<_> = self.lines.iter().map(Line::to_string).collect();
            eprintln!("process {} said:\n{}", self.pid(), lines.join("\n"));
        }
        if is_silent {
            return;
        }
        // Someone still holds the output: a COMMAND that outlived its node.
        for started in self.lines.iter().filter_map(Line::command) {
            if let Some(pid) = Pid::from_raw(started.pid) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
    }
}

/// Whether no COMMAND runs in `directory`.
pub(crate) fn no_command_runs(directory: &Path) -> bool {
    let lock = File::create(directory.join("lock")).unwrap();
    lock.try_lock().is_ok()
}

/// Waits for something that nobody tells.
#[track_caller]
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the COMMAND that runs in `directory` is gone.
pub(crate) fn wait_until_no_command_runs(directory: &Path) {
    File::create(directory.join("lock")).unwrap().lock().unwrap();
}

/// A pipe with this name: opening it waits for the other end to be opened.
pub(crate) fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// Whether the process handles the signal itself.
pub(crate) fn handles(process: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let handled = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let handled = u64::from_str_radix(handled.trim(), 16).unwrap();
    handled >> (signal.as_raw() - 1) & 1 == 1
}

/// The process that started this one, or adopted it.
pub(crate) fn parent_of(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim().parse().unwrap()
}

/// The processes that this one has started, or adopted.
pub(crate) fn children_of(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let lists = threads.map(|it| fs::read_to_string(it.unwrap().path().join("children")).unwrap());
    let lists: Vec<_> = lists.collect();
    lists.iter().flat_map(|list| list.split_whitespace()).map(|pid| pid.parse().unwrap()).collect()
}
