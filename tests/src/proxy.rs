//! A TCP line to a server that fails on demand.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// A proxy in front of a server on this machine; it ends with the value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    connections: watch::Sender<u64>,
    task: JoinHandle<()>,
}

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// All that comes goes on at once.
    Open,
    /// What comes is held back, in both directions and on new connections too, as by a network that
    /// is down; it goes on as soon as the line is open.
    Silent,
    /// As silent, but only towards the client: it is heard, and hears nothing.
    Deaf,
    /// As silent, but only towards the server: the client hears, and isn't heard.
    Mute,
    /// Each portion goes on only after this time.
    Delayed(Duration),
    /// Not more than so many bytes go on at once, and then none for a millisecond.
    Dripping(usize),
}

impl Line {
    /// Whether what goes to `end` is held back.
    fn holds(self, end: End) -> bool {
        match self {
            Self::Silent => true,
            Self::Deaf => end == End::Client,
            Self::Mute => end == End::Server,
            Self::Open | Self::Delayed(_) | Self::Dripping(_) => false,
        }
    }
}

/// An end of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

impl Proxy {
    /// A proxy in front of the server at `url`, with an open line.
    pub async fn start(url: &str) -> Self {
        let server: SocketAddr =
            url.trim_start_matches("nats://").parse().expect("the address of a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (line, _) = watch::channel(Line::Open);
        let (connections, _) = watch::channel(0);
        let (told, cut) = (line.clone(), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else {
                    continue;
                };
                tokio::spawn(carry(client, server, told.subscribe(), cut.subscribe()));
            }
        });
        Self { address, line, connections, task }
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Changes the line, for all connections that there are and that will come.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Resets all connections, so that both ends know at once. New ones may be made.
    pub fn cut(&self) {
        self.connections.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// Carries one connection until it is cut, or both ends have closed it. If one end closes it while
/// the line is silent, the other doesn't know: the connection is half open.
async fn carry(
    client: TcpStream,
    server: TcpStream,
    line: watch::Receiver<Line>,
    mut cuts: watch::Receiver<u64>,
) {
    for stream in [&client, &server] {
        // What is cut is reset, not closed in good order.
        stream.set_zero_linger().expect("a socket that can be reset");
        stream.set_nodelay(true).expect("a socket that doesn't wait");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both_ways = async {
        tokio::join!(
            pump(from_client, to_server, End::Server, line.clone()),
            pump(from_server, to_client, End::Client, line.clone())
        )
    };
    tokio::select! {
        _ = both_ways => {}
        _ = cuts.changed() => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    end: End,
    mut line: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = match *line.borrow() {
            Line::Dripping(len) => len,
            _ => buffer.len(),
        };
        let read = from.read(&mut buffer[..len]).await.unwrap_or(0);
        let read_at = Instant::now();
        let is_open = line.wait_for(|line| !line.holds(end)).await.map(|line| *line);
        match is_open {
            Ok(Line::Delayed(delay)) => sleep_until(read_at + delay).await,
            Ok(Line::Dripping(_)) => sleep_until(read_at + Duration::from_millis(1)).await,
            Ok(_) => {}
            // The proxy is gone.
            Err(_) => return,
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
