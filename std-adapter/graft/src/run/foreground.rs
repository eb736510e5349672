//! The node of `graft run` in the foreground, and all that happens while it runs.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use graft_election::{Event, EventKind, Mode, Node, Reason, State};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::keep::{Keep, Next};
use super::patience::Patience;
use crate::command::{Command, CommandEvent, Ended};
use crate::exit_status::{ExitStatus, ExitsWith};
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
}

/// The node, and what the program does while it runs.
pub(super) struct Foreground {
    pub(super) reporter: Reporter,
    pub(super) systemd: Systemd,
    pub(super) quorum: QuorumWatch,
    pub(super) patience: Patience,
    pub(super) events: News,
    pub(super) leader_file_faults: Option<mpsc::Receiver<Error>>,
    pub(super) node: Arc<Node>,
    pub(super) vote_path: PathBuf,
    pub(super) mode: Mode,
    pub(super) command: Option<Command>,
    /// How the command is started again when it ends, if it is.
    pub(super) keep: Option<Keep>,
    pub(super) grace: Duration,
    /// How long before the end of a lease the command must be gone.
    pub(super) margin: Duration,
}

impl Foreground {
    pub(super) async fn run(mut self, mut stop: Stop) -> Result<ExitCode> {
        let ran = self.run_until_stopped(&mut stop).await;
        let ended_at = Instant::now();
        self.systemd.stopping();
        // The command ends before anyone else can lead. Whatever went wrong, the node closes.
        let stopped = self.stop_command(&mut stop).await;
        let is_asked = self.close(&mut stop, ended_at + self.grace + CLOSE_TIME_MAX).await;
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
        self.reporter.started(&self.node.status(), Some(&self.vote_path));
        self.systemd.ready(&self.node.status());
        loop {
            let may_start = self.command.as_ref().is_some_and(|command| !command.is_running());
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
                    if let Some(ended) = self.take_in(&happened?).await?
                        && ended.by_itself
                        && self.keep.is_none()
                    {
                        return Ok(Some(ended.exit_code()));
                    }
                }
                Some(fault) = next_fault(&mut self.leader_file_faults) => {
                    self.reporter.fault(&self.node.status(), "leader_file_failed", &fault);
                }
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
        self.reporter.event(event);
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
                    self.take_in(&happened?).await?;
                }
                Some(event) = self.events.next() => self.see(&event),
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
    async fn take_in(&mut self, happened: &CommandEvent) -> Result<Option<Ended>> {
        let next = match (&mut self.keep, happened) {
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
            self.node.hand_over(None).await;
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
        let report = async {
            while let Some(event) = self.events.next().await {
                self.see(&event);
            }
        };
        let closing = async { tokio::join!(node.close(), report) };
        let mut closing = pin!(closing);
        let mut is_asked = false;
        loop {
            tokio::select! {
                _ = &mut closing => return is_asked,
                () = sleep_until(end_at) => return is_asked,
                () = stop.wait() => {
                    is_asked = true;
                    end_at = end_at.min(Instant::now() + CLOSE_TIME_MAX);
                }
            }
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
    if let Some(keep) = keep {
        keep.pause().await;
    }
    Permit::next(node, mode, margin).await
}

async fn next_fault(faults: &mut Option<mpsc::Receiver<Error>>) -> Option<Error> {
    match faults {
        Some(faults) => faults.recv().await,
        None => None,
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
