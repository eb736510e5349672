//! A web service of which one instance sends the invoices, and how it stops in good order.
//!
//! Start three, each in a terminal of its own, and stop the one that leads with Ctrl-C:
//!
//! ```sh
//! cargo run --example axum_service --features http -- n1 127.0.0.1:8081
//! cargo run --example axum_service --features http -- n2 127.0.0.1:8082
//! cargo run --example axum_service --features http -- n3 127.0.0.1:8083
//! ```
//!
//! | path | what answers |
//! |---|---|
//! | `/` | the service itself, on every instance |
//! | `/leader` | 200 only where the lease is, so that a load balancer can send writes there |
//! | `/graft/` | the rest of the library's [`HttpService`]: the page, probes and metrics |
//!
//! # The order in which it stops
//!
//! A node that closes gives its lease up at once, and a job that still runs is dropped wherever it
//! is. So on a signal the job ends first, by itself, between two invoices. Then the node closes and
//! hands over. The server goes last: while the others elect, `/leader` says that it isn't here.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use graft_election::{
    ClusterInfo, HttpService, Leadership, LocalTransport, Node, NodeId, RunError, VoteFile,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(id), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("give an id and an address, such as n1 127.0.0.1:8081".into());
    };
    let listener = TcpListener::bind(&address).await?;
    // A `NatsTransport` would connect instances on several machines.
    let directory = std::env::temp_dir().join("graft-axum-service");
    std::fs::create_dir_all(&directory)?;
    let votes = VoteFile::open(directory.join(format!("{id}.vote")))?;
    let node = Node::builder(ClusterInfo::new("billing", 3))
        .id(NodeId::new(&id)?)
        .start(LocalTransport::new(directory.join("sockets")), votes)
        .await?;

    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone())?);
    match serve(node, listener, stop).await? {
        Some(sent) => println!("{id} led, has sent {sent} invoices, and handed over"),
        None => println!("{id} has stopped; it didn't lead"),
    }
    Ok(())
}

/// Cancels `stop` at the first signal to end: Ctrl-C, or what service managers send.
fn cancel_on_signal(stop: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        stop.cancel();
    })
}

/// Runs the service until `stop` is cancelled. Returns how many invoices the job had sent when it
/// ended by itself, if this instance led then.
///
/// # Errors
///
/// If another process uses the node's id.
pub async fn serve(
    node: Node,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<Option<u64>, Failure> {
    let (node, jobs) = (Arc::new(node), TaskTracker::new());
    let graft = HttpService::new(&node);
    let router = Router::new()
        .route("/", get(who_leads))
        .route_service("/leader", graft.clone())
        .nest_service("/graft", graft)
        .with_state(Arc::clone(&node));
    let closed = close(Arc::clone(&node), stop.clone(), jobs.clone());
    let server = axum::serve(listener, router).with_graceful_shutdown(closed);
    let job = async {
        // If the job ends for another reason, the service stops as well.
        let _stop_at_the_end = stop.clone().drop_guard();
        node.run_while_leader(|leadership| send_invoices(leadership, stop.clone(), jobs.token()))
            .await
    };
    let (sent, served) = tokio::join!(job, server.into_future());
    served?;
    match sent {
        Ok(sent) => Ok(Some(sent)),
        Err(RunError::Closed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Once `stop` is cancelled, waits until no job runs, and closes the node. A job that begins in
/// between finds `stop` cancelled.
async fn close(node: Arc<Node>, stop: CancellationToken, jobs: TaskTracker) {
    stop.cancelled().await;
    jobs.close();
    jobs.wait().await;
    node.close().await;
}

/// The job of the leader. It looks at `stop` only where it may end, so no invoice is left half
/// done. The tracker knows that it runs as long as it has its token.
async fn send_invoices(
    leadership: Leadership,
    stop: CancellationToken,
    _running: TaskTrackerToken,
) -> u64 {
    let mut sent = 0;
    while !stop.is_cancelled() {
        send_invoice(leadership.token()).await;
        sent += 1;
    }
    sent
}

/// Stands for a request to a store that rejects any token lower than the highest it has seen.
async fn send_invoice(_token: u64) {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// What all instances answer alike.
async fn who_leads(State(node): State<Arc<Node>>) -> String {
    match node.leader() {
        Some(leader) => format!("{leader} sends the invoices\n"),
        None => "nobody sends invoices at the moment\n".to_owned(),
    }
}

type Failure = Box<dyn Error + Send + Sync>;
