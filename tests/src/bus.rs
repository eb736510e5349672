//! A serial bus of many members, on Unix sockets: what one sends, all others hear.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use graft_election_proto::frame::DELIMITER;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;

/// How far a listener may fall behind.
const CAPACITY: usize = 1024;

/// A bus; it ends with the value.
#[derive(Debug)]
pub struct Bus {
    folder: TempDir,
    traffic: broadcast::Sender<Sent>,
}

/// Bytes on the bus, in whole frames.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The member that sent them, by the name it joined with.
    pub from: Arc<str>,
    /// What it sent.
    pub bytes: Arc<[u8]>,
}

/// A place on the bus. Whoever takes it connects to its socket, and may come and go.
#[derive(Debug)]
pub struct Member {
    name: Arc<str>,
    socket: PathBuf,
    is_cut: Arc<AtomicBool>,
}

impl Bus {
    /// A bus without members.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for sockets");
        Self { folder, traffic: broadcast::channel(CAPACITY).0 }
    }

    /// Adds a place called `name`.
    pub fn join(&self, name: &str) -> Member {
        let socket = self.folder.path().join(name);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let member = Member { name: name.into(), socket, is_cut: Arc::default() };
        let (name, is_cut) = (Arc::clone(&member.name), Arc::clone(&member.is_cut));
        let traffic = self.traffic.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &name, &is_cut, &traffic).await;
            }
        });
        member
    }

    /// All that is sent from now on.
    pub fn listen(&self) -> broadcast::Receiver<Sent> {
        self.traffic.subscribe()
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Member {
    /// The name it joined with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to connect to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Cuts the member's wire: it hears nobody, and nobody hears it.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    /// Mends the wire.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::Relaxed);
    }
}

/// Carries what one connection sends and hears, until it closes.
async fn serve(
    stream: UnixStream,
    name: &Arc<str>,
    is_cut: &AtomicBool,
    traffic: &broadcast::Sender<Sent>,
) {
    let (input, output) = stream.into_split();
    // The receiver exists before anything that could be answered is sent.
    let heard = traffic.subscribe();
    tokio::select! {
        () = carry_out(input, name, is_cut, traffic) => {}
        () = carry_in(output, name, is_cut, heard) => {}
    }
}

/// Puts on the bus what a member sends. It takes whole frames, as a bus does on which nobody talks
/// while another does.
async fn carry_out(
    mut input: OwnedReadHalf,
    name: &Arc<str>,
    is_cut: &AtomicBool,
    traffic: &broadcast::Sender<Sent>,
) {
    let mut unfinished = Vec::new();
    while let Ok(1..) = input.read_buf(&mut unfinished).await {
        let Some(end) = unfinished.iter().rposition(|byte| *byte == DELIMITER) else { continue };
        let rest = unfinished.split_off(end + 1);
        let bytes = std::mem::replace(&mut unfinished, rest).into();
        if !is_cut.load(Ordering::Relaxed) {
            // Nobody may be listening.
            let _ = traffic.send(Sent { from: Arc::clone(name), bytes });
        }
    }
}

/// Gives a member what others put on the bus.
async fn carry_in(
    mut output: OwnedWriteHalf,
    name: &Arc<str>,
    is_cut: &AtomicBool,
    mut heard: broadcast::Receiver<Sent>,
) {
    loop {
        let sent = match heard.recv().await {
            Ok(sent) => sent,
            // A member that is too slow loses bytes, as on any line.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let is_for_it = sent.from != *name && !is_cut.load(Ordering::Relaxed);
        if is_for_it && output.write_all(&sent.bytes).await.is_err() {
            return;
        }
    }
}
