//! What goes wrong.

use std::time::Duration;

use anyhow::Result;
use graft_election_tests::proxy::Line;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::process::signal;
use crate::{PAUSE_MAX, STEP, Soak};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    NodeKilled,
    NodePaused,
    NodeTerminated,
    WatchdogKilled,
    WatchdogPaused,
    CommandKilled,
    CommandPaused,
    ServerPaused,
    ServerRestarted,
    NetworkSilent,
    NetworkDeaf,
    NetworkMute,
    NetworkCut,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::NodeKilled,
        Self::NodePaused,
        Self::NodeTerminated,
        Self::WatchdogKilled,
        Self::WatchdogPaused,
        Self::CommandKilled,
        Self::CommandPaused,
        Self::ServerPaused,
        Self::ServerRestarted,
        Self::NetworkSilent,
        Self::NetworkDeaf,
        Self::NetworkMute,
        Self::NetworkCut,
    ];

    pub(crate) fn draw(random: &mut StdRng) -> Self {
        Self::ALL.choose(random).copied().unwrap_or(Self::NodeKilled)
    }
}

impl Soak {
    /// Has a fault happen: mostly to whoever has a COMMAND, if it is one of a node.
    pub(crate) async fn strike(&mut self, fault: Fault) -> Result<()> {
        *self.counts.entry(fault).or_default() += 1;
        let busy = self.nodes.iter().position(|node| node.command().is_some());
        let any = self.random.random_range(0..self.nodes.len());
        let index = busy.filter(|_| self.random.random_bool(0.8)).unwrap_or(any);
        let node = &self.nodes[index];
        let (pid, watchdog, command) = (node.pid()?, node.watchdog(), node.command());
        match fault {
            Fault::NodeKilled => signal(pid, Signal::KILL),
            Fault::NodePaused => self.pause(Some(pid)).await?,
            Fault::NodeTerminated => signal(pid, Signal::TERM),
            Fault::WatchdogKilled => self.kill(watchdog),
            Fault::WatchdogPaused => self.pause(watchdog).await?,
            Fault::CommandKilled => self.kill(command),
            Fault::CommandPaused => self.pause(command).await?,
            Fault::ServerPaused => {
                if let Some(server) = self.server.take() {
                    server.pause();
                    self.last_a_while().await?;
                    server.resume();
                    self.server = Some(server);
                }
            }
            Fault::ServerRestarted => {
                if let Some(stopped) = self.server.take().map(|server| server.stop()) {
                    self.last_a_while().await?;
                    self.server = Some(stopped.restart());
                }
            }
            Fault::NetworkSilent => self.disturb(index, Line::Silent).await?,
            Fault::NetworkDeaf => self.disturb(index, Line::Deaf).await?,
            Fault::NetworkMute => self.disturb(index, Line::Mute).await?,
            Fault::NetworkCut => self.proxies[index].cut(),
        }
        Ok(())
    }

    fn kill(&self, pid: Option<i32>) {
        if let Some(pid) = pid {
            signal(pid, Signal::KILL);
        }
    }

    async fn pause(&mut self, pid: Option<i32>) -> Result<()> {
        if let Some(pid) = pid {
            signal(pid, Signal::STOP);
            self.last_a_while().await?;
            signal(pid, Signal::CONT);
        }
        Ok(())
    }

    async fn disturb(&mut self, index: usize, line: Line) -> Result<()> {
        self.proxies[index].set(line);
        self.last_a_while().await?;
        self.proxies[index].set(Line::Open);
        Ok(())
    }

    /// Waits while something is wrong, and judges what happens meanwhile.
    async fn last_a_while(&mut self) -> Result<()> {
        let end_at = Instant::now() + self.random.random_range(Duration::ZERO..PAUSE_MAX);
        while Instant::now() < end_at {
            self.judge.read()?;
            sleep(STEP).await;
        }
        Ok(())
    }
}
