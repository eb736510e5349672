//! Clusters on a real nats-server, to which each node has a line of its own that can fail.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::time::Instant;

use futures_util::future::{join_all, select_all};
use futures_util::stream::select;
use futures_util::{Stream, StreamExt};
use graft_election::{
    Config, EventKind, Events, Fault, Leadership, MemoryVotes, Mode, NatsTransport, Node, NodeId,
    Reason, State,
};
use graft_election_tests::cluster::{
    PATIENCE, builder, wait_for_agreement, wait_for_fault, wait_for_restored, wait_until,
};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::pb;
use graft_election_tests::proxy::{Line, Proxy};
use graft_election_tests::trial::is_trial;
use prost::Message;
use tokio::time::timeout;

/// How many heartbeats the greatest election timeout has room for.
const HEARTBEATS_PER_TIMEOUT: u32 =
    (Config::ELECTION_TIMEOUT_MAX.as_millis() / Config::HEARTBEAT_INTERVAL.as_millis()) as u32;

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
        Self::start_in(Mode::Extended).await
    }

    async fn start_in(mode: Mode) -> Self {
        let server = NatsServer::start();
        let (mut proxies, mut nodes, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["n1", "n2", "n3"] {
            let proxy = Proxy::start(&server.url()).await;
            let transport = NatsTransport::connect(proxy.url()).await.unwrap();
            let node =
                builder(name, 3).mode(mode).start(transport, MemoryVotes::new()).await.unwrap();
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

    /// Waits until one of all but the one at `place` has a lease.
    async fn leadership_without(&self, place: usize) -> Leadership {
        let others = self.nodes.iter().filter(|node| !self.is_at(node, place));
        let leaderships = others.map(|node| Box::pin(node.wait_for_leadership()));
        select_all(leaderships).await.0.unwrap()
    }

    /// The terms of the heartbeats that the server hears from now on.
    async fn heartbeats(&self) -> impl Stream<Item = u64> + Unpin + use<> {
        let spy = async_nats::connect(self.server.url()).await.unwrap();
        // In Graft mode the sender is not in the subject.
        let own = spy.subscribe("graft.c.heartbeat.*").await.unwrap();
        let of_go = spy.subscribe("graft.c.heartbeat").await.unwrap();
        spy.flush().await.unwrap();
        // A node that campaigns tries out what it may say and hear.
        select(own, of_go).filter(|message| ready(!is_trial(message))).map(|message| {
            let heartbeat = pb::Heartbeat::decode(message.payload);
            heartbeat.unwrap().term
        })
    }

    /// How often each node has asked for votes, and why.
    fn campaigns(&self) -> Vec<HashMap<Reason, u64>> {
        self.nodes.iter().map(|node| node.counts().campaigns).collect()
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

/// L4, T3.
#[tokio::test]
async fn g3_a_leader_whose_line_is_silent_stops_before_the_next_one_leads_and_follows_it() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let old_term = cluster.nodes[old].current_term();

    let old_leadership = cluster.nodes[old].wait_for_leadership().await.unwrap();
    cluster.proxies[old].set(Line::Silent);
    let next = cluster.leadership_without(old).await;
    // I4, I5
    assert!(next.is_valid() && !old_leadership.is_valid());
    assert!(next.token() > old_leadership.token());
    wait_until(&cluster.nodes[old], |status| status.state != State::Leader).await;
    assert!(cluster.nodes[old].leadership().is_none());
    let term = cluster.agree_without(old).await;
    assert!(term > old_term);

    cluster.proxies[old].set(Line::Open);
    let next = cluster.agree().await;
    assert!(next != old || cluster.nodes[next].current_term() > term);
    cluster.end().await;
}

/// L3, L4, I4: it is heard, and doesn't know.
#[tokio::test]
async fn l4_a_leader_that_hears_nobody_stops_and_lets_the_others_elect() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let lease = cluster.nodes[old].wait_for_leadership().await.unwrap();

    cluster.proxies[old].set(Line::Deaf);
    let next = cluster.leadership_without(old).await;
    assert!(next.token() > lease.token());
    assert!(next.is_valid() && !lease.is_valid(), "I4");
    wait_until(&cluster.nodes[old], |status| status.state != State::Leader).await;
    assert_eq!(cluster.nodes[old].counts().step_downs[&Reason::LostQuorum], 1);

    cluster.proxies[old].set(Line::Open);
    cluster.agree().await;
    cluster.end().await;
}

/// L4, T3: it hears who leads in its place.
#[tokio::test]
async fn l4_a_leader_that_nobody_hears_follows_the_next_one() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let old_term = cluster.nodes[old].current_term();

    cluster.proxies[old].set(Line::Mute);
    wait_until(&cluster.nodes[old], |status| {
        status.term > old_term && status.state == State::Follower && status.leader.is_some()
    })
    .await;
    assert!(cluster.agree().await != old);
    cluster.proxies[old].set(Line::Open);
    cluster.end().await;
}

/// In Graft mode a leader that is cut off goes on, and says ten heartbeats a second to nobody. The
/// others would hear them all once it has a connection again, had they been kept.
#[tokio::test]
async fn t2_what_is_said_without_a_connection_is_not_said_later() {
    let cluster = Cluster::start_in(Mode::Graft).await;
    let old = cluster.agree().await;
    let old_term = cluster.nodes[old].current_term();
    let mut events = cluster.nodes[old].events();

    cluster.proxies[old].set(Line::Silent);
    cluster.proxies[old].cut();
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    let term = cluster.agree_without(old).await;
    let mut heartbeats = cluster.heartbeats().await;
    for _ in 0..20 {
        assert_eq!(heartbeats.next().await, Some(term));
    }
    assert_eq!(cluster.nodes[old].status().state, State::Leader);

    cluster.proxies[old].set(Line::Open);
    cluster.agree().await;
    let late = heartbeats.take(20).filter(|heard| ready(*heard == old_term)).count().await;
    println!("{late} heartbeats of the term before came late");
    // One or two may be said before the connection is known to work in both directions.
    assert!(late < 5, "{late}");
    cluster.end().await;
}

/// The node closes its end once its pings are not answered; the server doesn't hear of it.
#[tokio::test]
async fn t2_a_half_open_connection_is_given_up_and_what_was_under_way_deposes_nobody() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    let mut events = cluster.nodes[old].events();

    cluster.proxies[old].set(Line::Silent);
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ConnectionLost(_))).await;
    let term = cluster.agree_without(old).await;

    cluster.proxies[old].set(Line::Open);
    wait_for_restored(&mut events).await;
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
            wait_for_restored(events).await;
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
    let mut heartbeats = cluster.heartbeats().await;

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

/// A2, G4: five rounds in each of ten clusters, and nobody so much as asks for a vote.
#[tokio::test]
async fn g4_a_node_whose_line_was_silent_deposes_nobody_fifty_times_of_fifty() {
    let mut clusters = Vec::new();
    for _ in 0..10 {
        clusters.push(Cluster::start().await);
    }
    let began = Instant::now();
    let rounds = clusters.iter().map(|cluster| isolate_one_again_and_again(cluster, 5));
    let survived: usize = timeout(PATIENCE, join_all(rounds)).await.unwrap().into_iter().sum();
    println!("{survived} of 50 deposed nobody, in {:?}", began.elapsed());
    assert_eq!(survived, 50);
    for cluster in clusters {
        cluster.end().await;
    }
}

/// Isolates one follower or the other for at least two and a half election timeouts, so many times.
/// How many times the leader led on, in its term.
async fn isolate_one_again_and_again(cluster: &Cluster, rounds: usize) -> usize {
    let leader = cluster.agree().await;
    let term = cluster.nodes[leader].current_term();
    let campaigns_before = cluster.campaigns();
    let mut heartbeats = cluster.heartbeats().await;
    let mut hear_leader = async |times: u32| {
        for _ in 0..times {
            assert_eq!(heartbeats.next().await, Some(term));
        }
    };

    let mut survived = 0;
    for round in 0..rounds {
        let away = (leader + 1 + round % 2) % 3;
        cluster.proxies[away].set(Line::Silent);
        hear_leader(HEARTBEATS_PER_TIMEOUT * 5 / 2).await;
        wait_until(&cluster.nodes[away], |status| status.state != State::Follower).await;
        if round % 2 == 0 {
            // What was held back is lost, so that no heartbeat comes before it can ask others
            // again.
            cluster.proxies[away].cut();
        }
        cluster.proxies[away].set(Line::Open);
        assert_eq!(cluster.agree().await, leader);
        // By then all that the node said meanwhile has been heard.
        hear_leader(HEARTBEATS_PER_TIMEOUT).await;
        assert_eq!(cluster.agree().await, leader);
        assert_eq!(cluster.campaigns(), campaigns_before);
        survived += 1;
    }
    assert!(cluster.nodes[leader].counts().step_downs.is_empty());
    survived
}

/// H2, H3: the successor is asked to run, and needs neither an election timeout nor pre-votes.
#[tokio::test]
async fn g19_a_leader_that_closes_is_replaced_in_one_round_trip() {
    let cluster = Cluster::start().await;
    let old = cluster.agree().await;
    // From then on it knows who answers.
    cluster.nodes[old].wait_for_leadership().await.unwrap();
    let campaigns_before = cluster.campaigns();
    let began = Instant::now();
    let (_, term) = tokio::join!(cluster.nodes[old].close(), cluster.agree_without(old));
    println!("another led {:?} after the call", began.elapsed());

    let new = cluster.nodes.iter().position(|node| node.state() == State::Leader).unwrap();
    let was_told = |campaigns: &[HashMap<Reason, u64>]| {
        campaigns[new].get(&Reason::HandoverReceived).copied().unwrap_or_default()
    };
    let campaigns = cluster.campaigns();
    assert_eq!(was_told(&campaigns), was_told(&campaigns_before) + 1, "term {term}: {campaigns:?}");
    cluster.end().await;
}
