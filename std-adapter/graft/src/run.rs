//! `graft run`: one node in the foreground.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use graft_election::{
    ClusterInfo, Config, ConfigError, Events, LocalTransport, Mode, NatsTransport, Node, NodeId,
    OpenError, Reason, SerialLine, SerialTransport, StartError, Transport, VOTERS_MAX, VoteFile,
};

use crate::command::{Command, CommandEvent, Process};
use crate::permit::Permit;
use crate::report::Reporter;
use crate::stop::Stop;

/// The longest grace: a century, in seconds.
const GRACE_MAX: f64 = 100.0 * 365.25 * 86_400.0;

/// Run one node until SIGTERM, SIGINT, SIGQUIT or SIGHUP, and COMMAND while the node leads.
///
/// Each of these signals closes the node in order: COMMAND ends, then a leader hands its leadership over.
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
    /// The NATS server, or several separated by commas.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222",
        value_parser = NonEmptyStringValueParser::new())]
    nats: String,
    /// Instead of NATS, the directory through which nodes on this machine communicate.
    #[arg(long, value_name = "DIR", conflicts_with = "nats")]
    local: Option<PathBuf>,
    /// Instead of NATS, the serial line that the nodes share: DEVICE@BAUD, unix:PATH or
    /// tcp:HOST:PORT.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["nats", "local"])]
    serial: Option<SerialLine>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// How many seconds COMMAND has between SIGTERM and SIGKILL. In Extended mode it never outlives
    /// the lease, so it has that long only while the node keeps the lease.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    grace: Duration,
    /// The command to run while this node leads, with GRAFT_TERM, GRAFT_ID and GRAFT_CLUSTER in its
    /// environment. GRAFT_TERM is the fencing token: pass it along with every write, and have the
    /// store reject any token lower than the highest it has seen. When COMMAND exits by itself, the
    /// node closes, and the program exits with COMMAND's status. In Extended mode COMMAND runs only
    /// under a valid lease; it and everything that it has started are killed before the lease ends.
    #[arg(last = true)]
    command: Vec<OsString>,
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
        let config = Config { voters: &self.voters, ..Config::new(&self.cluster, self.size) };
        config.check(VOTERS_MAX)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start the runtime")?;
        let ran = runtime.block_on(self.run_node());
        // A save on a disk that hangs must not hold up the end.
        runtime.shutdown_background();
        ran
    }

    /// Runs the node. A signal ends it even before it has connected and joined.
    async fn run_node(self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let foreground = tokio::select! {
            started = self.start() => started?,
            () = stop.wait() => return Ok(ExitCode::SUCCESS),
        };
        foreground.run(stop).await
    }

    async fn start(self) -> Result<Foreground> {
        if let Some(directory) = &self.local {
            let transport = LocalTransport::new(directory);
            return self.start_over(transport).await;
        }
        if let Some(line) = &self.serial {
            let transport = SerialTransport::new(line.clone());
            return self.start_over(transport).await;
        }
        let servers: Vec<&str> = self.nats.split(',').collect();
        let transport = NatsTransport::connect(servers)
            .await
            .with_context(|| format!("could not connect to {}", self.nats))?;
        self.start_over(transport).await
    }

    async fn start_over(self, transport: impl Transport) -> Result<Foreground> {
        let votes = self.open_votes()?;
        let vote_path = votes.path().to_owned();
        let mode = Mode::from(self.mode);
        let hint = VotersHint { id: self.id.clone(), voters: self.voters.clone() };
        let mut builder = Node::builder(ClusterInfo::new(self.cluster, self.size))
            .voters(self.voters)
            .mode(mode)
            .priority(if self.witness { Config::WITNESS } else { self.priority });
        if let Some(id) = self.id {
            builder = builder.id(id);
        }
        let started = builder.start(transport, votes).await;
        let node = started.map_err(|error| explain(error, &vote_path, &hint))?;
        Ok(Foreground {
            reporter: Reporter::new(self.json),
            events: node.events(),
            node,
            vote_path,
            mode,
            command: Command::new(self.command, self.grace)?,
        })
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
}

impl Foreground {
    async fn run(mut self, mut stop: Stop) -> Result<ExitCode> {
        let ran = self.run_until_stopped(&mut stop).await;
        // The command ends before anyone else can lead. Whatever went wrong, the node closes.
        let stopped = self.stop_command(&mut stop).await;
        self.node.close().await;
        while let Some(event) = self.events.next().await {
            self.reporter.event(&event)?;
        }
        stopped.and(ran)
    }

    async fn run_until_stopped(&mut self, stop: &mut Stop) -> Result<ExitCode> {
        self.reporter.started(&self.node.status(), Some(&self.vote_path))?;
        loop {
            let may_start = self.command.as_ref().is_some_and(|command| !command.is_running());
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => self.reporter.event(&event)?,
                    None => return Err(self.why_closed()),
                },
                permit = Permit::next(&self.node, self.mode), if may_start => {
                    if let Some(command) = &mut self.command {
                        command.start(&self.node, permit)?;
                    }
                }
                happened = command_event(&mut self.command) => {
                    if let Some(exit_code) = self.take_in(happened?)? {
                        return Ok(exit_code);
                    }
                }
                () = stop.wait() => return Ok(ExitCode::SUCCESS),
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
    async fn stop_command(&mut self, stop: &mut Stop) -> Result<()> {
        if let Some(command) = &mut self.command {
            command.stop();
        }
        let mut all_reported = Ok(());
        while self.command.as_ref().is_some_and(Command::is_running) {
            let reported = tokio::select! {
                happened = command_event(&mut self.command) => self.take_in(happened?).map(drop),
                Some(event) = self.events.next() => self.reporter.event(&event).map_err(Error::from),
                () = stop.wait() => {
                    if let Some(command) = &mut self.command {
                        command.kill();
                    }
                    Ok(())
                }
            };
            all_reported = all_reported.and(reported);
        }
        all_reported
    }

    /// Reports what has happened to the command. Returns its status if it has ended by itself.
    ///
    /// # Errors
    ///
    /// The command is not as dead as it should be, or can't be watched: this node must not lead.
    fn take_in(&mut self, happened: CommandEvent) -> Result<Option<ExitCode>> {
        match happened {
            CommandEvent::Started { pid, contained_by } => {
                self.reporter
                    .note(&format!("the command runs as process {pid}, {contained_by}"))?;
            }
            CommandEvent::Stopped { signal } => {
                self.reporter.note(&format!("the command was stopped by signal {signal}"))?;
            }
            CommandEvent::Continued => self.reporter.note("the command goes on")?,
            CommandEvent::Ended(ended) => {
                self.reporter.note(&ended.to_string())?;
                return Ok(ended.by_itself.then(|| ended.exit_code()));
            }
            CommandEvent::Unkillable(processes) => bail!(unkillable(&processes)),
            CommandEvent::WatchdogLost(processes) if processes.is_empty() => {
                bail!("the command's watchdog is gone, so the command was killed")
            }
            CommandEvent::WatchdogLost(processes) => {
                bail!("the command's watchdog is gone, and {}", unkillable(&processes))
            }
        }
        Ok(None)
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

/// A time of any length. One that no clock could tell ends after a century.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if !(0.0..f64::INFINITY).contains(&seconds) {
        return Err("not a number of seconds from 0 on");
    }
    Ok(Duration::from_secs_f64(seconds.min(GRACE_MAX)))
}

/// Says which processes of the command are left.
fn unkillable(processes: &[Process]) -> String {
    let names: Vec<_> = processes.iter().map(Process::to_string).collect();
    format!("processes of the command can't be killed: {}", names.join(", "))
}

async fn command_event(command: &mut Option<Command>) -> Result<CommandEvent> {
    match command {
        Some(command) => command.next_event().await,
        None => std::future::pending().await,
    }
}
