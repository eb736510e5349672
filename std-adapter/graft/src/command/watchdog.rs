//! The node's side of a watchdog: a process of its own that ends COMMAND, or a script, in time even
//! if the node can't. The node in turn ends COMMAND if its watchdog is gone.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use graft_election::Node;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::task::JoinHandle;

use super::cgroup::Cgroup;
use super::containment::{Containment, KILL_TIME_MAX};
use super::messages::{News, Order, line};
use super::processes::Process;
use super::watchdog_task::WATCHDOG_TASK;
use crate::permit::Permit;
use crate::process::{Reaper, own_program, spawn_deaf};
use crate::sources::variables;
use crate::systemd;

/// A watchdog that has been started.
#[derive(Debug)]
pub(super) struct Watchdog {
    process: Pid,
    news: Lines<BufReader<tokio::net::UnixStream>>,
    orders: UnixStream,
    containment: Containment,
}

/// What a watchdog is to start, and to kill.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    pub(super) words: &'a [OsString],
    /// Its process group, if it isn't to have one of its own.
    pub(super) group: Option<Pid>,
    /// Its part of the environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// When it must be gone, on the [clock](crate::machine_clock) of both.
    pub(super) deadline: Option<Duration>,
    /// Whether it has no input, and its output goes where the errors go. Otherwise the standard
    /// input and output of this program are its own.
    pub(super) is_script: bool,
}

impl Watchdog {
    /// Starts a watchdog, which starts `watched`.
    pub(super) fn start(watched: Watched<'_>, node: &Node, reaper: &Reaper) -> Result<Self> {
        // Without a cgroup, descent has to do.
        let cgroup = Cgroup::create().ok();
        let (socket, its_socket) = UnixStream::pair().context("could not make a socket")?;
        socket.set_nonblocking(true)?;
        let mut watchdog = std::process::Command::new(own_program()?);
        watchdog.arg0("graft").args([
            WATCHDOG_TASK,
            "--cluster",
            &node.cluster_info().name,
            "--id",
            node.id().as_str(),
        ]);
        if let Some(cgroup) = &cgroup {
            watchdog.arg("--cgroup").arg(cgroup.path());
        }
        if let Some(group) = watched.group {
            watchdog.args(["--group", &group.as_raw_nonzero().to_string()]);
        }
        if let Some(deadline) = watched.deadline {
            watchdog.args(["--deadline", &in_micros(deadline).to_string()]);
        }
        watchdog.arg("--").args(watched.words);
        for variable in systemd::VARIABLES.into_iter().map(str::to_owned).chain(variables()) {
            watchdog.env_remove(variable);
        }
        watchdog
            .envs(watched.environment)
            .env("GRAFT_ID", node.id().as_str())
            .env("GRAFT_CLUSTER", &node.cluster_info().name)
            .stdin(Stdio::from(OwnedFd::from(its_socket)));
        let containment = Containment::new(cgroup)?;
        if watched.is_script {
            send_input(&socket, File::open("/dev/null")?)?;
            watchdog.stdout(io::stderr().as_fd().try_clone_to_owned()?);
        } else {
            send_input(&socket, io::stdin()).context("could not hand the standard input on")?;
        }
        let process = match spawn_deaf(&mut watchdog) {
            Ok(process) => process,
            Err(error) => {
                containment.remove();
                return Err(error.context("could not start a watchdog"));
            }
        };
        reaper.keep_running(&process);
        let news = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
        let news = BufReader::new(news).lines();
        Ok(Self { process: Pid::from_child(&process), news, orders: socket, containment })
    }

    /// What it tells next; none if it is gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<News> {
        let line = self.news.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }

    /// Moves the deadline to when `permit` now expires.
    pub(super) fn renew(&self, permit: &Permit) {
        if let Some(deadline) = permit.deadline() {
            // If there is no room for it, the old deadline holds.
            self.order(Order::Deadline(in_micros(deadline)));
        }
    }

    /// Tells it to do something. If it can't be told, it is gone, or its last deadline comes.
    pub(super) fn order(&self, order: Order) {
        // A socket takes so few bytes as a whole or not at all.
        let _ = (&self.orders).write(&line(&order));
    }

    /// Kills the watchdog of a script that is no longer wanted, if it is still there, and with it
    /// the script. COMMAND has a watchdog and a cgroup of its own.
    pub(super) fn abandon(self) {
        if let Ok(None) = waitpid(Some(self.process), WaitOptions::NOHANG) {
            let _ = kill_process(self.process, Signal::KILL);
        }
        self.containment.kill_cgroup();
    }

    /// Kills the watchdog, if it is still there, and all that it had to watch. Resolves to what
    /// can't be killed.
    pub(super) fn kill(self) -> JoinHandle<Vec<Process>> {
        let Self { process, containment, .. } = self;
        tokio::task::spawn_blocking(move || {
            // Otherwise it has ended, and its id may be another's.
            if let Ok(None) = waitpid(Some(process), WaitOptions::NOHANG) {
                let _ = kill_process(process, Signal::KILL);
            }
            let deadline = Instant::now() + KILL_TIME_MAX;
            let survivors = containment.kill_until(deadline, || containment.has_no_descendants());
            containment.remove();
            survivors
        })
    }
}

fn in_micros(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX)
}

/// Sends what is to be the standard input of what the watchdog starts.
fn send_input(socket: &UnixStream, input: impl AsFd) -> io::Result<()> {
    let input = [input.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(&input));
    sendmsg(socket, &[IoSlice::new(&[0])], &mut message, SendFlags::empty())?;
    Ok(())
}
