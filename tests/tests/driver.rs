//! A node as its user sees it: status, events, handlers, and what a slow disk or a slow listener
//! does to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use graft_election::{
    Application, Arrival, ChannelHandler, Config, Connection, EVENTS_MAX, ErrorChain, Event,
    EventKind, Events, Fault, Handler, MemoryNetwork, MemoryVotes, Node, Reason, Report,
    StartError, State, StateChange, Status, StoredVote, VoteStore,
};
use graft_election::{NodeId, VoteRecord};
use graft_election_tests::cluster::{
    MemoryCluster, PATIENCE, builder, graft_builder, id, wait_for_agreement, wait_for_fault,
    wait_for_question, wait_until,
};
use graft_election_tests::peer::Peer;
use graft_election_tests::transport::{TransportControl, UnreliableTransport};
use graft_election_tests::votes::{SaveRefused, UnreliableVotes};
use tokio::sync::mpsc;
use tokio::time::timeout;

async fn next_change(events: &mut Events) -> (State, State, Reason) {
    loop {
        let event: Event = events.next().await.expect("the node lives");
        if let EventKind::StateChanged { from, to } = event.kind {
            return (from, to, event.status.reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_one_tells_each_step_and_why() {
    let network = MemoryNetwork::new();
    let node = builder("a", 1).start(network.transport(), MemoryVotes::new()).await.unwrap();
    assert_eq!((node.id(), node.cluster_info().name.as_str()), (id("a"), "c"));
    assert_eq!((node.state(), node.leader(), node.current_term()), (State::Follower, None, 0));
    assert_eq!(node.current_vote(), None);

    let mut events = node.events();
    assert_eq!(
        next_change(&mut events).await,
        (State::Follower, State::Candidate, Reason::ElectionTimeout)
    );
    assert_eq!(
        next_change(&mut events).await,
        (State::Candidate, State::Leader, Reason::WonElection)
    );
    assert_eq!((node.leader(), node.current_vote()), (Some(id("a")), Some(id("a"))));

    node.close().await;
    assert_eq!(
        next_change(&mut events).await,
        (State::Leader, State::Follower, Reason::HandedOver)
    );
    assert_eq!(next_change(&mut events).await, (State::Follower, State::Closed, Reason::Closed));
    assert!(events.next().await.is_none());
    assert_eq!(node.state(), State::Closed);
    assert_eq!(node.current_vote(), Some(id("a")), "closing forgets nothing");
}

#[tokio::test(start_paused = true)]
async fn followers_tell_when_their_leader_changes() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    let mut events = follower.events();
    cluster.kill(leader).await;
    let next = cluster.wait_for_leader().await;
    let mut leaders = Vec::new();
    while leaders.last() != Some(&Some(cluster.nodes[next].id())) {
        let event = events.next().await.unwrap();
        if let EventKind::LeaderChanged = event.kind {
            leaders.push(event.status.leader.clone());
        }
    }
    assert_eq!(leaders.first(), Some(&Some(cluster.nodes[leader].id())));
    assert!(leaders.contains(&None));
}

// In real time, since virtual time doesn't wait for the thread on which a handler is asked.
#[tokio::test]
async fn a_channel_handler_hears_everything_in_order() {
    let (states, mut changes) = mpsc::channel(16);
    let (errors, mut faults) = mpsc::channel(16);
    let votes = UnreliableVotes::default();
    votes.fail(true);
    let node = builder("a", 1)
        .handler(ChannelHandler::new(states, errors))
        .start(MemoryNetwork::new().transport(), votes.clone())
        .await
        .unwrap();
    assert!(matches!(faults.recv().await, Some(Fault::Save(_))));
    votes.fail(false);
    let change = |from, to| Some(StateChange { from, to });
    assert_eq!(changes.recv().await, change(State::Follower, State::Candidate));
    // C5: it could not store its vote for itself.
    assert_eq!(changes.recv().await, change(State::Candidate, State::Follower));
    assert_eq!(changes.recv().await, change(State::Follower, State::Candidate));
    assert_eq!(changes.recv().await, change(State::Candidate, State::Leader));
    node.close().await;
    assert_eq!(changes.recv().await, change(State::Leader, State::Follower));
    assert_eq!(changes.recv().await, change(State::Follower, State::Closed));
    assert_eq!(changes.recv().await, None, "the handler is let go");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_lags_loses_the_oldest_events_and_is_told_how_many() {
    let (transport, control) = UnreliableTransport::new(MemoryNetwork::new().transport());
    // A witness doesn't campaign, so no other event comes in between.
    let node = builder("a", 3).priority(Config::WITNESS).start(transport, MemoryVotes::new());
    let node = node.await.unwrap();
    let (mut just, mut late) = (node.events(), node.events());
    for number in 0..EVENTS_MAX {
        lose(&control, number).await;
    }
    // The node has told all of them when it has counted this.
    control.arrive(malformed());
    wait_until(&node, |status| status.dropped == 1).await;
    for number in 0..EVENTS_MAX {
        assert_eq!(next_lost(&mut just).await, number);
    }
    for number in EVENTS_MAX..EVENTS_MAX + 3 {
        lose(&control, number).await;
    }
    control.arrive(malformed());
    wait_until(&node, |status| status.dropped == 2).await;
    let first = late.next().await.unwrap();
    assert!(matches!(first.kind, EventKind::Fault(Fault::Missed(3))), "{first:?}");
    for number in 3..EVENTS_MAX + 3 {
        assert_eq!(next_lost(&mut late).await, number);
    }
}

/// Has the connection be lost, so seldom that it is told each time.
async fn lose(control: &TransportControl, number: usize) {
    control.arrive(Arrival::Connection(Connection::Lost(number.to_string())));
    tokio::time::sleep(Duration::from_millis(110)).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_faults_in_a_second_ten_are_told_and_the_rest_is_counted() {
    let (transport, control) = UnreliableTransport::new(MemoryNetwork::new().transport());
    let node = builder("a", 3).priority(Config::WITNESS).start(transport, MemoryVotes::new());
    let node = node.await.unwrap();
    let mut events = node.events();
    for number in 0..1_000 {
        control.arrive(Arrival::Connection(Connection::Lost(number.to_string())));
    }
    for number in 0..10 {
        assert_eq!(next_lost(&mut events).await, number);
    }
    let rest = events.next().await.unwrap();
    assert!(matches!(rest.kind, EventKind::Fault(Fault::Withheld(990))), "{rest:?}");
}

fn malformed() -> Arrival {
    Arrival::Malformed { from: None, error: Arc::new(SaveRefused) }
}

async fn next_lost(events: &mut Events) -> usize {
    let event = events.next().await.unwrap();
    match event.kind {
        EventKind::Fault(Fault::ConnectionLost(number)) => number.parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_missed_events_is_that_of_the_last_one_heard() {
    let (transport, control) = UnreliableTransport::new(MemoryNetwork::new().transport());
    let node = builder("a", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    while next_change(&mut events).await.1 != State::Leader {}
    for number in 0..2 * EVENTS_MAX {
        lose(&control, number).await;
    }
    control.arrive(malformed());
    wait_until(&node, |status| status.dropped == 1).await;
    let missed = events.next().await.unwrap();
    assert!(matches!(missed.kind, EventKind::Fault(Fault::Missed(_))), "{missed:?}");
    assert_eq!((missed.status.state, missed.status.term), (State::Leader, 1));
}

#[tokio::test(start_paused = true)]
async fn each_event_has_the_status_just_after_it_and_a_state_is_told_before_its_leader() {
    let node =
        builder("a", 1).start(MemoryNetwork::new().transport(), MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut told = Vec::new();
    let mut events = node.events();
    while told.len() < 3 {
        let Event { kind, status, .. } = events.next().await.unwrap();
        let leads = status.leader == Some(id("a"));
        told.push(match kind {
            EventKind::StateChanged { to, .. } => (Some(to), status.state, leads),
            EventKind::LeaderChanged => (None, status.state, leads),
            other => panic!("{other:?}"),
        });
    }
    let expected = [
        (Some(State::Candidate), State::Candidate, false),
        (Some(State::Leader), State::Leader, true),
        (None, State::Leader, true),
    ];
    assert_eq!(told, expected);
    // A later listener hears what happens from then on.
    let mut later = node.events();
    node.close().await;
    assert_eq!(next_change(&mut later).await.0, State::Leader);
}

#[tokio::test(start_paused = true)]
async fn what_messages_bring_to_light_is_told_once_in_a_while_and_counted_if_impossible() {
    let network = MemoryNetwork::new();
    let (mut first, mut second) =
        (Peer::join(&network, "p").await, Peer::join(&network, "q").await);
    let node = builder("a", 3).start(network.transport(), MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    for _ in 0..3 {
        first.heartbeat(u64::MAX).await;
        second.heartbeat(u64::MAX - 1).await;
    }
    first.heartbeat(1).await;
    let status = wait_until(&node, |status| status.leader.is_some()).await;
    assert_eq!(status.dropped, 6);
    let expected =
        [Report::TermOutOfRange { term: u64::MAX }, Report::TermOutOfRange { term: u64::MAX - 1 }];
    for expected in &expected {
        let event = events.next().await.unwrap();
        assert!(
            matches!(&event.kind, EventKind::Fault(Fault::Report(told)) if told == expected),
            "{event:?}"
        );
    }
    assert!(matches!(events.next().await.unwrap().kind, EventKind::LeaderChanged));
    tokio::time::sleep(Duration::from_secs(10)).await;
    first.heartbeat(u64::MAX).await;
    wait_for_fault(
        &mut events,
        |fault| matches!(fault, Fault::Report(told) if *told == expected[0]),
    )
    .await;
}

/// A handler that is stuck in its first event.
struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Application for Stuck {
    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn grants_vote(&self, _position: &[u8]) -> bool {
        true
    }
}

impl Handler for Stuck {
    fn state_changed(&self, _from: State, _to: State, _status: &Status) {
        // The sender is gone at the end of the test.
        let _ = self.0.lock().unwrap().recv();
    }

    fn leader_changed(&self, _status: &Status) {}

    fn fault(&self, _fault: &Fault, _status: &Status) {}
}

#[tokio::test]
async fn a_handler_that_is_stuck_does_not_hold_up_the_election() {
    let (release, stuck) = std::sync::mpsc::channel();
    let node = builder("a", 1)
        .handler(Stuck(std::sync::Mutex::new(stuck)))
        .start(MemoryNetwork::new().transport(), MemoryVotes::new())
        .await
        .unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    node.close().await;
    assert_eq!(node.state(), State::Closed);
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn i6_nothing_is_said_while_a_vote_is_being_stored() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let votes = UnreliableVotes::default();
    let node = builder("a", 3).start(network.transport(), votes.clone()).await.unwrap();
    wait_for_question().await;
    votes.hold(true);
    peer.request_vote(3).await;
    wait_until(&node, |status| status.term == 3).await;
    let heard = timeout(Config::HEARTBEAT_INTERVAL, peer.hear_vote_response());
    // The clock stands still while a save is going on, so this ends only with the save.
    let release = async {
        votes.wait_for_save().await;
        assert_eq!(votes.record().term, 0);
        votes.hold(false);
    };
    let (heard, ()) = tokio::join!(heard, release);
    assert!(heard.expect("it answers").granted);
    assert_eq!((votes.record().term, votes.done()), (3, 1));
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_save_does_not_use_up_the_time_to_answer_a_campaign() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let votes = UnreliableVotes::default();
    let node = graft_builder("a", 3).start(network.transport(), votes.clone()).await.unwrap();
    votes.hold(true);
    wait_until(&node, |status| status.state == State::Candidate).await;
    tokio::time::advance(2 * Config::ELECTION_TIMEOUT_MAX).await;
    votes.hold(false);
    assert_eq!(peer.hear_vote_request().await.term, 1);
    let asked_at = tokio::time::Instant::now();
    assert_eq!(peer.hear_vote_request().await.term, 2);
    assert!(asked_at.elapsed() >= Config::ELECTION_TIMEOUT_MIN);
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn closing_finishes_a_save_that_has_begun() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let votes = UnreliableVotes::default();
    let node = builder("a", 3).start(network.transport(), votes.clone()).await.unwrap();
    wait_for_question().await;
    votes.hold(true);
    peer.request_vote(3).await;
    votes.wait_for_save().await;
    let release = async { votes.hold(false) };
    tokio::join!(node.close(), node.close(), release);
    assert_eq!(votes.record().voted_for, Some(id("p")));
    assert!(peer.hear_vote_response().await.granted, "what was stored may be said");
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_handle_is_dropped_closes() {
    let network = MemoryNetwork::new();
    let node = builder("a", 1).start(network.transport(), MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut status = node.watch();
    drop(node);
    status.wait_for(|status| status.state == State::Closed).await.unwrap();
    while !network.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_to_join_leaves_nothing_behind() {
    let network = MemoryNetwork::new();
    let transport = network.transport().failing_to_join();
    let refused = builder("a", 3).start(transport, MemoryVotes::new()).await;
    assert!(matches!(refused, Err(StartError::Join(_))), "{refused:?}");
    assert!(network.is_empty());
    let nodes: [Result<Node, StartError>; 2] = [
        builder("a", 3).start(network.transport(), MemoryVotes::new()).await,
        builder("a", 3).start(network.transport(), MemoryVotes::new()).await,
    ];
    let [Ok(_first), Err(second)] = nodes else { panic!("{nodes:?}") };
    assert_eq!(
        ErrorChain(&second).to_string(),
        "could not join the cluster: another node a is on this network already; \
         each needs an id of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_hears_what_has_arrived_before_it_believes_its_timer() {
    let network = MemoryNetwork::new();
    let mut leader = Peer::join(&network, "p").await;
    let node = builder("a", 3).start(network.transport(), MemoryVotes::new()).await.unwrap();
    leader.heartbeat(1).await;
    wait_until(&node, |status| status.leader.is_some()).await;
    // What a node finds that was paused, ten times over: its timer has run out, and the leader's
    // heartbeats are waiting.
    for _ in 0..10 {
        tokio::time::advance(2 * Config::ELECTION_TIMEOUT_MAX).await;
        leader.heartbeat(1).await;
        tokio::time::sleep(Config::HEARTBEAT_INTERVAL).await;
        assert_eq!((node.current_term(), node.leader()), (1, Some(id("p"))));
    }
}

/// V6: Go nodes change their ids at each start.
#[tokio::test(start_paused = true)]
async fn a_node_with_declared_voters_says_once_that_a_go_node_is_not_one_of_them() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "go").await;
    let voters = ["a", "b", "c"].map(id);
    let node = graft_builder("a", 3).voters(voters).first_record();
    let node = node.start(network.transport(), MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    for term in [10, 100, 1_000] {
        peer.heartbeat(term).await;
        wait_until(&node, |status| status.leader == Some(id("go"))).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    node.close().await;
    let mut told = 0;
    while let Some(event) = events.next().await {
        told += usize::from(matches!(event.kind, EventKind::Fault(Fault::GoNodeUndeclared)));
    }
    assert_eq!(told, 1);
}

/// In real time: the clock of a test that is paused stands still during a save.
#[tokio::test]
async fn c4_a_disk_that_is_slow_is_reported() {
    let (network, votes) = (MemoryNetwork::new(), UnreliableVotes::default());
    votes.hold(true);
    let node = builder("a", 1).start(network.transport(), votes.clone()).await.unwrap();
    let mut events = node.events();
    wait_until(&node, |status| status.state == State::Candidate).await;
    tokio::time::sleep(Config::ELECTION_TIMEOUT_MIN + Duration::from_millis(50)).await;
    votes.hold(false);
    wait_for_fault(
        &mut events,
        |fault| matches!(fault, Fault::Report(Report::SlowSave { micros }) if *micros >= 500_000),
    )
    .await;
    node.close().await;
}

/// What a node reports until it has been closed.
async fn all_faults(mut events: Events) -> Vec<String> {
    let mut faults = Vec::new();
    while let Some(event) = events.next().await {
        if let EventKind::Fault(fault) = event.kind {
            faults.push(ErrorChain(&fault).to_string());
        }
    }
    faults
}

#[tokio::test]
async fn a_disk_that_hangs_is_reported_and_does_not_keep_the_node_from_closing() {
    let votes = UnreliableVotes::default();
    let network = MemoryNetwork::new();
    let node = builder("a", 1).start(network.transport(), votes.clone()).await.unwrap();
    let mut events = node.events();
    assert!(node.answers().await);
    votes.hold(true);
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::SaveUnfinished(_))).await;
    // A supervisor may take it for dead.
    timeout(Duration::from_millis(50), node.answers()).await.unwrap_err();
    timeout(PATIENCE, node.close()).await.expect("it doesn't wait for the disk");
    assert_eq!((node.state(), node.leadership().is_none()), (State::Closed, true));
    assert!(!node.answers().await);
    assert_eq!(all_faults(events).await.len(), 0, "it is told once in ten seconds");
    // The runtime of the test waits for it.
    votes.hold(false);
}

#[tokio::test]
async fn a_disk_that_fails_is_told_once() {
    let votes = UnreliableVotes::default();
    let network = MemoryNetwork::new();
    let node = builder("a", 1)
        .election_timeout(Duration::from_millis(20), Duration::from_millis(30))
        .heartbeat_interval(Duration::from_millis(5))
        .start(network.transport(), votes.clone())
        .await
        .unwrap();
    let events = node.events();
    votes.fail(true);
    while votes.begun() < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.close().await;
    assert_eq!(all_faults(events).await, ["the vote was not stored: the test says so"]);
}

/// A store in memory each of whose saves takes half a second.
#[derive(Default)]
struct SlowVotes(MemoryVotes);

impl VoteStore for SlowVotes {
    type Error = Infallible;

    fn load(&mut self) -> Result<StoredVote, Infallible> {
        self.0.load()
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), Infallible> {
        std::thread::sleep(Duration::from_millis(500));
        self.0.save(id, record)
    }
}

/// Three nodes with such stores and these times, in milliseconds: T_min, T_max, H.
async fn with_slow_disks([t_min, t_max, heartbeat]: [u64; 3]) -> Vec<Node> {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let node = builder(name, 3)
            .election_timeout(Duration::from_millis(t_min), Duration::from_millis(t_max))
            .heartbeat_interval(Duration::from_millis(heartbeat));
        nodes.push(node.start(network.transport(), SlowVotes::default()).await.unwrap());
    }
    nodes
}

#[tokio::test]
async fn nodes_with_slow_disks_elect_a_leader_if_their_times_fit() {
    let nodes = with_slow_disks([3_000, 6_000, 500]).await;
    let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    assert!(nodes[leader].current_term() <= 3, "it takes a few attempts at most");
    for node in &nodes {
        node.close().await;
        assert_eq!(all_faults(node.events()).await, [""; 0]);
    }
}

#[tokio::test]
async fn c3_nodes_whose_saves_take_as_long_as_timeouts_elect_a_leader_all_the_same() {
    let nodes = with_slow_disks([250, 500, 50]).await;
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_disk_that_is_too_slow_for_the_election_timeout_is_reported_at_the_start() {
    let node = builder("a", 3).start(MemoryNetwork::new().transport(), SlowVotes::default()).await;
    let mut events = node.unwrap().events();
    let Some(Event { kind: EventKind::Fault(fault), .. }) = events.next().await else {
        panic!("nothing is reported");
    };
    let told = fault.to_string();
    assert!(told.starts_with("storing the vote took "), "{told}");
    assert!(told.contains(" and more than 100ms, a fifth of the least election timeout"), "{told}");
}
