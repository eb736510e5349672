//! The script that learns who leads.

use std::ffi::OsString;
use std::future::pending;
use std::time::Duration;

use graft_election::{Event, EventKind, Mode, Node, NodeId, State, Status};

use crate::command::{Script, ScriptError};
use crate::process::Reaper;

/// Runs a script for the latest change, one at a time.
#[derive(Debug)]
pub(crate) struct OnChange {
    script: OsString,
    limit: Duration,
    reaper: Reaper,
    has_lease: bool,
    latest: Option<Change>,
    /// What the last script was told.
    told: Option<Change>,
    running: Option<Script>,
}

/// What a script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    state: &'static str,
    leader: String,
    term: u64,
}

impl Change {
    fn new(status: &Status, may_act: bool) -> Self {
        let leader = status.leader.as_ref();
        let (state, leader) = match leader {
            _ if status.state == State::Closed => ("closed", None),
            Some(leader) if *leader != status.id => ("follower", Some(leader)),
            Some(leader) if may_act => ("leader", Some(leader)),
            _ => ("no_leader", None),
        };
        let leader = leader.map(NodeId::to_string).unwrap_or_default();
        Self { state, leader, term: status.term }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GRAFT_STATE", self.state.to_owned()),
            ("GRAFT_LEADER", self.leader.clone()),
            ("GRAFT_TERM", self.term.to_string()),
        ]
    }
}

impl OnChange {
    pub(crate) fn new(script: OsString, limit: Duration, reaper: Reaper) -> Self {
        let (latest, told, running) = (None, None, None);
        Self { script, limit, reaper, has_lease: false, latest, told, running }
    }

    /// The node has started.
    pub(crate) fn started(&mut self, status: &Status) {
        self.latest = Some(Change::new(status, false));
    }

    /// Takes in what has happened to the node.
    pub(crate) fn see(&mut self, event: &Event, mode: Mode) {
        match event.kind {
            EventKind::LeadershipGained { .. } => self.has_lease = true,
            EventKind::LeadershipLost { .. } => self.has_lease = false,
            _ => {}
        }
        let may_act = self.has_lease || mode == Mode::Graft;
        let change = Change::new(&event.status, may_act);
        // Terms that nobody wins are no news.
        let is_news = self.latest.as_ref().is_none_or(|latest| {
            latest.state != change.state
                || latest.leader != change.leader
                || (!change.leader.is_empty() && latest.term != change.term)
        });
        if is_news {
            self.latest = Some(change);
        }
    }

    /// The node has closed, or should have.
    pub(crate) fn closed(&mut self, status: &Status) {
        let change = Change::new(status, false);
        self.latest = Some(Change { state: "closed", leader: String::new(), ..change });
    }

    /// Whether no script runs, and none is due.
    pub(crate) fn is_done(&self) -> bool {
        self.running.is_none() && self.latest == self.told
    }

    /// Runs the script that is due, and waits until it ends. Cancel-safe.
    pub(crate) async fn next(&mut self, node: &Node) -> Result<(), ScriptError> {
        let running = match &mut self.running {
            Some(running) => running,
            None => {
                let due = self.latest.clone().filter(|latest| self.told.as_ref() != Some(latest));
                let Some(change) = due else { return pending().await };
                let environment = change.environment();
                self.told = Some(change);
                let (limit, reaper) = (self.limit, &self.reaper);
                let script = Script::start(&self.script, environment, limit, node, reaper)?;
                self.running.insert(script)
            }
        };
        let ended = running.end().await;
        self.running = None;
        ended
    }
}
