//! The watchdog, as the process that it is: it starts COMMAND, and kills COMMAND and all that it
//! has started at the deadline that it was sent last, or as soon as the node is gone. A node that
//! is stopped, starved or killed could not.
//!
//! It is in a session of its own, and deaf to all signals that can be blocked from before its first
//! instruction on, so that nothing that is meant for COMMAND ends it.

use std::ffi::OsString;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::signal::{SigSet, Signal as CaughtSignal};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, setsid, wait};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::cgroup::Cgroup;
use super::child::CHILD_TASK;
use super::containment::{Containment, KILL_TIME_MAX};
use super::messages::{ContainedBy, News, Order, line};
use crate::machine_clock::now;
use crate::process::own_program;
use crate::runtime;

/// The hidden subcommand that runs it. People see it in `ps`.
pub(crate) const WATCHDOG_TASK: &str = "watchdog";

/// How often it compares the clock with the deadline: timers stop while the machine is suspended,
/// and the clock doesn't.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How long it goes on killing what does not die.
const PERSISTENCE: Duration = Duration::from_secs(10);

/// Start COMMAND and kill it at a deadline, for `graft run`.
#[derive(Debug, Args)]
pub(crate) struct WatchdogArgs {
    /// The cluster's name, for people.
    #[arg(long)]
    cluster: String,
    /// The node's id, for people.
    #[arg(long)]
    id: String,
    /// The cgroup in which COMMAND is to run.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// The process group that COMMAND joins, instead of one of its own.
    #[arg(long)]
    group: Option<i32>,
    /// When COMMAND must be gone, in microseconds since the machine was started.
    #[arg(long)]
    deadline: Option<u64>,
    /// The command.
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

impl WatchdogArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut ended = SigSet::empty();
        ended.add(CaughtSignal::SIGCHLD);
        ended.thread_unblock().context("could not listen for signals")?;
        // It has one thread alone: COMMAND dies with the thread that started it.
        runtime::on_this_thread()?.block_on(self.watch())
    }

    async fn watch(self) -> Result<ExitCode> {
        self.show_name();
        let (node, input) = accept_node().context("only graft run can start a watchdog")?;
        let orders = tokio::net::UnixStream::from_std(node.try_clone()?)?;
        let mut orders = BufReader::new(orders).lines();
        let mut child_signal = signal(SignalKind::child())?;
        let mut deadline = self.deadline.map_or(Duration::MAX, Duration::from_micros);
        let mut watch = self.start(node, input)?;
        let has_fired = loop {
            if !watch.children.reap() || watch.children.status.is_some() {
                break false;
            }
            let time_left = deadline.saturating_sub(now());
            if time_left.is_zero() {
                break true;
            }
            tokio::select! {
                order = orders.next_line() => match read(order) {
                    Some(Order::Deadline(later)) => deadline = Duration::from_micros(later),
                    Some(Order::Terminate) => watch.signal(&[Signal::TERM, Signal::CONT]),
                    Some(Order::Continue) => watch.signal(&[Signal::CONT]),
                    Some(Order::Kill) | None => break false,
                },
                _ = child_signal.recv() => {}
                () = sleep(time_left.min(CHECK_INTERVAL)) => {}
            }
        };
        watch.end(has_fired);
        Ok(ExitCode::SUCCESS)
    }

    /// Starts COMMAND inside of what contains it.
    fn start(self, news: UnixStream, input: OwnedFd) -> Result<Watch> {
        let mut containment = Containment::new(self.cgroup.and_then(Cgroup::at))?;
        let mut child = Command::new(own_program()?);
        child
            .args([CHILD_TASK, &std::process::id().to_string(), "--"])
            .args(&self.words)
            .stdin(Stdio::from(input))
            .process_group(self.group.unwrap_or_default());
        let command = Pid::from_child(&containment.start(&mut child)?);
        // Only now: COMMAND stays in the session of the node, and so on its terminal.
        setsid().context("could not begin a session")?;
        let group = self.group.and_then(Pid::from_raw).unwrap_or(command);
        let watch =
            Watch { children: Children { news, command, status: None }, group, containment };
        let pid = command.as_raw_nonzero().get();
        let contained_by = watch.containment.contained_by();
        watch.children.tell(&News::Started { pid, contained_by });
        Ok(watch)
    }

    /// Where a list of processes has room for a few letters only.
    fn show_name(&self) {
        #[cfg(target_os = "linux")]
        if let Ok(name) = std::ffi::CString::new(format!("watchdog:{}", self.cluster)) {
            // It is for people to see, and no reason not to watch.
            let _ = rustix::thread::set_name(&name);
        }
    }
}

/// COMMAND, and what contains it.
struct Watch {
    children: Children,
    /// COMMAND's process group.
    group: Pid,
    containment: Containment,
}

impl Watch {
    fn signal(&self, signals: &[Signal]) {
        for signal in signals {
            // It is no error if all of it is gone.
            let _ = kill_process_group(self.group, *signal);
        }
    }

    /// Kills all that is left, and tells the node when that is done.
    fn end(&mut self, has_fired: bool) {
        if self.containment.contained_by() == ContainedBy::Group {
            self.signal(&[Signal::KILL]);
        }
        let began = Instant::now();
        for deadline in [began + KILL_TIME_MAX, began + PERSISTENCE] {
            let survivors = self.containment.kill_until(deadline, || !self.children.reap());
            if survivors.is_empty() {
                self.containment.remove();
                self.children.tell_end(has_fired);
                return;
            }
            self.children.tell(&News::Unkillable(survivors));
        }
    }
}

/// COMMAND, and the orphans of what it started, as children of this process.
struct Children {
    news: UnixStream,
    command: Pid,
    /// How COMMAND ended.
    status: Option<ExitStatus>,
}

impl Children {
    /// Takes note of what they have done. Returns whether any is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
                Ok(Some((pid, status))) if pid == self.command => {
                    if let Some(signal) = status.stopping_signal() {
                        self.tell(&News::Stopped { signal });
                    } else if status.continued() {
                        self.tell(&News::Continued);
                    } else {
                        self.status = Some(ExitStatus::from_raw(status.as_raw()));
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn tell_end(&self, has_fired: bool) {
        let killed = ExitStatus::from_raw(Signal::KILL.as_raw());
        let status = self.status.unwrap_or(killed).into_raw();
        self.tell(&News::Ended { status, has_fired });
    }

    fn tell(&self, news: &News) {
        // There is room for all that is ever said. If the node is gone, the orders end.
        let _ = (&self.news).write(&line(news));
    }
}

/// The socket to the node, which is the standard input, and what is to be COMMAND's.
fn accept_node() -> Result<(UnixStream, OwnedFd)> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut received = RecvAncillaryBuffer::new(&mut space);
    // COMMAND gets it as its standard input, and not a second time. Other systems lack this flag.
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut received, flags)?;
    let mut files = received.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let input = files.next().and_then(|mut files| files.next());
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok((socket, input.context("there is no input for the command")?))
}

/// An order, or none if the node is gone.
fn read(line: io::Result<Option<String>>) -> Option<Order> {
    serde_json::from_str(&line.ok()??).ok()
}
