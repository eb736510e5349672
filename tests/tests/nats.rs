//! Clusters on a real nats-server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::StreamExt;
use graft_election::proto::{Kind, decode};
use graft_election::{
    Config, ErrorChain, Events, Fault, MemoryVotes, Mode, NatsConnectError, NatsTransport, Node,
    NodeBuilder, StartError, State,
};
use graft_election_tests::cluster::{
    PATIENCE, builder, graft_builder, id, wait_for_agreement, wait_for_fault, wait_for_restored,
    wait_until,
};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::pb;
use graft_election_tests::trial::is_trial;
use prost::Message;
use tokio::runtime::Handle;
use tokio::time::timeout;

async fn start(server: &NatsServer, name: &str, size: usize) -> Node {
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    builder(name, size).start(transport, MemoryVotes::new()).await.unwrap()
}

async fn start_all(server: &NatsServer, size: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in 1..=size {
        nodes.push(start(server, &format!("n{number}"), size).await);
    }
    nodes
}

async fn agreed_leader(nodes: &[Node]) -> usize {
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await
}

/// What happens within `span`.
async fn changes_within(span: Duration, events: &mut Events) -> Vec<String> {
    let mut changes = Vec::new();
    let _ = timeout(span, async {
        while let Some(event) = events.next().await {
            changes.push(format!("{event:?}"));
        }
    })
    .await;
    changes
}

#[tokio::test]
async fn three_and_five_nodes_elect_one_leader_that_keeps_leading_until_it_closes() {
    for size in [3, 5] {
        let server = NatsServer::start();
        let mut nodes = start_all(&server, size).await;
        let leader = agreed_leader(&nodes).await;
        let term = nodes[leader].current_term();

        let mut watches: Vec<_> = nodes.iter().map(Node::watch).collect();
        watches.iter_mut().for_each(|watch| watch.mark_unchanged());
        tokio::time::sleep(2 * Config::ELECTION_TIMEOUT_MAX).await;
        for watch in &watches {
            assert!(!watch.has_changed().unwrap(), "{:?}", watch.borrow());
        }

        nodes.remove(leader).close().await;
        let next = agreed_leader(&nodes).await;
        assert!(nodes[next].current_term() > term);
        for node in &nodes {
            node.close().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_for_five_seconds_is_reported_and_survived() {
    let server = NatsServer::start();
    let nodes = start_all(&server, 3).await;
    let old = agreed_leader(&nodes).await;
    let old_term = nodes[old].current_term();
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();

    let stopped = server.stop();
    for events in &mut events {
        wait_for_fault(events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    }
    // So is each failed attempt to reconnect, though only once in a while.
    wait_for_fault(&mut events[old], |fault| matches!(fault, Fault::ConnectionImpaired(_))).await;
    // L4: the leader can't be heard, and stops.
    wait_until(&nodes[old], |status| status.state != State::Leader).await;
    assert!(nodes[old].leadership().is_none());
    tokio::time::sleep(Duration::from_secs(5)).await;

    let server = stopped.restart();
    let spy = async_nats::connect(server.url()).await.unwrap();
    let mut heard = spy.subscribe("graft.c.*.*").await.unwrap();
    spy.flush().await.unwrap();
    for events in &mut events {
        wait_for_restored(events).await;
    }
    let leader = agreed_leader(&nodes).await;
    assert!(nodes[leader].current_term() > old_term);

    // Nothing stale: 50 heartbeats and several campaigns were not sent, so none comes late.
    let mut messages: Vec<(String, u64)> = Vec::new();
    while let Ok(Some(message)) = timeout(Duration::from_millis(1), heard.next()).await {
        let kind = message.subject.split('.').nth(2).unwrap().to_owned();
        let term = pb::Heartbeat::decode(message.payload).map_or(0, |heartbeat| heartbeat.term);
        messages.push((kind, term));
    }
    let old_heartbeats =
        messages.iter().filter(|(kind, term)| kind == "heartbeat" && *term == old_term).count();
    assert!(old_heartbeats <= 10, "{messages:?}");
}

/// The subjects of the Go original on which the node `name` of the cluster `c` hears something.
fn subjects_of_go(name: &str) -> [(Kind, String); 4] {
    let kinds = [Kind::VoteRequest, Kind::Heartbeat, Kind::VoteResponse, Kind::HeartbeatResponse];
    kinds.map(|kind| {
        let of = if is_for_everyone(kind) { "c" } else { name };
        (kind, format!("graft.{of}.{kind}"))
    })
}

/// All subjects on which it hears something: Go's, and those of messages from `x`.
fn subjects(name: &str) -> Vec<(Kind, String)> {
    let own = Kind::ALL.map(|kind| {
        let to = if is_for_everyone(kind) { String::new() } else { format!(".{name}") };
        (kind, format!("graft.c.{kind}.x{to}"))
    });
    subjects_of_go(name).into_iter().chain(own).collect()
}

fn is_for_everyone(kind: Kind) -> bool {
    !is_answer(kind) && !matches!(kind, Kind::Here | Kind::ListRequest)
}

fn is_answer(kind: Kind) -> bool {
    matches!(kind, Kind::VoteResponse | Kind::HeartbeatResponse | Kind::PreVoteResponse)
}

async fn publish_all(client: &Client, messages: &[(String, Vec<u8>)]) {
    for (subject, payload) in messages {
        client.publish(subject.clone(), payload.clone().into()).await.unwrap();
    }
    client.flush().await.unwrap();
}

/// Payloads that nobody may take for a message of this kind.
fn hostile_payloads(kind: Kind, subject: &str) -> Vec<Vec<u8>> {
    let mut payloads = vec![b"hello world".to_vec(), b"{\"Term\":1}".to_vec(), vec![0xff; 64]];
    // The most that the server takes, once for each kind: it costs a busy machine much time.
    let is_of_go = !subject.contains(".x");
    if is_of_go || !subjects_of_go("").iter().any(|(of_go, _)| *of_go == kind) {
        payloads.extend([vec![0xff; 1024 * 1024], vec![0; 1024 * 1024]]);
    }
    // An empty payload is a valid vote response, which says nothing.
    if kind != Kind::VoteResponse {
        payloads.push(Vec::new());
    }
    let long = "x".repeat(5_000);
    for name in ["*", ">", "a b", "a.b", "a\r\nPUB graft.c.heartbeat 0\r\n", &long] {
        payloads.push(payload(kind, 99, name));
    }
    // T4, G11: terms that no election could have reached. An answer that answers nothing is not
    // even read for its term, and a question of identity has none (N1, N5).
    let has_term = !matches!(kind, Kind::Who | Kind::Here | Kind::ListPart | Kind::ListRequest);
    if !is_answer(kind) && has_term {
        for term in [u64::MAX, 1 << 63, 1 << 62] {
            payloads.push(payload(kind, term, "x"));
        }
    }
    payloads
}

/// A message of this kind from the node `name`, valid or not.
fn payload(kind: Kind, term: u64, name: &str) -> Vec<u8> {
    let name = name.to_owned();
    match kind {
        Kind::VoteRequest | Kind::PreVoteRequest => {
            pb::VoteRequest { term, candidate: name, ..Default::default() }.encode_to_vec()
        }
        Kind::VoteResponse => {
            pb::VoteResponse { term, voter: name, ..Default::default() }.encode_to_vec()
        }
        Kind::Heartbeat => {
            pb::Heartbeat { term, leader: name, ..Default::default() }.encode_to_vec()
        }
        Kind::HeartbeatResponse => {
            pb::HeartbeatResponse { term, follower: name, ..Default::default() }.encode_to_vec()
        }
        Kind::PreVoteResponse => {
            pb::PreVoteResponse { term, voter: name, ..Default::default() }.encode_to_vec()
        }
        Kind::Handover => pb::Handover { term, leader: name, ..Default::default() }.encode_to_vec(),
        Kind::ListPart => {
            let (place, count) = (1, 1);
            let voter = name.clone();
            pb::ListPart { sender: name, voter, place, count, ..Default::default() }.encode_to_vec()
        }
        Kind::ListRequest => pb::ListRequest { node: name, life: 1, wanted: 1 }.encode_to_vec(),
        Kind::Who => pb::Who { node: name, round: 1, life: 1 }.encode_to_vec(),
        Kind::Here => pb::Here { node: name, round: 1, life: 1 }.encode_to_vec(),
        Kind::ControlRequest => {
            let (action, round) = (3, 1);
            pb::ControlRequest { term, node: name, action, round, ..Default::default() }
                .encode_to_vec()
        }
        Kind::ControlResponse => {
            let (outcome, round, life) = (1, 1, 1);
            pb::ControlResponse { term, node: name, outcome, round, life, ..Default::default() }
                .encode_to_vec()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v7_g10_g11_g12_hostile_messages_change_nothing_and_are_counted() {
    // Longer than a busy machine takes for a megabyte.
    let (min, max) = (Duration::from_secs(2), Duration::from_secs(4));
    let server = NatsServer::start();
    let mut nodes = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        let node = builder(name, 3).election_timeout(min, max);
        nodes.push(node.start(transport, MemoryVotes::new()).await.unwrap());
    }
    let leader = agreed_leader(&nodes).await;
    let before: Vec<_> = nodes.iter().map(Node::status).collect();
    let connections = server.connections();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
    for events in &mut events {
        changes_within(Duration::ZERO, events).await;
    }

    let mut dropped: Vec<_> = before.iter().map(|before| before.dropped).collect();
    for (place, node) in nodes.iter().enumerate() {
        for (kind, subject) in subjects(node.id().as_str()) {
            let hearers = match is_for_everyone(kind) {
                // What everyone hears is sent once.
                true if place > 0 => continue,
                true => 0..nodes.len(),
                false => place..place + 1,
            };
            // One after the other, so that they don't gather before a slow node.
            for payload in hostile_payloads(kind, &subject) {
                publish_all(&client, &[(subject.clone(), payload)]).await;
                for hearer in hearers.clone() {
                    dropped[hearer] += 1;
                    let expected = dropped[hearer];
                    wait_until(&nodes[hearer], |status| status.dropped >= expected).await;
                }
            }
        }
    }
    for (node, expected) in nodes.iter().zip(dropped) {
        assert_eq!(node.status().dropped, expected);
    }

    tokio::time::sleep(max).await;
    assert_eq!(agreed_leader(&nodes).await, leader);
    for ((node, before), events) in nodes.iter().zip(before).zip(&mut events) {
        let after = node.status();
        assert_eq!(
            (after.state, after.term, &after.vote),
            (before.state, before.term, &before.vote)
        );
        for change in changes_within(Duration::ZERO, events).await {
            let reports = ["TermOutOfRange", "Malformed", "Withheld"];
            let is_report = reports.iter().any(|report| change.contains(report));
            assert!(is_report, "{change}");
        }
    }
    assert_eq!(server.connections() - 1, connections, "nobody was disconnected");
    drop(client);
}

#[tokio::test]
async fn g17_closing_a_node_leaves_a_connection_that_was_lent_to_it_open() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let own = server.subscriptions();
    let transport = NatsTransport::from_client(client.clone());
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    assert_eq!(server.subscriptions(), own + 6);

    tokio::join!(node.close(), node.close(), node.close());
    node.close().await;
    assert_eq!(node.state(), State::Closed);
    client.flush().await.unwrap();
    let answer = client.subscribe("echo").await.unwrap();
    client.publish("echo", "still here".into()).await.unwrap();
    let echo = timeout(PATIENCE, answer.into_future()).await.unwrap().0.unwrap();
    assert_eq!(echo.payload, "still here");
    assert_eq!(server.subscriptions(), own + 1);
}

#[tokio::test]
async fn g16_a_connection_that_is_closed_for_good_is_reported() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let transport = NatsTransport::from_client(client.clone());
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    client.drain().await.unwrap();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionClosed(_))).await;
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::Send(_))).await;
    node.close().await;
}

/// In Graft mode, that is; in Extended mode nothing is said where Go listens.
#[tokio::test]
async fn requests_have_the_reply_subject_that_go_sets_and_answers_have_none() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut requests = client.subscribe("graft.c.vote_request").await.unwrap();
    let mut heartbeats = client.subscribe("graft.c.heartbeat").await.unwrap();
    client.flush().await.unwrap();
    let nodes = [start_graft(&server, "n1", 2).await, start_graft(&server, "n2", 2).await];
    let leader = nodes[agreed_leader(&nodes).await].id();

    let request = hear(&mut requests).await;
    let candidate = pb::VoteRequest::decode(request.payload).unwrap().candidate;
    assert_eq!(request.reply.unwrap().as_str(), format!("graft.{candidate}.vote_response"));
    let heartbeat = hear(&mut heartbeats).await;
    assert_eq!(heartbeat.reply, None);
    let heartbeat = pb::Heartbeat::decode(heartbeat.payload).unwrap();
    assert_eq!((heartbeat.leader.as_str(), heartbeat.sent_at), (leader.as_str(), 0));
}

/// The next message that is no trial.
async fn hear(subscriber: &mut Subscriber) -> async_nats::Message {
    loop {
        let message = timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
        if !is_trial(&message) {
            return message;
        }
    }
}

async fn start_graft(server: &NatsServer, name: &str, size: usize) -> Node {
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    graft_builder(name, size).start(transport, MemoryVotes::new()).await.unwrap()
}

#[tokio::test]
async fn in_extended_mode_nothing_is_said_on_the_subjects_of_go_and_every_sender_is_named() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut heard = client.subscribe("graft.>").await.unwrap();
    client.flush().await.unwrap();
    let mut nodes = start_all(&server, 3).await;
    let leader = agreed_leader(&nodes).await;
    nodes.remove(leader).close().await;
    agreed_leader(&nodes).await;

    let mut kinds = BTreeSet::new();
    while let Ok(Some(message)) = timeout(Duration::from_millis(1), heard.next()).await {
        let tokens: Vec<_> = message.subject.split('.').map(str::to_owned).collect();
        let [graft, cluster, kind, sender, receiver @ ..] = &*tokens else {
            panic!("{}", message.subject);
        };
        assert_eq!((graft.as_str(), cluster.as_str()), ("graft", "c"));
        let kind = Kind::from_name(kind).unwrap();
        assert_eq!(receiver.is_empty(), is_for_everyone(kind), "{}", message.subject);
        if is_trial(&message) {
            continue;
        }
        let said = decode(kind, &message.payload).unwrap();
        assert_eq!(said.sender().unwrap().as_str(), sender);
        kinds.insert(format!("{kind}"));
    }
    // All but an answer of a double, what operators ask and are answered, and what only declared
    // voters have to say.
    assert_eq!(kinds.len(), Kind::ALL.len() - 5, "{kinds:?}");
}

#[tokio::test]
async fn a_node_that_has_joined_hears_all_that_is_said_to_it() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let other = async_nats::connect(server.url()).await.unwrap();
    for round in 0..50 {
        let name = format!("r{round}");
        let transport = NatsTransport::from_client(client.clone());
        let node = builder(&name, 3).start(transport, MemoryVotes::new()).await.unwrap();
        // It hears what it can't read, and counts it.
        let subjects: Vec<_> = subjects(&name).into_iter().map(|(_, subject)| subject).collect();
        for subject in subjects.clone() {
            other.publish(subject, "nonsense".into()).await.unwrap();
        }
        other.flush().await.unwrap();
        wait_until(&node, |status| status.dropped == subjects.len() as u64).await;
        node.close().await;
    }
}

#[tokio::test]
async fn two_clusters_on_one_server_do_not_hear_each_other() {
    let server = NatsServer::start();
    let nodes = start_all(&server, 3).await;
    let leader = agreed_leader(&nodes).await;
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let cluster = graft_election::ClusterInfo::new("other.name", 1);
    let other = Node::builder(cluster)
        .id(id("n1-of-the-other"))
        .start(transport, MemoryVotes::new())
        .await
        .unwrap();
    wait_until(&other, |status| status.state == State::Leader).await;
    tokio::time::sleep(Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!(agreed_leader(&nodes).await, leader);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_and_reported_to_be_back() {
    let server = NatsServer::start();
    let node = start(&server, "n1", 1).await;
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    server.pause();
    let began = Instant::now();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    // Three pings of a second each, and the time that the test machine takes.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    server.resume();
    wait_for_restored(&mut events).await;
    node.close().await;
}

/// What a caller doesn't set stays as an election needs it: a minute between pings is too long.
#[tokio::test]
async fn a_connection_with_a_password_notices_a_silent_server_as_soon_as_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    fs::write(&config, "authorization { user: a, password: secret }").unwrap();
    let server = NatsServer::start_with(&config);
    assert!(NatsTransport::connect(server.url()).await.is_err());
    let transport = NatsTransport::connect_with_options(server.url(), |options| {
        Ok(options.user_and_password("a".to_owned(), "secret".to_owned()))
    });
    let transport = transport.await.unwrap();
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    server.pause();
    let began = Instant::now();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    server.resume();
    wait_for_restored(&mut events).await;
    node.close().await;
}

#[tokio::test]
async fn the_login_in_a_url_is_used_and_not_printed() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    fs::write(&config, "authorization { user: a, password: \"s3cret/@\" }").unwrap();
    let server = NatsServer::start_with(&config);
    let url = |login: &str| server.url().replace("nats://", &format!("nats://{login}@"));
    let transport = NatsTransport::connect(url("a:s3cret%2F%40")).await.unwrap();
    let printed = format!("{transport:?}");
    assert!(!printed.contains("s3cret"), "{printed}");
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    // It is used for each connection.
    let stopped = server.stop();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    let server = stopped.restart_with(&config);
    wait_for_restored(&mut events).await;
    node.close().await;

    let url = server.url().replace("nats://", "nats://a:s3cret@");
    let refused = NatsTransport::connect(url).await.unwrap_err();
    let printed = format!("{refused} {refused:?} {}", ErrorChain(&refused));
    assert!(printed.contains("authorization violation"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn options_that_can_not_be_made_are_an_error() {
    let refused = NatsTransport::connect_with_options("nats://127.0.0.1:1", |options| {
        options.credentials("no credentials")
    });
    assert!(matches!(refused.await.unwrap_err(), NatsConnectError::Options(_)));
}

#[tokio::test]
async fn a_connection_that_was_lent_is_reported_lost_and_restored_too() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let transport = NatsTransport::from_client(client);
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    let stopped = server.stop();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    let _server = stopped.restart();
    wait_for_restored(&mut events).await;
    node.close().await;
}

#[tokio::test]
async fn a_first_connection_is_no_fault() {
    let server = NatsServer::start();
    let node = start(&server, "n1", 1).await;
    let mut events = node.events();
    wait_until(&node, |status| status.state == State::Leader).await;
    node.close().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event.kind, graft_election::EventKind::Fault(_)), "{event:?}");
    }
}

/// A configuration in which everyone but the user `spy` has these permissions.
fn permissions(file: &Path, permissions: &str) {
    let spy = "{ user: spy, password: spy }";
    let users = format!("[{{ user: a, password: a, permissions: {{ {permissions} }} }}, {spy}]");
    fs::write(file, format!("no_auth_user: a, authorization {{ users: {users} }}")).unwrap();
}

/// Why node `n1` can't start.
async fn refusal_to_start(server: &NatsServer, builder: NodeBuilder) -> String {
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let refused = builder.start(transport, MemoryVotes::new()).await;
    ErrorChain(&refused.unwrap_err()).to_string()
}

#[tokio::test]
async fn what_the_server_refuses_is_an_error_at_the_start_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    // Nodes ask nothing as operators do.
    let said = Kind::ALL.into_iter().filter(|kind| *kind != Kind::ControlRequest);
    let subject = |kind| match is_for_everyone(kind) {
        true => format!("graft.c.{kind}.n1"),
        false => format!("graft.c.{kind}.n1.n1"),
    };
    let mut refused: Vec<_> = said.map(|kind| ("Publish", subject(kind), Mode::Extended)).collect();
    for subject in ["graft.c.*.*", "graft.c.*.*.n1"] {
        refused.push(("Subscription", subject.to_owned(), Mode::Extended));
    }
    for subject in ["graft.c.vote_request", "graft.c.heartbeat", "graft.n1.vote_response"] {
        refused.push(("Publish", subject.to_owned(), Mode::Graft));
        refused.push(("Subscription", subject.to_owned(), Mode::Graft));
    }
    for (what, subject, mode) in refused {
        let side = if what == "Publish" { "publish" } else { "subscribe" };
        permissions(&config, &format!(r#"{side}: {{ deny: ["{subject}"] }}"#));
        let server = NatsServer::start_with(&config);
        assert_eq!(
            refusal_to_start(&server, builder("n1", 3).mode(mode)).await,
            format!(
                "could not join the cluster: the server refuses what is needed: Permissions \
                 Violation for {what} to \"{subject}\""
            )
        );
    }
}

/// A server that refuses a part of a subscription doesn't say so.
#[tokio::test]
async fn a_message_that_the_server_keeps_from_the_node_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    permissions(&config, r#"subscribe: { deny: ["graft.c.heartbeat.*"] }"#);
    let server = NatsServer::start_with(&config);
    let refused = refusal_to_start(&server, builder("n1", 3)).await;
    let told = "what the node says on graft.c.heartbeat.n1 does not come back";
    assert!(refused.ends_with(told), "{refused}");
}

/// Whether node `n1` asks anyone for anything within two election timeouts.
async fn campaigns(heard: &mut Subscriber) -> bool {
    while timeout(Duration::ZERO, heard.next()).await.is_ok() {}
    timeout(2 * Config::ELECTION_TIMEOUT_MAX, hear(heard)).await.is_ok()
}

#[tokio::test]
async fn what_the_server_refuses_later_is_reported_and_tried_again_and_no_reason_to_campaign() {
    for (mode, request, denied) in [
        (Mode::Extended, "graft.c.pre_vote_request.n1", r#"subscribe: { deny: "graft.c.*.*" }"#),
        (Mode::Extended, "graft.c.pre_vote_request.n1", r#"subscribe: { deny: "graft.c.*.*.*" }"#),
        (Mode::Extended, "graft.c.pre_vote_request.n1", r#"publish: { deny: "graft.c.*.n1" }"#),
        (Mode::Graft, "graft.c.vote_request", r#"subscribe: { deny: "graft.*.vote_response" }"#),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("server.conf");
        permissions(&config, "publish: \">\"");
        let server = NatsServer::start_with(&config);
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        let node = builder("n1", 3).mode(mode).start(transport, MemoryVotes::new()).await.unwrap();
        let mut events = node.events();
        let spy = ConnectOptions::with_user_and_password("spy".into(), "spy".into());
        let spy = spy.connect(server.url()).await.unwrap();
        let mut heard = spy.subscribe(request).await.unwrap();
        assert!(campaigns(&mut heard).await);

        permissions(&config, denied);
        server.reload();
        wait_for_fault(&mut events, |fault| match fault {
            Fault::ConnectionPartial(why) => why.starts_with("Permissions Violation for "),
            _ => false,
        })
        .await;
        assert!(!campaigns(&mut heard).await, "{denied}");

        permissions(&config, "publish: \">\"");
        server.reload();
        wait_for_restored(&mut events).await;
        assert!(campaigns(&mut heard).await, "{denied}");
        node.close().await;
    }
}

/// The server says nothing of messages that it keeps back from a subscription with a wildcard.
#[tokio::test]
async fn a_node_that_campaigns_notices_what_the_server_keeps_back_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    permissions(&config, "publish: \">\"");
    let server = NatsServer::start_with(&config);
    let node = start(&server, "n1", 3).await;
    let mut events = node.events();
    permissions(&config, r#"subscribe: { deny: "graft.c.heartbeat.*" }"#);
    server.reload();
    wait_for_fault(&mut events, |fault| match fault {
        Fault::ConnectionPartial(why) => {
            why == "what the node says on graft.c.heartbeat.n1 does not come back"
        }
        _ => false,
    })
    .await;
    permissions(&config, "publish: \">\"");
    server.reload();
    wait_for_restored(&mut events).await;
    node.close().await;
}

/// A stranger that asks must not be able to silence the node.
#[tokio::test]
async fn an_answer_that_the_server_refuses_is_only_reported() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    permissions(&config, r#"publish: { deny: ["graft.c.*.n1.p"] }"#);
    let server = NatsServer::start_with(&config);
    let node = start(&server, "n1", 1).await;
    let peer = async_nats::connect(server.url()).await.unwrap();
    let asked = payload(Kind::PreVoteRequest, 5, "p");
    peer.publish("graft.c.pre_vote_request.p", asked.into()).await.unwrap();
    wait_for_fault(
        &mut node.events(),
        |fault| matches!(fault, Fault::ConnectionImpaired(why) if why.contains("ermission")),
    )
    .await;
    wait_until(&node, |status| status.state == State::Leader).await;
    node.close().await;
}

#[tokio::test]
async fn a_connection_that_can_not_show_its_subscriptions_is_refused() {
    let server = NatsServer::start();
    let transport =
        NatsTransport::connect_with_options(server.url(), |options| Ok(options.no_echo()));
    let transport = transport.await.unwrap();
    let refused = builder("n1", 1).start(transport, MemoryVotes::new()).await;
    let Err(StartError::Join(error)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("subscriptions are in place"), "{error}");
}

/// A node in Graft mode answers on Go's subjects what Go can read, and all else on ours.
#[tokio::test]
async fn each_kind_of_request_is_heard_on_its_subject_and_answered_on_that_of_the_answer() {
    let server = NatsServer::start();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let peer = async_nats::connect(server.url()).await.unwrap();
    let mut heard = peer.subscribe("graft.>").await.unwrap();
    peer.flush().await.unwrap();
    // A witness does nothing of its own accord, once it has asked who else there is (N5).
    let node = graft_builder("n1", 3).priority(0).start(transport, MemoryVotes::new());
    let node = node.await.unwrap();
    tokio::time::sleep(2 * Config::ELECTION_TIMEOUT_MIN).await;
    let mut hear = async |subject: &str| loop {
        let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
        if &*message.subject == subject {
            return message.payload;
        }
    };
    let say = |subject: &'static str, payload: Vec<u8>| peer.publish(subject, payload.into());

    say("graft.c.pre_vote_request.p", payload(Kind::PreVoteRequest, 5, "p")).await.unwrap();
    let answer = hear("graft.c.pre_vote_response.n1.p").await;
    assert_eq!(pb::PreVoteResponse::decode(answer).unwrap().proposed_term, 5);

    for (term, subject) in [(5, "graft.c.vote_request"), (6, "graft.c.vote_request.p")] {
        say(subject, payload(Kind::VoteRequest, term, "p")).await.unwrap();
        let answer = hear("graft.p.vote_response").await;
        assert!(pb::VoteResponse::decode(answer).unwrap().granted);
    }

    // T2
    for subject in ["graft.c.heartbeat", "graft.c.heartbeat.p"] {
        say(subject, payload(Kind::Heartbeat, 4, "p")).await.unwrap();
        let answer = hear("graft.p.heartbeat_response").await;
        assert_eq!(pb::HeartbeatResponse::decode(answer).unwrap().term, 6);
    }

    // T3
    say("graft.c.handover.p", payload(Kind::Handover, 40, "p")).await.unwrap();
    wait_until(&node, |status| status.term == 40).await;

    // N5
    say("graft.c.who.n1", payload(Kind::Who, 0, "n1")).await.unwrap();
    let answer = pb::Here::decode(hear("graft.c.here.n1.n1").await).unwrap();
    assert_eq!((answer.node.as_str(), answer.round), ("n1", 1));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_closed_while_its_server_is_away_leaves_nothing_behind_when_it_is_back() {
    let server = NatsServer::start();
    let tasks = Handle::current().metrics().num_alive_tasks();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let node = builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    let stopped = server.stop();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    let began = Instant::now();
    node.close().await;
    assert!(began.elapsed() < Duration::from_secs(5), "closing does not wait for the server");
    let server = stopped.restart();
    let deadline = Instant::now() + PATIENCE;
    let is_over =
        || server.connections() == 0 && Handle::current().metrics().num_alive_tasks() == tasks;
    // The client notices that nobody wants it any more when it has reconnected.
    while !is_over() {
        assert!(Instant::now() < deadline, "the client is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
