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

use crate::report::{Line, Reporter, Target, line};
use crate::traces::Traces;

/// Far longer than any election takes.
const ELECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// Show a cluster in this process: it elects a leader, loses it, and elects another.
///
/// Each node has a runtime of its own, and can be killed like a process, without a last message.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The number of nodes.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=graft_election::VOTERS_MAX as i64))]
    nodes: u16,
    /// The seed of the nodes' random timeouts.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl DemoArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let _traces = Traces::start(self.json)?;
        let size = usize::from(self.nodes);
        let mut show = Show::new(Reporter::new(self.json, Target::Stdout)?, size, self.seed);
        let began = Instant::now();
        show.heading(&format!("{size} nodes start (seed {})", self.seed));
        for number in 1..=size {
            show.start(number)?;
        }
        let first = show.wait_for_leader(size)?;
        let first_after = began.elapsed();

        let lost = Instant::now();
        show.heading(&format!("{} is killed", first.id));
        show.kill(&first)?;
        let next = if size > quorum(size) {
            let next = show.wait_for_leader(size - 1)?;
            Some((next, lost.elapsed()))
        } else {
            show.heading(&format!("{} of {size} nodes can't elect a leader", size - 1));
            None
        };

        show.heading(&format!("{} comes back with its vote", first.id));
        let number = show.number_of(&first.id)?;
        show.start(number)?;
        let last = show.wait_for_leader(size)?;
        show.summarize(&Summary {
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
        });
        show.close();
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

/// The nodes, and what they have reported.
struct Show {
    reporter: Reporter,
    size: usize,
    seed: u64,
    network: MemoryNetwork,
    votes: BTreeMap<usize, MemoryVotes>,
    running: BTreeMap<usize, Running>,
    /// How many nodes have been started so far.
    starts: usize,
    events: mpsc::Receiver<(usize, Event)>,
    event_sender: mpsc::Sender<(usize, Event)>,
}

/// A node from its start to its end.
struct Running {
    /// Which start this was.
    start: usize,
    runtime: Runtime,
    node: Node,
    /// The last that it reported.
    status: Arc<Status>,
    /// Whether it reported that it has a lease.
    has_lease: bool,
}

impl Show {
    fn new(reporter: Reporter, size: usize, seed: u64) -> Self {
        let (event_sender, events) = mpsc::channel();
        Self {
            reporter,
            size,
            seed,
            network: MemoryNetwork::new(),
            votes: BTreeMap::new(),
            running: BTreeMap::new(),
            starts: 0,
            events,
            event_sender,
        }
    }

    fn start(&mut self, number: usize) -> Result<()> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let builder = Node::builder(ClusterInfo::new("demo", self.size))
            .id(NodeId::new(&format!("n{number}"))?)
            // Another for each start: by that a node is told from its own earlier life (rule N4).
            .seed(self.seed.wrapping_mul(1_000).wrapping_add(self.starts as u64 + 1));
        let votes = self.votes.entry(number).or_default().clone();
        let transport = self.network.transport();
        let node = runtime.block_on(builder.start(transport, votes))?;
        self.starts += 1;
        let start = self.starts;
        let (mut events, sender) = (node.events(), self.event_sender.clone());
        runtime.spawn(async move {
            while let Some(event) = events.next().await {
                // The demonstration may be over.
                let _ = sender.send((start, event));
            }
        });
        let status = node.status();
        self.reporter.started(&status, None);
        let running = Running { start, runtime, node, status, has_lease: false };
        self.running.insert(number, running);
        Ok(())
    }

    /// Stops a node at once, as if its process had been killed.
    fn kill(&mut self, status: &Status) -> Result<()> {
        let number = self.number_of(&status.id)?;
        if let Some(Running { runtime, node, .. }) = self.running.remove(&number) {
            // This waits until the node's tasks are gone.
            drop(runtime);
            // The runtime goes first, because a node hands over when its handle is dropped.
            drop(node);
        }
        self.reporter.killed(status);
        Ok(())
    }

    fn number_of(&self, id: &NodeId) -> Result<usize> {
        id.as_str().trim_start_matches('n').parse().with_context(|| format!("{id} has no number"))
    }

    /// Reports what happens until `count` nodes agree on a leader and its term, and the leader has
    /// a lease.
    fn wait_for_leader(&mut self, count: usize) -> Result<Arc<Status>> {
        let deadline = Instant::now() + ELECTION_TIME_MAX;
        loop {
            if let Some(leader) = self.agreed_leader(count) {
                return Ok(leader);
            }
            let time_left = deadline.saturating_duration_since(Instant::now());
            let Ok((start, event)) = self.events.recv_timeout(time_left) else {
                bail!("no leader within {} seconds", ELECTION_TIME_MAX.as_secs());
            };
            // A killed node's last events may still be on their way.
            let running = self.running.values_mut().find(|running| running.start == start);
            if let Some(running) = running {
                running.status = Arc::clone(&event.status);
                match event.kind {
                    EventKind::LeadershipGained { .. } => running.has_lease = true,
                    EventKind::LeadershipLost { .. } => running.has_lease = false,
                    _ => {}
                }
                self.reporter.event(&event);
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

    fn heading(&self, words: &str) {
        self.reporter.heading(words);
    }

    fn summarize(&self, summary: &Summary<'_>) {
        if self.reporter.is_json() {
            self.reporter.print_json(summary);
            return;
        }
        let Summary { first_leader, first_term, first_after_ms, last_leader, last_term, .. } =
            summary;
        self.heading("Summary");
        self.reporter.note(&format!(
            "first leader  {first_leader} in term {first_term}, {first_after_ms} ms after the start"
        ));
        self.reporter.note(
            &match (&summary.next_leader, summary.next_term, summary.next_after_ms) {
                (Some(next), Some(term), Some(after)) => {
                    format!(
                        "next leader   {next} in term {term}, {after} ms after {first_leader} died"
                    )
                }
                _ => format!("next leader   none while {first_leader} was away"),
            },
        );
        self.reporter.note(&format!(
            "at the end    {last_leader} leads term {last_term}, and all {} nodes agree",
            summary.nodes
        ));
    }

    fn close(self) {
        for Running { runtime, node, .. } in self.running.into_values() {
            runtime.block_on(node.close());
        }
    }
}
