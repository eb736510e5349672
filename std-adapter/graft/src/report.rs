//! What the program prints: a line for each thing that happens, for people or for programs.

mod beside_node;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use graft_election::{ErrorChain, Event, EventKind, Fault, NodeId, State, Status};
use humantime::format_rfc3339_micros;
use serde::Serialize;

use crate::output::Output;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// The last second of the year 9999: RFC 3339 has no room for more digits.
const TIMESTAMP_MAX: Duration = Duration::from_secs(253_402_300_799);

/// Prints what happens, line by line, and never waits for the reader.
#[derive(Debug)]
pub(crate) struct Reporter {
    json: bool,
    output: Output,
    has_style: bool,
}

/// Where to print.
#[derive(Debug)]
pub(crate) enum Target {
    Stdout,
    /// The standard output is COMMAND's.
    Stderr,
    File(PathBuf),
}

/// A line for programs: one JSON object, with the keys of the protocol's recordings. Every line has
/// all keys except the last, which appear when there is something to say.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// When, in UTC.
    ts: String,
    event: &'a str,
    id: &'a str,
    term: u64,
    from: String,
    to: String,
    leader: &'a str,
    /// The machine name of the reason, the refusal or the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The reason or the refusal in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// What went wrong, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Reporter {
    /// Prints for programs or for people.
    pub(crate) fn new(json: bool, target: Target) -> Result<Self> {
        let dropped = if json { dropped_as_json } else { dropped_as_text };
        let (output, style) = match target {
            Target::Stdout => (Output::stdout(dropped), AutoStream::choice(&io::stdout())),
            Target::Stderr => (Output::stderr(dropped), AutoStream::choice(&io::stderr())),
            Target::File(path) => {
                let opened = Output::file(&path, dropped);
                let context = || format!("could not open the file of --json, {}", path.display());
                (Ok(opened.with_context(context)?), ColorChoice::Never)
            }
        };
        let output = output.context("could not start to print")?;
        Ok(Self { json, output, has_style: style != ColorChoice::Never })
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A node has started, and stores its vote in the file at `path` if it uses one.
    pub(crate) fn started(&self, status: &Status, path: Option<&Path>) {
        if self.json {
            let line = Line { to: State::Follower.to_string(), ..line("start", status) };
            return self.print_json(&line);
        }
        let cluster = &status.cluster;
        let (name, size) = (&cluster.name, cluster.size);
        let paused = if status.is_paused { ", paused by an operator" } else { "" };
        let votes = match path {
            Some(path) => format!(", votes in {}", path.display()),
            None => String::new(),
        };
        self.text(
            SystemTime::now(),
            status,
            &format!("started as one of {size} voters of {name}{votes}{paused}"),
        )
    }

    /// A node is seen over HTTP at this address.
    pub(crate) fn serves(&self, status: &Status, address: SocketAddr) {
        if self.json {
            return self.print_json(&Line { to: address.to_string(), ..line("http", status) });
        }
        self.text(SystemTime::now(), status, &format!("is seen at http://{address}/"));
    }

    /// A node was killed, and can't report that itself. People get a heading instead.
    pub(crate) fn killed(&self, status: &Status) {
        if !self.json {
            return;
        }
        self.print_json(&Line { from: status.state.to_string(), ..line("killed", status) });
    }

    /// Something happened to a node.
    pub(crate) fn event(&self, event: &Event) {
        if self.json {
            self.event_as_json(event);
        } else {
            self.event_as_text(event);
        }
    }

    /// A line for people about the program rather than about a node.
    pub(crate) fn note(&self, words: &str) {
        if self.json {
            return;
        }
        let line = if self.has_style { words.to_owned() } else { strip_str(words).to_string() };
        self.output.print(line);
    }

    /// Like [`note`](Self::note), with the time of day.
    pub(crate) fn note_now(&self, words: &str) {
        self.note(&format!("{DIM}{}{DIM:#}  {words}", time_of_day(SystemTime::now())))
    }

    /// Like [`note`](Self::note), as a heading.
    pub(crate) fn heading(&self, words: &str) {
        self.note(&format!("\n{BOLD}{words}{BOLD:#}"))
    }

    /// Waits for a moment until what was printed is written.
    pub(crate) fn flush(&self) {
        self.output.flush();
    }

    /// Prints one object, for programs.
    pub(crate) fn print_json(&self, value: &impl Serialize) {
        // Numbers and text in structs always have a form in JSON.
        self.output.print(serde_json::to_string(value).unwrap_or_default());
    }

    fn event_as_json(&self, event: &Event) {
        let status = &*event.status;
        let line = match &event.kind {
            EventKind::StateChanged { from, to } => {
                let name = if *to == State::Closed { "closed" } else { "state" };
                Line {
                    from: from.to_string(),
                    to: to.to_string(),
                    reason: Some(status.reason.name()),
                    text: Some(status.reason.to_string()),
                    ..line(name, status)
                }
            }
            EventKind::LeaderChanged => line("leader", status),
            EventKind::ValueChanged => {
                Line { text: Some(status.leader_value.to_string()), ..line("value", status) }
            }
            EventKind::PauseChanged => {
                let to = if status.is_paused { "paused" } else { "resumed" };
                Line { to: to.to_owned(), ..line("pause", status) }
            }
            EventKind::LeadershipGained { .. } => {
                Line { to: "held".to_owned(), ..line("lease", status) }
            }
            EventKind::LeadershipLost { .. } => {
                Line { from: "held".to_owned(), ..line("lease", status) }
            }
            EventKind::Refused { node, refusal } => Line {
                to: node.to_string(),
                reason: Some(refusal.name()),
                text: Some(refusal.to_string()),
                ..line("refused", status)
            },
            EventKind::ConnectionRestored => {
                Line { to: "restored".to_owned(), ..line("conn", status) }
            }
            EventKind::Fault(fault) => {
                let name = match fault {
                    Fault::ConnectionLost(_)
                    | Fault::ConnectionClosed(_)
                    | Fault::ConnectionPartial(_)
                    | Fault::ConnectionImpaired(_) => "conn",
                    _ => "error",
                };
                let (reason, error) = (Some(fault.name()), Some(ErrorChain(fault).to_string()));
                Line { reason, error, ..line(name, status) }
            }
            // There is nothing to print for kinds that this program doesn't know.
            _ => return,
        };
        self.print_json(&Line { ts: timestamp(event.at), ..line });
    }

    fn event_as_text(&self, event: &Event) {
        let status = &*event.status;
        let words = match &event.kind {
            EventKind::StateChanged { from, to } => {
                let style = state_style(*to);
                format!("{from} -> {style}{to}{style:#} ({})", status.reason)
            }
            // The node has just reported that it leads.
            EventKind::LeaderChanged if status.leader.as_ref() == Some(&status.id) => {
                return;
            }
            EventKind::LeaderChanged => match &status.leader {
                Some(leader) => format!("follows {BOLD}{leader}{BOLD:#}"),
                None => format!("{DIM}has no leader{DIM:#}"),
            },
            EventKind::ValueChanged if status.leader_value.is_empty() => {
                "the leader says nothing beside any more".to_owned()
            }
            EventKind::ValueChanged => {
                format!("the leader says {:?}", status.leader_value.to_string())
            }
            EventKind::PauseChanged if status.is_paused => {
                let style = AnsiColor::Yellow.on_default();
                format!("{style}paused by an operator{style:#}: votes, and does not lead")
            }
            EventKind::PauseChanged => "resumed by an operator".to_owned(),
            EventKind::LeadershipGained { token } => {
                let style = AnsiColor::Green.on_default().bold();
                format!("{style}holds the lease{style:#} (token {token})")
            }
            EventKind::LeadershipLost { token } => {
                format!("holds no lease any more (token {token})")
            }
            EventKind::Refused { node, refusal } => {
                format!("{DIM}refused {node}: {refusal}{DIM:#}")
            }
            EventKind::ConnectionRestored => "connection restored".to_owned(),
            EventKind::Fault(fault) => {
                let style = AnsiColor::Red.on_default();
                format!("{style}{}{style:#}", ErrorChain(fault))
            }
            _ => return,
        };
        self.text(event.at, status, &words)
    }

    fn text(&self, at: SystemTime, status: &Status, words: &str) {
        let Status { id, term, .. } = status;
        let time = time_of_day(at);
        self.note(&format!("{DIM}{time}{DIM:#}  {BOLD}{id}{BOLD:#}  term {term}  {words}"))
    }
}

/// Prints what went wrong, or may be wrong. If nobody reads it, there is nowhere left to report it.
pub(crate) fn print_error(words: impl Display) {
    if let Ok(output) = Output::stderr(dropped_as_text) {
        output.print(format!("graft: {words}"));
    }
}

pub(crate) fn dropped_as_text(count: u64) -> String {
    format!("{count} lines were dropped, which nobody read in time")
}

pub(crate) fn dropped_as_json(count: u64) -> String {
    let ts = timestamp(SystemTime::now());
    format!(r#"{{"ts":"{ts}","event":"dropped","count":{count}}}"#)
}

/// A line about a node at this moment.
pub(crate) fn line<'a>(event: &'a str, status: &'a Status) -> Line<'a> {
    Line {
        ts: timestamp(SystemTime::now()),
        event,
        id: status.id.as_str(),
        term: status.term,
        from: String::new(),
        to: String::new(),
        leader: status.leader.as_ref().map_or("", NodeId::as_str),
        reason: None,
        text: None,
        error: None,
    }
}

/// An instant for programs: as RFC 3339 has it, in UTC, to the microsecond.
pub(crate) fn timestamp(at: SystemTime) -> String {
    format_rfc3339_micros(UNIX_EPOCH + since_1970(at).min(TIMESTAMP_MAX)).to_string()
}

fn state_style(state: State) -> Style {
    match state {
        State::Follower => AnsiColor::Blue.on_default(),
        State::PreCandidate => AnsiColor::Cyan.on_default(),
        State::Candidate => AnsiColor::Yellow.on_default(),
        State::Leader => AnsiColor::Green.on_default().bold(),
        State::Closed => DIM,
    }
}

/// The time of day, in UTC.
pub(crate) fn time_of_day(at: SystemTime) -> String {
    let since = since_1970(at);
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_told_with_its_zone() {
        let at = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        assert_eq!(timestamp(at(1_700_000_000_000_042)), "2023-11-14T22:13:20.000042Z");
        assert_eq!(timestamp(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
    }

    /// A clock may be wrong, and that is no reason to stop.
    #[test]
    fn instants_that_have_no_form_become_the_nearest_that_has() {
        let too_early = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(timestamp(too_early), "1970-01-01T00:00:00.000000Z");
        let too_late = UNIX_EPOCH + TIMESTAMP_MAX + Duration::from_secs(9);
        assert_eq!(timestamp(too_late), "9999-12-31T23:59:59.000000Z");
    }
}
