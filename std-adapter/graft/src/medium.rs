//! Over what the nodes of a cluster communicate, as the command line says it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use graft_election::core::ControlRequest;
use graft_election::{
    Arrival, Ask, Codec, Keys, Listen, LocalError, LocalTransport, NatsError, NatsTransport,
    NodeId, Observer, Operator, SerialError, SerialLine, SerialTransport, parse_keys,
    read_key_file,
};

use crate::exit_status::{ExitStatus, ExitsWith};
use crate::nats_args::{NatsArgs, variable};

/// The cluster's key itself, which is for this program alone and not for COMMAND.
pub(crate) const KEY_VARIABLE: &str = "GRAFT_KEY";

const KEY_FILE_VARIABLE: &str = "GRAFT_KEY_FILE";

/// NATS, unless something else is named.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct MediumArgs {
    /// Instead of NATS, the directory through which nodes on this machine communicate.
    #[arg(long, value_name = "DIR", conflicts_with = "NatsArgs")]
    local: Option<PathBuf>,
    /// Instead of NATS, the serial line that the nodes share: DEVICE@BAUD, unix:PATH or
    /// tcp:HOST:PORT.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["NatsArgs", "local"])]
    serial: Option<SerialLine>,
    /// The file with the cluster's key: one line of `graft key`, or two while the key is replaced,
    /// of which the first seals what is said. Nobody else may be able to read it. The key itself
    /// may be in the environment instead, as GRAFT_KEY. [env: GRAFT_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read once: its file may be a pipe.
    #[arg(skip)]
    keys: OnceLock<Option<Keys>>,
    #[command(flatten)]
    nats: NatsArgs,
}

/// What is open, and the cluster's key.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) medium: Medium,
    pub(crate) keys: Option<Keys>,
}

/// What is open.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, or a few")]
pub(crate) enum Medium {
    Nats(NatsTransport),
    Local(LocalTransport),
    Serial(SerialTransport),
}

/// What goes wrong with listening.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum MediumError {
    Nats(#[from] NatsError),
    Local(#[from] LocalError),
    Serial(#[from] SerialError),
}

impl MediumError {
    /// Whether no node of the cluster has ever been on this machine.
    pub(crate) fn is_of_no_cluster(&self) -> bool {
        let Self::Local(LocalError::Directory { error, .. }) = self else { return false };
        error.kind() == std::io::ErrorKind::NotFound
    }

    /// The exit status with which it ends the program.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self {
            // A directory is not reached over a connection: whatever is wrong stays so.
            Self::Local(_) => ExitStatus::Configuration,
            Self::Nats(_) | Self::Serial(_) => ExitStatus::Connection,
        }
    }
}

impl MediumArgs {
    /// How to connect to NATS, if that is meant.
    pub(crate) fn nats(&self) -> &NatsArgs {
        &self.nats
    }

    /// The options of NATS, to which a file of settings may add.
    pub(crate) fn nats_mut(&mut self) -> &mut NatsArgs {
        &mut self.nats
    }

    /// The file with the cluster's key, if one is named.
    pub(crate) fn key_file(&self) -> Result<Option<PathBuf>> {
        let from_environment = variable(KEY_FILE_VARIABLE)?.map(PathBuf::from);
        Ok(self.key_file.clone().or(from_environment))
    }

    /// The cluster's key, if it has one. It is never an option, since `ps` shows those.
    pub(crate) fn keys(&self) -> Result<Option<Keys>> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys.clone());
        }
        let keys = self.read_keys()?;
        Ok(self.keys.get_or_init(|| keys).clone())
    }

    fn read_keys(&self) -> Result<Option<Keys>> {
        match (self.key_file()?, variable(KEY_VARIABLE)?) {
            (None, None) => Ok(None),
            (Some(file), None) => Ok(Some(read_key_file(file)?)),
            (None, Some(text)) => {
                let keys = parse_keys(&text);
                Ok(Some(keys.with_context(|| format!("{KEY_VARIABLE} in the environment"))?))
            }
            (Some(file), Some(_)) => bail!(
                "{KEY_VARIABLE} in the environment and the file {} both have a key: one of them \
                 must go",
                file.display()
            ),
        }
    }

    /// Reads the key, and connects to NATS, if that is meant.
    pub(crate) async fn open(&self) -> Result<Access> {
        let keys = self.keys().exits_with(ExitStatus::Configuration)?;
        Ok(Access { medium: self.open_medium().await?, keys })
    }

    async fn open_medium(&self) -> Result<Medium> {
        if let Some(directory) = &self.local {
            return Ok(Medium::Local(LocalTransport::new(directory)));
        }
        if let Some(line) = &self.serial {
            return Ok(Medium::Serial(SerialTransport::new(line.clone())));
        }
        let nats = self.nats.settings().exits_with(ExitStatus::Configuration)?;
        let connected =
            NatsTransport::connect_to(&nats.servers, |options| nats.configure(options)).await;
        let connected = connected.map_err(|error| nats.explain(error));
        Ok(Medium::Nats(connected.exits_with(ExitStatus::Connection)?))
    }
}

impl Access {
    /// Begins to listen.
    pub(crate) async fn observe(self, cluster: &str) -> Result<Observer<Medium>, MediumError> {
        match &self.keys {
            Some(keys) => Observer::connect_with_keys(self.medium, cluster, keys).await,
            None => Observer::connect(self.medium, cluster).await,
        }
    }

    /// Begins to listen, to ask for something.
    pub(crate) async fn operate(self, cluster: &str) -> Result<Operator<Medium>, MediumError> {
        match &self.keys {
            Some(keys) => Operator::connect_with_keys(self.medium, cluster, keys).await,
            None => Operator::connect(self.medium, cluster).await,
        }
    }
}

impl Medium {
    /// The names of the clusters that are heard within `time`, or, on this machine, that have been
    /// here. A serial line has no names on it.
    pub(crate) async fn clusters(
        &mut self,
        time: Duration,
    ) -> Result<BTreeSet<String>, MediumError> {
        Ok(match self {
            Self::Nats(transport) => transport.clusters(time).await?,
            Self::Local(transport) => transport.clusters()?,
            Self::Serial(_) => BTreeSet::new(),
        })
    }

    /// The nodes of a cluster that run on this machine, also those that say nothing. Elsewhere
    /// nobody is known who doesn't speak.
    pub(crate) fn nodes(&self, cluster: &str) -> Result<BTreeSet<NodeId>, MediumError> {
        Ok(match self {
            Self::Local(transport) => transport.nodes(cluster)?,
            Self::Nats(_) | Self::Serial(_) => BTreeSet::new(),
        })
    }
}

impl Ask for Medium {
    async fn ask(&mut self, request: &ControlRequest) -> Result<(), MediumError> {
        match self {
            Self::Nats(transport) => transport.ask(request).await?,
            Self::Local(transport) => transport.ask(request).await?,
            Self::Serial(transport) => transport.ask(request).await?,
        }
        Ok(())
    }
}

impl Listen for Medium {
    type Error = MediumError;

    async fn listen(&mut self, cluster: &str, codec: &Codec) -> Result<(), MediumError> {
        match self {
            Self::Nats(transport) => transport.listen(cluster, codec).await?,
            Self::Local(transport) => transport.listen(cluster, codec).await?,
            Self::Serial(transport) => transport.listen(cluster, codec).await?,
        }
        Ok(())
    }

    async fn hear(&mut self) -> Arrival {
        match self {
            Self::Nats(transport) => transport.hear().await,
            Self::Local(transport) => transport.hear().await,
            Self::Serial(transport) => transport.hear().await,
        }
    }
}
