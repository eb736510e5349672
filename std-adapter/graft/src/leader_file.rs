//! The leader file: other programs of this machine see by it whether this node has a valid lease.

mod keeper;
mod lock;
mod place;

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use graft_election::{SmallFile, Status};
use serde::{Deserialize, Serialize};

pub(crate) use self::keeper::{LeaderFileClaim, LeaderFileKeeper};
pub(crate) use self::place::LeaderFilePlace;
use crate::machine_clock::{boot_id, now};
use crate::report::timestamp;

/// What the file says, as JSON. It is believed until its end, and then no longer, whether or not
/// anybody is left to remove it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeaderFile {
    cluster: String,
    id: String,
    /// The fencing token.
    pub(crate) token: u64,
    /// Until when it is believed, for people.
    until: String,
    /// The same on the clock of the machine, which is not set: in microseconds.
    until_uptime_us: u64,
    /// During which run of the machine that clock says so.
    boot_id: String,
}

impl LeaderFile {
    /// More bytes than it ever has.
    const LEN_MAX: usize = 4096;

    /// What a leader says whose lease may be acted on until this time of the machine's clock.
    fn new(status: &Status, token: u64, until: Duration) -> Result<Self> {
        Ok(Self {
            cluster: status.cluster.name.clone(),
            id: status.id.to_string(),
            token,
            until: timestamp(SystemTime::now() + until.saturating_sub(now())),
            until_uptime_us: u64::try_from(until.as_micros()).unwrap_or(u64::MAX),
            boot_id: boot_id()?,
        })
    }

    /// What the file at `path` says; none if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let mut bytes = Vec::new();
        let opened = SmallFile::open(path);
        match opened.and_then(|file| file.read_to_end(Self::LEN_MAX, &mut bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("could not read {}", path.display()))?,
        }
        let file = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not a leader file", path.display()))?;
        Ok(Some(file))
    }

    /// Whether the lease is valid at this moment.
    pub(crate) fn is_valid(&self) -> Result<bool> {
        let until = Duration::from_micros(self.until_uptime_us);
        Ok(self.boot_id == boot_id()? && now() < until)
    }
}
