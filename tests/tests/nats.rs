//! Clusters on a real nats-server.

use std::fs;
use std::time::{Duration, Instant};

use async_nats::Client;
use futures_util::StreamExt;
use graft_election::core::{self, Outgoing, Position, Recipient, VoteRequest};
use graft_election::proto::Kind;
use graft_election::{
    Config, Events, Fault, MemoryVotes, NatsTransport, Node, StartError, State, Transport,
};
use graft_election_tests::cluster::{
    PATIENCE, builder, graft_builder, id, wait_for_agreement, wait_for_fault, wait_for_restored,
    wait_until,
};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::pb;
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
    let mut heard = spy.subscribe("graft.c.*").await.unwrap();
    spy.flush().await.unwrap();
    for events in &mut events {
        wait_for_restored(events).await;
    }
    let leader = agreed_leader(&nodes).await;
    assert!(nodes[leader].current_term() > old_term);

    // Nothing stale: 50 heartbeats and several campaigns were not sent, so none comes late.
    let mut messages: Vec<(String, u64)> = Vec::new();
    while let Ok(Some(message)) = timeout(Duration::from_millis(1), heard.next()).await {
        let kind = message.subject.rsplit('.').next().unwrap().to_owned();
        let term = pb::Heartbeat::decode(message.payload).map_or(0, |heartbeat| heartbeat.term);
        messages.push((kind, term));
    }
    let old_heartbeats =
        messages.iter().filter(|(kind, term)| kind == "heartbeat" && *term == old_term).count();
    assert!(old_heartbeats <= 10, "{messages:?}");
}

/// All subjects on which the node `name` of the cluster `c` hears something.
fn subjects(name: &str) -> Vec<(Kind, String)> {
    let of = |kind: Kind| match kind {
        Kind::VoteRequest | Kind::Heartbeat | Kind::PreVoteRequest | Kind::Handover => "c",
        Kind::VoteResponse | Kind::HeartbeatResponse | Kind::PreVoteResponse => name,
    };
    Kind::ALL.into_iter().map(|kind| (kind, format!("graft.{}.{kind}", of(kind)))).collect()
}

async fn publish_all(client: &Client, messages: &[(String, Vec<u8>)]) {
    for (subject, payload) in messages {
        client.publish(subject.clone(), payload.clone().into()).await.unwrap();
    }
    client.flush().await.unwrap();
}

/// Payloads that nobody may take for a message of this kind.
fn hostile_payloads(kind: Kind) -> Vec<Vec<u8>> {
    let mut payloads = vec![
        b"hello world".to_vec(),
        b"{\"Term\":1}".to_vec(),
        vec![0xff; 64],
        // The most that the server takes.
        vec![0xff; 1024 * 1024],
        vec![0; 1024 * 1024],
    ];
    // An empty payload is a valid vote response, which says nothing.
    if kind != Kind::VoteResponse {
        payloads.push(Vec::new());
    }
    let long = "x".repeat(5_000);
    for name in ["*", ">", "a b", "a.b", "a\r\nPUB graft.c.heartbeat 0\r\n", &long] {
        payloads.push(payload(kind, 99, name));
    }
    // T4, G11: terms that no election could have reached.
    for term in [u64::MAX, 1 << 63, 1 << 62] {
        payloads.push(payload(kind, term, "x"));
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
    }
}

#[tokio::test]
async fn v7_g10_g11_g12_hostile_messages_change_nothing_and_are_counted() {
    let server = NatsServer::start();
    let nodes = start_all(&server, 3).await;
    let leader = agreed_leader(&nodes).await;
    let before: Vec<_> = nodes.iter().map(Node::status).collect();
    let connections = server.connections();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
    for events in &mut events {
        changes_within(Duration::ZERO, events).await;
    }

    for (place, node) in nodes.iter().enumerate() {
        let mut messages = Vec::new();
        for (kind, subject) in subjects(node.id().as_str()) {
            // What everyone hears is sent once.
            if place == 0 || subject.contains(node.id().as_str()) {
                let payloads = hostile_payloads(kind);
                messages.extend(payloads.into_iter().map(|payload| (subject.clone(), payload)));
            }
        }
        publish_all(&client, &messages).await;
    }
    let to_everyone: usize = subjects("n1")
        .iter()
        .filter(|(_, subject)| subject.starts_with("graft.c."))
        .map(|(kind, _)| hostile_payloads(*kind).len())
        .sum();
    let to_each: usize = subjects("n1").iter().map(|(kind, _)| hostile_payloads(*kind).len()).sum();
    assert!(to_everyone < to_each);
    for (node, before) in nodes.iter().zip(&before) {
        let expected = before.dropped + to_each as u64;
        let after = wait_until(node, |status| status.dropped >= expected).await;
        assert_eq!(after.dropped, expected);
    }

    tokio::time::sleep(Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!(agreed_leader(&nodes).await, leader);
    for ((node, before), events) in nodes.iter().zip(before).zip(&mut events) {
        let after = node.status();
        assert_eq!(
            (after.state, after.term, &after.vote),
            (before.state, before.term, &before.vote)
        );
        for change in changes_within(Duration::ZERO, events).await {
            assert!(change.contains("TermOutOfRange"), "{change}");
        }
    }
    drop(client);
    assert_eq!(server.connections() - 1, connections, "nobody was disconnected");
}

#[tokio::test]
async fn g17_closing_a_node_leaves_a_connection_that_was_lent_to_it_open() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let own = server.subscriptions();
    let transport = NatsTransport::from_client(client.clone());
    let node = builder("n1", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    assert_eq!(server.subscriptions(), own + 7);

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

#[tokio::test]
async fn requests_have_the_reply_subject_that_go_sets_and_answers_have_none() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut requests = client.subscribe("graft.c.vote_request").await.unwrap();
    let mut heartbeats = client.subscribe("graft.c.heartbeat").await.unwrap();
    client.flush().await.unwrap();
    let nodes = [start(&server, "n1", 2).await, start(&server, "n2", 2).await];
    let leader = nodes[agreed_leader(&nodes).await].id();

    let request = timeout(PATIENCE, requests.next()).await.unwrap().unwrap();
    let candidate = pb::VoteRequest::decode(request.payload).unwrap().candidate;
    assert_eq!(request.reply.unwrap().as_str(), format!("graft.{candidate}.vote_response"));
    let heartbeat = timeout(PATIENCE, heartbeats.next()).await.unwrap().unwrap();
    assert_eq!(heartbeat.reply, None);
    let heartbeat = pb::Heartbeat::decode(heartbeat.payload).unwrap();
    assert_eq!(heartbeat.leader, leader.as_str());
    // A leader of Extended mode asks for acknowledgements.
    assert_ne!(heartbeat.sent_at, 0);
}

#[tokio::test]
async fn a_node_can_not_campaign_before_it_can_hear_the_answers() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    for round in 0..50 {
        let name = format!("r{round}");
        let transport = NatsTransport::from_client(client.clone());
        let node = builder(&name, 3).start(transport, MemoryVotes::new()).await.unwrap();
        // A refusal that is sent at once is heard: it carries a higher term.
        let refusal = pb::VoteResponse { term: 7, ..Default::default() }.encode_to_vec();
        let other = async_nats::connect(server.url()).await.unwrap();
        other.publish(format!("graft.{name}.vote_response"), refusal.into()).await.unwrap();
        other.flush().await.unwrap();
        let began = Instant::now();
        wait_until(&node, |status| status.term >= 7).await;
        assert!(began.elapsed() < PATIENCE);
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
async fn options_that_can_not_be_made_are_an_error() {
    let refused = NatsTransport::connect_with_options("nats://127.0.0.1:1", |options| {
        options.credentials("no credentials")
    });
    assert_eq!(refused.await.unwrap_err().kind(), async_nats::ConnectErrorKind::Io);
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

#[tokio::test]
async fn a_refusal_by_the_server_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let permissions = "{ publish: { deny: [\"graft.c.heartbeat\"] } }";
    let users = format!("[{{ user: a, password: a, permissions: {permissions} }}]");
    fs::write(&config, format!("no_auth_user: a, authorization {{ users: {users} }}")).unwrap();
    let server = NatsServer::start_with(&config);
    let node = start(&server, "n1", 1).await;
    wait_for_fault(
        &mut node.events(),
        |fault| matches!(fault, Fault::ConnectionImpaired(why) if why.contains("ermission")),
    )
    .await;
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

#[tokio::test]
async fn each_kind_of_message_is_heard_on_its_subject() {
    let server = NatsServer::start();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let node = graft_builder("n1", 3)
        // It does nothing of its own accord.
        .election_timeout(Duration::from_secs(100), Duration::from_secs(101))
        .start(transport, MemoryVotes::new())
        .await
        .unwrap();
    let peer = async_nats::connect(server.url()).await.unwrap();
    let mut heard = peer.subscribe("graft.p.*").await.unwrap();
    let mut requests = peer.subscribe("graft.c.vote_request").await.unwrap();
    peer.flush().await.unwrap();
    let say = |subject: &'static str, payload: Vec<u8>| peer.publish(subject, payload.into());
    let hear = async |subscriber: &mut async_nats::Subscriber| {
        let message = timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
        (message.subject.to_string(), message.payload)
    };

    say("graft.c.pre_vote_request", payload(Kind::PreVoteRequest, 5, "p")).await.unwrap();
    let (subject, answer) = hear(&mut heard).await;
    assert_eq!(subject, "graft.p.pre_vote_response");
    assert_eq!(pb::PreVoteResponse::decode(answer).unwrap().proposed_term, 5);

    say("graft.c.vote_request", payload(Kind::VoteRequest, 5, "p")).await.unwrap();
    let (subject, answer) = hear(&mut heard).await;
    assert_eq!(subject, "graft.p.vote_response");
    assert!(pb::VoteResponse::decode(answer).unwrap().granted);

    say("graft.c.heartbeat", payload(Kind::Heartbeat, 4, "p")).await.unwrap();
    // T2
    let (subject, answer) = hear(&mut heard).await;
    assert_eq!(subject, "graft.p.heartbeat_response");
    assert_eq!(pb::HeartbeatResponse::decode(answer).unwrap().term, 5);

    // T3
    for (subject, kind, term) in [
        ("graft.n1.heartbeat_response", Kind::HeartbeatResponse, 10),
        ("graft.n1.pre_vote_response", Kind::PreVoteResponse, 20),
        ("graft.n1.vote_response", Kind::VoteResponse, 30),
    ] {
        say(subject, payload(kind, term, "p")).await.unwrap();
        wait_until(&node, |status| status.term == term).await;
    }

    // H2
    let to_anyone = pb::Handover { term: 40, leader: "p".into(), target: String::new() };
    say("graft.c.handover", to_anyone.encode_to_vec()).await.unwrap();
    let (_, request) = hear(&mut requests).await;
    assert_eq!(pb::VoteRequest::decode(request).unwrap().candidate, "p", "its own comes first");
    let (_, request) = hear(&mut requests).await;
    let request = pb::VoteRequest::decode(request).unwrap();
    assert_eq!((request.term, request.candidate.as_str()), (41, "n1"));
    node.close().await;
}

#[tokio::test]
async fn requests_of_both_kinds_ask_for_answers_of_their_own_kind() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut heard = client.subscribe("graft.c.*").await.unwrap();
    client.flush().await.unwrap();
    let mut transport = NatsTransport::connect(server.url()).await.unwrap();
    transport.join("c", &id("n1")).await.unwrap();
    let request = VoteRequest {
        term: 1,
        candidate: id("n1"),
        position: Position::EMPTY,
        handover_from: None,
        size: None,
        round: None,
    };
    for (message, expected) in [
        (core::Message::VoteRequest(request.clone()), "graft.n1.vote_response"),
        (core::Message::PreVoteRequest(request), "graft.n1.pre_vote_response"),
    ] {
        transport.send(&Outgoing { to: Recipient::Everyone, message }).await.unwrap();
        let message = timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
        assert_eq!(message.reply.unwrap().as_str(), expected);
    }
    transport.leave().await;
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
