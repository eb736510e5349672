//! `graft run`: one node in the foreground.

mod beside;
mod candidacy;
mod check;
mod command_args;
mod files;
mod foreground;
mod keep;
mod node_args;
mod on_change;
mod once;
mod patience;
mod script_args;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use graft_election::{HttpService, Mode, Node, StartError};

use self::beside::Beside;
pub(crate) use self::beside::Fault as RunFault;
use self::candidacy::{Candidacy, Hindrance};
pub(crate) use self::check::Verdict;
use self::command_args::CommandArgs;
use self::files::NodeFiles;
use self::foreground::{Foreground, Started};
pub(crate) use self::keep::Next;
pub(crate) use self::node_args::ModeName;
use self::node_args::NodeArgs;
use self::patience::Patience;
use self::script_args::ScriptArgs;
use crate::command::{Command, keep_running_in_background};
use crate::exit_status::{self, ExitStatus, ExitsWith};
use crate::http::HttpServer;
use crate::leader_file::{LeaderFileClaim, LeaderFilePlace};
use crate::medium::MediumArgs;
use crate::nats_args::NatsArgs;
use crate::nats_service::NatsService;
use crate::news::News;
use crate::process::Reaper;
use crate::quorum::QuorumWatch;
use crate::report::{Reporter, Target};
use crate::stop::{self, Stop};
use crate::systemd::Systemd;
use crate::traces::Traces;

/// Run one node until SIGTERM, SIGINT, SIGQUIT or SIGHUP, and COMMAND while the node leads.
///
/// Each of these signals closes the node in order: COMMAND ends, then a leader hands its leadership
/// over.
#[derive(Debug, Args)]
#[command(after_help = exit_status::HELP)]
pub(crate) struct RunArgs {
    /// Read settings from a TOML file: cluster = "billing", vote-file = "/var/lib/b.vote", keep =
    /// true, command = ["./send-invoices", "--all"] and so on, as the options are named. Of each
    /// setting, the command line counts first, then the environment, in which --vote-file is
    /// GRAFT_VOTE_FILE, then the file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
    /// Print one JSON object per line: to FILE, such as /dev/fd/3, or to where the lines for people
    /// go. That is the standard output, or the standard error output if there is a COMMAND, whose
    /// standard output is its own.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    json: Option<Option<PathBuf>>,
    /// Show the node over HTTP at this address, an IP address and a port, such as 127.0.0.1:8080: a
    /// page for people at /, and /leader, /livez, /readyz, /status, /history and /metrics for
    /// programs. Whoever reaches the address may read all of it.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Answer as a service of NATS, too, as `nats micro` asks: over a connection of its own.
    #[arg(long, conflicts_with_all = ["local", "serial"])]
    nats_service: bool,
    /// Keep a file while this node has a valid lease, for other programs on this machine: `graft
    /// is-leader FILE` tells scripts, and the token, the id, the cluster and the lease's end are in
    /// it, as JSON. It is renewed as the lease is, many times a second, so let it be in memory,
    /// such as below /run. Needs Extended mode.
    #[arg(long, value_name = "FILE")]
    leader_file: Option<PathBuf>,
    #[command(flatten)]
    command: CommandArgs,
    #[command(flatten)]
    scripts: ScriptArgs,
    #[command(flatten)]
    medium: MediumArgs,
}

impl RunArgs {
    /// Runs with this that the file of settings says about NATS.
    pub(crate) fn run(mut self, nats_in_file: Option<NatsArgs>) -> Result<ExitCode> {
        stop::hold()?;
        if let (Some(path), Some(in_file)) = (&self.config, nats_in_file) {
            self.medium.nats_mut().add_file(path.clone(), in_file);
        }
        // Checked before anything is created or connected, so that a wrong setting leaves no trace.
        self.check().exits_with(ExitStatus::Configuration)?;
        if let Some(status) = self.command.unless_runnable() {
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

    fn check(&self) -> Result<()> {
        self.node.check()?;
        if self.medium.keys()?.is_some() && self.node.mode() == Mode::Graft {
            return Err(StartError::KeyInGraftMode.into());
        }
        self.check_files()?;
        let has_leader_file = self.leader_file.is_some();
        match self.node.mode() {
            Mode::Graft if has_leader_file => bail!(
                "a leader file needs the lease of Extended mode: in Graft mode no node knows \
                 whether another one leads"
            ),
            Mode::Graft if self.command.is_once() => bail!(
                "a job can be done once in Extended mode only: leaders of Graft mode can't say \
                 that it is done"
            ),
            Mode::Extended if self.command.is_given() => self.node.check_times_for("a COMMAND"),
            Mode::Extended if has_leader_file => self.node.check_times_for("a leader file"),
            _ => Ok(()),
        }
    }

    /// Whether nothing is lost if all files of the node are written.
    fn check_files(&self) -> Result<()> {
        let leader_file = self.leader_file_place()?;
        let json = self.json.as_ref().and_then(Option::as_ref);
        let mut files = NodeFiles::default();
        files.read("the file of --config", self.config.clone());
        files.read("the key file", self.medium.key_file()?);
        files.write_votes(self.node.vote_paths());
        files.write_leader_file(leader_file.as_ref());
        files.write_json(json)?;
        files.check()?;
        leader_file.map_or(Ok(()), |place| place.check())
    }

    /// Runs the node. A signal ends it even before it has connected and joined.
    async fn run_node(mut self) -> Result<ExitCode> {
        let mut stop = Stop::new()?;
        let reaper = Reaper::start()?;
        let (mode, margin) = (self.node.mode(), self.node.lease_margin());
        let election_timeout_max = self.node.election_timeout_max();
        let (words, grace) = (self.command.take_words(), self.command.grace());
        let keep = self.command.keep();
        let once = self.command.once(election_timeout_max);
        let wait = self.command.wait(election_timeout_max);
        let check = self.scripts.check(&reaper);
        // A check that has yet to pass.
        let hindrances = check.iter().map(|_| Hindrance::Check).collect();
        let on_change = self.scripts.on_change(&reaper);
        let reports_to = if words.is_empty() { Target::Stdout } else { Target::Stderr };
        let Some(started) = stop.unless_asked(self.start(reports_to)).await else {
            return Ok(ExitCode::SUCCESS);
        };
        let Started { node, vote_path, reporter, leader_file, server } = started?;
        let http = server.map(|server| server.serve(HttpService::new(&node)));
        let node = Arc::new(node);
        let foreground = Foreground {
            reporter,
            systemd: Systemd::new()?,
            quorum: QuorumWatch::new(election_timeout_max),
            patience: Patience::new(wait),
            events: News::new(node.events()),
            check,
            candidacy: Candidacy::start(Arc::clone(&node), hindrances),
            beside: Beside {
                leader_file_faults: leader_file.map(|file| file.start(Arc::clone(&node), margin)),
                on_change,
            },
            node,
            vote_path,
            http,
            mode,
            command: Command::new(words, grace, margin, reaper)?,
            keep,
            once,
            grace,
            margin,
        };
        foreground.run(stop).await
    }

    /// Opens all that may block, and starts the node.
    async fn start(self, reports_to: Target) -> Result<Started> {
        let reporter = self.reporter(reports_to)?;
        let claim = self.leader_file_place()?.map(LeaderFileClaim::new).transpose()?;
        match self.start_node().await {
            Ok((node, vote_path, server)) => {
                let leader_file = claim.map(LeaderFileClaim::begin).transpose()?;
                Ok(Started { node, vote_path, reporter, leader_file, server })
            }
            Err(error) => {
                if let Some(claim) = claim {
                    claim.withdraw();
                }
                Err(error)
            }
        }
    }

    async fn start_node(&self) -> Result<(Node, PathBuf, Option<HttpServer>)> {
        let server = self.http.map(HttpServer::start).transpose();
        let server = server.exits_with(ExitStatus::Configuration)?;
        let service = match self.nats_service {
            true => Some(NatsService::connect(self.medium.nats()).await?),
            false => None,
        };
        let is_held_back = self.scripts.has_check();
        let (node, vote_path) = self.node.start(self.medium.open().await?, is_held_back).await?;
        if let Some(service) = service {
            service.serve(&node).await?;
        }
        Ok((node, vote_path, server))
    }

    fn leader_file_place(&self) -> Result<Option<LeaderFilePlace>> {
        let place = self.leader_file.clone().map(LeaderFilePlace::new).transpose();
        place.exits_with(ExitStatus::Configuration)
    }

    fn reporter(&self, default: Target) -> Result<Reporter> {
        match &self.json {
            None => Reporter::new(false, default),
            Some(None) => Reporter::new(true, default),
            Some(Some(path)) => Reporter::new(true, Target::File(path.clone()))
                .exits_with(ExitStatus::Configuration),
        }
    }
}
