//! A serial bus of many members, on Unix sockets: what one sends, all others hear.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use graft_election_proto::frame::DELIMITER;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, broadcast};
use tokio::time::sleep;

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
    wire: Arc<Wire>,
}

/// How a member's wire treats what the member sends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How likely a portion is lost.
    pub loss: f64,
    /// How likely a bit of a portion is changed.
    pub corruption: f64,
    /// How late a portion comes.
    pub delay: Duration,
}

/// What lies between a member and the bus.
#[derive(Debug, Default)]
struct Wire {
    is_cut: AtomicBool,
    faults: Mutex<Faults>,
    hang_up: Notify,
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
        let member = Member { name: name.into(), socket, wire: Arc::default() };
        let (name, wire) = (Arc::clone(&member.name), Arc::clone(&member.wire));
        let traffic = self.traffic.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &name, &wire, &traffic).await;
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
        self.wire.is_cut.store(true, Ordering::Relaxed);
    }

    /// Mends the wire.
    pub fn mend(&self) {
        self.wire.is_cut.store(false, Ordering::Relaxed);
    }

    /// From now on the wire has these faults.
    pub fn set_faults(&self, faults: Faults) {
        *self.wire.faults.lock().expect("nobody panics with it") = faults;
    }

    /// Ends the connection. The member may connect again at once.
    pub fn hang_up(&self) {
        self.wire.hang_up.notify_waiters();
    }
}

/// Carries what one connection sends and hears, until it closes.
async fn serve(
    stream: UnixStream,
    name: &Arc<str>,
    wire: &Wire,
    traffic: &broadcast::Sender<Sent>,
) {
    let (input, output) = stream.into_split();
    // The receiver exists before anything that could be answered is sent.
    let heard = traffic.subscribe();
    tokio::select! {
        () = carry_out(input, name, wire, traffic) => {}
        () = carry_in(output, name, wire, heard) => {}
        () = wire.hang_up.notified() => {}
    }
}

/// Puts on the bus what a member sends. It takes whole frames, as a bus does on which nobody talks
/// while another does.
async fn carry_out(
    mut input: OwnedReadHalf,
    name: &Arc<str>,
    wire: &Wire,
    traffic: &broadcast::Sender<Sent>,
) {
    let mut unfinished = Vec::new();
    let mut random = StdRng::seed_from_u64(1);
    while let Ok(1..) = input.read_buf(&mut unfinished).await {
        let Some(end) = unfinished.iter().rposition(|byte| *byte == DELIMITER) else { continue };
        let rest = unfinished.split_off(end + 1);
        let mut bytes = std::mem::replace(&mut unfinished, rest);
        let faults = *wire.faults.lock().expect("nobody panics with it");
        if wire.is_cut.load(Ordering::Relaxed) || random.random_bool(faults.loss) {
            continue;
        }
        if random.random_bool(faults.corruption) {
            let bit = random.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let sent = Sent { from: Arc::clone(name), bytes: bytes.into() };
        // Nobody may be listening.
        if faults.delay.is_zero() {
            let _ = traffic.send(sent);
        } else {
            let traffic = traffic.clone();
            tokio::spawn(async move {
                sleep(faults.delay).await;
                let _ = traffic.send(sent);
            });
        }
    }
}

/// Gives a member what others put on the bus.
async fn carry_in(
    mut output: OwnedWriteHalf,
    name: &Arc<str>,
    wire: &Wire,
    mut heard: broadcast::Receiver<Sent>,
) {
    loop {
        let sent = match heard.recv().await {
            Ok(sent) => sent,
            // A member that is too slow loses bytes, as on any line.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let is_for_it = sent.from != *name && !wire.is_cut.load(Ordering::Relaxed);
        if is_for_it && output.write_all(&sent.bytes).await.is_err() {
            return;
        }
    }
}
