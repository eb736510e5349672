//! Keeps the leader file as long as the lease.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use graft_election::{Mode, Node};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::LeaderFile;
use super::lock::Lock;
use super::place::LeaderFilePlace;
use crate::exit_status::{ExitStatus, ExitsWith};
use crate::permit::Permit;

/// How many errors wait to be reported. There is one at a time: a file that can't be written stays
/// so, and is reported again only when it could be written meanwhile.
const FAULTS_MAX: usize = 4;

/// The right to keep the leader file, of a node that has yet to start. The file is as it was: if
/// the node doesn't start, somebody may still need it.
#[derive(Debug)]
pub(crate) struct LeaderFileClaim {
    place: LeaderFilePlace,
    lock: Lock,
}

/// Where the leader file is, and the right to write it.
#[derive(Clone, Debug)]
pub(crate) struct LeaderFileKeeper {
    place: LeaderFilePlace,
    lock: Arc<Lock>,
}

impl LeaderFileClaim {
    /// # Errors
    ///
    /// No such file can be written there, or a process that lives keeps it.
    pub(crate) fn new(place: LeaderFilePlace) -> Result<Self> {
        let taken = place
            .check()
            .and_then(|()| Lock::take(&place.lock_path).with_context(|| place.unwritable()));
        match taken.exits_with(ExitStatus::Configuration)? {
            Some(lock) => Ok(Self { place, lock }),
            // As with a vote file, that may be otherwise later.
            None => bail!("another process keeps the leader file {}", place.path.display()),
        }
    }

    /// Leaves everything as it was, since the node has not started.
    pub(crate) fn withdraw(self) {
        self.lock.withdraw();
    }

    /// Removes the file of an earlier process, once the node has started. Whether a file can be
    /// written is found out before there is one.
    ///
    /// # Errors
    ///
    /// Somebody else's file is there by now, or none can be written.
    pub(crate) fn begin(self) -> Result<LeaderFileKeeper> {
        let keeper = LeaderFileKeeper { place: self.place, lock: Arc::new(self.lock) };
        keeper.clear().exits_with(ExitStatus::Configuration)?;
        Ok(keeper)
    }
}

impl LeaderFileKeeper {
    fn clear(&self) -> Result<()> {
        let LeaderFilePlace { path, next_path, .. } = &self.place;
        self.place.check()?;
        let cleared = remove(next_path)
            .and_then(|()| self.write_next(b""))
            .and_then(|()| remove(next_path))
            .and_then(|()| remove(path));
        cleared.with_context(|| self.place.unwritable())
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
        let LeaderFilePlace { path, next_path, .. } = &self.place;
        let mut text = serde_json::to_vec(file)?;
        text.push(b'\n');
        let written = self.lock.hold().and_then(|()| self.write_next(&text)).and_then(|()| {
            // Left there, it would be in the way of the next one.
            fs::rename(next_path, path).inspect_err(|_| drop(remove(next_path)))
        });
        written.with_context(|| self.place.unwritable())
    }

    /// After a crash nobody believes it, so it needn't reach the disk. What somebody else has put
    /// there meanwhile stays.
    fn write_next(&self, text: &[u8]) -> io::Result<()> {
        let next_path = &self.place.next_path;
        let mut file = OpenOptions::new().write(true).create_new(true).open(next_path)?;
        file.write_all(text).inspect_err(|_| drop(remove(next_path)))
    }

    fn remove(&self) -> Result<()> {
        let path = &self.place.path;
        let removed = self.lock.hold().and_then(|()| remove(path));
        removed.with_context(|| format!("could not remove {}", path.display()))
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does what may take long on a thread of its own: the lease doesn't depend on a disk that hangs.
async fn blocking(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    spawn_blocking(work).await.context("the leader file's thread has stopped")?
}
