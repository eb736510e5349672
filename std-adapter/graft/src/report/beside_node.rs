//! What happens beside a node of `graft run`: to its COMMAND, its check and its scripts.

use std::os::unix::process::ExitStatusExt;
use std::time::SystemTime;

use anstyle::AnsiColor;
use graft_election::{ErrorChain, Status};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::{Line, Reporter, line};
use crate::command::{CommandEvent, ContainedBy, Ended};
use crate::run::{Next, RunFault, Verdict};

/// A [`Line`] about COMMAND, with what there is to tell.
#[derive(Debug, Serialize)]
struct CommandLine<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contained_by: Option<ContainedBy>,
    /// What stopped or ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// Its status, if no signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_itself: Option<bool>,
    /// After how long it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_in_ms: Option<u64>,
}

impl Reporter {
    /// Something happened to the COMMAND of a node, and `next` comes of it.
    pub(crate) fn command(&self, status: &Status, event: &CommandEvent, next: Option<Next>) {
        if self.json {
            self.print_json(&command_line(status, event, next));
            return;
        }
        let words = match (event, event.error()) {
            (_, Some(error)) => {
                let style = AnsiColor::Red.on_default();
                format!("{style}{error}{style:#}")
            }
            (CommandEvent::Started { pid, contained_by }, _) => {
                format!("runs the command as process {pid}, {contained_by}")
            }
            (CommandEvent::Stopped { signal, with_node }, _) => {
                let signal = signal_name(*signal);
                let node = ", and this node with it: it can't lead meanwhile";
                format!("the command was stopped by {signal}{}", if *with_node { node } else { "" })
            }
            (CommandEvent::Ended(ended), _) => {
                let next = match next {
                    Some(Next::Restart { pause }) => format!(", and starts again in {pause:?}"),
                    Some(Next::HandOver) => ", too early too often: hands over".to_owned(),
                    None => String::new(),
                };
                format!("the command ended ({}){next}", ended.status)
            }
            _ => "the command goes on".to_owned(),
        };
        self.text(SystemTime::now(), status, &words);
    }

    /// The job that is to be done once is done.
    pub(crate) fn job_done(&self, status: &Status) {
        if self.json {
            return self.print_json(&line("done", status));
        }
        let style = AnsiColor::Green.on_default();
        self.text(SystemTime::now(), status, &format!("{style}the job is done{style:#}"));
    }

    /// The check has found whether the node is fit to lead.
    pub(crate) fn check(&self, status: &Status, verdict: &Verdict) {
        let (to, error) = match verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(error) => ("failed", Some(error.to_string())),
        };
        if self.json {
            let to = to.to_owned();
            return self.print_json(&Line { to, error, ..line("check", status) });
        }
        let words = match error {
            None => "the check passed: may lead".to_owned(),
            Some(error) => {
                let style = AnsiColor::Red.on_default();
                format!("{style}the check failed: {error}{style:#}: doesn't lead until it passes")
            }
        };
        self.text(SystemTime::now(), status, &words);
    }

    /// What the program does beside its node has gone wrong.
    pub(crate) fn fault(&self, status: &Status, fault: &RunFault) {
        let error = ErrorChain(&*fault.error).to_string();
        if self.json {
            let (reason, error) = (Some(fault.reason), Some(error));
            return self.print_json(&Line { reason, error, ..line("error", status) });
        }
        let style = AnsiColor::Red.on_default();
        self.text(SystemTime::now(), status, &format!("{style}{error}{style:#}"));
    }
}

/// What happened to a COMMAND, for programs.
fn command_line<'a>(
    status: &'a Status,
    event: &CommandEvent,
    next: Option<Next>,
) -> CommandLine<'a> {
    let (from, to) = match event {
        CommandEvent::Started { .. } => ("", "running"),
        CommandEvent::Stopped { .. } => ("running", "stopped"),
        CommandEvent::Continued => ("stopped", "running"),
        CommandEvent::Ended(_) => ("running", "ended"),
        CommandEvent::WatchdogLost(left) if left.is_empty() => ("running", "ended"),
        CommandEvent::Unkillable(_) | CommandEvent::WatchdogLost(_) => ("running", "unkillable"),
    };
    let (from, to) = (from.to_owned(), to.to_owned());
    let given_up = (next == Some(Next::HandOver)).then_some("restart_limit");
    let (reason, error) = (event.reason().or(given_up), event.error());
    let nothing_yet = CommandLine {
        line: Line { from, to, reason, error, ..line("command", status) },
        pid: None,
        contained_by: None,
        signal: None,
        code: None,
        by_itself: None,
        restart_in_ms: match next {
            Some(Next::Restart { pause }) => u64::try_from(pause.as_millis()).ok(),
            _ => None,
        },
    };
    match event {
        CommandEvent::Started { pid, contained_by } => {
            CommandLine { pid: Some(*pid), contained_by: Some(*contained_by), ..nothing_yet }
        }
        CommandEvent::Stopped { signal, .. } => {
            CommandLine { signal: Some(signal_name(*signal)), ..nothing_yet }
        }
        CommandEvent::Ended(Ended { by_itself, status }) => CommandLine {
            signal: status.signal().map(signal_name),
            code: status.code(),
            by_itself: Some(*by_itself),
            ..nothing_yet
        },
        _ => nothing_yet,
    }
}

fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| signal.to_string(), |it| it.as_str().to_owned())
}
