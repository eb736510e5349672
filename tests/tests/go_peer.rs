//! A cluster in which some nodes are Go's: played here by peers that say what the Go original said
//! when its traffic was recorded, byte for byte.

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use graft_election::{Config, Fault, MemoryVotes, NatsTransport, State};
use graft_election_tests::cluster::{
    PATIENCE, graft_builder, id, wait_for_fault, wait_for_question, wait_until,
};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::pb;
use prost::Message;
use tokio::time::timeout;

/// An id as a Go node draws one at each start.
const GO_ID: &str = "e3eee98ca0cda87727cc166dd8";

/// The Go original's messages: fields it doesn't know are skipped.
mod go {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct VoteRequest {
        #[prost(uint64, tag = "1")]
        pub(crate) term: u64,
        #[prost(string, tag = "2")]
        pub(crate) candidate: String,
        #[prost(bytes = "vec", tag = "3")]
        pub(crate) current_state: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct VoteResponse {
        #[prost(uint64, tag = "1")]
        pub(crate) term: u64,
        #[prost(bool, tag = "2")]
        pub(crate) granted: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Heartbeat {
        #[prost(uint64, tag = "1")]
        pub(crate) term: u64,
        #[prost(string, tag = "2")]
        pub(crate) leader: String,
    }
}

/// The next message that Go can decode: a joining node tries its subjects out with what Go drops.
async fn hear(subscriber: &mut Subscriber) -> async_nats::Message {
    loop {
        let heard = timeout(PATIENCE, subscriber.next()).await;
        let message = heard.expect("something is said").expect("it lives");
        // No key of protobuf is 7.
        if message.payload.first() != Some(&7) {
            return message;
        }
    }
}

async fn publish(client: &Client, subject: &str, message: &impl Message) {
    client.publish(subject.to_owned(), message.encode_to_vec().into()).await.unwrap();
}

#[tokio::test]
async fn v6_nameless_votes_of_two_go_nodes_elect_a_node() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut requests = client.subscribe("graft.c.vote_request").await.unwrap();
    let mut heartbeats = client.subscribe("graft.c.heartbeat").await.unwrap();
    client.flush().await.unwrap();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let node = graft_builder("a", 5).start(transport, MemoryVotes::new()).await.unwrap();

    let request = hear(&mut requests).await;
    let reply = request.reply.expect("Go answers to the reply subject's name");
    let decoded = go::VoteRequest::decode(request.payload).unwrap();
    assert_eq!((decoded.term, decoded.candidate.as_str()), (1, "a"));
    for _ in 0..2 {
        // As recorded: `08011001`.
        let grant = go::VoteResponse { term: 1, granted: true };
        assert_eq!(grant.encode_to_vec(), [0x08, 1, 0x10, 1]);
        publish(&client, &reply, &grant).await;
    }
    wait_until(&node, |status| status.state == State::Leader).await;
    let heartbeat = go::Heartbeat::decode(hear(&mut heartbeats).await.payload).unwrap();
    assert_eq!(heartbeat, go::Heartbeat { term: 1, leader: "a".into() });
    node.close().await;
}

#[tokio::test]
async fn a_go_node_is_elected_and_followed_and_deposed_by_a_higher_term() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let node = graft_builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    let inbox = format!("graft.{GO_ID}.vote_response");
    let mut responses = client.subscribe(inbox.clone()).await.unwrap();

    wait_for_question().await;
    // In real time the node has begun a little later.
    tokio::time::sleep(Config::HEARTBEAT_INTERVAL).await;
    // As recorded, except for the term. The node may have campaigned in term 1 by now.
    let request = go::VoteRequest { term: 7, candidate: GO_ID.into(), current_state: Vec::new() };
    let payload = request.encode_to_vec();
    assert_eq!(payload[..4], [0x08, 7, 0x12, 26]);
    client.publish_with_reply("graft.c.vote_request", inbox, payload.into()).await.unwrap();
    let answer = hear(&mut responses).await;
    assert_eq!(answer.reply, None, "answers carry no reply subject");
    let answer = answer.payload;
    assert_eq!(
        go::VoteResponse::decode(answer.clone()).unwrap(),
        go::VoteResponse { term: 7, granted: true }
    );
    // To its own kind the voter says its name.
    assert_eq!(pb::VoteResponse::decode(answer).unwrap().voter, "a");

    publish(&client, "graft.c.heartbeat", &go::Heartbeat { term: 7, leader: GO_ID.into() }).await;
    let status = wait_until(&node, |status| status.leader.is_some()).await;
    assert_eq!((status.term, status.leader.clone()), (7, Some(id(GO_ID))));

    // T2: a Go node that is behind hears the higher term in the refusal.
    let late = go::VoteRequest { term: 6, ..request };
    publish(&client, "graft.c.vote_request", &late).await;
    let refusal = go::VoteResponse::decode(hear(&mut responses).await.payload).unwrap();
    assert_eq!(refusal, go::VoteResponse { term: 7, granted: false });
    node.close().await;
}

#[tokio::test]
async fn c2_a_node_that_no_go_leader_speaks_to_takes_over() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut requests = client.subscribe("graft.c.vote_request").await.unwrap();
    client.flush().await.unwrap();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let node = graft_builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    publish(&client, "graft.c.heartbeat", &go::Heartbeat { term: 3, leader: GO_ID.into() }).await;
    wait_until(&node, |status| status.leader == Some(id(GO_ID))).await;

    let request = go::VoteRequest::decode(hear(&mut requests).await.payload).unwrap();
    assert_eq!(request.term, 4);
    publish(&client, "graft.a.vote_response", &go::VoteResponse { term: 4, granted: true }).await;
    wait_until(&node, |status| status.state == State::Leader).await;
    node.close().await;
}

/// What a Go node may say and is not read here is reported, with its name.
#[tokio::test]
async fn v7_a_go_node_whose_position_is_too_long_is_reported() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let transport = NatsTransport::connect(server.url()).await.unwrap();
    let node = graft_builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    let candidate = GO_ID.to_owned();
    let request = go::VoteRequest { term: 1, candidate, current_state: vec![0; 65] };
    publish(&client, "graft.c.vote_request", &request).await;
    let from_go = format!("{GO_ID} on graft.c.vote_request");
    wait_for_fault(
        &mut events,
        |fault| matches!(fault, Fault::Malformed { from, .. } if *from == from_go),
    )
    .await;
    node.close().await;
}
