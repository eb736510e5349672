//! The node of `graft run`, as the command line describes it, and how it starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use graft_election::{
    ClusterInfo, Config, ConfigError, Keys, LeaderValue, LocalError, Mode, Node, NodeId, OpenError,
    StartError, Transport, VOTERS_MAX, VoteFile,
};

use super::once::DONE;
use crate::cluster_name::cluster_name;
use crate::election_timeout::{ElectionTimeout, parse_duration};
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::medium::{Access, Medium};

/// The shortest heartbeat interval under which a COMMAND can be killed in time.
const LEASE_HEARTBEAT_MIN: Duration = Duration::from_millis(20);

/// Which node of which cluster.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The cluster's name.
    #[arg(long, value_name = "NAME", value_parser = cluster_name)]
    cluster: String,
    /// The number of voters in the cluster.
    #[arg(long, value_name = "N", required_unless_present = "join")]
    size: Option<usize>,
    /// Take the voters from whoever leads, and vote once `graft voters add` has made this node one
    /// of them. A voter that was added so goes on joining at each later start.
    #[arg(long, conflicts_with_all = ["size", "voters"])]
    join: bool,
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
    /// How long a node waits for a leader before it campaigns: MIN and a little more after it has
    /// heard one, otherwise a random time from MIN to MAX. MIN is also the length of the lease,
    /// less the clocks' drift. All voters take the same; longer times suit slow disks and busy
    /// machines.
    #[arg(long, value_name = "MIN..MAX", default_value_t)]
    election_timeout: ElectionTimeout,
    /// How often a leader says that it leads. At most half of MIN; with a COMMAND or a leader file
    /// in Extended mode, at most three tenths of it and at least 20ms.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    heartbeat: Duration,
    /// What others learn with this node's leadership, at most 64 bytes: an address at which clients
    /// find it, for example. `graft status` and `graft watch` show it.
    #[arg(long, value_name = "TEXT", value_parser = leader_value)]
    value: Option<LeaderValue>,
    /// Let `graft voters add` and `remove` change the voters while this node leads. Whoever may
    /// publish control requests may do so then.
    #[arg(long)]
    allow_changes: bool,
    /// Refuse what `graft hand-over`, `graft pause` and `graft resume` ask.
    #[arg(long)]
    no_remote_control: bool,
}

/// A value of the user's own.
fn leader_value(text: &str) -> Result<LeaderValue> {
    if text == DONE {
        bail!("this is what nodes say of a job that is to be done once");
    }
    Ok(LeaderValue::new(text.as_bytes())?)
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

impl NodeArgs {
    /// Whether an election can work with these settings. Nothing is created or connected yet.
    pub(crate) fn check(&self) -> Result<()> {
        let config = Config {
            voters: &self.voters,
            joins: self.join,
            election_timeout_min: self.election_timeout.min,
            election_timeout_max: self.election_timeout.max,
            heartbeat_interval: self.heartbeat,
            ..Config::new(&self.cluster, self.size.unwrap_or(0))
        };
        config.check(VOTERS_MAX)?;
        Ok(())
    }

    /// Whether a process of its own, which is named, can act on the lease. COMMAND is told to end
    /// when a lease has not been renewed for two heartbeats, and killed half a heartbeat before it
    /// ends. A heartbeat that is too long would have it end at once, and one that is too short
    /// leaves no time to kill anything.
    pub(crate) fn check_times_for(&self, process: &str) -> Result<()> {
        let lease =
            self.election_timeout.min * (100 - u32::from(Config::CLOCK_DRIFT_PERCENT)) / 100;
        let heartbeats = LEASE_HEARTBEAT_MIN..=lease / 3;
        if !heartbeats.contains(&self.heartbeat) {
            bail!(
                "with {process}, the heartbeat interval must be from {LEASE_HEARTBEAT_MIN:?} to \
                 three tenths of the least election timeout, so that a lease that is renewed \
                 doesn't seem to end"
            );
        }
        Ok(())
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode.into()
    }

    pub(crate) fn election_timeout_max(&self) -> Duration {
        self.election_timeout.max
    }

    /// How long before the end of a lease all that acts on it must be over, and how often its
    /// renewals are passed on.
    pub(crate) fn lease_margin(&self) -> Duration {
        self.heartbeat / 2
    }

    /// Starts the node, and tells where its vote is stored.
    /// If it is held back, it doesn't lead before it is told that it may.
    pub(crate) async fn start(
        &self,
        access: Access,
        is_held_back: bool,
    ) -> Result<(Node, PathBuf)> {
        let Access { medium, keys } = access;
        match medium {
            Medium::Nats(transport) => self.start_over(transport, keys, is_held_back).await,
            Medium::Local(transport) => self.start_over(transport, keys, is_held_back).await,
            Medium::Serial(transport) => self.start_over(transport, keys, is_held_back).await,
        }
    }

    async fn start_over(
        &self,
        transport: impl Transport,
        keys: Option<Keys>,
        is_held_back: bool,
    ) -> Result<(Node, PathBuf)> {
        let votes = self.open_votes()?;
        let vote_path = votes.path().to_owned();
        let size = self.size.unwrap_or(0);
        let mut builder = Node::builder(ClusterInfo::new(&self.cluster, size))
            .voters(self.voters.clone())
            .mode(self.mode.into())
            .election_timeout(self.election_timeout.min, self.election_timeout.max)
            .heartbeat_interval(self.heartbeat)
            .priority(if self.witness { Config::WITNESS } else { self.priority })
            .obeys_operators(!self.no_remote_control)
            .allow_changes(self.allow_changes)
            .held_back(is_held_back)
            .value(self.value.clone().unwrap_or_default());
        if self.join {
            builder = builder.joining();
        }
        if let Some(id) = &self.id {
            builder = builder.id(id.clone());
        }
        if let Some(keys) = keys {
            builder = builder.keys(keys);
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

    fn open_votes(&self) -> Result<VoteFile> {
        let paths = self.vote_paths();
        let paths_max = paths.len();
        if let ([path], true) = (&paths[..], self.vote_file.is_some()) {
            return Ok(VoteFile::open(path)?);
        }
        for path in paths {
            match VoteFile::open(path) {
                Err(OpenError::InUse { .. }) => {}
                opened => return Ok(opened?),
            }
        }
        bail!("{} nodes of cluster {} already run here", paths_max, self.cluster)
    }

    /// Where the vote may be: in the first of these files that no other node uses.
    pub(crate) fn vote_paths(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.vote_file {
            return vec![path.clone()];
        }
        // One file per voter: nodes that share a directory must not share a vote.
        let name = self.cluster.replace('/', "_");
        let size = self.size.unwrap_or(VOTERS_MAX);
        (1..=size).map(|number| format!("{name}.{number}.vote").into()).collect()
    }
}

/// The exit status of an error that has one of its own.
fn status_of(error: &StartError) -> Option<ExitStatus> {
    match error {
        StartError::Config(_)
        | StartError::OtherId { .. }
        | StartError::RecordExists { .. }
        | StartError::KeyInGraftMode
        | StartError::NoStartLeft => Some(ExitStatus::Configuration),
        // A directory is not reached over a connection: whatever is wrong stays so.
        StartError::Join(error) if error.is::<LocalError>() => Some(ExitStatus::Configuration),
        StartError::Join(_) => Some(ExitStatus::Connection),
        _ => None,
    }
}
