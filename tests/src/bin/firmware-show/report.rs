//! Prints a line for each thing that happens, for people or for programs.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use graft_election_core::State;
use humantime::format_rfc3339_micros;
use serde::Serialize;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// The colours of the boards' ids.
const COLORS: [AnsiColor; 3] = [AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::BrightBlue];

/// Prints what happens, flushed line by line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    json: bool,
}

/// A line for programs: a JSON object with the keys that `graft run` has.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// When, in UTC.
    pub(crate) ts: String,
    pub(crate) event: &'a str,
    pub(crate) id: &'a str,
    pub(crate) term: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) leader: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
}

/// Which board a line for people is about, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    /// The time since the start.
    pub(crate) at: Duration,
    /// The board's index, from 0.
    pub(crate) index: usize,
    pub(crate) id: &'a str,
    pub(crate) term: u64,
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Reports that something happened to a board: with a line for programs, or with words for
    /// people, if there are any.
    pub(crate) fn event(
        self,
        line: &Line<'_>,
        about: About<'_>,
        words: Option<&str>,
    ) -> io::Result<()> {
        if self.json {
            return print_json(line);
        }
        let Some(words) = words else { return Ok(()) };
        let About { at, index, id, term } = about;
        let at = format!("{:>7.3}", at.as_secs_f64());
        let board = COLORS[index % COLORS.len()].on_default().bold();
        self.note(&format!("{DIM}{at}{DIM:#}  {board}{id}{board:#}  term {term}  {words}"))
    }

    /// Prints a [`note`](Self::note) as a heading.
    pub(crate) fn heading(self, words: &str) -> io::Result<()> {
        self.note(&format!("\n{BOLD}{words}{BOLD:#}"))
    }

    /// Prints a line that isn't about one board. Programs don't get it.
    pub(crate) fn note(self, words: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = anstream::stdout().lock();
        writeln!(out, "{words}")?;
        out.flush()
    }

    /// Prints the summary: an object for programs, or lines for people.
    pub(crate) fn summary(self, summary: &impl Serialize, lines: &[String]) -> io::Result<()> {
        if self.json {
            return print_json(summary);
        }
        self.heading("Summary")?;
        lines.iter().try_for_each(|line| self.note(line))
    }
}

impl<'a> Line<'a> {
    /// A line about a board, with the current time.
    pub(crate) fn new(event: &'a str, id: &'a str, term: u64, leader: &'a str) -> Self {
        Self {
            ts: format_rfc3339_micros(SystemTime::now()).to_string(),
            event,
            id,
            term,
            from: String::new(),
            to: String::new(),
            leader,
            reason: None,
            text: None,
            error: None,
        }
    }
}

/// A state, in its colour.
pub(crate) fn painted(state: State) -> String {
    let style = match state {
        State::Follower => AnsiColor::Blue.on_default(),
        State::PreCandidate | State::Candidate => AnsiColor::Yellow.on_default(),
        State::Leader => AnsiColor::Green.on_default().bold(),
        State::Closed => DIM,
    };
    format!("{style}{state}{style:#}")
}

/// A fault, in its colour.
pub(crate) fn alarming(words: &str) -> String {
    let style = AnsiColor::Red.on_default();
    format!("{style}{words}{style:#}")
}

/// Prints one object and flushes it, so that a program that reads along gets it at once.
fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}
