//! Keeps the leader file as long as the lease.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use graft_election::{Mode, Node};
use rustix::fs::OFlags;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::LeaderFile;
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::permit::Permit;

/// How many errors wait to be reported. There is one at a time: a file that can't be written stays
/// so, and is reported again only when it could be written meanwhile.
const FAULTS_MAX: usize = 4;

/// Where the leader file is, and the right to write it.
#[derive(Clone, Debug)]
pub(crate) struct LeaderFileKeeper {
    path: PathBuf,
    /// The next one, until it takes the place of the file.
    next_path: PathBuf,
    /// Held against every other process. It is a file of its own, since the other one is replaced
    /// all the time, and stays: removing it could take away a lock that another has by then.
    lock: Arc<File>,
}

impl LeaderFileKeeper {
    /// Removes the file of an earlier process.
    ///
    /// # Errors
    ///
    /// No file can be written there, or a process that lives keeps it.
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        let keeper = Self::at(path).exits_with(ExitStatus::Configuration)?;
        match keeper.lock.try_lock() {
            Ok(()) => {}
            // As with a vote file, that may be otherwise later.
            Err(TryLockError::WouldBlock) => {
                bail!("another process keeps the leader file {}", keeper.path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).context(unwritable(&keeper.path)),
        }
        keeper
            .clear()
            .with_context(|| unwritable(&keeper.path))
            .exits_with(ExitStatus::Configuration)?;
        Ok(keeper)
    }

    fn at(path: PathBuf) -> Result<Self> {
        let beside = |suffix| {
            let mut name = path.file_name().context("the leader file has no name")?.to_owned();
            name.push(suffix);
            anyhow::Ok(path.with_file_name(name))
        };
        let (next_path, lock_path) = (beside(".new")?, beside(".lock")?);
        let lock = create(&lock_path).with_context(|| unwritable(&path))?;
        Ok(Self { path, next_path, lock: Arc::new(lock) })
    }

    /// Whether a file can be written is found out before there is one.
    fn clear(&self) -> Result<()> {
        self.write_next(b"")?;
        fs::remove_file(&self.next_path)?;
        self.remove()
    }

    /// Keeps the file while `node` has a lease, `margin` less than that, and renews it at least
    /// once per `margin`, until the node closes. Returns what goes wrong.
    ///
    /// A node that hands over waits until the file is removed, though not beyond its lease.
    pub(crate) fn start(self, node: Arc<Node>, margin: Duration) -> mpsc::Receiver<anyhow::Error> {
        let (faults, told) = mpsc::channel(FAULTS_MAX);
        tokio::spawn(async move {
            loop {
                let permit = Permit::next(&node, Mode::Extended, margin).await;
                self.keep(&node, &permit, margin, &faults).await;
            }
        });
        told
    }

    async fn keep(
        &self,
        node: &Node,
        permit: &Permit,
        margin: Duration,
        faults: &mpsc::Sender<anyhow::Error>,
    ) {
        let mut is_failing = false;
        let mut tell = |done: Result<()>| match done {
            Ok(()) => is_failing = false,
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                let _ = faults.try_send(error);
            }
            Err(_) => {}
        };
        loop {
            let until = permit.deadline().unwrap_or_default();
            let file = LeaderFile::new(&node.status(), permit.token(), until);
            let keeper = self.clone();
            tell(blocking(move || keeper.write(&file?)).await);
            tokio::select! {
                () = permit.expired() => break,
                () = sleep(margin) => {}
            }
        }
        let keeper = self.clone();
        tell(blocking(move || keeper.remove()).await);
    }

    fn write(&self, file: &LeaderFile) -> Result<()> {
        let mut text = serde_json::to_vec(file)?;
        text.push(b'\n');
        self.write_next(&text)
            .and_then(|()| fs::rename(&self.next_path, &self.path))
            .with_context(|| unwritable(&self.path))
    }

    /// After a crash nobody believes it, so it needn't reach the disk.
    fn write_next(&self, text: &[u8]) -> io::Result<()> {
        create(&self.next_path)?.write_all(text)
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn unwritable(path: &Path) -> String {
    format!("could not write the leader file {}", path.display())
}

/// An empty file. Somebody else's link may lie in a directory that is open to all.
fn create(path: &Path) -> io::Result<File> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(no_link).open(path)
}

/// Does what may take long on a thread of its own: the lease doesn't depend on a disk that hangs.
async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    spawn_blocking(work).await.context("the leader file's thread has stopped")?
}
