//! `graft demo`: a cluster in one process.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use graft_election::{
    ClusterInfo, Event, EventKind, MemoryNetwork, MemoryVotes, Node, NodeId, State, Status, quorum,
};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::report::{Line, Reporter, line, print_json};

/// Far longer than any election takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows a cluster in this process: it elects a leader, and survives its loss.
///
/// Each node has a runtime of its own, so that it can be killed like a process: it says no word of
/// farewell.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many nodes there are.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=graft_election::VOTERS_MAX as i64))]
    nodes: u16,
    /// Makes the nodes' random timeouts repeatable.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let size = usize::from(self.nodes);
        let mut stage = Stage::new(Reporter::new(self.json), size, self.seed);
        let began = Instant::now();
        stage.heading(&format!("{size} nodes start (seed {})", self.seed))?;
        for number in 1..=size {
            stage.start(number)?;
        }
        let first = stage.wait_for_leader(size)?;
        let first_after = began.elapsed();

        let lost = Instant::now();
        stage.heading(&format!("{} is killed", first.id))?;
        stage.kill(&first)?;
        let next = if size > quorum(size) {
            let next = stage.wait_for_leader(size - 1)?;
            Some((next, lost.elapsed()))
        } else {
            stage.heading(&format!("{} of {size} nodes can't elect anyone", size - 1))?;
            None
        };

        stage.heading(&format!("{} comes back with its vote", first.id))?;
        let number = stage.number_of(&first.id)?;
        stage.start(number)?;
        let last = stage.wait_for_leader(size)?;
        stage.summarize(&Summary {
            line: line("summary", &last),
            nodes: size,
            seed: self.seed,
            first_leader: first.id.to_string(),
            first_term: first.term,
            first_after_ms: first_after.as_millis(),
            next_leader: next.as_ref().map(|(next, _)| next.id.to_string()),
            next_term: next.as_ref().map(|(next, _)| next.term),
            next_after_ms: next.as_ref().map(|(_, after)| after.as_millis()),
            last_leader: last.id.to_string(),
            last_term: last.term,
        })?;
        stage.close();
        Ok(ExitCode::SUCCESS)
    }
}

/// How it went.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    nodes: usize,
    seed: u64,
    first_leader: String,
    first_term: u64,
    first_after_ms: u128,
    next_leader: Option<String>,
    next_term: Option<u64>,
    next_after_ms: Option<u128>,
    last_leader: String,
    last_term: u64,
}

/// The nodes, and what is known of them.
struct Stage {
    reporter: Reporter,
    size: usize,
    seed: u64,
    network: MemoryNetwork,
    votes: BTreeMap<usize, MemoryVotes>,
    running: BTreeMap<usize, Running>,
    /// How many lives were lived so far.
    lives: usize,
    events: mpsc::Receiver<(usize, Event)>,
    event_sender: mpsc::Sender<(usize, Event)>,
}

/// A node from its start to its end.
struct Running {
    life: usize,
    runtime: Runtime,
    node: Node,
    /// The latest that was reported of it.
    status: Arc<Status>,
    /// Whether it was reported to have a lease.
    has_lease: bool,
}

impl Stage {
    fn new(reporter: Reporter, size: usize, seed: u64) -> Self {
        let (event_sender, events) = mpsc::channel();
        Self {
            reporter,
            size,
            seed,
            network: MemoryNetwork::new(),
            votes: BTreeMap::new(),
            running: BTreeMap::new(),
            lives: 0,
            events,
            event_sender,
        }
    }

    fn start(&mut self, number: usize) -> Result<()> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let builder = Node::builder(ClusterInfo::new("demo", self.size))
            .id(NodeId::new(&format!("n{number}"))?)
            .seed(self.seed.wrapping_mul(1_000).wrapping_add(number as u64));
        let votes = self.votes.entry(number).or_default().clone();
        let transport = self.network.transport();
        let node = runtime.block_on(builder.start(transport, votes))?;
        self.lives += 1;
        let life = self.lives;
        let (mut events, sender) = (node.events(), self.event_sender.clone());
        runtime.spawn(async move {
            while let Some(event) = events.next().await {
                // The program may be over.
                let _ = sender.send((life, event));
            }
        });
        let status = node.status();
        self.reporter.started(&status, None)?;
        let running = Running { life, runtime, node, status, has_lease: false };
        self.running.insert(number, running);
        Ok(())
    }

    /// Stops all that the node does, at once, as if its process had been killed.
    fn kill(&mut self, status: &Status) -> Result<()> {
        let number = self.number_of(&status.id)?;
        if let Some(Running { runtime, node, .. }) = self.running.remove(&number) {
            // This waits until nothing is left of its tasks.
            drop(runtime);
            // Not before: a node whose handle is dropped hands over.
            drop(node);
        }
        Ok(self.reporter.killed(status)?)
    }

    fn number_of(&self, id: &NodeId) -> Result<usize> {
        id.as_str().trim_start_matches('n').parse().with_context(|| format!("{id} has no number"))
    }

    /// Reports what happens until `count` nodes agree on a leader of one term among them, and that one
    /// has its lease.
    fn wait_for_leader(&mut self, count: usize) -> Result<Arc<Status>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(leader) = self.agreed_leader(count) {
                return Ok(leader);
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            let Ok((life, event)) = self.events.recv_timeout(patience) else {
                bail!("no leader within {} seconds", PATIENCE.as_secs());
            };
            // What a killed node said last may still be on its way.
            if let Some(running) = self.running.values_mut().find(|running| running.life == life) {
                running.status = Arc::clone(&event.status);
                match event.kind {
                    EventKind::LeadershipGained { .. } => running.has_lease = true,
                    EventKind::LeadershipLost { .. } => running.has_lease = false,
                    _ => {}
                }
                self.reporter.event(&event)?;
            }
        }
    }

    fn agreed_leader(&self, count: usize) -> Option<Arc<Status>> {
        let statuses = || self.running.values().map(|running| &running.status);
        let holder = self.running.values().find(|running| running.has_lease)?;
        let leader = Some(&holder.status).filter(|status| status.state == State::Leader)?;
        let agreed = statuses().filter(|status| {
            status.term == leader.term && status.leader.as_ref() == Some(&leader.id)
        });
        (agreed.count() == count).then(|| Arc::clone(leader))
    }

    fn heading(&self, words: &str) -> Result<()> {
        Ok(self.reporter.heading(words)?)
    }

    fn summarize(&self, summary: &Summary<'_>) -> Result<()> {
        if self.reporter.is_json() {
            return Ok(print_json(summary)?);
        }
        let Summary { first_leader, first_term, first_after_ms, last_leader, last_term, .. } =
            summary;
        self.heading("Summary")?;
        self.reporter.note(&format!(
            "first leader  {first_leader} in term {first_term}, {first_after_ms} ms after the start"
        ))?;
        self.reporter.note(
            &match (&summary.next_leader, summary.next_term, summary.next_after_ms) {
                (Some(next), Some(term), Some(after)) => {
                    format!(
                        "next leader   {next} in term {term}, {after} ms after {first_leader} died"
                    )
                }
                _ => format!("next leader   none while {first_leader} was away"),
            },
        )?;
        self.reporter.note(&format!(
            "at the end    {last_leader} leads term {last_term}, and all {} nodes agree",
            summary.nodes
        ))?;
        Ok(())
    }

    fn close(self) {
        for Running { runtime, node, .. } in self.running.into_values() {
            runtime.block_on(node.close());
        }
    }
}
