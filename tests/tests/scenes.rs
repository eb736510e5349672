//! The three scenes of the Go original's own test suite, and what a leader's life looks like, in
//! virtual time.

use std::sync::Arc;
use std::time::Duration;

use graft_election::{Config, Mode, State, Status};
use graft_election_tests::cluster::{MemoryCluster, wait_until};

#[tokio::test(start_paused = true)]
async fn a_staggered_start() {
    let mut cluster = MemoryCluster::empty(3);
    for _ in 0..3 {
        cluster.start_next().await;
        tokio::time::sleep(Config::ELECTION_TIMEOUT_MAX).await;
    }
    cluster.wait_for_leader().await;
}

#[tokio::test(start_paused = true)]
async fn down_to_one_and_back() {
    let mut cluster = MemoryCluster::start(3).await;
    let first = cluster.wait_for_leader().await;
    cluster.nodes[first].close().await;
    let second = cluster.wait_for_leader().await;
    assert_ne!(first, second);
    cluster.restart(first).await;

    let third = cluster.wait_for_leader().await;
    cluster.nodes[third].close().await;
    let fourth = cluster.wait_for_leader().await;
    // Had it been closed, its vote would have gone to the survivor, which would lead (rule H3).
    cluster.kill(fourth).await;

    // One of three is no quorum: it asks for pre-votes, and neither leads nor raises its term.
    let last = (0..3).find(|place| ![third, fourth].contains(place)).unwrap();
    let survivor = &cluster.nodes[last];
    let term = wait_until(survivor, |status| status.state == State::PreCandidate).await.term;
    tokio::time::sleep(10 * Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!((survivor.state(), survivor.current_term()), (State::PreCandidate, term));

    cluster.restart(third).await;
    cluster.restart(fourth).await;
    let leader = cluster.wait_for_leader().await;
    assert_eq!(cluster.nodes[leader].current_term(), cluster.nodes[last].current_term());
}

#[tokio::test(start_paused = true)]
async fn five_nodes_split_and_healed_in_graft_mode() {
    let cluster = MemoryCluster::start_in(Mode::Graft, 5).await;
    let old = cluster.wait_for_leader().await;
    let old_term = cluster.nodes[old].current_term();
    let companion = (old + 1) % 5;
    let others: Vec<_> = (0..5).filter(|place| ![old, companion].contains(place)).collect();
    cluster.network.split(&[&cluster.ids(&[old, companion])]);

    let mut new = None;
    for place in &others {
        let is_news = |status: &Arc<Status>| status.term > old_term && status.leader.is_some();
        new = wait_until(&cluster.nodes[*place], is_news).await.leader.clone();
    }
    // In Graft mode nothing tells the cut-off leader that it is cut off, as in Go.
    tokio::time::sleep(2 * Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!(cluster.nodes[old].state(), State::Leader);
    assert_eq!(cluster.nodes[companion].leader(), Some(cluster.nodes[old].id()));

    cluster.network.restore();
    let healed = cluster.wait_for_leader().await;
    assert_eq!(Some(cluster.nodes[healed].id()), new);
    assert_eq!(cluster.nodes[old].state(), State::Follower);
}

#[tokio::test(start_paused = true)]
async fn l1_a_leader_that_is_left_alone_keeps_leading() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let term = cluster.nodes[leader].current_term();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.wait_for_leader().await, leader);
    assert_eq!(cluster.nodes[leader].current_term(), term);
}

#[tokio::test(start_paused = true)]
async fn h3_a_leader_that_closes_hands_over_within_two_heartbeats() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let closed_at = tokio::time::Instant::now();
    cluster.nodes[leader].close().await;
    cluster.wait_for_leader().await;
    let taken = closed_at.elapsed();
    assert!(taken <= 2 * Config::HEARTBEAT_INTERVAL, "it took {taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_replaced_and_follows_when_it_is_heard_again() {
    let cluster = MemoryCluster::start(3).await;
    let old = cluster.wait_for_leader().await;
    let old_id = cluster.nodes[old].id();
    cluster.network.silence(&old_id, true);
    let witness = &cluster.nodes[(old + 1) % 3];
    let is_news =
        |status: &Arc<Status>| status.leader.as_ref().is_some_and(|leader| *leader != old_id);
    wait_until(witness, is_news).await;
    cluster.network.silence(&old_id, false);
    assert_ne!(cluster.wait_for_leader().await, old);
}
