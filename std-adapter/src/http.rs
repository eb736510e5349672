//! A running node over HTTP: for people, for probes and for Prometheus.

mod answer;
mod health;
mod history;
mod leader;
mod metrics;
mod page;
mod status;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;

use self::health::Liveness;
use self::history::History;
use crate::node::{Node, Reader};

/// A node's state as a [`tower`](https://docs.rs/tower) service, for any server that takes one.
///
/// | path | what it answers |
/// |---|---|
/// | `/` | a page that draws the cluster as this node knows it, and its last hour |
/// | `/leader` | 200 while this node holds a valid lease, with the fencing token; otherwise 503 |
/// | `/livez` | 200 if the node answers |
/// | `/readyz` | 200 if the node is connected, and leads or has a leader |
/// | `/status` | all that is known of the node and its cluster, in JSON |
/// | `/history` | how the node's role, term and leader have changed in the last hour, in JSON |
/// | `/metrics` | metrics for Prometheus, as OpenMetrics |
///
/// `docs/http.md` describes each. All answers are for `GET` and `HEAD`, must not be cached, and
/// have no secrets in them. None is ever waited for by the node: whatever clients ask, it goes on.
/// But the service has no access control either, so it belongs where only operators are.
///
/// It doesn't keep the node running: once that has closed, the service says so.
///
/// In a server made with `axum`, `Router::nest_service("/graft", HttpService::new(&node))` puts it
/// under a path of its own.
///
/// ```
/// use graft_election::{ClusterInfo, HttpService, MemoryNetwork, MemoryVotes, Node};
/// use http::Request;
/// use tower_service::Service;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let node = Node::builder(ClusterInfo::new("lamps", 1))
///     .start(MemoryNetwork::new().transport(), MemoryVotes::new())
///     .await?;
/// let mut service = HttpService::new(&node);
///
/// let response = service.call(Request::get("/leader").body(())?).await?;
/// assert_eq!(response.status(), 503, "it has just started");
/// node.wait_for_leadership().await;
/// let response = service.call(Request::get("/leader").body(())?).await?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpService {
    shared: Arc<Shared>,
}

/// What all clones of a service share.
#[derive(Debug)]
struct Shared {
    node: Reader,
    liveness: Liveness,
    history: History,
}

/// What there is to ask for.
#[derive(Clone, Copy, Debug)]
enum Resource {
    Page,
    Leader,
    Liveness,
    Readiness,
    Status,
    History,
    Metrics,
}

impl HttpService {
    /// The service of this node. What it tells of the last hour begins here.
    pub fn new(node: &Node) -> Self {
        let node = node.reader();
        let history = History::new(node.listen(), &node.status());
        Self { shared: Arc::new(Shared { node, liveness: Liveness::default(), history }) }
    }
}

impl<B> tower_service::Service<Request<B>> for HttpService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let resource = Resource::at(request.uri().path());
        let is_head = request.method() == Method::HEAD;
        let is_allowed = is_head || request.method() == Method::GET;
        Box::pin(async move {
            let answer = match resource {
                Some(resource) if is_allowed => shared.answer(resource).await,
                Some(_) => answer::method_not_allowed(),
                None => answer::not_found(),
            };
            Ok(answer.into_response(is_head))
        })
    }
}

impl Resource {
    /// What is at this path.
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "" | "/" => Self::Page,
            "/leader" => Self::Leader,
            "/livez" => Self::Liveness,
            "/readyz" => Self::Readiness,
            "/status" => Self::Status,
            "/history" => Self::History,
            "/metrics" => Self::Metrics,
            _ => return None,
        })
    }
}

impl Shared {
    async fn answer(&self, resource: Resource) -> answer::Answer {
        match resource {
            Resource::Page => page::page(),
            Resource::Leader => leader::leader(&self.node),
            Resource::Liveness => self.liveness.ask(&self.node).await,
            Resource::Readiness => health::readiness(&self.node.status()),
            Resource::Status => status::status(&self.node),
            Resource::History => self.history.answer(),
            Resource::Metrics => metrics::metrics(&self.node),
        }
    }
}
