//! `graft run`: one node in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use graft_election::{
    ClusterInfo, Config, Events, LocalTransport, Mode, NatsTransport, Node, NodeId, OpenError,
    SerialLine, SerialTransport, Status, Transport, VOTERS_MAX, VoteFile,
};

use crate::authority::Authority;
use crate::command::Command;
use crate::report::Reporter;
use crate::stop::Stop;

/// Runs one node in the foreground until SIGINT or SIGTERM, which close it in order.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The cluster's name.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// How many voters the cluster has.
    #[arg(long, value_name = "N")]
    size: usize,
    /// The node's id; otherwise the one that is kept with its votes, or a new random one.
    #[arg(long)]
    id: Option<NodeId>,
    /// The ids of all voters, separated by commas, this node's included. Only a declared list keeps
    /// more nodes than N from voting.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    voters: Vec<NodeId>,
    /// What the node asks of the others, and relies on.
    #[arg(long, value_enum, default_value_t = ModeName::Extended)]
    mode: ModeName,
    /// How gladly the node leads: a leader gives way to a follower of higher priority, in time.
    #[arg(long, value_name = "P", default_value_t = Config::PRIORITY)]
    priority: u32,
    /// Have the node vote and never lead: the same as priority 0.
    #[arg(long, conflicts_with = "priority")]
    witness: bool,
    /// Where the node keeps its votes, in the Go original's format. Otherwise the first of
    /// NAME.1.vote, NAME.2.vote, … in the current directory that no other node uses.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The NATS server, or several separated by commas.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// The directory through which the nodes of this machine talk, instead of NATS.
    #[arg(long, value_name = "DIR", conflicts_with = "nats")]
    local: Option<PathBuf>,
    /// The serial line on which the nodes talk, instead of NATS: DEVICE@BAUD, unix:PATH or
    /// tcp:HOST:PORT.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["nats", "local"])]
    serial: Option<SerialLine>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// How many seconds COMMAND has to end after SIGTERM, before SIGKILL. In Extended mode it has
    /// that long while the leadership is kept; it never outlives the lease.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
    /// Runs while this node leads, with GRAFT_TERM, GRAFT_ID and GRAFT_CLUSTER in its environment.
    /// GRAFT_TERM is the fencing token: what COMMAND writes to should refuse one that is lower than
    /// any it has seen. When COMMAND ends by itself, the node closes and the program ends with its
    /// status. In Extended mode it runs under a valid lease only, and all that it started is killed
    /// before the lease ends.
    #[arg(last = true)]
    command: Vec<String>,
}

/// The mode, as a word.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    /// Every voter is of this implementation: pre-votes, a lease.
    Extended,
    /// Some voters are Go nodes: the plain election, without a lease.
    Graft,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Extended => Self::Extended,
            ModeName::Graft => Self::Graft,
        }
    }
}

impl Run {
    pub(crate) fn run(self) -> Result<ExitCode> {
        // Before anything is created or connected: a wrong setting leaves no trace.
        let config = Config { voters: &self.voters, ..Config::new(&self.cluster, self.size) };
        config.check(VOTERS_MAX)?;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start the runtime")?
            .block_on(self.run_node())
    }

    async fn run_node(self) -> Result<ExitCode> {
        let stop = Stop::new()?;
        if let Some(directory) = &self.local {
            let transport = LocalTransport::new(directory);
            return self.run_over(transport, stop).await;
        }
        if let Some(line) = &self.serial {
            let transport = SerialTransport::new(line.clone());
            return self.run_over(transport, stop).await;
        }
        let servers: Vec<&str> = self.nats.split(',').collect();
        let transport = NatsTransport::connect(servers)
            .await
            .with_context(|| format!("could not connect to {}", self.nats))?;
        self.run_over(transport, stop).await
    }

    async fn run_over(self, transport: impl Transport, stop: Stop) -> Result<ExitCode> {
        let votes = self.open_votes()?;
        let vote_path = votes.path().to_owned();
        let mode = Mode::from(self.mode);
        let mut builder = Node::builder(ClusterInfo::new(self.cluster, self.size))
            .voters(self.voters)
            .mode(mode)
            .priority(if self.witness { 0 } else { self.priority });
        if let Some(id) = self.id {
            builder = builder.id(id);
        }
        let node = builder.start(transport, votes).await.context("could not start the node")?;
        let foreground = Foreground {
            reporter: Reporter::new(self.json),
            events: node.events(),
            node,
            vote_path,
            mode,
            command: Command::new(self.command, Duration::from_secs(self.grace)),
            stop,
        };
        foreground.run().await
    }

    fn open_votes(&self) -> Result<VoteFile> {
        if let Some(path) = &self.log {
            return Ok(VoteFile::open(path)?);
        }
        // As many files as voters: nodes that share a directory share no vote.
        for number in 1..=self.size {
            match VoteFile::open(format!("{}.{number}.vote", self.cluster.replace('/', "_"))) {
                Err(OpenError::InUse { .. }) => {}
                opened => return Ok(opened?),
            }
        }
        bail!("{} nodes of cluster {} run here already", self.size, self.cluster)
    }
}

/// What goes on in the foreground while the node runs.
struct Foreground {
    reporter: Reporter,
    events: Events,
    node: Node,
    vote_path: PathBuf,
    mode: Mode,
    command: Option<Command>,
    stop: Stop,
}

impl Foreground {
    async fn run(mut self) -> Result<ExitCode> {
        let ran = self.run_until_stopped(&self.node.status()).await;
        // The command ends before anyone else can lead; whatever went wrong, the node closes.
        let stopped = self.stop_command().await;
        self.node.close().await;
        while let Some(event) = self.events.next().await {
            self.reporter.event(&event)?;
        }
        stopped.and(ran)
    }

    async fn run_until_stopped(&mut self, at_start: &Status) -> Result<ExitCode> {
        self.reporter.started(at_start, Some(&self.vote_path))?;
        loop {
            let may_start = self.command.as_ref().is_some_and(|command| !command.is_running());
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => self.reporter.event(&event)?,
                    None => bail!("the node stopped by itself"),
                },
                authority = Authority::next(&self.node, self.mode), if may_start => {
                    if let Some(command) = &mut self.command {
                        command.start(&self.node, authority).await?;
                    }
                }
                ended = ended(&mut self.command) => {
                    let ended = ended?;
                    self.reporter.note(&ended.to_string())?;
                    if ended.by_itself {
                        return Ok(ended.exit_code());
                    }
                }
                () = self.stop.wait() => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    /// Ends the command, even if nobody can be told what happens meanwhile; a second signal ends its
    /// grace.
    async fn stop_command(&mut self) -> Result<()> {
        if let Some(command) = &mut self.command {
            command.stop();
        }
        let mut all_told = Ok(());
        while self.command.as_ref().is_some_and(Command::is_running) {
            let told = tokio::select! {
                ended = ended(&mut self.command) => self.reporter.note(&ended?.to_string()),
                Some(event) = self.events.next() => self.reporter.event(&event),
                () = self.stop.wait() => {
                    if let Some(command) = &mut self.command {
                        command.kill();
                    }
                    Ok(())
                }
            };
            all_told = all_told.and(told);
        }
        Ok(all_told?)
    }
}

async fn ended(command: &mut Option<Command>) -> Result<crate::command::Ended> {
    match command {
        Some(command) => command.ended().await,
        None => std::future::pending().await,
    }
}
