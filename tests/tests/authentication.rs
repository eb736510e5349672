//! Clusters with a key, and those who don't have it (rules K1 to K4).

use std::time::Duration;

use graft_election::{
    Config, DropCause, Event, EventKind, Fault, Key, Keys, LocalTransport, MemoryNetwork,
    MemoryVotes, Node, NodeBuilder, NodeId, Observation, Observer, Operator, OperatorError,
    SealFault, SerialLine, SerialTransport, StartError, State,
};
use graft_election_tests::bus::Bus;
use graft_election_tests::cluster::{
    PATIENCE, builder, graft_builder, id, wait_for_agreement, wait_for_fault, wait_until,
};
use graft_election_tests::peer::Peer;
use tokio::time::{sleep, timeout};

/// Names that nothing but their place tells apart.
pub(crate) const NAMES: [&str; 3] = ["n1", "n2", "n3"];

const OLD: [u8; Key::LEN] = [1; Key::LEN];
const NEW: [u8; Key::LEN] = [2; Key::LEN];

pub(crate) fn key() -> Keys {
    keys(OLD, None)
}

fn keys(current: [u8; Key::LEN], other: Option<[u8; Key::LEN]>) -> Keys {
    Keys { current: Key::new(current), other: other.map(Key::new) }
}

pub(crate) fn sealed(name: &str) -> NodeBuilder {
    builder(name, 3).keys(key())
}

pub(crate) async fn agreed_leader(nodes: &[Node]) -> usize {
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await
}

/// Closes the leader, and waits until the others agree on another.
pub(crate) async fn fail_over(mut nodes: Vec<Node>) {
    let leader = nodes.remove(agreed_leader(&nodes).await);
    let term = leader.current_term();
    leader.close().await;
    let next = agreed_leader(&nodes).await;
    assert!(nodes[next].current_term() > term);
    for node in &nodes {
        assert_eq!(node.status().dropped, 0, "{}", node.id());
        node.close().await;
    }
}

fn is_unauthentic(fault: &Fault, name: &str, expected: SealFault) -> bool {
    matches!(fault, Fault::Unauthentic { sender: Some(sender), error }
        if sender.as_str() == name && *error == expected)
}

#[tokio::test(start_paused = true)]
async fn k1_a_cluster_with_a_key_elects_and_fails_over_in_one_process() {
    let (network, mut nodes) = (MemoryNetwork::new(), Vec::new());
    for name in NAMES {
        let started = sealed(name).start(network.transport(), MemoryVotes::new()).await;
        nodes.push(started.unwrap());
    }
    fail_over(nodes).await;
}

#[tokio::test]
async fn k1_a_cluster_with_a_key_elects_and_fails_over_on_one_machine() {
    let (base, mut nodes) = (tempfile::tempdir().unwrap(), Vec::new());
    for name in NAMES {
        let transport = LocalTransport::new(base.path());
        nodes.push(sealed(name).start(transport, MemoryVotes::new()).await.unwrap());
    }
    let transport = LocalTransport::new(base.path());
    let mut observer = Observer::connect_with_keys(transport, "c", &key()).await.unwrap();
    let leader = agreed_leader(&nodes).await;
    see_leader(&mut observer, &nodes[leader].id()).await;
    fail_over(nodes).await;
}

#[tokio::test]
async fn k1_a_cluster_with_a_key_elects_and_fails_over_on_a_serial_line() {
    let (bus, mut nodes, mut places) = (Bus::new(), Vec::new(), Vec::new());
    for name in NAMES {
        let place = bus.join(name);
        let line = SerialLine::Unix(place.socket().to_owned());
        let transport = SerialTransport::new(line);
        nodes.push(sealed(name).start(transport, MemoryVotes::new()).await.unwrap());
        places.push(place);
    }
    fail_over(nodes).await;
}

#[tokio::test(start_paused = true)]
async fn k2_a_restarted_node_is_heard_and_its_record_counts_the_starts() {
    let network = MemoryNetwork::new();
    let votes = NAMES.map(|_| MemoryVotes::new());
    let mut nodes = Vec::new();
    for (name, votes) in NAMES.into_iter().zip(&votes) {
        nodes.push(sealed(name).start(network.transport(), votes.clone()).await.unwrap());
    }
    let first = starts_of(&votes[0]);
    assert!(first > 28_000_000, "a new record begins with the clock: {first}");
    for place in [0, 1, 2, 0] {
        nodes[place].close().await;
        let started = sealed(NAMES[place]).start(network.transport(), votes[place].clone()).await;
        nodes[place] = started.unwrap();
        agreed_leader(&nodes).await;
    }
    assert_eq!(starts_of(&votes[0]), first + 2);
    assert!(nodes.iter().all(|node| node.status().dropped == 0));
}

fn starts_of(votes: &MemoryVotes) -> u32 {
    use graft_election::VoteStore;
    votes.clone().load().unwrap().record.starts
}

/// V9: whoever remembers it doesn't hear a node any more whose record went back.
#[tokio::test(start_paused = true)]
async fn k2_a_node_whose_record_went_back_is_not_heard_and_reported() {
    use graft_election::VoteStore;
    let network = MemoryNetwork::new();
    let (mut nodes, mut votes) = (Vec::new(), MemoryVotes::new());
    for name in NAMES {
        nodes.push(sealed(name).start(network.transport(), MemoryVotes::new()).await.unwrap());
    }
    agreed_leader(&nodes).await;
    let lost = nodes.remove(0);
    lost.close().await;
    // The leader hears a follower that acknowledges its heartbeats, and others may not.
    let leader = agreed_leader(&nodes).await;
    let mut events = nodes[leader].events();
    let record = graft_election::VoteRecord { starts: 7, ..Default::default() };
    votes.save(&id("n1"), &record).unwrap();
    let restored = sealed("n1").start(network.transport(), votes).await.unwrap();
    wait_for_fault(&mut events, |it| is_unauthentic(it, "n1", SealFault::EarlierLife)).await;
    assert!(nodes[leader].counts().drops[&DropCause::EarlierLife] > 0);
    restored.close().await;
}

#[tokio::test(start_paused = true)]
async fn k2_a_node_that_can_not_store_its_start_does_not_start() {
    let network = MemoryNetwork::new();
    let votes = graft_election_tests::votes::UnreliableVotes::default();
    votes.fail(true);
    let error = sealed("n1").start(network.transport(), votes).await.unwrap_err();
    assert!(matches!(error, StartError::Save(_) | StartError::SaveStart(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn k3_nodes_without_the_key_or_with_another_one_are_kept_out_and_reported() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for name in ["n1", "n2"] {
        nodes.push(sealed(name).start(network.transport(), MemoryVotes::new()).await.unwrap());
    }
    let leader = agreed_leader(&nodes).await;
    let term = nodes[leader].current_term();
    let mut events = nodes[leader].events();
    let strangers = [
        (builder("n3", 3), SealFault::Unsealed),
        (builder("n4", 3).keys(keys(NEW, None)), SealFault::WrongSeal),
    ];
    for (stranger, fault) in strangers {
        let stranger = stranger.priority(9);
        let stranger = stranger.start(network.transport(), MemoryVotes::new()).await.unwrap();
        let name = stranger.id();
        wait_for_fault(&mut events, |it| is_unauthentic(it, name.as_str(), fault)).await;
        sleep(20 * Config::ELECTION_TIMEOUT_MAX).await;
        assert_ne!(stranger.state(), State::Leader);
        stranger.close().await;
    }
    assert_eq!((nodes[leader].state(), nodes[leader].current_term()), (State::Leader, term));
    // In 40 s, about each ten seconds for each.
    let told = unauthentic(&mut events);
    assert!(told <= 6, "{told} reports");
}

/// Whoever has no key can't tell who says what it hears, and says so; whoever has it counts what it
/// dropped.
#[tokio::test(start_paused = true)]
async fn k3_the_view_of_a_node_without_the_key_is_unverified() {
    let (network, mut nodes) = (MemoryNetwork::new(), Vec::new());
    for name in NAMES {
        let node = if name == "n3" { builder(name, 3) } else { sealed(name) };
        nodes.push(node.start(network.transport(), MemoryVotes::new()).await.unwrap());
    }
    // The leader hears what the one without the key acknowledges.
    let leader = agreed_leader(&nodes).await;
    let seen = timeout(PATIENCE, async {
        loop {
            sleep(Config::HEARTBEAT_INTERVAL).await;
            let (with_key, without) = (nodes[leader].view(), nodes[2].view());
            if without.is_unverified && !with_key.unauthentic.is_empty() {
                break (with_key, without);
            }
        }
    });
    let (with_key, without) = seen.await.unwrap();
    assert!(!with_key.is_unverified && without.unauthentic.is_empty());
    assert!(with_key.unauthentic.keys().eq([&SealFault::Unsealed]), "{:?}", with_key.unauthentic);
}

/// How many events that are there are about seals.
fn unauthentic(events: &mut graft_election::Events) -> usize {
    let mut told = 0;
    while let Some(Some(Event { kind, .. })) = futures_util::FutureExt::now_or_never(events.next())
    {
        told += usize::from(matches!(kind, EventKind::Fault(Fault::Unauthentic { .. })));
    }
    told
}

/// Whoever has no key believes what others say without one.
#[tokio::test(start_paused = true)]
async fn k3_what_a_peer_without_the_key_says_changes_nothing() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for name in NAMES {
        nodes.push(sealed(name).start(network.transport(), MemoryVotes::new()).await.unwrap());
    }
    let leader = agreed_leader(&nodes).await;
    let (name, term) = (nodes[leader].id(), nodes[leader].current_term());
    let mut forger = Peer::pretend(&network, "forger", name.as_str()).await;
    let target = nodes[(leader + 1) % 3].id();
    forger.hand_over(term, &target).await;
    forger.request_vote(term + 5).await;
    forger.heartbeat(term + 7).await;
    forger.lead(term).await;
    sleep(3 * Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!((nodes[leader].state(), nodes[leader].current_term()), (State::Leader, term));
    for node in &nodes {
        assert!(node.counts().drops[&DropCause::Unsealed] >= 4);
    }
}

#[tokio::test(start_paused = true)]
async fn k3_an_operator_needs_the_key_and_an_observer_hears_without_it() {
    let network = MemoryNetwork::new();
    let node = builder("n1", 1).keys(key());
    let node = node.start(network.transport(), MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;

    let stranger = Operator::connect(network.transport(), "c").await.unwrap();
    let mut stranger = stranger.patience(Duration::from_secs(1));
    let refused = stranger.pause(&id("n1")).await.unwrap_err();
    assert!(matches!(refused, OperatorError::KeyMissing), "{refused}");
    let other = keys(NEW, None);
    let stranger = Operator::connect_with_keys(network.transport(), "c", &other).await.unwrap();
    let refused = stranger.patience(Duration::from_secs(1)).pause(&id("n1")).await.unwrap_err();
    assert!(matches!(refused, OperatorError::WrongKey), "{refused}");
    assert!(!node.status().is_paused);

    let own = Operator::connect_with_keys(network.transport(), "c", &key()).await.unwrap();
    own.patience(PATIENCE).pause(&id("n1")).await.unwrap();
    assert!(node.status().is_paused);

    let mut reader = Observer::connect(network.transport(), "c").await.unwrap();
    let with_other = Observer::connect_with_keys(network.transport(), "c", &other).await;
    let mut with_other = with_other.unwrap();
    let own = Operator::connect_with_keys(network.transport(), "c", &key()).await.unwrap();
    own.patience(PATIENCE).resume(&id("n1")).await.unwrap();
    see_leader(&mut reader, &id("n1")).await;
    let refused = loop {
        if let Observation::Unauthentic { sender, error } = with_other.next().await {
            break (sender, error);
        }
    };
    assert_eq!(refused.1, SealFault::WrongSeal);
    assert_eq!(with_other.view().leader, None);
}

async fn see_leader<L: graft_election::Listen>(observer: &mut Observer<L>, leader: &NodeId) {
    let seen = async {
        while observer.view().leader.is_none_or(|seen| seen.id != *leader) {
            observer.next().await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the leader is seen");
}

#[tokio::test(start_paused = true)]
async fn k4_a_key_is_brought_into_a_running_cluster_and_replaced_node_by_node() {
    let network = MemoryNetwork::new();
    let votes = NAMES.map(|_| MemoryVotes::new());
    let mut nodes = Vec::new();
    for (name, votes) in NAMES.into_iter().zip(&votes) {
        nodes.push(builder(name, 3).start(network.transport(), votes.clone()).await.unwrap());
    }
    agreed_leader(&nodes).await;
    for stage in [(OLD, None), (OLD, Some(NEW)), (NEW, Some(OLD)), (NEW, None)] {
        for place in 0..3 {
            nodes[place].close().await;
            let started = builder(NAMES[place], 3)
                .keys(keys(stage.0, stage.1))
                .start(network.transport(), votes[place].clone());
            nodes[place] = started.await.unwrap();
            if stage != (OLD, None) {
                agreed_leader(&nodes).await;
            }
        }
        agreed_leader(&nodes).await;
    }
    let counts = nodes[0].counts();
    assert!(!counts.drops.contains_key(&DropCause::WrongSeal), "{:?}", counts.drops);
}

#[tokio::test]
async fn k4_a_node_in_graft_mode_can_not_have_a_key() {
    let started = graft_builder("n1", 3).keys(key());
    let started = started.start(MemoryNetwork::new().transport(), MemoryVotes::new()).await;
    let error = started.unwrap_err();
    assert!(matches!(error, StartError::KeyInGraftMode), "{error}");
}
