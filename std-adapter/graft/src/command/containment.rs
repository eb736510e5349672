//! All that COMMAND has started, to be killed until none of it is left.
//!
//! Two things hold it. A [cgroup](Cgroup) holds what COMMAND starts wherever it goes, if one can be
//! made. Descent holds it on any Linux: a process whose parent ends becomes the child of the
//! nearest ancestor that asked for such orphans. The watchdog, which started COMMAND, is one, and
//! the node, which started the watchdog, is the next, so nothing gets lost while either of them
//! lives.

use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::cgroup::Cgroup;
use super::messages::ContainedBy;
use super::processes::{Process, can_be_listed, children, named, visit_descendants};

/// How long what was killed may take to be gone, before it is reported.
pub(super) const KILL_TIME_MAX: Duration = Duration::from_millis(200);

/// How long the killing goes on without a pause. Somebody who forks and exits in turn can only be
/// met by one who doesn't rest either.
const RESTLESS_TIME: Duration = Duration::from_millis(100);

/// The pause between two attempts after that.
const PAUSE: Duration = Duration::from_millis(1);

/// What COMMAND has started, as seen by a process from which it descends.
#[derive(Debug)]
pub(super) struct Containment {
    cgroup: Option<Cgroup>,
    /// Children of this process that have nothing to do with COMMAND.
    others: BTreeSet<i32>,
}

impl Containment {
    /// From now on, orphans of what this process starts become its children. Those that it has
    /// already are not meant.
    pub(super) fn new(cgroup: Option<Cgroup>) -> Result<Self> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(getpid())).context("could not adopt orphans")?;
        let others = children(getpid().as_raw_nonzero().get()).into_iter().collect();
        Ok(Self { cgroup, others })
    }

    /// What holds COMMAND at best.
    pub(super) fn contained_by(&self) -> ContainedBy {
        if self.cgroup.is_some() {
            ContainedBy::Cgroup
        } else if cfg!(target_os = "linux") && can_be_listed() {
            ContainedBy::Descent
        } else {
            ContainedBy::Group
        }
    }

    /// Starts a process inside. If the cgroup can't be entered, descent alone holds it.
    pub(super) fn start(&mut self, command: &mut Command) -> Result<Child> {
        if let Some(cgroup) = self.cgroup.take_if(|cgroup| cgroup.enter().is_err()) {
            cgroup.remove();
        }
        let started = command.spawn();
        if let Some(cgroup) = &self.cgroup {
            // Inside, this process would kill itself.
            cgroup.leave().context("could not leave the command's cgroup")?;
        }
        started.context("could not start the command")
    }

    /// Kills, until `is_alone` finds no child and nothing is left in the cgroup, or until
    /// `deadline` has passed. Returns what is left then.
    pub(super) fn kill_until(
        &self,
        deadline: Instant,
        mut is_alone: impl FnMut() -> bool,
    ) -> Vec<Process> {
        let rests_at = Instant::now() + RESTLESS_TIME;
        loop {
            self.kill();
            if is_alone() && self.cgroup.as_ref().is_none_or(Cgroup::is_empty) {
                return Vec::new();
            }
            let now = Instant::now();
            if now > deadline {
                return self.survivors();
            }
            if now > rests_at {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Whether no child is left of those that are meant.
    pub(super) fn has_no_descendants(&self) -> bool {
        let mut is_none = true;
        self.visit_descendants(|_| is_none = false);
        is_none
    }

    /// Kills what is in the cgroup, if there is one, and removes it once it is empty.
    pub(super) fn kill_cgroup(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
            cgroup.remove();
        }
    }

    /// Removes the cgroup, if there is one.
    pub(super) fn remove(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }

    fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        self.visit_descendants(|process| {
            // One that is gone is no error, and one that can't be killed is reported later.
            let _ = kill_process(process, Signal::KILL);
        });
    }

    fn survivors(&self) -> Vec<Process> {
        let mut survivors = Vec::new();
        self.visit_descendants(|process| survivors.extend(named(process)));
        survivors.extend(self.cgroup.iter().flat_map(Cgroup::members));
        survivors.sort();
        survivors.dedup();
        survivors
    }

    fn visit_descendants(&self, visit: impl FnMut(Pid)) {
        // Ids of another namespace would name other processes.
        if can_be_listed() {
            visit_descendants(getpid(), &self.others, visit);
        }
    }
}
