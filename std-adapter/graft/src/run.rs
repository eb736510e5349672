//! `graft run`: one node in the foreground.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use graft_election::{
    ClusterInfo, Config, ConfigError, HttpService, LocalError, Mode, Node, NodeId, OpenError,
    Reason, StartError, Transport, VOTERS_MAX, VoteFile,
};
use tokio::time::{Instant, sleep_until};

use crate::command::{Command, CommandEvent, Ended, keep_running_in_background, unless_runnable};
use crate::election_timeout::{ElectionTimeout, parse_duration};
use crate::exit_status::{self, ExitStatus, ExitsWith};
use crate::http::HttpServer;
use crate::medium::{Medium, MediumArgs};
use crate::nats_service::NatsService;
use crate::news::News;
use crate::permit::Permit;
use crate::process::Reaper;
use crate::quorum::QuorumWatch;
use crate::report::{Reporter, Target};
use crate::stop::{self, Stop};
use crate::systemd::Systemd;
use crate::traces::Traces;

/// The longest grace: a century, in seconds.
const GRACE_MAX: f64 = 100.0 * 365.25 * 86_400.0;

/// The shortest heartbeat interval under which a COMMAND can be killed in time.
const COMMAND_HEARTBEAT_MIN: Duration = Duration::from_millis(20);

/// How long the node may take to close after the grace, or after a second signal.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(700);

/// Run one node until SIGTERM, SIGINT, SIGQUIT or SIGHUP, and COMMAND while the node leads.
///
/// Each of these signals closes the node in order: COMMAND ends, then a leader hands its leadership
/// over.
#[derive(Debug, Args)]
#[command(after_help = exit_status::HELP)]
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
    /// How often a leader says that it leads. At most half of MIN; with a COMMAND in Extended mode,
    /// at most three tenths of it and at least 20ms.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    heartbeat: Duration,
    /// Print one JSON object per line: to FILE, such as /dev/fd/3, or to where the lines for people
    /// go. That is the standard output, or the standard error output if there is a COMMAND, whose
    /// standard output is its own.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    json: Option<Option<PathBuf>>,
    /// How many seconds COMMAND has between SIGTERM and SIGKILL. In Extended mode it never outlives
    /// the lease, so it has that long only while the node keeps the lease.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    grace: Duration,
    /// Show the node over HTTP at this address, an IP address and a port, such as 127.0.0.1:8080: a
    /// page for people at /, and /leader, /livez, /readyz, /status, /history and /metrics for
    /// programs. Whoever reaches the address may read all of it.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Answer as a service of NATS, too, as `nats micro` asks: over a connection of its own.
    #[arg(long, conflicts_with_all = ["local", "serial"])]
    nats_service: bool,
    /// The command to run while this node leads, with GRAFT_TERM, GRAFT_ID and GRAFT_CLUSTER in its
    /// environment. GRAFT_TERM is the fencing token: pass it along with every write, and have the
    /// store reject any token lower than the highest it has seen. When COMMAND exits by itself, the
    /// node closes, and the program exits with COMMAND's status. In Extended mode COMMAND runs only
    /// under a valid lease. It and all that it has started are killed before the lease ends, as far
    /// as this system lets them be reached: each start is reported with what contains COMMAND.
    #[arg(last = true)]
    command: Vec<OsString>,
    #[command(flatten)]
    medium: MediumArgs,
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
        stop::hold()?;
        // Checked before anything is created or connected, so that a wrong setting leaves no trace.
        let config = Config {
            voters: &self.voters,
            election_timeout_min: self.election_timeout.min,
            election_timeout_max: self.election_timeout.max,
            heartbeat_interval: self.heartbeat,
            ..Config::new(&self.cluster, self.size)
        };
        config.check(VOTERS_MAX).exits_with(ExitStatus::Configuration)?;
        self.check_times_for_command().exits_with(ExitStatus::Configuration)?;
        if let Some(status) = self.command.first().and_then(|program| unless_runnable(program)) {
            return Ok(status);
        }
        // Before there are other threads: they are to be the same.
        keep_running_in_background()?;
        let _traces = Traces::start(self.json.is_some())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start the runtime")?;
        let ran = runtime.block_on(self.run_node());
        // A save on a disk that hangs must not hold up the end.
        runtime.shutdown_background();
        ran
    }

    /// COMMAND is told to end when a lease has not been renewed for two heartbeats, and killed half
    /// a heartbeat before it ends. A heartbeat that is too long would have it end at once, and one
    /// that is too short leaves no time to kill anything.
    fn check_times_for_command(&self) -> Result<()> {
        let lease =
            self.election_timeout.min * (100 - u32::from(Config::CLOCK_DRIFT_PERCENT)) / 100;
        let heartbeats = COMMAND_HEARTBEAT_MIN..=lease / 3;
        let has_lease = matches!(self.mode, ModeName::Extended) && !self.command.is_empty();
        if has_lease && !heartbeats.contains(&self.heartbeat) {
            bail!(
                "with a COMMAND, the heartbeat interval must be from {COMMAND_HEARTBEAT_MIN:?} to \
                 three tenths of the least election timeout, so that a lease that is renewed \
                 doesn't seem to end"
            );
        }
        Ok(())
    }

    /// Runs the node. A signal ends it even before it has connected and joined.
    async fn run_node(mut self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let reaper = Reaper::start()?;
        let (mode, grace, half_heartbeat) = (self.mode.into(), self.grace, self.heartbeat / 2);
        let election_timeout_max = self.election_timeout.max;
        let words = std::mem::take(&mut self.command);
        let reports_to = if words.is_empty() { Target::Stdout } else { Target::Stderr };
        let Some(started) = stop.unless_asked(self.start(reports_to)).await else {
            return Ok(ExitCode::SUCCESS);
        };
        let Started { node, vote_path, reporter, server } = started?;
        let http = server.map(|server| server.serve(HttpService::new(&node)));
        let foreground = Foreground {
            reporter,
            systemd: Systemd::new()?,
            quorum: QuorumWatch::new(election_timeout_max),
            events: News::new(node.events()),
            node,
            vote_path,
            http,
            mode,
            // Twice per heartbeat.
            command: Command::new(words, grace, half_heartbeat, reaper)?,
            grace,
            margin: half_heartbeat,
        };
        foreground.run(stop).await
    }

    /// Opens all that may block, and starts the node.
    async fn start(self, reports_to: Target) -> Result<Started> {
        let reporter = self.reporter(reports_to)?;
        let server = self.http.map(HttpServer::start).transpose();
        let server = server.exits_with(ExitStatus::Configuration)?;
        let service = match self.nats_service {
            true => Some(NatsService::connect(self.medium.nats()).await?),
            false => None,
        };
        let (node, vote_path) = self.start_node().await?;
        if let Some(service) = service {
            service.serve(&node).await?;
        }
        Ok(Started { node, vote_path, reporter, server })
    }

    /// Starts the node, and tells where its vote is stored.
    async fn start_node(&self) -> Result<(Node, PathBuf)> {
        match self.medium.open().await? {
            Medium::Nats(transport) => self.start_over(transport).await,
            Medium::Local(transport) => self.start_over(transport).await,
            Medium::Serial(transport) => self.start_over(transport).await,
        }
    }

    async fn start_over(&self, transport: impl Transport) -> Result<(Node, PathBuf)> {
        let votes = self.open_votes()?;
        let vote_path = votes.path().to_owned();
        let mut builder = Node::builder(ClusterInfo::new(&self.cluster, self.size))
            .voters(self.voters.clone())
            .mode(self.mode.into())
            .election_timeout(self.election_timeout.min, self.election_timeout.max)
            .heartbeat_interval(self.heartbeat)
            .priority(if self.witness { Config::WITNESS } else { self.priority });
        if let Some(id) = &self.id {
            builder = builder.id(id.clone());
        }
        let started = builder.start(transport, votes).await;
        let node = started.or_else(|error| {
            let status = status_of(&error);
            let explained = Err(self.explain(error, &vote_path));
            match status {
                Some(status) => explained.exits_with(status),
                None => explained,
            }
        })?;
        Ok((node, vote_path))
    }

    /// Adds to an error what to do about it.
    fn explain(&self, error: StartError, vote_path: &Path) -> Error {
        let (file, id) = (vote_path.display(), self.id.as_ref().map_or("ID", NodeId::as_str));
        let voters: Vec<_> = self.voters.iter().map(NodeId::as_str).collect();
        let advice = match &error {
            StartError::Config(ConfigError::RecordMissing) => {
                format!("graft voters {file} --init --id {id} --set {}", voters.join(","))
            }
            StartError::Config(
                ConfigError::ListChanged { .. } | ConfigError::ListMissing { .. },
            ) => {
                format!("graft voters --help says how; graft inspect {file} shows the record")
            }
            _ => return Error::new(error).context("could not start the node"),
        };
        anyhow!("could not start the node: {error}: {advice}")
    }

    fn reporter(&self, default: Target) -> Result<Reporter> {
        match &self.json {
            None => Reporter::new(false, default),
            Some(None) => Reporter::new(true, default),
            Some(Some(path)) => Reporter::new(true, Target::File(path.clone())),
        }
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

/// The exit status of an error that has one of its own.
fn status_of(error: &StartError) -> Option<ExitStatus> {
    match error {
        StartError::Config(_) | StartError::OtherId { .. } | StartError::RecordExists { .. } => {
            Some(ExitStatus::Configuration)
        }
        // A directory is not reached over a connection: whatever is wrong stays so.
        StartError::Join(error) if error.is::<LocalError>() => Some(ExitStatus::Configuration),
        StartError::Join(_) => Some(ExitStatus::Connection),
        _ => None,
    }
}

/// What has started.
struct Started {
    node: Node,
    vote_path: PathBuf,
    reporter: Reporter,
    server: Option<HttpServer>,
}

/// The node, and what the program does while it runs.
struct Foreground {
    reporter: Reporter,
    systemd: Systemd,
    quorum: QuorumWatch,
    events: News,
    node: Node,
    vote_path: PathBuf,
    /// Where it is seen over HTTP.
    http: Option<SocketAddr>,
    mode: Mode,
    command: Option<Command>,
    grace: Duration,
    /// How long before the end of a lease the command must be gone.
    margin: Duration,
}

impl Foreground {
    async fn run(mut self, mut stop: Stop) -> Result<ExitCode> {
        let ran = self.run_until_stopped(&mut stop).await;
        let ended_at = Instant::now();
        self.systemd.stopping();
        // The command ends before anyone else can lead. Whatever went wrong, the node closes.
        let stopped = self.stop_command(&mut stop).await;
        let is_asked = self.close(&mut stop, ended_at + self.grace + CLOSE_TIME_MAX).await;
        let own_code = ran?;
        stopped?;
        Ok(match own_code {
            Some(code) if !is_asked => ExitCode::from(code),
            _ if self.quorum.is_lost(ended_at) => ExitStatus::LostQuorum.into(),
            // A service manager that signals all of its processes may have met the command first,
            // and this program while it closed.
            _ => ExitCode::SUCCESS,
        })
    }

    /// Returns the status of a command that ends by itself, or none if a signal came.
    async fn run_until_stopped(&mut self, stop: &mut Stop) -> Result<Option<u8>> {
        self.reporter.started(&self.node.status(), Some(&self.vote_path));
        if let Some(address) = self.http {
            self.reporter.serves(&self.node.status(), address);
        }
        self.systemd.ready(&self.node.status());
        loop {
            let may_start = self.command.as_ref().is_some_and(|command| !command.is_running());
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) => {
                        self.quorum.see(&event.status);
                        self.systemd.see(&event.status);
                        self.reporter.event(&event);
                    }
                    None => return self.why_closed(),
                },
                () = self.systemd.feed(&self.node) => {}
                permit = Permit::next(&self.node, self.mode, self.margin), if may_start => {
                    if let Some(command) = &mut self.command {
                        command.start(&self.node, permit)?;
                    }
                }
                happened = command_event(&mut self.command) => {
                    if let Some(ended) = self.take_in(&happened?)?
                        && ended.by_itself
                    {
                        return Ok(Some(ended.exit_code()));
                    }
                }
                () = stop.wait() => return Ok(None),
            }
        }
    }

    /// Why the node closed by itself.
    fn why_closed<T>(&self) -> Result<T> {
        let status = self.node.status();
        match status.reason {
            Reason::DuplicateId => Err(anyhow!(
                "another running process has the id {}, so this node has closed: stop that one, or \
                 give this one an id and a vote file of its own",
                status.id
            ))
            .exits_with(ExitStatus::Configuration),
            _ => bail!("the node stopped by itself"),
        }
    }

    /// Ends the command. A second signal ends its grace.
    async fn stop_command(&mut self, stop: &mut Stop) -> Result<()> {
        if let Some(command) = &mut self.command {
            command.stop();
        }
        while self.command.as_ref().is_some_and(Command::is_running) {
            tokio::select! {
                happened = command_event(&mut self.command) => {
                    self.take_in(&happened?)?;
                }
                Some(event) = self.events.next() => {
                    self.quorum.see(&event.status);
                    self.reporter.event(&event);
                }
                () = stop.wait() => {
                    if let Some(command) = &mut self.command {
                        command.kill();
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports what has happened to the command, and returns how it ended, if it did.
    ///
    /// # Errors
    ///
    /// The command can't be watched, or is not as dead as it should be: this node must not lead.
    fn take_in(&self, happened: &CommandEvent) -> Result<Option<Ended>> {
        self.reporter.command(&self.node.status(), happened);
        if let CommandEvent::Stopped { with_node: true, .. } = happened {
            // No other thread writes once the program is stopped.
            self.reporter.flush();
        }
        match happened {
            CommandEvent::Ended(ended) => Ok(Some(*ended)),
            CommandEvent::Unkillable(_) => bail!("the node closed: its command can't be killed"),
            CommandEvent::WatchdogLost(_) => bail!("the node closed: the watchdog is gone"),
            _ => Ok(None),
        }
    }

    /// Closes the node, unless that takes too long: the end doesn't wait for a disk that hangs.
    /// Returns whether a signal came meanwhile.
    async fn close(&mut self, stop: &mut Stop, mut end_at: Instant) -> bool {
        let Self { node, events, reporter, quorum, .. } = self;
        let report = async {
            while let Some(event) = events.next().await {
                quorum.see(&event.status);
                reporter.event(&event);
            }
        };
        let closing = async { tokio::join!(node.close(), report) };
        let mut closing = pin!(closing);
        let mut is_asked = false;
        loop {
            tokio::select! {
                _ = &mut closing => return is_asked,
                () = sleep_until(end_at) => return is_asked,
                () = stop.wait() => {
                    is_asked = true;
                    end_at = end_at.min(Instant::now() + CLOSE_TIME_MAX);
                }
            }
        }
    }
}

/// A time of any length. One that no clock could tell ends after a century.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if !(0.0..f64::INFINITY).contains(&seconds) {
        return Err("not a number of seconds from 0 on");
    }
    Ok(Duration::from_secs_f64(seconds.min(GRACE_MAX)))
}

async fn command_event(command: &mut Option<Command>) -> Result<CommandEvent> {
    match command {
        Some(command) => command.next_event().await,
        None => std::future::pending().await,
    }
}
