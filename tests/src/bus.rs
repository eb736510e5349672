//! A serial bus of many members, on Unix sockets: what one sends, all others hear.
//!
//! Only one member talks at a time: the others wait until the line is free, for which real lines
//! need carrier sense. A bus may have the speed of a real one.

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
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How far a listener may fall behind.
const CAPACITY: usize = 1024;

/// How many bytes at a time come over a line that has a speed: fewer than any receiver has room
/// for.
const PIECE_MAX: usize = 64;

/// A bus, which lasts as long as this value.
#[derive(Debug)]
pub struct Bus {
    folder: TempDir,
    line: Line,
}

/// What was put on the bus: whole frames, or pieces of them if the line has a speed.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The member that sent them, by the name it joined with.
    pub from: Arc<str>,
    /// What it sent.
    pub bytes: Arc<[u8]>,
    /// When it would have begun to talk, had the line been free.
    pub ready_at: Instant,
}

/// What all members share.
#[derive(Clone, Debug)]
struct Line {
    traffic: broadcast::Sender<Sent>,
    /// Bytes per second; none if transmission takes no time.
    speed: Option<u32>,
    /// Until when it is taken. The member that talks holds the lock, and the others wait in turn.
    taken_until: Arc<tokio::sync::Mutex<Instant>>,
}

/// A connection to the bus, through a socket to which its user connects, again and again if need
/// be.
#[derive(Debug)]
pub struct Member {
    name: Arc<str>,
    socket: PathBuf,
    wire: Arc<Wire>,
}

/// How a member's wire treats what the member sends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How likely a portion is to be lost.
    pub loss: f64,
    /// How likely a portion is to have one bit changed.
    pub corruption: f64,
    /// How late a portion arrives.
    pub delay: Duration,
}

/// What lies between a member and the bus.
#[derive(Debug, Default)]
struct Wire {
    is_cut: AtomicBool,
    faults: Mutex<Faults>,
    hang_up: Notify,
    is_connected: watch::Sender<bool>,
}

impl Bus {
    /// A bus without members, on a line that takes no time.
    pub fn new() -> Self {
        Self::on_line(None)
    }

    /// A bus without members, on a line of this speed.
    pub fn with_speed(bytes_per_second: u32) -> Self {
        Self::on_line(Some(bytes_per_second))
    }

    fn on_line(speed: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for sockets");
        let taken_until = Arc::new(tokio::sync::Mutex::new(Instant::now()));
        Self { folder, line: Line { traffic: broadcast::channel(CAPACITY).0, speed, taken_until } }
    }

    /// Adds a member called `name`.
    pub fn join(&self, name: &str) -> Member {
        let socket = self.folder.path().join(name);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let member = Member { name: name.into(), socket, wire: Arc::default() };
        let (name, wire) = (Arc::clone(&member.name), Arc::clone(&member.wire));
        let line = self.line.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                wire.is_connected.send_replace(true);
                serve(stream, &name, &wire, &line).await;
                wire.is_connected.send_replace(false);
            }
        });
        member
    }

    /// Everything that is sent from now on.
    pub fn listen(&self) -> broadcast::Receiver<Sent> {
        self.line.traffic.subscribe()
    }

    /// Puts any bytes on the bus in the name of a stranger, and waits until they are out.
    pub async fn put(&self, from: &str, bytes: &[u8]) {
        self.line.put(&from.into(), bytes).await;
    }
}

impl Line {
    /// Has `from` send `bytes` as soon as the line is free, and waits until they are out.
    async fn put(&self, from: &Arc<str>, bytes: &[u8]) {
        let ready_at = Instant::now();
        let mut taken_until = self.taken_until.lock().await;
        *taken_until = ready_at.max(*taken_until);
        let piece_max = if self.speed.is_some() { PIECE_MAX } else { bytes.len().max(1) };
        for piece in bytes.chunks(piece_max) {
            if let Some(speed) = self.speed {
                *taken_until += Duration::from_secs(1) * piece.len() as u32 / speed;
                sleep_until(*taken_until).await;
            }
            let sent = Sent { from: Arc::clone(from), bytes: piece.into(), ready_at };
            // There may be no listeners.
            let _ = self.traffic.send(sent);
        }
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

    /// The socket to connect to.
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

    /// Sets the faults of the wire from now on.
    pub fn set_faults(&self, faults: Faults) {
        *self.wire.faults.lock().expect("nobody panics with it") = faults;
    }

    /// Ends the connection. The member may connect again at once.
    pub fn hang_up(&self) {
        self.wire.hang_up.notify_waiters();
    }

    /// Waits until nobody is connected as the member, and everything it sent is on the bus.
    pub async fn left(&self) {
        let mut is_connected = self.wire.is_connected.subscribe();
        is_connected.wait_for(|is_connected| !is_connected).await.expect("the wire lives");
    }
}

/// Carries what one connection sends and receives, until it closes.
async fn serve(stream: UnixStream, name: &Arc<str>, wire: &Wire, line: &Line) {
    let (input, output) = stream.into_split();
    // Subscribe before anything is sent that others might answer.
    let heard = line.traffic.subscribe();
    tokio::select! {
        () = carry_out(input, name, wire, line) => {}
        () = carry_in(output, name, wire, heard) => {}
        () = wire.hang_up.notified() => {}
    }
}

/// Puts on the bus what a member sends, in whole frames.
async fn carry_out(mut input: OwnedReadHalf, name: &Arc<str>, wire: &Wire, line: &Line) {
    let mut unfinished = Vec::new();
    let mut random = StdRng::seed_from_u64(1);
    while let Ok(1..) = input.read_buf(&mut unfinished).await {
        let Some(end) = unfinished.iter().rposition(|byte| *byte == DELIMITER) else { continue };
        if unfinished[..end].iter().all(|byte| *byte == DELIMITER) {
            // Only the beginning of a frame.
            continue;
        }
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
        if faults.delay.is_zero() {
            line.put(name, &bytes).await;
        } else {
            let (name, line) = (Arc::clone(name), line.clone());
            tokio::spawn(async move {
                sleep(faults.delay).await;
                line.put(&name, &bytes).await;
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
        let is_heard = sent.from != *name && !wire.is_cut.load(Ordering::Relaxed);
        if is_heard && output.write_all(&sent.bytes).await.is_err() {
            return;
        }
    }
}
