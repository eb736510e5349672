//! What the program prints: a line for each thing that happens, for people or for programs.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use graft_election::{ErrorChain, Event, EventKind, Fault, NodeId, State, Status};
use serde::Serialize;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Prints what happens, flushed line by line.
#[derive(Debug)]
pub(crate) struct Reporter {
    json: bool,
}

/// A line for programs: one JSON object, with the keys of the protocol's recordings. Every line has
/// all keys except `reason` and `error`, which appear when there is one.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// Nanoseconds since 1970.
    ts: u64,
    event: &'a str,
    id: &'a str,
    term: u64,
    from: String,
    to: String,
    leader: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A node has started, and stores its vote in the file at `path` if it uses one.
    pub(crate) fn started(&self, status: &Status, path: Option<&Path>) -> io::Result<()> {
        if self.json {
            let line = Line { to: State::Follower.to_string(), ..line("start", status) };
            return print_json(&line);
        }
        let cluster = &status.cluster;
        let (name, size) = (&cluster.name, cluster.size);
        let votes = match path {
            Some(path) => format!(", votes in {}", path.display()),
            None => String::new(),
        };
        self.text(
            SystemTime::now(),
            status,
            &format!("started as one of {size} voters of {name}{votes}"),
        )
    }

    /// A node was killed, and can't report that itself. People get a heading instead.
    pub(crate) fn killed(&self, status: &Status) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        print_json(&Line { from: status.state.to_string(), ..line("killed", status) })
    }

    /// Something happened to a node.
    pub(crate) fn event(&self, event: &Event) -> io::Result<()> {
        if self.json { self.event_as_json(event) } else { self.event_as_text(event) }
    }

    /// A line for people about the program rather than about a node.
    pub(crate) fn note(&self, words: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = anstream::stdout().lock();
        writeln!(out, "{words}")?;
        out.flush()
    }

    /// Like [`note`](Self::note), with the time of day.
    pub(crate) fn note_now(&self, words: &str) -> io::Result<()> {
        self.note(&format!("{DIM}{}{DIM:#}  {words}", time_of_day(SystemTime::now())))
    }

    /// Like [`note`](Self::note), as a heading.
    pub(crate) fn heading(&self, words: &str) -> io::Result<()> {
        self.note(&format!("\n{BOLD}{words}{BOLD:#}"))
    }

    fn event_as_json(&self, event: &Event) -> io::Result<()> {
        let status = &*event.status;
        let line = match &event.kind {
            EventKind::StateChanged { from, to } => {
                let name = if *to == State::Closed { "closed" } else { "state" };
                Line {
                    from: from.to_string(),
                    to: to.to_string(),
                    reason: Some(status.reason.to_string()),
                    ..line(name, status)
                }
            }
            EventKind::LeaderChanged => line("leader", status),
            EventKind::LeadershipGained { .. } => {
                Line { to: "held".to_owned(), ..line("lease", status) }
            }
            EventKind::LeadershipLost { .. } => {
                Line { from: "held".to_owned(), ..line("lease", status) }
            }
            EventKind::Refused { node, refusal } => Line {
                to: node.to_string(),
                reason: Some(refusal.to_string()),
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
                Line { error: Some(ErrorChain(fault).to_string()), ..line(name, status) }
            }
            // There is nothing to print for kinds that this program doesn't know.
            _ => return Ok(()),
        };
        print_json(&Line { ts: nanoseconds(event.at), ..line })
    }

    fn event_as_text(&self, event: &Event) -> io::Result<()> {
        let status = &*event.status;
        let words = match &event.kind {
            EventKind::StateChanged { from, to } => {
                let style = state_style(*to);
                format!("{from} -> {style}{to}{style:#} ({})", status.reason)
            }
            // The node has just reported that it leads.
            EventKind::LeaderChanged if status.leader.as_ref() == Some(&status.id) => {
                return Ok(());
            }
            EventKind::LeaderChanged => match &status.leader {
                Some(leader) => format!("follows {BOLD}{leader}{BOLD:#}"),
                None => format!("{DIM}has no leader{DIM:#}"),
            },
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
            _ => return Ok(()),
        };
        self.text(event.at, status, &words)
    }

    fn text(&self, at: SystemTime, status: &Status, words: &str) -> io::Result<()> {
        let Status { id, term, .. } = status;
        let time = time_of_day(at);
        self.note(&format!("{DIM}{time}{DIM:#}  {BOLD}{id}{BOLD:#}  term {term}  {words}"))
    }
}

/// Prints one object and flushes it, so that a reader sees it at once.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// Prints what went wrong, or may be wrong.
pub(crate) fn print_error(words: impl Display) {
    // If standard error is closed, there is nowhere left to report it.
    let _ = writeln!(io::stderr(), "graft: {words}");
}

/// A line about a node at this moment.
pub(crate) fn line<'a>(event: &'a str, status: &'a Status) -> Line<'a> {
    Line {
        ts: nanoseconds(SystemTime::now()),
        event,
        id: status.id.as_str(),
        term: status.term,
        from: String::new(),
        to: String::new(),
        leader: status.leader.as_ref().map_or("", NodeId::as_str),
        reason: None,
        error: None,
    }
}

pub(crate) fn nanoseconds(at: SystemTime) -> u64 {
    u64::try_from(since_1970(at).as_nanos()).unwrap_or(u64::MAX)
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
fn time_of_day(at: SystemTime) -> String {
    let since = since_1970(at);
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}
