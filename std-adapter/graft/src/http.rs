//! The node over HTTP, on a thread of its own: whatever clients do, the election goes on.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election::HttpService;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// How many connections there may be. One more takes the place of the oldest, so that clients who
/// hold theirs open keep nobody out.
const CONNECTIONS_MAX: usize = 64;

/// How long the head of a request may take, and a connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a connection may last before it is closed in order.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the last answer may take then. A client that reads more slowly is dropped.
const LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How many bytes of a request, and of answers that nobody reads, are kept.
const BUFFER_MAX: usize = 16 * 1024;

/// How long accepting rests after it has failed, for want of file descriptors for example.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A server whose address is taken, and which answers nobody before there is a node.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    service: oneshot::Sender<HttpService>,
}

impl HttpServer {
    /// Takes the address, and starts the thread.
    ///
    /// # Errors
    ///
    /// The address is in use, is not of this machine or may not be taken; or the thread can't
    /// start.
    pub(crate) fn start(address: SocketAddr) -> Result<Self> {
        let listener = StdListener::bind(address)
            .with_context(|| format!("could not listen for HTTP on {address}"))?;
        listener.set_nonblocking(true).context("could not listen for HTTP")?;
        let address = listener.local_addr().context("could not listen for HTTP")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start to serve HTTP")?;
        let (service, served) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                // Without a node there is nothing to serve.
                let Ok(service) = served.await else { return };
                if let Ok(listener) = TcpListener::from_std(listener) {
                    serve(listener, service).await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(serve);
        thread.context("could not start to serve HTTP")?;
        Ok(Self { address, service })
    }

    /// Answers from now on, and tells at which address.
    pub(crate) fn serve(self, service: HttpService) -> SocketAddr {
        // The thread waits for it.
        let _ = self.service.send(service);
        self.address
    }
}

/// Accepts connections for as long as the program runs.
async fn serve(listener: TcpListener, service: HttpService) {
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_REST).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS_MAX
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let connection = tokio::spawn(serve_connection(stream, service.clone()));
        connections.push_back(connection.abort_handle());
    }
}

async fn serve_connection(stream: TcpStream, service: HttpService) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    // What goes wrong with a client is the client's affair.
    if timeout(CONNECTION_TIME_MAX, &mut serving).await.is_err() {
        serving.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER_TIME_MAX, serving).await;
    }
}
