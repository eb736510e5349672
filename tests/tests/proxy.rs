//! Clusters on a real nats-server, to which each node has a line of its own that can fail.

#![cfg(test)]

use std::collections::BTreeMap;

use futures_util::StreamExt;
use graft_election::proto::prost_messages as pb;
use graft_election::{
    Config, Connection, EventKind, Events, MemoryVotes, NatsTransport, Node, NodeId, State, Trouble,
};
use graft_election_tests::cluster::{builder, wait_for_agreement, wait_for_trouble};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::proxy::{Line, Proxy};
use prost::Message;

/// Three nodes that agree on a leader.
struct Cluster {
    proxies: Vec<Proxy>,
    nodes: Vec<Node>,
    events: Vec<Events>,
    // It ends after all others.
    server: NatsServer,
}

impl Cluster {
    async fn start() -> Self {
        let server = NatsServer::start();
        let (mut proxies, mut nodes, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["n1", "n2", "n3"] {
            let proxy = Proxy::start(&server.url()).await;
            let transport = NatsTransport::connect(proxy.url()).await.unwrap();
            let node = builder(name, 3).start(transport, MemoryVotes::new()).await.unwrap();
            events.push(node.events());
            proxies.push(proxy);
            nodes.push(node);
        }
        Self { proxies, nodes, events, server }
    }

    /// Waits until all agree; returns the leader's place.
    async fn agree(&self) -> usize {
        wait_for_agreement(&self.nodes.iter().collect::<Vec<_>>()).await
    }

    /// Waits until all but the one at `place` agree; returns the term.
    async fn agree_without(&self, place: usize) -> u64 {
        let others: Vec<_> = self.nodes.iter().filter(|node| !self.is_at(node, place)).collect();
        others[wait_for_agreement(&others).await].current_term()
    }

    fn is_at(&self, node: &Node, place: usize) -> bool {
        node.id() == self.nodes[place].id()
    }

    /// Ends all nodes, and checks I1 with all that they told.
    async fn end(mut self) {
        let mut leaders: BTreeMap<u64, NodeId> = BTreeMap::new();
        for (node, events) in self.nodes.iter().zip(&mut self.events) {
            node.close().await;
            while let Some(event) = events.next().await {
                if let EventKind::StateChanged { to: State::Leader, .. } = event.kind {
                    let status = event.status;
                    let leader = leaders.entry(status.term).or_insert_with(|| status.id.clone());
                    assert_eq!(*leader, status.id, "I1: two leaders in term {}", status.term);
                }
            }
        }
        assert!(!leaders.is_empty());
    }
}

#[tokio::test]
async fn t3_a_leader_whose_line_was_silent_follows_the_next() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let old_term = cluster.nodes[old].current_term();

    cluster.proxies[old].set(Line::Silent);
    let term = cluster.agree_without(old).await;
    assert!(term > old_term);
    // In Graft mode it leads on, in its old term.
    let status = cluster.nodes[old].status();
    assert_eq!((status.state, status.term), (State::Leader, old_term));

    cluster.proxies[old].set(Line::Open);
    let next = cluster.agree().await;
    assert!(next != old || cluster.nodes[next].current_term() > term);
    cluster.end().await;
}

/// The node closes its end once its pings are not answered; the server doesn't hear of it.
#[tokio::test]
async fn t2_a_half_open_connection_is_given_up_and_what_was_under_way_deposes_nobody() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let mut events = cluster.nodes[old].events();

    cluster.proxies[old].set(Line::Silent);
    wait_for_trouble(&mut events, |trouble| {
        matches!(trouble, Trouble::Connection(Connection::Lost(_)))
    })
    .await;
    let term = cluster.agree_without(old).await;

    cluster.proxies[old].set(Line::Open);
    wait_for_trouble(&mut events, |trouble| {
        matches!(trouble, Trouble::Connection(Connection::Restored))
    })
    .await;
    let next = cluster.agree().await;
    // The heartbeats of the old term that were under way are refused.
    assert!(cluster.nodes[next].current_term() >= term);
    cluster.end().await;
}

#[tokio::test]
async fn connections_that_are_cut_are_made_again() {
    let cluster = Cluster::start().await;
    cluster.agree().await;
    for round in 0..3 {
        let mut events: Vec<_> = cluster.nodes.iter().map(Node::events).collect();
        for proxy in &cluster.proxies[round..] {
            proxy.cut();
        }
        for events in &mut events[round..] {
            wait_for_trouble(events, |trouble| {
                matches!(trouble, Trouble::Connection(Connection::Restored))
            })
            .await;
        }
        cluster.agree().await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_delay_below_the_election_timeout_deposes_nobody_and_one_above_does() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let old_term = cluster.nodes[old].current_term();
    let spy = async_nats::connect(cluster.server.url()).await.unwrap();
    let heartbeats = spy.subscribe("graft.c.heartbeat").await.unwrap();
    let mut heartbeats =
        heartbeats.map(|message| pb::Heartbeat::decode(message.payload).unwrap().term);

    // All heartbeats come late, and as often as before.
    cluster.proxies[old].set(Line::Delayed(Config::ELECTION_TIMEOUT_MIN / 10));
    for _ in 0..20 {
        assert_eq!(heartbeats.next().await, Some(old_term));
    }
    assert_eq!(cluster.agree().await, old);

    // Each waits for the one before it, so that there is one in two election timeouts.
    cluster.proxies[old].set(Line::Delayed(2 * Config::ELECTION_TIMEOUT_MAX));
    assert!(cluster.agree_without(old).await > old_term);

    cluster.proxies[old].set(Line::Open);
    cluster.agree().await;
    cluster.end().await;
}

#[tokio::test]
async fn a_cluster_elects_over_lines_that_drip() {
    let cluster = Cluster::start().await;
    for proxy in &cluster.proxies {
        proxy.set(Line::Dripping(16));
    }
    let old = cluster.agree().await;
    let old_term = cluster.nodes[old].current_term();
    cluster.proxies[old].set(Line::Silent);
    assert!(cluster.agree_without(old).await > old_term);
    cluster.proxies[old].set(Line::Open);
    cluster.agree().await;
    cluster.end().await;
}
