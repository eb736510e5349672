//! Clusters with a key on a real nats-server, on which somebody else may say everything, and beyond
//! a bridge (rules K1 to K3).

use futures_util::StreamExt;
use graft_election::async_nats::{self, Client};
use graft_election::core::{
    ControlAction, ControlRequest, Handover, Message, Position, Round, VoteRequest,
};
use graft_election::proto::{Kind, encode};
use graft_election::{
    DropCause, MemoryVotes, NatsTransport, Node, SerialLine, SerialTransport, State,
};
use graft_election_tests::bridge::RunningBridge;
use graft_election_tests::bus::Bus;
use graft_election_tests::cluster::{PATIENCE, wait_until};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::peer::plain_heartbeat;
use tokio::time::timeout;

use crate::authentication::{NAMES, agreed_leader, fail_over, sealed};

/// A bridge carries what it can't open.
#[tokio::test]
async fn k1_a_cluster_with_a_key_elects_and_fails_over_through_a_bridge() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let place = bus.join("bridge");
    let bridge = RunningBridge::start(&place, &server, RunningBridge::FAST).await;
    let (mut nodes, mut places) = (Vec::new(), vec![place]);
    for name in NAMES {
        let votes = MemoryVotes::new();
        nodes.push(if name == "n1" {
            let transport = NatsTransport::connect(server.url()).await.unwrap();
            sealed(name).start(transport, votes).await.unwrap()
        } else {
            let place = bus.join(name);
            let line = SerialLine::Unix(place.socket().to_owned());
            places.push(place);
            sealed(name).start(SerialTransport::new(line), votes).await.unwrap()
        });
    }
    fail_over(nodes).await;
    let counts = bridge.stop().await;
    assert!(counts.to_nats.carried > 0 && counts.to_line.carried > 0, "{counts:?}");
}

/// Somebody with all rights on the server, and without the key.
struct Attacker {
    client: Client,
    heard: Vec<async_nats::Message>,
}

impl Attacker {
    /// Says in `name` what it likes to everyone.
    async fn forge(&self, name: &str, message: &Message) {
        let payload = encode(message, &mut [0; 300]).unwrap().to_vec();
        let subject = format!("graft.c.{}.{name}", Kind::of(message));
        self.client.publish(subject, payload.into()).await.unwrap();
    }

    /// Says again all that was heard, and what was for one, to each of the others. The nodes keep
    /// up with it: a flood would push out of their subscriptions what they say to each other.
    async fn replay_and_reflect(&self, nodes: &[Node]) {
        for (round, messages) in (1..).zip(self.heard.chunks(8)) {
            for message in messages {
                let subject = message.subject.to_string();
                self.client.publish(subject.clone(), message.payload.clone()).await.unwrap();
                let mut tokens: Vec<_> = subject.split('.').collect();
                if tokens.len() == 5 {
                    for name in NAMES {
                        tokens[4] = name;
                        let subject = tokens.join(".");
                        self.client.publish(subject, message.payload.clone()).await.unwrap();
                    }
                }
            }
            self.client.publish("graft.c.heartbeat.n1", "malformed".into()).await.unwrap();
            for node in nodes {
                wait_for_drops(node, DropCause::Malformed, round).await;
            }
        }
    }
}

/// Waits until the node has dropped so many messages for that cause.
async fn wait_for_drops(node: &Node, cause: DropCause, count: u64) {
    let mut watch = node.watch();
    let has_dropped =
        watch.wait_for(|_| node.counts().drops.get(&cause).is_some_and(|it| *it >= count));
    let waited = timeout(PATIENCE, has_dropped).await.map(drop);
    assert!(waited.is_ok(), "{:?}", node.counts().drops);
}

#[tokio::test]
async fn k1_k2_whoever_may_say_all_on_nats_but_has_no_key_changes_nothing() {
    let server = NatsServer::start();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut traffic = client.subscribe("graft.>").await.unwrap();
    client.flush().await.unwrap();
    let mut nodes = Vec::new();
    for name in NAMES {
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        nodes.push(sealed(name).start(transport, MemoryVotes::new()).await.unwrap());
    }
    // An election, a handover and some heartbeats are there to be said again.
    let first = agreed_leader(&nodes).await;
    assert!(nodes[first].hand_over(None).await);
    wait_until(&nodes[first], |status| status.state == State::Follower && status.leader.is_some())
        .await;
    let leader = agreed_leader(&nodes).await;
    let (name, term) = (nodes[leader].id(), nodes[leader].current_term());
    let mut attacker = Attacker { client, heard: Vec::new() };
    while attacker.heard.len() < 200 {
        let message = timeout(PATIENCE, traffic.next()).await.unwrap().unwrap();
        attacker.heard.push(message);
    }
    assert!(attacker.heard.iter().any(|it| it.subject.contains(".handover.")));

    attacker.replay_and_reflect(&nodes).await;
    let handover = Handover { term, leader: name.clone(), target: None, round: Round::new(1) };
    let victim = name.as_str();
    attacker.forge(victim, &Message::Handover(handover)).await;
    attacker.forge(victim, &Message::Heartbeat(plain_heartbeat(name.clone(), term + 1))).await;
    let request = VoteRequest {
        term: term + 100,
        candidate: name.clone(),
        position: Position::EMPTY,
        handover_from: Some(term.try_into().unwrap()),
        size: None,
        round: Round::new(1),
        list: None,
    };
    attacker.forge(victim, &Message::VoteRequest(request)).await;
    let request = ControlRequest {
        term: 0,
        node: name.clone(),
        target: None,
        action: ControlAction::Pause,
        last: None,
        round: Round::new(1).unwrap(),
        life: None,
        list: None,
        wanted: None,
    };
    attacker.forge(victim, &Message::ControlRequest(request)).await;
    attacker.client.flush().await.unwrap();

    for node in &nodes {
        // What is forged comes last.
        wait_for_drops(node, DropCause::Unsealed, 4).await;
        let drops = node.counts().drops;
        let seals = [DropCause::Replayed, DropCause::WrongSeal].map(|cause| drops.get(&cause));
        assert!(seals.iter().all(Option::is_some), "{drops:?}");
    }
    assert_eq!(agreed_leader(&nodes).await, leader);
    assert_eq!(nodes[leader].current_term(), term, "nobody had to be elected");
    assert!(!nodes[leader].status().is_paused);
}
