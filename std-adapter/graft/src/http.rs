//! The node over HTTP, on a thread of its own: whatever clients do, the election goes on.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use anyhow::{Context, Result};
use graft_election::HttpService;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode, Version};
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
    let node = TowerToHyperService::new(service);
    let answering = service_fn(move |request: Request<Incoming>| {
        let answer = names_host(&request).then(|| node.call(request));
        async move {
            match answer {
                Some(answer) => answer.await,
                None => Ok(bad_request()),
            }
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), answering);
    let mut serving = std::pin::pin!(serving);
    // What goes wrong with a client is the client's affair.
    if timeout(CONNECTION_TIME_MAX, &mut serving).await.is_err() {
        serving.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER_TIME_MAX, serving).await;
    }
}

/// Whether the request names the host that it is for as RFC 9112, section 3.2, demands: once, and
/// only before HTTP/1.1 not at all. The library leaves that to its users.
fn names_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// Whether it can be a host and a port; it is empty if the client's URI has none.
fn is_host(value: &HeaderValue) -> bool {
    let host = value.as_bytes();
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

fn bad_request<B: Default>() -> Response<B> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
