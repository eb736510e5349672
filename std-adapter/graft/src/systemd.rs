//! What systemd is told, if it has started the program as a service of `Type=notify`.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election::{Node, State, Status};
use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};

/// The variables by which systemd is known; they are for this program, and not for COMMAND.
pub(crate) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How many messages wait for systemd. More are dropped: the next tell as much.
const WAITING_MAX: usize = 16;

/// Tells systemd how the node is, and never waits for it.
#[derive(Debug)]
pub(crate) struct Systemd {
    /// None if systemd hasn't started the program.
    messages: Option<SyncSender<Told>>,
    watchdog: Option<Watchdog>,
    status: String,
}

/// What it is told.
#[derive(Debug)]
enum Told {
    Ready,
    Status(String),
    Alive,
    Stopping,
}

/// A service whose watchdog isn't fed for this long is killed, and started again.
#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    feed_at: Instant,
}

impl Systemd {
    /// Whoever has started the program, if that is systemd.
    pub(crate) fn new() -> Result<Self> {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some();
        let messages = if is_there { Some(start()?) } else { None };
        let interval = sd_notify::watchdog_enabled().filter(|_| is_there).map(|time| time / 2);
        let watchdog = interval.map(|interval| Watchdog { interval, feed_at: Instant::now() });
        Ok(Self { messages, watchdog, status: String::new() })
    }

    /// The node runs.
    pub(crate) fn ready(&mut self, status: &Status) {
        self.tell(Told::Ready);
        self.see(status);
    }

    /// The node is like this now.
    pub(crate) fn see(&mut self, status: &Status) {
        let words = in_words(status);
        if words != self.status {
            self.status.clone_from(&words);
            self.tell(Told::Status(words));
        }
    }

    /// The program is about to end.
    pub(crate) fn stopping(&self) {
        self.tell(Told::Stopping);
    }

    /// Feeds the watchdog each time it is due, and only when the node answers. Never ends.
    /// Cancel-safe.
    pub(crate) async fn feed(&mut self, node: &Node) {
        loop {
            let Some(watchdog) = &self.watchdog else { return std::future::pending().await };
            sleep_until(watchdog.feed_at).await;
            if !node.answers().await {
                return std::future::pending().await;
            }
            self.tell(Told::Alive);
            if let Some(watchdog) = &mut self.watchdog {
                watchdog.feed_at = Instant::now() + watchdog.interval;
            }
        }
    }

    fn tell(&self, told: Told) {
        if let Some(messages) = &self.messages {
            let _ = messages.try_send(told);
        }
    }
}

/// Starts a thread of its own that tells systemd.
fn start() -> Result<SyncSender<Told>> {
    let (sender, messages) = sync_channel(WAITING_MAX);
    let tell = move || {
        for told in messages {
            let state = match &told {
                Told::Ready => NotifyState::Ready,
                Told::Status(words) => NotifyState::Status(words),
                Told::Alive => NotifyState::Watchdog,
                Told::Stopping => NotifyState::Stopping,
            };
            // There is nobody else to whom this could be told.
            let _ = sd_notify::notify(&[state]);
        }
    };
    let thread = std::thread::Builder::new().name("systemd".to_owned()).spawn(tell);
    thread.context("could not start to tell systemd")?;
    Ok(sender)
}

fn in_words(status: &Status) -> String {
    let Status { state, term, leader, .. } = status;
    match (state, leader) {
        (State::Leader, _) => format!("leads in term {term}"),
        (_, Some(leader)) => format!("follows {leader} in term {term}"),
        (_, None) => format!("has no leader (term {term})"),
    }
}
