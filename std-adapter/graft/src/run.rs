//! `graft run`: one node in the foreground.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use graft_election::{
    ClusterInfo, Config, ConfigError, Events, LocalTransport, Mode, NatsTransport, Node, NodeId,
    OpenError, Reason, SerialLine, SerialTransport, StartError, Status, Transport, VOTERS_MAX,
    VoteFile,
};

use crate::command::{Command, Ended};
use crate::election_timeout::{ElectionTimeout, parse_duration};
use crate::nats_args::NatsArgs;
use crate::permit::Permit;
use crate::report::Reporter;
use crate::stop::Stop;

/// Run one node until SIGINT or SIGTERM, and COMMAND while the node leads.
///
/// Either signal closes the node in order: COMMAND ends, then a leader hands its leadership over.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The cluster's name.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// The number of voters in the cluster.
    #[arg(long, value_name = "N")]
    size: usize,
    /// The node's id. By default the one in its vote file, or a new random one.
    #[arg(long)]
    id: Option<NodeId>,
    /// The ids of all voters, this one included, separated by commas. Without this list, more than
    /// N nodes may vote. With it, the node needs a vote record to start: `graft voters --init`
    /// makes its first one, and `graft voters` changes the list later.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    voters: Vec<NodeId>,
    /// Which voters the cluster has.
    #[arg(long, value_enum, default_value_t = ModeName::Extended)]
    mode: ModeName,
    /// The node's preference for leading: a leader eventually hands over to a follower of higher
    /// priority. With priority 0 the node never leads.
    #[arg(long, value_name = "P", default_value_t = Config::PRIORITY)]
    priority: u32,
    /// Vote but never lead, as with priority 0.
    #[arg(long, conflicts_with = "priority")]
    witness: bool,
    /// Where the node stores its vote, in the Go original's format. By default the first of
    /// NAME.1.vote, NAME.2.vote, … in the current directory that no other node uses.
    // Go's users call that file a log.
    #[arg(long, alias = "log", value_name = "FILE")]
    vote_file: Option<PathBuf>,
    /// How long a node waits for a leader before it campaigns: a random time from MIN to MAX. MIN
    /// is also the length of the lease, less the clocks' drift. All voters take the same; longer
    /// times suit slow disks and busy machines.
    #[arg(long, value_name = "MIN..MAX", default_value_t)]
    election_timeout: ElectionTimeout,
    /// How often a leader says that it leads. At most half of MIN.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    heartbeat: Duration,
    /// Instead of NATS, the directory through which nodes on this machine communicate.
    #[arg(long, value_name = "DIR", conflicts_with = "NatsArgs")]
    local: Option<PathBuf>,
    /// Instead of NATS, the serial line that the nodes share: DEVICE@BAUD, unix:PATH or
    /// tcp:HOST:PORT.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["NatsArgs", "local"])]
    serial: Option<SerialLine>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// How many seconds COMMAND has between SIGTERM and SIGKILL. In Extended mode it never outlives
    /// the lease, so it has that long only while the node keeps the lease.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
    /// The command to run while this node leads, with GRAFT_TERM, GRAFT_ID and GRAFT_CLUSTER in its
    /// environment. GRAFT_TERM is the fencing token: pass it along with every write, and have the
    /// store reject any token lower than the highest it has seen. When COMMAND exits by itself, the
    /// node closes, and the program exits with COMMAND's status. In Extended mode COMMAND runs only
    /// under a valid lease; it and everything that it has started are killed before the lease ends.
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    nats: NatsArgs,
}

/// A mode by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeName {
    /// All run this implementation: pre-votes and a lease.
    Extended,
    /// Some are Go nodes: plain votes, and no lease.
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

impl RunArgs {
    pub(crate) fn run(self) -> Result<ExitCode> {
        // Checked before anything is created or connected, so that a wrong setting leaves no trace.
        let config = Config {
            voters: &self.voters,
            election_timeout_min: self.election_timeout.min,
            election_timeout_max: self.election_timeout.max,
            heartbeat_interval: self.heartbeat,
            ..Config::new(&self.cluster, self.size)
        };
        config.check(VOTERS_MAX)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start the runtime")?;
        let ran = runtime.block_on(self.run_node());
        // A disk that hangs must not keep the program from ending.
        runtime.shutdown_background();
        ran
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
        let nats = self.nats.clone().settings()?;
        let connected =
            NatsTransport::connect_to(&nats.servers, |options| nats.configure(options)).await;
        let transport = connected.map_err(|error| nats.explain(error))?;
        self.run_over(transport, stop).await
    }

    async fn run_over(self, transport: impl Transport, stop: Stop) -> Result<ExitCode> {
        let votes = self.open_votes()?;
        let vote_path = votes.path().to_owned();
        let mode = Mode::from(self.mode);
        let hint = VotersHint { id: self.id.clone(), voters: self.voters.clone() };
        let mut builder = Node::builder(ClusterInfo::new(self.cluster, self.size))
            .voters(self.voters)
            .mode(mode)
            .election_timeout(self.election_timeout.min, self.election_timeout.max)
            .heartbeat_interval(self.heartbeat)
            .priority(if self.witness { Config::WITNESS } else { self.priority });
        if let Some(id) = self.id {
            builder = builder.id(id);
        }
        let started = builder.start(transport, votes).await;
        let node = started.map_err(|error| explain(error, &vote_path, &hint))?;
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
        if let Some(path) = &self.vote_file {
            return Ok(VoteFile::open(path)?);
        }
        // One file per voter: nodes that share a directory must not share a vote.
        for number in 1..=self.size {
            match VoteFile::open(format!("{}.{number}.vote", self.cluster.replace('/', "_"))) {
                Err(OpenError::InUse { .. }) => {}
                opened => return Ok(opened?),
            }
        }
        bail!("{} nodes of cluster {} already run here", self.size, self.cluster)
    }
}

/// The node, and what the program does while it runs.
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
        // The command ends before anyone else can lead. Whatever went wrong, the node closes.
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
                    None => return Err(self.why_closed()),
                },
                permit = Permit::next(&self.node, self.mode), if may_start => {
                    if let Some(command) = &mut self.command {
                        command.start(&self.node, permit).await?;
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

    /// Why the node closed by itself.
    fn why_closed(&self) -> Error {
        let status = self.node.status();
        match status.reason {
            Reason::DuplicateId => anyhow!(
                "another running process has the id {}, so this node has closed: stop that one, or \
                 give this one an id and a vote file of its own",
                status.id
            ),
            _ => anyhow!("the node stopped by itself"),
        }
    }

    /// Ends the command, even if the output is closed. A second signal ends the command's grace.
    async fn stop_command(&mut self) -> Result<()> {
        if let Some(command) = &mut self.command {
            command.stop();
        }
        let mut all_reported = Ok(());
        while self.command.as_ref().is_some_and(Command::is_running) {
            let reported = tokio::select! {
                ended = ended(&mut self.command) => self.reporter.note(&ended?.to_string()),
                Some(event) = self.events.next() => self.reporter.event(&event),
                () = self.stop.wait() => {
                    if let Some(command) = &mut self.command {
                        command.kill();
                    }
                    Ok(())
                }
            };
            all_reported = all_reported.and(reported);
        }
        Ok(all_reported?)
    }
}

/// What `graft voters` has to be told about a node.
struct VotersHint {
    id: Option<NodeId>,
    voters: Vec<NodeId>,
}

/// Adds to an error what to do about it.
fn explain(error: StartError, vote_path: &Path, hint: &VotersHint) -> Error {
    let (file, id) = (vote_path.display(), hint.id.as_ref().map_or("ID", NodeId::as_str));
    let voters: Vec<_> = hint.voters.iter().map(NodeId::as_str).collect();
    let advice = match &error {
        StartError::Config(ConfigError::RecordMissing) => {
            format!("graft voters {file} --init --id {id} --set {}", voters.join(","))
        }
        StartError::Config(ConfigError::ListChanged { .. } | ConfigError::ListMissing { .. }) => {
            format!("graft voters --help says how; graft inspect {file} shows the record")
        }
        _ => return Error::new(error).context("could not start the node"),
    };
    anyhow!("could not start the node: {error}: {advice}")
}

async fn ended(command: &mut Option<Command>) -> Result<Ended> {
    match command {
        Some(command) => command.ended().await,
        None => std::future::pending().await,
    }
}
