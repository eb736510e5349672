//! What a builder is told reaches the node, in virtual time.

use std::time::Duration;

use graft_election::core::Message;
use graft_election::{
    Arrival, Config, Fault, Member, MemoryNetwork, MemoryTransport, MemoryVotes, Node, NodeBuilder,
    State, Transport, VoteRecord, VoteStore,
};
use graft_election_tests::cluster::{builder, graft_builder, id, wait_for_fault, wait_until};
use graft_election_tests::peer::Peer;
use graft_election_tests::transport::UnreliableTransport;
use tokio::time::{Instant, timeout};

/// Longer than any election timeout.
const JOIN_TIME: Duration = Duration::from_secs(10);

async fn start(node: NodeBuilder) -> Node {
    node.start(MemoryNetwork::new().transport(), MemoryVotes::new()).await.unwrap()
}

/// How long the node waits before its first campaign.
async fn first_wait(node: NodeBuilder) -> Duration {
    let began = Instant::now();
    let node = start(node).await;
    wait_until(&node, |status| status.state != State::Follower).await;
    began.elapsed()
}

/// In Extended mode a node that has just started waits for less (rule C1).
#[tokio::test(start_paused = true)]
async fn the_election_timeout_is_drawn_between_its_bounds() {
    for _ in 0..20 {
        let builder = || graft_builder("a", 3);
        let waited = first_wait(builder()).await;
        let (min, max) = (Config::ELECTION_TIMEOUT_MIN, Config::ELECTION_TIMEOUT_MAX);
        assert!((min..=max).contains(&waited.saturating_sub(Duration::from_millis(1))));
        let (min, max) = (Duration::from_secs(30), Duration::from_secs(31));
        let waited = first_wait(builder().election_timeout(min, max)).await;
        assert!((min..=max).contains(&waited.saturating_sub(Duration::from_millis(1))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_draws() {
    let mut waits = Vec::new();
    for seed in [1, 1, 2] {
        waits.push(first_wait(builder("a", 3).seed(seed)).await);
    }
    assert_eq!(waits[0], waits[1]);
    assert_ne!(waits[0], waits[2]);
}

#[tokio::test(start_paused = true)]
async fn l1_heartbeats_come_at_their_interval() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let interval = Duration::from_millis(250);
    let node = builder("a", 1)
        .heartbeat_interval(interval)
        .start(network.transport(), MemoryVotes::new())
        .await
        .unwrap();
    peer.hear_heartbeat().await;
    let began = Instant::now();
    for _ in 0..10 {
        peer.hear_heartbeat().await;
    }
    // Timers are a millisecond coarse.
    let taken = began.elapsed();
    assert!((10 * interval..=10 * (interval + Duration::from_millis(2))).contains(&taken));
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_transport_has_one_heartbeat_interval_to_send() {
    let interval = Duration::from_millis(250);
    let (transport, control) = UnreliableTransport::new(MemoryNetwork::new().transport());
    let node = builder("a", 1)
        .heartbeat_interval(interval)
        .start(transport, MemoryVotes::new())
        .await
        .unwrap();
    control.stick(true);
    wait_for_fault(
        &mut node.events(),
        |fault| matches!(fault, Fault::SendTimedOut(after) if *after == interval),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn v3_a_node_that_comes_back_gives_no_vote_in_its_quarantine() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let mut votes = MemoryVotes::new();
    // It promised that much when it ran with a longer election timeout.
    let bound_for = 30_000_000;
    votes.save(&id("a"), &VoteRecord { term: 4, bound_for, ..VoteRecord::default() }).unwrap();
    let quarantine = Duration::from_micros(bound_for.into());
    let node = builder("a", 3).start(network.transport(), votes).await.unwrap();
    tokio::time::sleep(quarantine - Duration::from_millis(10)).await;
    peer.request_vote(5).await;
    assert!(!peer.hear_vote_response().await.granted);
    assert_eq!(node.current_term(), 4);
    // One tick of the clock comes on top.
    tokio::time::sleep(Duration::from_millis(11)).await;
    peer.request_vote(5).await;
    assert!(peer.hear_vote_response().await.granted);
    node.close().await;
}

/// A transport that takes its time to join.
struct Slow(MemoryTransport);

impl Transport for Slow {
    type Error = <MemoryTransport as Transport>::Error;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), Self::Error> {
        tokio::time::sleep(JOIN_TIME).await;
        self.0.join(member).await
    }

    async fn receive(&mut self) -> Arrival {
        self.0.receive().await
    }

    async fn send(&mut self, outgoing: &graft_election::core::Outgoing) -> Result<(), Self::Error> {
        self.0.send(outgoing).await
    }

    async fn leave(&mut self) {
        self.0.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_election_timeout_begins_when_the_node_has_joined() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let node = graft_builder("a", 3);
    let node = node.start(Slow(network.transport()), MemoryVotes::new()).await.unwrap();
    // N5
    assert!(matches!(peer.hear().await, Message::Who(_)));
    let early = timeout(Config::ELECTION_TIMEOUT_MIN, peer.hear()).await;
    assert!(early.is_err(), "{early:?}");
    peer.hear_vote_request().await;
    node.close().await;
}
