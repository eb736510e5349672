//! What a node asks its application, when, and what it does with the answer, or without one.
//!
//! All in real time: virtual time doesn't wait for the thread that asks the application.

use std::num::NonZeroU64;
use std::time::Duration;

use graft_election::{
    EventKind, Events, Fault, MemoryNetwork, MemoryVotes, Node, NodeBuilder, State,
};
use graft_election_tests::application::ScriptedApplication;
use graft_election_tests::cluster::{builder, graft_builder, id, wait_for_fault, wait_until};
use graft_election_tests::peer::Peer;

/// How long the application of a [`patient`] node may take: half its heartbeat interval.
const QUERY_TIMEOUT: Duration = Duration::from_millis(500);

/// The least election timeout of a [`patient`] node.
const PATIENT: Duration = Duration::from_millis(2_200);

/// A node whose application has time to answer. It helps to elect no one for a while after its
/// start (N5).
fn patient(size: usize) -> NodeBuilder {
    builder("a", size)
        .election_timeout(PATIENT, 2 * PATIENT)
        .heartbeat_interval(Duration::from_secs(1))
}

/// Such a node that never campaigns by itself, and may vote by now.
async fn start_voter(network: &MemoryNetwork, application: &ScriptedApplication) -> Node {
    let node = start(patient(3).priority(0), network, application).await;
    // Some more, on a busy machine.
    tokio::time::sleep(PATIENT + Duration::from_millis(400)).await;
    node
}

/// Has `peer` lead `node` in `term` until the node may campaign.
async fn lead(peer: &mut Peer, node: &Node, term: u64) {
    for _ in 0..3 {
        peer.lead(term).await;
        wait_until(node, |status| status.leader.is_some()).await;
        tokio::time::sleep(PATIENT / 2).await;
    }
}

async fn start(
    node: NodeBuilder,
    network: &MemoryNetwork,
    application: &ScriptedApplication,
) -> Node {
    let node = node.application(application.clone());
    node.start(network.transport(), MemoryVotes::new()).await.unwrap()
}

fn faults_so_far(events: &mut Events) -> Vec<String> {
    let mut faults = Vec::new();
    while let Some(Some(event)) = futures_util::FutureExt::now_or_never(events.next()) {
        if let EventKind::Fault(fault) = event.kind {
            faults.push(fault.to_string());
        }
    }
    faults
}

#[tokio::test]
async fn the_position_is_asked_for_afresh_in_each_campaign() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = start(graft_builder("a", 3), &network, &application).await;
    assert_eq!(peer.hear_vote_request().await.position.as_bytes(), b"1");
    application.move_to(b"2");
    // A request may have been under way.
    peer.hear_vote_request().await;
    assert_eq!(peer.hear_vote_request().await.position.as_bytes(), b"2");
    node.close().await;
}

#[tokio::test]
async fn h2_the_position_is_asked_for_at_a_handover_too() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = start(patient(3), &network, &application).await;
    lead(&mut peer, &node, 5).await;
    peer.hand_over(5, &id("a")).await;
    let request = peer.hear_vote_request().await;
    assert_eq!((request.term, request.handover_from), (6, NonZeroU64::new(5)));
    assert_eq!(request.position.as_bytes(), b"1");
    node.close().await;
}

#[tokio::test]
async fn l1_a_leader_does_not_wait_for_its_application() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = start(builder("a", 1), &network, &application).await;
    wait_until(&node, |status| status.state == State::Leader).await;
    let asked = application.positions_asked();
    for _ in 0..3 {
        peer.hear_heartbeat().await;
    }
    assert_eq!(application.positions_asked(), asked);
    node.close().await;
}

/// L1: it goes by what it knows, and refuses what it doesn't.
#[tokio::test]
async fn l1_a_leader_waits_for_no_answer_when_it_is_asked_for_its_vote() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = graft_builder("a", 1)
        .election_timeout(Duration::from_secs(2), Duration::from_secs(3))
        .heartbeat_interval(Duration::from_secs(1));
    let node = start(node, &network, &application).await;
    let status = wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    faults_so_far(&mut events);

    application.stick(true);
    peer.request_pre_vote(status.term + 1).await;
    assert!(!peer.hear_pre_vote_response().await.granted, "nothing is known yet");
    // A node that had waited would report that its application is stuck.
    assert_eq!(faults_so_far(&mut events), [""; 0]);

    // It was asked all the same, so that its answer is known later.
    application.stick(false);
    loop {
        peer.request_pre_vote(status.term + 1).await;
        if peer.hear_pre_vote_response().await.granted {
            break;
        }
    }
    assert_eq!(node.state(), State::Leader);
    node.close().await;
}

#[tokio::test]
async fn c1_v4_votes_and_pre_votes_are_given_as_the_application_judges() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = start_voter(&network, &application).await;
    for (term, refuses) in [(5, false), (6, true), (7, false)] {
        application.refuse(refuses);
        peer.request_pre_vote(term + 1).await;
        assert_eq!(peer.hear_pre_vote_response().await.granted, !refuses);
        peer.request_vote_at(term, b"2").await;
        let response = peer.hear_vote_response().await;
        assert_eq!((response.term, response.granted), (term, !refuses));
    }
    assert_eq!(application.judged(), [&b""[..], b"2", b"", b"2", b"", b"2"]);
    node.close().await;
}

#[tokio::test]
async fn an_application_that_is_stuck_gives_no_vote_and_is_not_asked_what_is_no_longer_wanted() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = start_voter(&network, &application).await;
    let mut events = node.events();
    application.stick(true);
    for position in [b"asked", b"later", b"never"] {
        peer.request_vote_at(5, position).await;
        assert!(!peer.hear_vote_response().await.granted);
        wait_for_fault(
            &mut events,
            |fault| matches!(fault, Fault::ApplicationStuck(timeout) if *timeout == QUERY_TIMEOUT),
        )
        .await;
    }
    application.stick(false);
    loop {
        peer.request_vote_at(5, b"again").await;
        if peer.hear_vote_response().await.granted {
            break;
        }
    }
    let judged = application.judged();
    assert!(!judged.contains(&b"later".to_vec()) && !judged.contains(&b"never".to_vec()));
    assert_eq!((&*judged[0], &**judged.last().unwrap()), (&b"asked"[..], &b"again"[..]));
    node.close().await;
}

#[tokio::test]
async fn a_node_whose_application_is_stuck_campaigns_with_the_last_position_it_knows() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(b"1");
    let node = start(graft_builder("a", 3), &network, &application).await;
    let mut events = node.events();
    assert_eq!(peer.hear_vote_request().await.position.as_bytes(), b"1");
    application.stick(true);
    application.move_to(b"2");
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ApplicationStuck(_))).await;
    for _ in 0..2 {
        assert_eq!(peer.hear_vote_request().await.position.as_bytes(), b"1");
    }
    application.stick(false);
    node.close().await;
}

#[tokio::test]
async fn v7_a_position_that_is_too_long_is_told_of_and_the_last_one_used() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let application = ScriptedApplication::at(&[1; 64]);
    let node = start(patient(3), &network, &application).await;
    let mut events = node.events();
    lead(&mut peer, &node, 5).await;
    peer.hand_over(5, &id("a")).await;
    assert_eq!(peer.hear_vote_request().await.position.as_bytes(), [1; 64]);
    assert_eq!(faults_so_far(&mut events), [""; 0]);
    application.move_to(&[2; 65]);
    peer.lead(7).await;
    wait_until(&node, |status| status.leader.is_some()).await;
    peer.hand_over(7, &id("a")).await;
    assert_eq!(peer.hear_vote_request().await.position.as_bytes(), [1; 64]);
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::PositionTooLong(65))).await;
    node.close().await;
}
