//! What 200 nodes leave behind that were started and closed: nothing. The test is alone in its
//! process, since it counts what the process holds.

#![cfg(test)]

use std::fs;
use std::time::{Duration, Instant};

use graft_election::{
    ChannelHandler, LocalTransport, MemoryNetwork, NatsTransport, Node, Transport, VoteFile,
};
use graft_election_tests::cluster::{PATIENCE, builder};
use graft_election_tests::nats_server::NatsServer;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// What a process holds that a node could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    tasks: usize,
    descriptors: usize,
    threads: usize,
    subscriptions: u64,
    connections: u64,
}

impl Held {
    fn now(server: &NatsServer) -> Self {
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: node_threads(),
            subscriptions: server.subscriptions(),
            connections: server.connections(),
        }
    }
}

/// The threads that nodes keep; the runtime's come and go as they like.
fn node_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|name| name.starts_with("graft-"))
        .count()
}

async fn open_and_close(round: usize, transport: impl Transport, directory: &std::path::Path) {
    let (states, errors) = (mpsc::channel(1).0, mpsc::channel(1).0);
    let node: Node = builder(&format!("n{round}"), 3)
        .handler(ChannelHandler::new(states, errors))
        .start(
            transport,
            VoteFile::open(directory.join("votes"))
                .unwrap_or_else(|error| panic!("round {round}: {error}")),
        )
        .await
        .unwrap_or_else(|error| panic!("round {round}: {error}"));
    node.close().await;
    VoteFile::open(directory.join("votes")).unwrap().delete().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_opens_and_closes_leave_nothing_behind() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let network = MemoryNetwork::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // The first of each kind starts what the process keeps for good.
    let mut before = None;
    for round in 0..204 {
        if round == 4 {
            before = Some(Held::now(&server));
        }
        match round % 4 {
            0 => {
                let transport = NatsTransport::connect(server.url()).await.unwrap();
                open_and_close(round, transport, path).await;
            }
            1 => {
                let transport = NatsTransport::from_client(client.clone());
                open_and_close(round, transport, path).await;
            }
            2 => open_and_close(round, LocalTransport::new(path), path).await,
            _ => open_and_close(round, network.transport(), path).await,
        }
    }
    let before = before.unwrap();
    // The server and the threads may take a moment to see that it is over.
    let deadline = Instant::now() + PATIENCE;
    let mut after = Held::now(&server);
    while after != before && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
        after = Held::now(&server);
    }
    assert_eq!(after, before);
    assert_eq!(fs::read_dir(path.join("c")).unwrap().count(), 0, "no socket is left");
    assert!(network.is_empty());
}
