//! Defects of the Go original (docs/protocol.md, section 6) that must not come back, as far as a
//! whole node shows them. Those that the core alone prevents are tested there.

use std::sync::mpsc;
use std::time::Duration;

use graft_election::core::{Heartbeat, Life, Message, Recipient, VoteResponse};
use graft_election::{
    Application, ChannelHandler, ClusterInfo, Config, ConfigError, Fault, MemoryNetwork,
    MemoryVotes, Node, OpenError, Report, StartError, State, VoteFile,
};
use graft_election_tests::cluster::{
    MemoryCluster, PATIENCE, builder, graft_builder, id, wait_for_agreement, wait_for_fault,
    wait_for_question, wait_until,
};
use graft_election_tests::peer::Peer;
use graft_election_tests::peer::plain_heartbeat;
use graft_election_tests::votes::UnreliableVotes;
use tokio::sync::mpsc as channel;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn g1_a_node_that_was_closed_does_not_vote_again_in_the_same_term() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes");
    let network = MemoryNetwork::new();
    let (mut first, mut second) =
        (Peer::join(&network, "p").await, Peer::join(&network, "q").await);
    let start = || async {
        let votes = VoteFile::open(&path).unwrap();
        builder("a", 3).start(network.transport(), votes).await.unwrap()
    };
    let node = start().await;
    wait_for_question().await;
    first.request_vote(5).await;
    assert!(first.hear_vote_response().await.granted);
    node.close().await;
    assert!(path.exists());

    let node = start().await;
    assert_eq!((node.current_term(), node.current_vote()), (5, Some(id("p"))));
    // V3: just after its start it helps nobody.
    first.request_vote(5).await;
    assert!(!first.hear_vote_response().await.granted);
    wait_for_question().await;
    second.request_vote(5).await;
    assert!(!second.hear_vote_response().await.granted);
    // N2: it no longer knows in which campaign it gave its vote.
    first.request_vote(5).await;
    assert!(!first.hear_vote_response().await.granted);
    first.request_vote(6).await;
    assert!(first.hear_vote_response().await.granted);
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn g5_voters_are_counted_and_not_answers() {
    let network = MemoryNetwork::new();
    let (mut first, mut second) =
        (Peer::join(&network, "p").await, Peer::join(&network, "q").await);
    let node = graft_builder("a", 5).start(network.transport(), MemoryVotes::new()).await.unwrap();
    let term = first.hear_vote_request().await.term;
    for _ in 0..5 {
        first.vote_for(&id("a"), term).await;
    }
    // It campaigns again, so the five votes of one voter were not enough.
    let term = loop {
        let request = first.hear_vote_request().await;
        if request.term > term {
            break request.term;
        }
    };
    for _ in 0..5 {
        let denial = VoteResponse {
            term,
            granted: false,
            voter: Some(id("p")),
            round: first.heard_round(&id("a")),
            list: None,
            life: Life::new(1),
            wanted: None,
        };
        first.send(Recipient::Node(id("a")), Message::VoteResponse(denial)).await;
    }
    first.vote_for(&id("a"), term).await;
    while second.hear_vote_request().await.term < term {}
    second.vote_for(&id("a"), term).await;
    let status = wait_until(&node, |status| status.state == State::Leader).await;
    assert_eq!(status.term, term);
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn g6_a_declared_list_keeps_a_fourth_node_from_voting() {
    let network = MemoryNetwork::new();
    let voters = [id("a"), id("b"), id("c")];
    let mut stranger = Peer::join(&network, "d").await;
    let node = graft_builder("a", 3)
        .voters(voters.clone())
        .first_record()
        .start(network.transport(), MemoryVotes::new())
        .await
        .unwrap();
    let mut events = node.events();
    let term = stranger.hear_vote_request().await.term;
    stranger.vote_for(&id("a"), term).await;
    let expected = Report::Stranger(id("d"));
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::Report(seen) if *seen == expected))
        .await;
    assert_eq!(node.state(), State::Candidate);

    let refused = graft_builder("d", 3)
        .voters(voters)
        .start(network.transport(), MemoryVotes::new())
        .await
        .unwrap_err();
    assert!(matches!(refused, StartError::Config(ConfigError::OwnIdMissing)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn g8_an_id_is_made_once_and_kept_with_the_vote() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes");
    let start = || async {
        Node::builder(ClusterInfo::new("c", 1))
            .start(MemoryNetwork::new().transport(), VoteFile::open(&path).unwrap())
            .await
            .unwrap()
    };
    let node = start().await;
    let own = node.id();
    assert_eq!(own.as_str().len(), 26);
    assert!(own.as_str().bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
    wait_until(&node, |status| status.state == State::Leader).await;
    node.close().await;

    let node = start().await;
    assert_eq!(node.id(), own);
    assert_eq!(node.current_vote(), Some(own.clone()));
    node.close().await;

    let other = builder("other", 1)
        .start(MemoryNetwork::new().transport(), VoteFile::open(&path).unwrap())
        .await
        .unwrap_err();
    assert_eq!(other.to_string(), format!("the stored vote belongs to node {own}, not to other"));
}

/// V3: it has never stored a term, so it has promised nothing.
#[tokio::test(start_paused = true)]
async fn g8_a_node_that_has_only_kept_its_id_is_in_no_quarantine() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let votes = MemoryVotes::new();
    let start = || builder("a", 3).start(network.transport(), votes.clone());
    start().await.unwrap().close().await;
    let renamed = builder("b", 3).start(network.transport(), votes.clone()).await.unwrap_err();
    assert_eq!(renamed.to_string(), "the stored vote belongs to node a, not to b");

    let node = start().await.unwrap();
    // It acknowledges a leader at once, and has only to ask who else has its id (N5).
    wait_for_question().await;
    peer.request_vote(1).await;
    assert!(peer.hear_vote_response().await.granted);
    node.close().await;
}

/// An application whose position is a number.
struct At(u8);

impl Application for At {
    fn position(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn grants_vote(&self, position: &[u8]) -> bool {
        position >= [self.0].as_slice()
    }
}

#[tokio::test]
async fn g13_a_node_that_is_behind_does_not_keep_the_other_from_being_elected() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for (name, position) in [("behind", 1), ("ahead", 2)] {
        let (states, errors) = (channel::channel(64).0, channel::channel(64).0);
        let handler = ChannelHandler::with_application(At(position), states, errors);
        let node = builder(name, 3).handler(handler);
        nodes.push(node.start(network.transport(), MemoryVotes::new()).await.unwrap());
    }
    let began = tokio::time::Instant::now();
    let leader = wait_for_agreement(&[&nodes[0], &nodes[1]]).await;
    assert_eq!(nodes[leader].id(), id("ahead"));
    println!("elected after {:?}", began.elapsed());
    for node in &nodes {
        node.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn g18_senseless_sizes_shared_files_and_mixed_sizes_do_not_go_unnoticed() {
    let network = MemoryNetwork::new();
    for (size, expected) in [
        (0, ConfigError::SizeZero),
        (usize::MAX, ConfigError::SizeAboveCapacity { size: usize::MAX, capacity: 64 }),
    ] {
        let refused = builder("a", size).start(network.transport(), MemoryVotes::new()).await;
        let Err(StartError::Config(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error, expected);
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes");
    let node =
        builder("a", 3).start(network.transport(), VoteFile::open(&path).unwrap()).await.unwrap();
    assert!(matches!(VoteFile::open(&path), Err(OpenError::InUse { .. })));

    let mut peer = Peer::join(&network, "p").await;
    let mut events = node.events();
    let size = std::num::NonZeroU32::new(4);
    let heartbeat = Heartbeat { size, ..plain_heartbeat(id("p"), 1) };
    peer.send(Recipient::Everyone, Message::Heartbeat(heartbeat)).await;
    let expected = Report::SizeMismatch { node: id("p"), size: 4 };
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::Report(seen) if *seen == expected))
        .await;
    node.close().await;
}

/// H3: of three voters one is dead, so the successor needs the vote of the one that goes.
#[tokio::test(start_paused = true)]
async fn g19_a_node_that_hands_over_and_closes_at_once_stays_for_its_successor() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let (dead, successor) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(dead).await;
    let term = cluster.nodes[leader].current_term();
    let mut events = cluster.nodes[successor].events();
    cluster.nodes[leader].wait_for_leadership().await.unwrap();
    assert!(cluster.nodes[leader].hand_over(None).await);
    let began = tokio::time::Instant::now();
    cluster.nodes[leader].close().await;
    assert!(began.elapsed() <= 2 * Config::HEARTBEAT_INTERVAL + Duration::from_millis(2));
    let elected = async {
        while let Some(event) = events.next().await {
            if event.status.state == State::Leader {
                return event.status.term;
            }
        }
        panic!("the node closed");
    };
    assert_eq!(timeout(PATIENCE, elected).await.expect("it is elected"), term + 1);
}

#[tokio::test(start_paused = true)]
async fn g20_c4_a_vote_that_could_not_be_stored_is_neither_given_nor_forgotten() {
    let network = MemoryNetwork::new();
    let (mut first, mut second) =
        (Peer::join(&network, "p").await, Peer::join(&network, "q").await);
    let votes = UnreliableVotes::default();
    let node = builder("a", 3).start(network.transport(), votes.clone()).await.unwrap();
    let mut events = node.events();
    wait_for_question().await;
    votes.fail(true);
    first.request_vote(5).await;
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::Save(_))).await;
    assert_eq!(node.current_vote(), Some(id("p")));
    assert_eq!(votes.record().term, 0);

    votes.fail(false);
    second.request_vote(5).await;
    assert!(!second.hear_vote_response().await.granted);
    assert_eq!(votes.record().voted_for, Some(id("p")));
    first.request_vote(5).await;
    assert!(first.hear_vote_response().await.granted, "nothing was said before it was stored");
    node.close().await;
}

/// An application that doesn't answer until the test lets it.
struct Blocked(std::sync::Mutex<mpsc::Receiver<()>>);

impl Application for Blocked {
    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn grants_vote(&self, _position: &[u8]) -> bool {
        // The sender is gone at the end of the test.
        let _ = self.0.lock().unwrap().recv();
        true
    }
}

#[tokio::test]
async fn g21_an_application_that_does_not_answer_holds_up_neither_heartbeats_nor_close() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (release, blocked) = mpsc::channel();
    let (states, mut state_changes) = channel::channel(64);
    let (errors, _errors) = channel::channel(64);
    let blocked = Blocked(std::sync::Mutex::new(blocked));
    let handler = ChannelHandler::with_application(blocked, states, errors);
    let node = builder("a", 1).handler(handler);
    let node = node.start(network.transport(), MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    peer.request_vote(5).await;
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::ApplicationStuck(_))).await;
    assert!(!peer.hear_vote_response().await.granted);
    // It is elected all the same, though it can't ask for its position either.
    let status = wait_until(&node, |status| status.state == State::Leader).await;
    assert_eq!(state_changes.recv().await.unwrap().to, State::Candidate);

    peer.request_vote(status.term + 1).await;
    assert!(!peer.hear_vote_response().await.granted);
    for _ in 0..3 {
        while !matches!(peer.hear().await, Message::Heartbeat(_)) {}
    }
    timeout(Duration::from_secs(5), node.close()).await.expect("close does not wait for it");
    drop(release);
}
