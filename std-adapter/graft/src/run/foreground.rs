//! The node of `graft run` in the foreground, and all that happens while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use graft_election::{Event, EventKind, LeaderValue, Mode, Node, Reason, State};
use tokio::time::{Instant, sleep_until};

use super::beside::{Beside, Fault};
use super::candidacy::{Candidacy, Hindrance};
use super::check::{Check, Verdict};
use super::keep::{Keep, Next};
use super::once::{self, DONE, Once};
use super::patience::Patience;
use crate::command::{Command, CommandEvent, Ended};
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::http::HttpServer;
use crate::leader_file::LeaderFileKeeper;
use crate::news::News;
use crate::permit::Permit;
use crate::quorum::QuorumWatch;
use crate::report::Reporter;
use crate::stop::Stop;
use crate::systemd::Systemd;

/// How long the node may take to close after the grace, or after a second signal.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(700);

/// What has started.
pub(super) struct Started {
    pub(super) node: Node,
    pub(super) vote_path: PathBuf,
    pub(super) reporter: Reporter,
    pub(super) leader_file: Option<LeaderFileKeeper>,
    pub(super) server: Option<HttpServer>,
}

/// The node, and what the program does while it runs.
pub(super) struct Foreground {
    pub(super) reporter: Reporter,
    pub(super) systemd: Systemd,
    pub(super) quorum: QuorumWatch,
    pub(super) patience: Patience,
    pub(super) events: News,
    pub(super) beside: Beside,
    pub(super) check: Option<Check>,
    pub(super) candidacy: Candidacy,
    pub(super) node: Arc<Node>,
    pub(super) vote_path: PathBuf,
    /// Where it is seen over HTTP.
    pub(super) http: Option<SocketAddr>,
    pub(super) mode: Mode,
    pub(super) command: Option<Command>,
    /// How the command is started again when it ends, if it is.
    pub(super) keep: Option<Keep>,
    /// Whether the command's job is done, if it is to be done once.
    pub(super) once: Option<Once>,
    pub(super) grace: Duration,
    /// How long before the end of a lease the command must be gone.
    pub(super) margin: Duration,
}

impl Foreground {
    pub(super) async fn run(mut self, mut stop: Stop) -> Result<ExitCode> {
        let status = self.node.status();
        self.reporter.started(&status, Some(&self.vote_path));
        if let Some(address) = self.http {
            self.reporter.serves(&status, address);
        }
        self.systemd.ready(&status);
        self.beside.started(&status);
        let ran = self.run_until_stopped(&mut stop).await;
        let ended_at = Instant::now();
        self.systemd.stopping();
        // The command ends before anyone else can lead. Whatever went wrong, the node closes.
        let stopped = self.stop_command(&mut stop).await;
        let is_asked = self.close(&mut stop, ended_at + self.grace + CLOSE_TIME_MAX).await;
        self.finish(&mut stop).await;
        let own_code = ran?;
        stopped?;
        Ok(match own_code {
            Some(code) if !is_asked => ExitCode::from(code),
            _ if self.quorum.is_lost(ended_at) => ExitStatus::LostQuorum.into(),
            // A service manager that signals all of its processes may have met the command first,
            // and this program while it closed.
            _ => ExitCode::SUCCESS,
        })
    }

    /// Returns the status of a command that ends by itself, or none if a signal came.
    async fn run_until_stopped(&mut self, stop: &mut Stop) -> Result<Option<u8>> {
        loop {
            let is_idle = self.command.as_ref().is_some_and(|command| !command.is_running());
            let may_start = is_idle && self.is_fit() && !self.is_done();
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => {
                        self.systemd.see(&event.status);
                        self.see(&event);
                    }
                    None => return self.why_closed(),
                },
                () = self.systemd.feed(&self.node) => {}
                permit = next_permit(&self.keep, &self.node, self.mode, self.margin),
                    if may_start =>
                {
                    self.patience.end();
                    if let Some(command) = &mut self.command {
                        command.start(&self.node, permit)?;
                    }
                }
                happened = command_event(&mut self.command) => {
                    if let Some(ended) = self.take_in(&happened?)?
                        && ended.by_itself
                        && self.keep.is_none()
                        && !self.is_done()
                    {
                        return Ok(Some(ended.exit_code()));
                    }
                }
                verdict = next_verdict(&mut self.check, &self.node) => {
                    self.obey(verdict);
                }
                done = self.beside.next(&self.node) => self.tell(done),
                () = pause(&self.keep), if self.candidacy.is_hindered(Hindrance::Command) => {
                    self.candidacy.free(Hindrance::Command);
                }
                () = leave(&self.once) => return Ok(Some(0)),
                reason = self.patience.over() => {
                    return Err(reason).exits_with(ExitStatus::GaveUp);
                }
                () = stop.wait() => return Ok(None),
            }
        }
    }

    /// Takes note of what has happened to the node, and reports it.
    fn see(&mut self, event: &Event) {
        self.quorum.see(&event.status);
        self.patience.see(&event.status);
        if may_act_from(event, self.mode) {
            self.patience.end();
        }
        self.beside.see(event, self.mode);
        self.reporter.event(event);
        if once::says_done(&event.status) {
            self.finish_job();
        }
    }

    /// The job that is to be done once is done. Whoever leads from now on says so.
    fn finish_job(&mut self) {
        let Some(once) = self.once.as_mut().filter(|once| !once.is_done()) else { return };
        once.finish();
        self.patience.end();
        self.reporter.job_done(&self.node.status());
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            if let Ok(done) = LeaderValue::new(DONE.as_bytes()) {
                node.set_value(done).await;
            }
        });
    }

    fn is_done(&self) -> bool {
        self.once.as_ref().is_some_and(Once::is_done)
    }

    /// Whether nothing speaks against leading.
    fn is_fit(&self) -> bool {
        self.check.as_ref().is_none_or(Check::has_passed)
    }

    /// Lets the node lead, or has it end its command, and then hand over.
    fn obey(&mut self, verdict: Verdict) {
        self.reporter.check(&self.node.status(), &verdict);
        match (&verdict, &mut self.command) {
            (Verdict::Passed, _) => self.candidacy.free(Hindrance::Check),
            (Verdict::Failed(_), Some(command)) if command.is_running() => command.stop(),
            (Verdict::Failed(_), _) => self.candidacy.hinder(Hindrance::Check),
        }
    }

    /// Why the node closed by itself.
    fn why_closed<T>(&self) -> Result<T> {
        let status = self.node.status();
        match status.reason {
            Reason::DuplicateId => Err(anyhow!(
                "another running process has the id {}, so this node has closed: stop that one, or \
                 give this one an id and a vote file of its own",
                status.id
            ))
            .exits_with(ExitStatus::Configuration),
            _ => bail!("the node stopped by itself"),
        }
    }

    /// Ends the command. A second signal ends its grace.
    async fn stop_command(&mut self, stop: &mut Stop) -> Result<()> {
        if let Some(command) = &mut self.command {
            command.stop();
        }
        while self.command.as_ref().is_some_and(Command::is_running) {
            tokio::select! {
                happened = command_event(&mut self.command) => {
                    self.take_in(&happened?)?;
                }
                Some(event) = self.events.next() => self.see(&event),
                done = self.beside.next(&self.node) => self.tell(done),
                () = stop.wait() => {
                    if let Some(command) = &mut self.command {
                        command.kill();
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports what has happened to the command, and returns how it ended, if it did.
    ///
    /// # Errors
    ///
    /// The command can't be watched, or is not as dead as it should be: this node must not lead.
    fn take_in(&mut self, happened: &CommandEvent) -> Result<Option<Ended>> {
        let is_success = matches!(happened, CommandEvent::Ended(ended) if ended.is_success());
        let next = match (&mut self.keep, happened) {
            _ if is_success && self.once.is_some() => None,
            (Some(keep), CommandEvent::Ended(Ended { by_itself: true, .. })) => {
                Some(keep.ended(Instant::now()))
            }
            (Some(keep), CommandEvent::Started { .. }) => {
                keep.started(Instant::now());
                None
            }
            _ => None,
        };
        self.reporter.command(&self.node.status(), happened, next);
        if next == Some(Next::HandOver) {
            self.candidacy.hinder(Hindrance::Command);
        }
        if is_success {
            self.finish_job();
        }
        if !self.is_fit() && matches!(happened, CommandEvent::Ended(_)) {
            self.candidacy.hinder(Hindrance::Check);
        }
        if let CommandEvent::Stopped { with_node: true, .. } = happened {
            // No other thread writes once the program is stopped.
            self.reporter.flush();
        }
        match happened {
            CommandEvent::Ended(ended) => Ok(Some(*ended)),
            CommandEvent::Unkillable(_) => bail!("the node closed: its command can't be killed"),
            CommandEvent::WatchdogLost(_) => bail!("the node closed: the watchdog is gone"),
            _ => Ok(None),
        }
    }

    /// Closes the node, unless that takes too long: the end doesn't wait for a disk that hangs.
    /// Returns whether a signal came meanwhile.
    async fn close(&mut self, stop: &mut Stop, mut end_at: Instant) -> bool {
        let node = Arc::clone(&self.node);
        let mut closing = pin!(node.close());
        let (mut is_closed, mut has_events, mut is_asked) = (false, true, false);
        while !is_closed || has_events {
            tokio::select! {
                () = &mut closing, if !is_closed => is_closed = true,
                event = self.events.next(), if has_events => match event {
                    Some(event) => self.see(&event),
                    None => has_events = false,
                },
                done = self.beside.next(&self.node) => self.tell(done),
                () = sleep_until(end_at) => break,
                () = stop.wait() => {
                    is_asked = true;
                    end_at = end_at.min(Instant::now() + CLOSE_TIME_MAX);
                }
            }
        }
        is_asked
    }

    /// Has the script for changes learn that the node is closed, unless a signal comes.
    async fn finish(&mut self, stop: &mut Stop) {
        self.beside.closed(&self.node.status());
        while !self.beside.is_done() {
            tokio::select! {
                done = self.beside.next(&self.node) => self.tell(done),
                () = stop.wait() => return,
            }
        }
    }

    /// Reports what has gone wrong beside the node.
    fn tell(&self, done: Result<(), Fault>) {
        if let Err(fault) = done {
            self.reporter.fault(&self.node.status(), &fault);
        }
    }
}

async fn command_event(command: &mut Option<Command>) -> Result<CommandEvent> {
    match command {
        Some(command) => command.next_event().await,
        None => std::future::pending().await,
    }
}

/// The next permit for a command that may start now.
async fn next_permit(keep: &Option<Keep>, node: &Node, mode: Mode, margin: Duration) -> Permit {
    pause(keep).await;
    Permit::next(node, mode, margin).await
}

/// Waits until a command that is started again may be.
async fn pause(keep: &Option<Keep>) {
    if let Some(keep) = keep {
        keep.pause().await;
    }
}

/// Waits until the job is done once, and all have had the time to learn it.
async fn leave(once: &Option<Once>) {
    match once {
        Some(once) => once.leave().await,
        None => std::future::pending().await,
    }
}

async fn next_verdict(check: &mut Option<Check>, node: &Node) -> Verdict {
    match check {
        Some(check) => check.next(node).await,
        None => std::future::pending().await,
    }
}

/// Whether the node may act as the leader from this event on.
fn may_act_from(event: &Event, mode: Mode) -> bool {
    match event.kind {
        EventKind::LeadershipGained { .. } => true,
        // In Graft mode there is no lease.
        EventKind::StateChanged { to: State::Leader, .. } => mode == Mode::Graft,
        _ => false,
    }
}
