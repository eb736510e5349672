//! Nodes over HTTP, as servers, probes and Prometheus see them.

mod metrics;
mod page;

use std::collections::BTreeSet;

use graft_election::core::LeaderValue;
use graft_election::{Config, HttpService, MemoryNetwork, MemoryVotes, Mode, Node, State};
use graft_election_tests::cluster::{MemoryCluster, PATIENCE, builder, wait_until};
use graft_election_tests::votes::UnreliableVotes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tower_service::Service;

const PATHS: [&str; 7] = ["/", "/leader", "/livez", "/readyz", "/status", "/history", "/metrics"];

/// What a service answers.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(service: &HttpService, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(()).unwrap();
    let (parts, body) = service.clone().call(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get(service: &HttpService, path: &str) -> Answer {
    ask(service, "GET", path).await
}

fn services(cluster: &MemoryCluster) -> Vec<HttpService> {
    cluster.nodes.iter().map(HttpService::new).collect()
}

/// The one node of a cluster, which leads.
async fn lone_leader() -> Node {
    let transport = MemoryNetwork::new().transport();
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    node.wait_for_leadership().await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn whatever_is_asked_is_answered_in_the_same_way() {
    let node = lone_leader().await;
    let service = HttpService::new(&node);
    for path in PATHS {
        let got = get(&service, path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        assert_eq!(got.header("cache-control"), "no-store", "{path}");
        assert!(!got.body.is_empty() && !got.header("content-type").is_empty(), "{path}");
        let head = ask(&service, "HEAD", path).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""), "{path}");
        assert_eq!(head.header("content-type"), got.header("content-type"), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = ask(&service, method, path).await;
            assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(refused.header("allow"), "GET, HEAD", "{method} {path}");
        }
    }
    for path in ["/x", "/leader/", "/leader/x", "//", "/LEADER", "/../leader"] {
        let missing = get(&service, path).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(missing.header("cache-control"), "no-store", "{path}");
    }
    let queried = get(&service, "/leader?verbose").await;
    assert_eq!(queried.status, StatusCode::OK);
}

/// I1: asked at any moment, no two nodes say that they may act.
#[tokio::test(start_paused = true)]
async fn i1_only_the_holder_of_a_valid_lease_is_the_leader() {
    let cluster = MemoryCluster::start(3).await;
    let services = services(&cluster);
    let old = cluster.wait_for_leader().await;
    cluster.nodes[old].wait_for_leadership().await.unwrap();
    let token = cluster.nodes[old].current_term();
    let held = get(&services[old], "/leader").await.json();
    assert_eq!(held["id"], cluster.nodes[old].id().as_str());
    assert_eq!(held["token"], token);
    let left = held["lease_left_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= Config::ELECTION_TIMEOUT_MIN.as_secs_f64(), "{left}");

    cluster.network.split(&[&cluster.ids(&[old])]);
    let deadline = Instant::now() + PATIENCE;
    let mut holders = BTreeSet::new();
    while !(holders.len() > 1 && get(&services[old], "/leader").await.status != StatusCode::OK) {
        assert!(Instant::now() < deadline, "nobody took over");
        let mut now = Vec::new();
        for (place, service) in services.iter().enumerate() {
            let said = get(service, "/leader").await;
            assert_eq!(said.status == StatusCode::OK, cluster.nodes[place].leadership().is_some());
            now.extend((said.status == StatusCode::OK).then_some(place));
        }
        assert!(now.len() <= 1, "{now:?} say that they lead");
        holders.extend(now);
        tokio::time::advance(Config::HEARTBEAT_INTERVAL / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_says_whom_to_ask_and_a_leader_without_a_lease_nobody() {
    let cluster = MemoryCluster::start(3).await;
    let services = services(&cluster);
    let leader = cluster.wait_for_leader().await;
    let (id, follower) = (cluster.nodes[leader].id(), (leader + 1) % 3);
    let said = get(&services[follower], "/leader").await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said.json()["leader"], id.as_str());

    let value = LeaderValue::new(b"10.0.0.1:80").unwrap();
    cluster.nodes[leader].set_value(value.clone()).await;
    wait_until(&cluster.nodes[follower], |status| status.leader_value == value).await;
    for service in [&services[leader], &services[follower]] {
        assert_eq!(get(service, "/leader").await.json()["leader_value"], "10.0.0.1:80");
    }

    let go_like = MemoryCluster::start_in(Mode::Graft, 1).await;
    wait_until(&go_like.nodes[0], |status| status.state == State::Leader).await;
    let said = get(&HttpService::new(&go_like.nodes[0]), "/leader").await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE, "there is no lease in Graft mode");
    assert_eq!(said.json()["leader"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_as_ready_as_a_leader_and_a_node_without_one_is_not() {
    let cluster = MemoryCluster::start(3).await;
    let services = services(&cluster);
    assert_eq!(get(&services[0], "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let leader = cluster.wait_for_leader().await;
    for service in &services {
        assert_eq!(get(service, "/readyz").await.status, StatusCode::OK);
    }
    let alone = (leader + 1) % 3;
    cluster.network.split(&[&cluster.ids(&[alone])]);
    wait_until(&cluster.nodes[alone], |status| status.leader.is_none()).await;
    let said = get(&services[alone], "/readyz").await;
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said.body, "the node knows no leader\n");
    assert_eq!(get(&services[alone], "/livez").await.status, StatusCode::OK, "but it lives");
}

#[tokio::test]
async fn a_node_whose_disk_hangs_does_not_live() {
    let (votes, network) = (UnreliableVotes::default(), MemoryNetwork::new());
    let node = builder("n1", 1).start(network.transport(), votes.clone()).await.unwrap();
    let service = HttpService::new(&node);
    votes.hold(true);
    votes.wait_for_save().await;
    let said = timeout(PATIENCE, get(&service, "/livez")).await.unwrap();
    assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said.body, "the node does not answer within 1s\n");
    for path in ["/", "/leader", "/readyz", "/status", "/history", "/metrics"] {
        timeout(PATIENCE, get(&service, path)).await.expect("these don't ask it");
    }
    votes.hold(false);
    let lives = async { while get(&service, "/livez").await.status != StatusCode::OK {} };
    timeout(PATIENCE, lives).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_service_keeps_no_node_running() {
    let network = MemoryNetwork::new();
    let node = builder("n1", 1).start(network.transport(), MemoryVotes::new()).await.unwrap();
    let service = HttpService::new(&node);
    let mut status = node.watch();
    drop(node);
    let closes = status.wait_for(|status| status.state == State::Closed);
    timeout(PATIENCE, closes).await.unwrap().unwrap();
    for path in ["/leader", "/livez", "/readyz"] {
        let said = get(&service, path).await;
        assert_eq!(said.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(said.body.contains("has closed"), "{path}: {}", said.body);
    }
    assert_eq!(get(&service, "/status").await.json()["state"], "closed");
}

#[tokio::test(start_paused = true)]
async fn the_status_and_the_history_tell_what_the_node_went_through() {
    let cluster = MemoryCluster::start(3).await;
    let services = services(&cluster);
    let leader = cluster.wait_for_leader().await;
    let node = &cluster.nodes[leader];
    node.wait_for_leadership().await.unwrap();
    let term = node.current_term();
    let said = get(&services[leader], "/status").await.json();
    for (key, value) in [
        ("id", node.id().as_str().into()),
        ("state", "leader".into()),
        ("reason", "won_election".into()),
        ("term", term.into()),
        ("leader", node.id().as_str().into()),
        ("connection", "connected".into()),
        ("mode", "extended".into()),
    ] {
        assert_eq!(said[key], Value::clone(&value), "{key}");
    }
    assert_eq!(said["cluster"]["size"], 3);
    assert_eq!(said["lease"]["token"], term);
    assert_eq!(said["counts"]["elections_won"], 1);
    let seen = async {
        loop {
            let said = get(&services[leader], "/status").await.json();
            let nodes = said["seen"]["nodes"].as_array().unwrap();
            let follows = |node: &&Value| node["role"] == "follower";
            if nodes.iter().filter(follows).count() == 2 {
                return;
            }
            tokio::time::advance(Config::HEARTBEAT_INTERVAL).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("a leader hears its followers");
    let history = get(&services[leader], "/history").await.json();
    let changes = history["changes"].as_array().unwrap().iter();
    let states: Vec<_> = changes.map(|change| &change["state"]).collect();
    assert_eq!(states.last().unwrap().as_str(), Some("leader"));
    assert_eq!(states[0], "follower");
}

#[tokio::test]
async fn it_is_part_of_an_axum_server_under_a_path_of_its_own() {
    let node = lone_leader().await;
    let router = axum::Router::new().nest_service("/graft", HttpService::new(&node));
    for (path, status) in [
        ("/graft", StatusCode::OK),
        ("/graft/", StatusCode::OK),
        ("/graft/leader", StatusCode::OK),
        ("/graft/x", StatusCode::NOT_FOUND),
    ] {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(router.clone().call(request).await.unwrap().status(), status, "{path}");
    }
    let alone = axum::Router::<()>::new().fallback_service(HttpService::new(&node));
    let request = Request::get("/leader").body(axum::body::Body::empty()).unwrap();
    assert_eq!(alone.clone().call(request).await.unwrap().status(), StatusCode::OK);
}
