//! Transports, vote stores and handlers that users bring: those that work, and those that don't.

#![cfg(test)]

use graft_election::{MemoryNetwork, MemoryVotes, State, Trouble};
use graft_election_tests::cluster::{PATIENCE, builder, id, wait_for_trouble, wait_until};
use graft_election_tests::peer::Peer;
use graft_election_tests::transport::UnreliableTransport;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn a_leader_whose_transport_is_stuck_still_hears_and_can_be_closed() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (transport, control) = UnreliableTransport::new(network.transport());
    let node = builder("a", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    control.stick(true);
    wait_for_trouble(&mut events, |trouble| matches!(trouble, Trouble::SendTimedOut(_))).await;
    // T3
    peer.heartbeat(7).await;
    wait_until(&node, |status| status.leader == Some(id("p"))).await;

    wait_until(&node, |status| status.state == State::Leader).await;
    timeout(PATIENCE, node.close()).await.expect("the node closes");
    assert!(network.len() == 1, "only the peer is left");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_stuck_transport_did_not_take_is_not_sent_later() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (transport, control) = UnreliableTransport::new(network.transport());
    let node = builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    control.stick(true);
    peer.request_vote(5).await;
    wait_for_trouble(&mut events, |trouble| matches!(trouble, Trouble::SendTimedOut(_))).await;
    control.stick(false);
    peer.request_vote(4).await;
    // T2: the only answer is that to the second request.
    let refusal = peer.hear_vote_response().await;
    assert_eq!((refusal.term, refusal.granted), (5, false));
    node.close().await;
}
