//! The examples that need no server, run as a reader would run them.

#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../std-adapter/examples/application.rs"]
mod application;
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../std-adapter/examples/axum_service.rs"]
mod axum_service;
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../std-adapter/examples/cron.rs"]
mod cron;
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../std-adapter/examples/custom_transport.rs"]
mod custom_transport;

use std::net::SocketAddr;

use graft_election::{MemoryNetwork, MemoryVotes};
use graft_election_tests::cluster::{PATIENCE, builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::axum_service::serve;

type Served = Result<Option<u64>, Box<dyn std::error::Error + Send + Sync>>;

/// What an example told, line by line, as words.
fn words(told: &[u8]) -> Vec<Vec<&str>> {
    let told = str::from_utf8(told).unwrap();
    told.lines().map(|line| line.split([' ', ',']).collect()).collect()
}

/// The text that comes for `path`, its status line included.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// One of three services.
struct Service {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Served>,
}

impl Service {
    async fn start(network: &MemoryNetwork, id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = builder(id, 3).start(network.transport(), MemoryVotes::new()).await.unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(node, listener, stop.clone()));
        Self { address, stop, served }
    }

    async fn leads(&self) -> bool {
        get(self.address, "/leader").await.starts_with("HTTP/1.0 200 ")
    }

    async fn stop(self) -> Option<u64> {
        self.stop.cancel();
        timeout(PATIENCE, self.served).await.expect("it stops").unwrap().unwrap()
    }
}

/// Takes the one that answers that it leads.
async fn take_leader(services: &mut Vec<Service>) -> Service {
    let asking = async {
        loop {
            for index in 0..services.len() {
                if services[index].leads().await {
                    return services.swap_remove(index);
                }
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asking).await.expect("one leads")
}

/// What it returns tells whether the job has ended by itself, or was dropped when the node closed.
#[tokio::test]
async fn a_service_ends_its_job_then_closes_its_node_and_then_its_server() {
    let network = MemoryNetwork::new();
    let mut services = Vec::new();
    for id in ["n1", "n2", "n3"] {
        services.push(Service::start(&network, id).await);
    }
    let leader = take_leader(&mut services).await;
    assert!(get(leader.address, "/graft/readyz").await.starts_with("HTTP/1.0 200 "));
    assert!(get(leader.address, "/").await.ends_with(" sends the invoices\n"));
    assert!(leader.stop().await.is_some(), "its job has ended by itself");
    assert_eq!(network.len(), 2, "its node has closed");

    let next = take_leader(&mut services).await;
    let follower = services.pop().unwrap();
    assert_eq!(follower.stop().await, None, "it had no job");
    next.stop().await;
}

#[tokio::test]
async fn each_tick_is_run_once_and_goes_on_with_the_next_leader() {
    let mut told = Vec::new();
    timeout(PATIENCE, cron::play(&mut told)).await.unwrap().unwrap();
    let mut ran = Vec::new();
    let mut closed = None;
    for line in words(&told) {
        match line[..] {
            ["tick", tick, "is", "run", "by", id, "with", "token", token] => {
                assert_ne!(closed, Some(id));
                ran.push((token.parse::<u64>().unwrap(), tick.parse::<u64>().unwrap()));
            }
            [id, "closes", ..] => closed = Some(id),
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!(ran.len(), 6);
    assert!(ran.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1), "{ran:?}");
    assert!(closed.is_some() && ran[0].0 < ran[5].0, "{ran:?}");
}

#[tokio::test]
async fn nodes_elect_over_udp_until_too_few_are_left() {
    let mut told = Vec::new();
    timeout(PATIENCE, custom_transport::play(&mut told)).await.unwrap().unwrap();
    let lines = words(&told);
    let [first, second, left] = &lines[..] else { panic!("{lines:?}") };
    let [a, "leads", "with", "token", early, ..] = first[..] else { panic!("{first:?}") };
    let [b, "leads", "with", "token", late, ..] = second[..] else { panic!("{second:?}") };
    assert!(a != b && early.parse::<u64>().unwrap() < late.parse().unwrap(), "{lines:?}");
    assert_eq!(left[..3], ["one", "node", "of"]);
}

#[tokio::test]
async fn a_node_without_the_last_entry_leads_only_when_it_has_caught_up() {
    let mut told = Vec::new();
    timeout(PATIENCE, application::play(&mut told)).await.unwrap().unwrap();
    let lines = words(&told);
    let caught_up = lines.iter().position(|line| line.contains(&"caught")).unwrap();
    let led = |line: &Vec<&str>| line[..2] == ["n3", "leads"];
    assert!(!lines[..caught_up].iter().any(led), "{lines:?}");
    assert!(lines.last().is_some_and(led), "{lines:?}");
}
