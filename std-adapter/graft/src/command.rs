//! COMMAND, which runs while this node leads, one at a time.
//!
//! The node starts a [watchdog](watchdog_task), and the watchdog starts COMMAND. Each of the two
//! notices when the other is gone, and either can kill [all](containment) that COMMAND has started.

mod cgroup;
mod child;
mod containment;
mod messages;
mod processes;
mod script;
mod terminal;
mod watchdog;
mod watchdog_task;

use std::ffi::OsString;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election::Node;
use rustix::process::Signal as SentSignal;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

pub(crate) use self::child::{CHILD_TASK, ChildArgs, unless_runnable};
use self::containment::KILL_TIME_MAX;
pub(crate) use self::messages::ContainedBy;
use self::messages::{News, Order};
pub(crate) use self::processes::Process;
pub(crate) use self::script::{Script, ScriptError};
use self::terminal::Terminal;
pub(crate) use self::terminal::{
    PLACEHOLDER_TASK, PlaceholderArgs, has_shell, keep_running_in_background, own_group,
};
use self::watchdog::{Watchdog, Watched};
pub(crate) use self::watchdog_task::{WATCHDOG_TASK, WatchdogArgs};
use crate::permit::Permit;
use crate::process::Reaper;

/// How long the watchdog may take to kill all, and to say whether it could.
const ANSWER_TIME_MAX: Duration = KILL_TIME_MAX.saturating_add(Duration::from_millis(100));

/// A command, which runs under one permit at a time.
#[derive(Debug)]
pub(crate) struct Command {
    words: Vec<OsString>,
    grace: Duration,
    /// How often the watchdog hears how long the lease lasts.
    renewal_interval: Duration,
    reaper: Reaper,
    /// This program goes on after it was stopped.
    resumed: Signal,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Running(Box<Running>),
    /// Its watchdog is gone, or doesn't answer.
    Unwatched(JoinHandle<Vec<Process>>),
}

#[derive(Debug)]
struct Running {
    watchdog: Watchdog,
    permit: Permit,
    stage: Stage,
    terminal: Option<Terminal>,
    /// The signal that has stopped COMMAND, until that was reported.
    stopped_by: Option<i32>,
}

/// How far COMMAND is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has asked it to end.
    Working,
    /// It was sent SIGTERM.
    Terminating { kill_at: Instant },
    /// The watchdog was told to kill it.
    Killed { gone_at: Instant },
}

/// What has happened to COMMAND.
#[derive(Debug)]
pub(crate) enum CommandEvent {
    Started {
        pid: i32,
        contained_by: ContainedBy,
    },
    /// A signal stopped it, and did not end it.
    Stopped {
        signal: i32,
        /// It is on a terminal, and this program is about to stop with it.
        with_node: bool,
    },
    Continued,
    Ended(Ended),
    /// It was to end, and these can't be killed. Nobody waits for them.
    Unkillable(Vec<Process>),
    /// Its watchdog was killed, was stopped, or doesn't answer. So it was killed too, except for
    /// these.
    WatchdogLost(Vec<Process>),
}

impl CommandEvent {
    /// The machine name of the [`error`](Self::error).
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unkillable(_) => Some("command_unkillable"),
            Self::WatchdogLost(_) => Some("watchdog_lost"),
            _ => None,
        }
    }

    /// Why this node must not lead any longer, if so.
    pub(crate) fn error(&self) -> Option<String> {
        let (is_unwatched, processes) = match self {
            Self::Unkillable(processes) => (false, processes),
            Self::WatchdogLost(processes) => (true, processes),
            _ => return None,
        };
        let names: Vec<_> = processes.iter().map(Process::to_string).collect();
        let unkillable = format!("can't kill what the command has started: {}", names.join(", "));
        Some(match (is_unwatched, processes.is_empty()) {
            (true, true) => "the command's watchdog is gone, so the command was killed".to_owned(),
            (true, false) => format!("the command's watchdog is gone; {unkillable}"),
            (false, _) => unkillable,
        })
    }
}

impl Command {
    /// The command of these `words`, which has `grace` to end after SIGTERM; `None` without words.
    /// Its watchdog is told of the lease at each `renewal_interval`.
    pub(crate) fn new(
        words: Vec<OsString>,
        grace: Duration,
        renewal_interval: Duration,
        reaper: Reaper,
    ) -> Result<Option<Self>> {
        if words.is_empty() {
            return Ok(None);
        }
        let resumed = signal(SignalKind::from_raw(SentSignal::CONT.as_raw()))?;
        let state = State::Idle;
        Ok(Some(Self { words, grace, renewal_interval, reaper, resumed, state }))
    }

    /// Waits for what happens to COMMAND next, or forever if it is not running. COMMAND gets
    /// SIGTERM when its permit is about to expire, and SIGKILL when the permit or its grace has
    /// expired. Cancel-safe.
    pub(crate) async fn next_event(&mut self) -> Result<CommandEvent> {
        loop {
            let running = match &mut self.state {
                State::Idle => return pending().await,
                State::Running(running) => running,
                State::Unwatched(killing) => {
                    let survivors = killing.await.context("could not kill the command");
                    self.state = State::Idle;
                    return Ok(CommandEvent::WatchdogLost(survivors?));
                }
            };
            running.suspend();
            running.watchdog.renew(&running.permit);
            let stage = running.stage;
            tokio::select! {
                biased;
                news = running.watchdog.next() => match news {
                    Some(news) => return Ok(self.take_in(news)),
                    None => self.kill_unwatched(),
                },
                _ = self.resumed.recv() => running.resume(),
                () = running.permit.expired(), if !stage.is_killed() => self.kill(),
                () = running.permit.ending(), if stage == Stage::Working => self.stop(),
                () = stage.over() => match stage {
                    Stage::Killed { .. } => self.kill_unwatched(),
                    _ => self.kill(),
                },
                () = sleep(self.renewal_interval) => {}
            }
        }
    }

    /// Sends the command SIGTERM, once; its grace begins.
    pub(crate) fn stop(&mut self) {
        if let State::Running(running) = &mut self.state
            && running.stage == Stage::Working
        {
            running.watchdog.order(Order::Terminate);
            running.stage = Stage::Terminating { kill_at: Instant::now() + self.grace };
        }
    }

    /// Ends the command's grace.
    pub(crate) fn kill(&mut self) {
        if let State::Running(running) = &mut self.state
            && !running.stage.is_killed()
        {
            running.watchdog.order(Order::Kill);
            running.stage = Stage::Killed { gone_at: Instant::now() + ANSWER_TIME_MAX };
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Starts the command under `permit`.
    pub(crate) fn start(&mut self, node: &Node, permit: Permit) -> Result<()> {
        let terminal = Terminal::lend()?;
        let watched = Watched {
            words: &self.words,
            group: terminal.as_ref().map(Terminal::group),
            environment: vec![("GRAFT_TERM", permit.token().to_string())],
            deadline: permit.deadline(),
            is_script: false,
        };
        let watchdog = Watchdog::start(watched, node, &self.reaper)?;
        let stage = Stage::Working;
        let running = Running { watchdog, permit, stage, terminal, stopped_by: None };
        self.state = State::Running(Box::new(running));
        Ok(())
    }

    fn take_in(&mut self, news: News) -> CommandEvent {
        let State::Running(running) = &mut self.state else {
            // Only a COMMAND that runs has a watchdog that tells.
            return CommandEvent::Continued;
        };
        match news {
            News::Started { pid, contained_by } => CommandEvent::Started { pid, contained_by },
            News::Stopped { signal } => {
                running.stopped_by = Some(signal);
                let with_node = running.terminal.is_some() && has_shell();
                CommandEvent::Stopped { signal, with_node }
            }
            News::Continued => CommandEvent::Continued,
            News::Unkillable(survivors) => {
                self.state = State::Idle;
                CommandEvent::Unkillable(survivors)
            }
            News::Ended { status, has_fired } => {
                let status = ExitStatus::from_raw(status);
                if let Some(terminal) = &running.terminal {
                    terminal.pass_on(status.signal());
                }
                let by_itself = running.stage == Stage::Working && !has_fired;
                self.state = State::Idle;
                CommandEvent::Ended(Ended { by_itself, status })
            }
        }
    }

    fn kill_unwatched(&mut self) {
        if let State::Running(running) = std::mem::replace(&mut self.state, State::Idle) {
            self.state = State::Unwatched(running.watchdog.kill());
        }
    }
}

impl Running {
    /// Stops this program with a COMMAND that the terminal has stopped.
    fn suspend(&mut self) {
        if let Some(signal) = self.stopped_by.take()
            && let Some(terminal) = &self.terminal
            && !terminal.suspend(signal)
        {
            self.watchdog.order(Order::Continue);
        }
    }

    /// This program goes on, and so does COMMAND.
    fn resume(&mut self) {
        if let Some(terminal) = &self.terminal {
            terminal.resume();
        }
        self.watchdog.order(Order::Continue);
    }
}

impl Stage {
    fn is_killed(self) -> bool {
        matches!(self, Self::Killed { .. })
    }

    /// Waits until it should be over, or forever.
    async fn over(self) {
        match self {
            Self::Working => pending().await,
            Self::Terminating { kill_at } => sleep_until(kill_at).await,
            Self::Killed { gone_at } => sleep_until(gone_at).await,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// Neither a signal of ours nor the end of its permit ended it.
    pub(crate) by_itself: bool,
    pub(crate) status: ExitStatus,
}

impl Ended {
    /// Whether the command has done its job. One that was asked to end may say so, too, and has
    /// only ended in order.
    pub(crate) fn is_success(self) -> bool {
        self.by_itself && self.status.success()
    }

    /// The command's own status, as a shell would give it.
    pub(crate) fn exit_code(self) -> u8 {
        let code = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 1,
        };
        u8::try_from(code).unwrap_or(1)
    }
}
