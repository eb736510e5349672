//! Messages on their way to nodes that don't read as fast as others write: the kernel keeps only
//! about ten for each of them.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixDatagram as BlockingDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout};

use crate::transport::Connection;

/// How long a message waits for room: half a heartbeat interval. A later one is of no use.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How many messages wait for one node. A node that is stopped leaves more than that unread.
const WAITING_MAX: usize = 4;

/// How often dropped messages are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Sends datagrams, and has those wait a little for which there is no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How many wait for each node that has no room.
    waiting: HashMap<PathBuf, usize>,
    /// How many were dropped since the last report, and for whom the last one was.
    dropped: u64,
    dropped_for: PathBuf,
    reported_at: Option<Instant>,
}

impl Outbox {
    /// Sends now, or soon: whether a message that waits has arrived is not known.
    pub(super) fn send(&self, path: &Path, datagram: &[u8]) -> io::Result<()> {
        match send_from_new_socket(path, datagram) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wait_to_send(path, datagram);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// What is to be reported of dropped messages.
    pub(super) fn report(&self) -> Option<Connection> {
        let mut state = self.lock();
        let is_due = state.reported_at.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
        if state.dropped == 0 || !is_due {
            return None;
        }
        state.reported_at = Some(Instant::now());
        let (dropped, path) = (std::mem::take(&mut state.dropped), state.dropped_for.display());
        Some(Connection::Impaired(format!(
            "{dropped} messages were dropped since their receivers don't read them, the last one \
             for {path}"
        )))
    }

    fn wait_to_send(&self, path: &Path, datagram: &[u8]) {
        let mut state = self.lock();
        let waiting = state.waiting.entry(path.to_owned()).or_default();
        if *waiting >= WAITING_MAX {
            state.drop_one(path);
            return;
        }
        *waiting += 1;
        drop(state);
        let (outbox, path, datagram) = (self.clone(), path.to_owned(), datagram.to_vec());
        tokio::spawn(async move {
            let sent = timeout(WAIT_MAX, send_when_there_is_room(&path, &datagram)).await;
            outbox.finish(&path, sent.is_ok());
        });
    }

    /// A message that waited waits no longer.
    fn finish(&self, path: &Path, is_sent: bool) {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.get_mut(path) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                state.waiting.remove(path);
            }
        }
        if !is_sent {
            state.drop_one(path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_one(&mut self, path: &Path) {
        self.dropped = self.dropped.saturating_add(1);
        path.clone_into(&mut self.dropped_for);
    }
}

/// What a stopped process leaves unread counts against the socket that sent it, and its full queue
/// makes tokio take that socket for unready. Each datagram has a socket of its own, so that this
/// costs the other nodes nothing.
pub(super) fn send_from_new_socket(path: &Path, datagram: &[u8]) -> io::Result<usize> {
    let socket = BlockingDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(datagram, path)
}

/// Only a socket that is connected is told when its peer has room.
async fn send_when_there_is_room(path: &Path, datagram: &[u8]) -> io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.send(datagram).await
}
