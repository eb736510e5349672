//! Transports, vote stores and handlers that users bring: those that work, and those that don't.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use graft_election::VoteRecord;
use graft_election::core::{Message, NodeId, NodeIdError, Outgoing, Recipient};
use graft_election::proto::seal::SEALED_MAX;
use graft_election::proto::{Kind, decode};
use graft_election::{
    AlwaysGrant, Application, Arrival, ChannelHandler, ClusterInfo, Codec, Config, ConfigError,
    Connection, EventKind, Fault, Handler, LoadWarning, Member, MemoryNetwork, MemoryVotes, Node,
    Reason, RecordedList, StartError, State, Status, StoredVote, Transport, VoteFile, VoteStore,
};
use graft_election_tests::cluster::{
    PATIENCE, builder, graft_builder, id, wait_for_agreement, wait_for_fault, wait_for_question,
    wait_until,
};
use graft_election_tests::peer::Peer;
use graft_election_tests::transport::UnreliableTransport;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

/// The next thing that a handler passes on.
async fn next<T>(receiver: &mut mpsc::Receiver<T>) -> Option<T> {
    timeout(PATIENCE, receiver.recv()).await.expect("the handler is told something")
}

/// A transport of a user's own: everyone hears everything, as bytes, and picks out what is meant.
struct Radio {
    air: broadcast::Sender<Call>,
    codec: Codec,
    own: Option<(NodeId, broadcast::Receiver<Call>)>,
    left: Arc<AtomicUsize>,
}

/// To whom, of what kind, and what.
type Call = (Recipient, Kind, Vec<u8>);

impl Transport for Radio {
    type Error = Infallible;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), Infallible> {
        self.own = Some((member.id.clone(), self.air.subscribe()));
        self.codec = member.codec.clone();
        Ok(())
    }

    async fn receive(&mut self) -> Arrival {
        let Some((own, air)) = &mut self.own else {
            return std::future::pending().await;
        };
        loop {
            match air.recv().await {
                Ok((Recipient::Node(to), ..)) if to != *own => {}
                Ok((to, kind, payload)) => match decode(kind, &payload) {
                    Ok(message) => return self.codec.open(message, &to, &payload),
                    Err(error) => {
                        return Arrival::Malformed { from: None, error: Arc::new(error) };
                    }
                },
                Err(error) => {
                    return Arrival::Connection(Connection::Impaired(error.to_string()));
                }
            }
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Infallible> {
        let mut buffer = [0; SEALED_MAX];
        let payload = self.codec.encode(outgoing, &mut buffer).expect("a message fits").to_vec();
        // The only error is that nobody listens.
        let _ = self.air.send((outgoing.to.clone(), Kind::of(&outgoing.message), payload));
        Ok(())
    }

    async fn leave(&mut self) {
        self.own = None;
        self.left.fetch_add(1, Ordering::SeqCst);
    }
}

/// A vote store of a user's own: a row of a table that several nodes share.
struct Row {
    table: Arc<Mutex<BTreeMap<String, (NodeId, VoteRecord)>>>,
    key: String,
}

impl VoteStore for Row {
    type Error = Infallible;

    fn load(&mut self) -> Result<StoredVote, Infallible> {
        Ok(match self.table.lock().unwrap().get(&self.key) {
            Some((id, record)) => {
                StoredVote { record: record.clone(), id: Some(id.clone()), ..StoredVote::default() }
            }
            None => StoredVote::default(),
        })
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), Infallible> {
        self.table.lock().unwrap().insert(self.key.clone(), (id.clone(), record.clone()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_elects_over_a_transport_and_with_votes_of_a_users_own() {
    let air = broadcast::Sender::new(64);
    let (table, left) = (Arc::default(), Arc::default());
    let start = |key: &'static str| {
        let (codec, left) = (Codec::new(), Arc::clone(&left));
        let transport = Radio { air: air.clone(), codec, own: None, left };
        let votes = Row { table: Arc::clone(&table), key: key.to_owned() };
        async move {
            let nameless = Node::builder(ClusterInfo::new("c", 3));
            nameless.start(transport, votes).await.unwrap()
        }
    };
    let mut nodes = [start("x").await, start("y").await, start("z").await];
    let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    let term = nodes[leader].current_term();
    let own = nodes[leader].id();
    assert_eq!(left.load(Ordering::SeqCst), 0);
    nodes[leader].close().await;
    assert_eq!(left.load(Ordering::SeqCst), 1, "it has left once");
    let kept = table.lock().unwrap()[["x", "y", "z"][leader]].clone();
    assert_eq!((kept.0, kept.1.term >= term), (own.clone(), true));

    nodes[leader] = start(["x", "y", "z"][leader]).await;
    assert_eq!(nodes[leader].id(), own, "the id is kept with the vote");
    let next = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    assert!(nodes[next].current_term() > term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_transport_is_stuck_still_hears_and_can_be_closed() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (transport, control) = UnreliableTransport::new(network.transport());
    let node = builder("a", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    control.stick(true);
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::SendTimedOut(_))).await;
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
    wait_for_question().await;
    control.stick(true);
    peer.request_vote(5).await;
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::SendTimedOut(_))).await;
    control.stick(false);
    peer.request_vote(4).await;
    // T2: the only answer is that to the second request.
    let refusal = peer.hear_vote_response().await;
    assert_eq!((refusal.term, refusal.granted), (5, false));
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_transport_was_stuck_hears_what_has_arrived_before_it_believes_its_timer() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (transport, control) = UnreliableTransport::new(network.transport());
    let node = builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    control.stick(true);
    peer.request_vote(5).await;
    // Virtual time goes on when there is nothing left to do: the node tries to answer.
    tokio::time::sleep(Duration::from_millis(1)).await;
    peer.heartbeat(5).await;
    tokio::time::advance(2 * Config::ELECTION_TIMEOUT_MAX).await;
    control.stick(false);
    let status = wait_until(&node, |status| status.leader.is_some() || status.term > 5).await;
    assert_eq!((status.term, status.leader.clone()), (5, Some(id("p"))));
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_does_not_keep_a_node_from_campaigning() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (transport, control) = UnreliableTransport::new(network.transport());
    let node = graft_builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    wait_for_question().await;
    control.stick(true);
    peer.request_vote(5).await;
    // As above, but the leader's heartbeat is the last of many messages.
    tokio::time::sleep(Duration::from_millis(1)).await;
    for _ in 0..500 {
        peer.vote_for(&id("a"), 1).await;
    }
    peer.heartbeat(5).await;
    tokio::time::advance(2 * Config::ELECTION_TIMEOUT_MAX).await;
    control.stick(false);
    let status = wait_until(&node, |status| status.leader.is_some() || status.term > 5).await;
    assert_eq!((status.term, status.state), (6, State::Candidate));
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn l1_a_flood_of_messages_does_not_keep_a_leader_from_its_heartbeats() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (transport, control) = UnreliableTransport::new(network.transport());
    let node = builder("a", 1).start(transport, MemoryVotes::new()).await.unwrap();
    peer.hear_heartbeat().await;
    control.stick(true);
    tokio::time::sleep(Config::HEARTBEAT_INTERVAL + Duration::from_millis(2)).await;
    // Another heartbeat is stuck, and will be followed by answers to all these.
    for _ in 0..500 {
        peer.request_vote(0).await;
    }
    control.stick(false);
    tokio::time::advance(2 * Config::HEARTBEAT_INTERVAL).await;
    peer.hear_heartbeat().await;
    let mut answers = 0;
    while !matches!(peer.hear().await, Message::Heartbeat(_)) {
        answers += 1;
    }
    assert!(answers <= 1, "{answers} messages were answered before the next heartbeat");
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_impaired_is_told_of_once_and_a_lost_one_each_time() {
    let (transport, control) = UnreliableTransport::new(MemoryNetwork::new().transport());
    let node = builder("a", 3).start(transport, MemoryVotes::new()).await.unwrap();
    let mut events = node.events();
    let (slow, denied) =
        (|| Connection::Impaired("slow".into()), Connection::Impaired("no".into()));
    let lost = || Connection::Lost("pulled".into());
    let told = [slow(), denied.clone(), lost(), Connection::Restored, lost(), Connection::Restored];
    let untold = [slow(), denied, slow()];
    for change in told.iter().chain(&untold).chain(&[Connection::Closed("end".into())]) {
        control.arrive(Arrival::Connection(change.clone()));
    }
    let mut heard = Vec::new();
    while !matches!(heard.last(), Some(Connection::Closed(_))) {
        heard.push(match events.next().await.unwrap().kind {
            EventKind::ConnectionRestored => Connection::Restored,
            EventKind::Fault(Fault::ConnectionLost(why)) => Connection::Lost(why),
            EventKind::Fault(Fault::ConnectionClosed(why)) => Connection::Closed(why),
            EventKind::Fault(Fault::ConnectionImpaired(why)) => Connection::Impaired(why),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(heard[..heard.len() - 1], told);

    // After a while it is told again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    control.arrive(Arrival::Connection(slow()));
    wait_for_fault(
        &mut events,
        |fault| matches!(fault, Fault::ConnectionImpaired(why) if why == "slow"),
    )
    .await;
    node.close().await;
}

/// A vote store that breaks down while the test wants it to.
struct BrittleVotes(MemoryVotes, Arc<AtomicBool>);

impl VoteStore for BrittleVotes {
    type Error = Infallible;

    fn load(&mut self) -> Result<StoredVote, Infallible> {
        self.0.load()
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), Infallible> {
        assert!(!self.1.load(Ordering::SeqCst), "the test says so");
        self.0.save(id, record)
    }
}

#[tokio::test(start_paused = true)]
async fn c4_a_vote_is_not_given_while_the_store_panics_and_is_given_after() {
    let network = MemoryNetwork::new();
    let (mut first, mut second) =
        (Peer::join(&network, "p").await, Peer::join(&network, "q").await);
    let breaks_down = Arc::new(AtomicBool::new(false));
    let votes = MemoryVotes::new();
    let node = builder("a", 3)
        .start(network.transport(), BrittleVotes(votes.clone(), Arc::clone(&breaks_down)))
        .await
        .unwrap();
    let mut events = node.events();
    wait_for_question().await;
    breaks_down.store(true, Ordering::SeqCst);
    first.request_vote(5).await;
    wait_for_fault(&mut events, |fault| matches!(fault, Fault::SaveInterrupted)).await;
    breaks_down.store(false, Ordering::SeqCst);
    second.request_vote(5).await;
    assert!(!second.hear_vote_response().await.granted);
    first.request_vote(5).await;
    assert!(first.hear_vote_response().await.granted, "nothing was said before it was stored");
    assert_eq!(votes.clone().load().unwrap().record.voted_for, Some(id("p")));
    node.close().await;
}

/// A transport that breaks down when it hears something.
struct Brittle(graft_election::MemoryTransport);

impl Transport for Brittle {
    type Error = <graft_election::MemoryTransport as Transport>::Error;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), Self::Error> {
        self.0.join(member).await
    }

    async fn receive(&mut self) -> Arrival {
        let arrival = self.0.receive().await;
        panic!("the test says so: {arrival:?}");
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Self::Error> {
        self.0.send(outgoing).await
    }

    async fn leave(&mut self) {
        self.0.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_transport_panics_is_no_leader_any_more() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let transport = Brittle(network.transport());
    let node = builder("a", 1).start(transport, MemoryVotes::new()).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    let mut events = node.events();
    peer.heartbeat(1).await;
    let status = wait_until(&node, |status| status.state == State::Closed).await;
    assert_eq!((status.leader.clone(), status.reason), (None, Reason::Closed));
    let mut changes = Vec::new();
    while let Some(event) = events.next().await {
        if let EventKind::StateChanged { from, to } = event.kind {
            changes.push((from, to));
        }
    }
    assert_eq!(changes.last(), Some(&(State::Leader, State::Closed)));
    node.close().await;
    assert_eq!(network.len(), 1, "only the peer is left");
}

#[test]
fn a_leader_whose_runtime_ends_is_no_leader_any_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let network = MemoryNetwork::new();
    let node = runtime.block_on(async {
        let node = builder("a", 1).start(network.transport(), MemoryVotes::new()).await.unwrap();
        wait_until(&node, |status| status.state == State::Leader).await;
        node
    });
    drop(runtime);
    assert_eq!((node.state(), node.leader()), (State::Closed, None));
    assert!(network.is_empty());
}

/// An application that panics while the test wants it to.
#[derive(Clone, Default)]
struct Fragile(Arc<AtomicBool>);

impl Fragile {
    fn check(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "the test says so");
    }
}

impl Application for Fragile {
    fn position(&self) -> Vec<u8> {
        self.check();
        b"well".to_vec()
    }

    fn grants_vote(&self, _position: &[u8]) -> bool {
        self.check();
        true
    }
}

#[tokio::test]
async fn a_handler_that_panics_gives_no_vote_then_and_is_asked_again() {
    let network = MemoryNetwork::new();
    let mut peer = Peer::join(&network, "p").await;
    let (states, _changes) = mpsc::channel(64);
    let (errors, mut faults) = mpsc::channel(64);
    let fragile = Fragile::default();
    fragile.0.store(true, Ordering::SeqCst);
    let node = graft_builder("a", 3)
        // Half of it is time enough to print a backtrace, even on a busy machine.
        .heartbeat_interval(Duration::from_secs(2))
        .election_timeout(Duration::from_secs(4), Duration::from_secs(5))
        .handler(ChannelHandler::with_application(fragile.clone(), states, errors))
        .start(network.transport(), MemoryVotes::new())
        .await
        .unwrap();
    peer.request_vote(5).await;
    assert!(!peer.hear_vote_response().await.granted);
    assert!(matches!(next(&mut faults).await, Some(Fault::ApplicationPanicked)));
    // It campaigns all the same, with the last position it knows: none.
    assert_eq!(peer.hear_vote_request().await.position.as_bytes(), b"");
    assert!(matches!(next(&mut faults).await, Some(Fault::ApplicationPanicked)));

    fragile.0.store(false, Ordering::SeqCst);
    while peer.hear_vote_request().await.position.as_bytes() != b"well" {}
    peer.request_vote(50).await;
    while !peer.hear_vote_response().await.granted {}
    node.close().await;
}

/// A handler that panics whenever it is told something, after it has passed that on.
struct Jumpy(mpsc::Sender<(State, Option<NodeId>)>);

impl Application for Jumpy {
    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn grants_vote(&self, _position: &[u8]) -> bool {
        true
    }
}

impl Handler for Jumpy {
    fn state_changed(&self, _from: State, to: State, _status: &Status) {
        self.0.blocking_send((to, None)).unwrap();
        panic!("the test says so");
    }

    fn leader_changed(&self, status: &Status) {
        self.0.blocking_send((status.state, status.leader.clone())).unwrap();
        panic!("the test says so");
    }

    fn fault(&self, _fault: &Fault, _status: &Status) {}
}

#[tokio::test]
async fn a_handler_that_panics_when_told_something_is_told_the_next() {
    let (sender, mut changes) = mpsc::channel(64);
    let node = builder("a", 1)
        .handler(Jumpy(sender))
        .start(MemoryNetwork::new().transport(), MemoryVotes::new())
        .await
        .unwrap();
    assert_eq!(next(&mut changes).await, Some((State::Candidate, None)));
    assert_eq!(next(&mut changes).await, Some((State::Leader, None)));
    assert_eq!(next(&mut changes).await, Some((State::Leader, Some(id("a")))));
    node.close().await;
    assert_eq!(next(&mut changes).await, Some((State::Follower, None)));
    // Nobody leads any more.
    assert_eq!(next(&mut changes).await, Some((State::Follower, None)));
    assert_eq!(next(&mut changes).await, Some((State::Closed, None)));
    assert_eq!(next(&mut changes).await, None, "the handler is let go");
}

#[tokio::test]
async fn what_is_odd_about_a_stored_vote_reaches_events_and_handler_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes");
    // As a Go node leaves it before its first election, or one that was killed while it saved.
    std::fs::write(&path, b"").unwrap();
    let (states, _changes) = mpsc::channel(64);
    let (errors, mut faults) = mpsc::channel(64);
    let node = builder("a", 3)
        .handler(ChannelHandler::new(states, errors))
        .start(MemoryNetwork::new().transport(), VoteFile::open(&path).unwrap())
        .await
        .unwrap();
    assert!(matches!(next(&mut faults).await, Some(Fault::StoredVote(LoadWarning::NoState))));
    let first = node.events().next().await.unwrap();
    let EventKind::Fault(Fault::StoredVote(LoadWarning::NoState)) = first.kind else {
        panic!("{first:?}");
    };
    node.close().await;
}

#[tokio::test]
async fn g12_a_spent_vote_is_told_of_and_the_next_term_taken() {
    struct Spent;
    impl VoteStore for Spent {
        type Error = Infallible;

        fn load(&mut self) -> Result<StoredVote, Infallible> {
            let warning = LoadWarning::VoteSpent { term: 6, reason: NodeIdError::Empty };
            let record = VoteRecord { term: 7, ..VoteRecord::default() };
            Ok(StoredVote { record, id: None, warnings: vec![LoadWarning::NoState, warning] })
        }

        fn save(&mut self, _id: &NodeId, _record: &VoteRecord) -> Result<(), Infallible> {
            Ok(())
        }
    }
    let (states, _changes) = mpsc::channel(64);
    let (errors, mut faults) = mpsc::channel(64);
    let node = builder("a", 3)
        .handler(ChannelHandler::with_application(AlwaysGrant, states, errors))
        .start(MemoryNetwork::new().transport(), Spent)
        .await
        .unwrap();
    assert_eq!((node.current_term(), node.current_vote()), (7, None));
    assert!(matches!(next(&mut faults).await, Some(Fault::StoredVote(LoadWarning::NoState))));
    let second = next(&mut faults).await.unwrap();
    let Fault::StoredVote(LoadWarning::VoteSpent { term: 6, .. }) = second else {
        panic!("{second}");
    };
    let mut events = node.events();
    for expected in ["the vote file is empty", "the vote of term 6"] {
        let EventKind::Fault(fault) = events.next().await.unwrap().kind else { panic!() };
        assert!(fault.to_string().starts_with(expected), "{fault}");
    }
    node.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_refused_has_stored_no_id() {
    let network = MemoryNetwork::new();
    let votes = MemoryVotes::new();
    let refused = Node::builder(ClusterInfo::new("c", 1))
        .voters([id("a")])
        .start(network.transport(), votes.clone())
        .await;
    // The new id can't be one of those declared.
    assert!(matches!(refused, Err(StartError::Config(ConfigError::OwnIdMissing))), "{refused:?}");
    assert_eq!(votes.clone().load().unwrap(), StoredVote::default());
    // Nor was a first record made by that (N6).
    let node = builder("a", 1).voters([id("a")]).first_record();
    let node = node.start(network.transport(), votes).await.unwrap();
    wait_until(&node, |status| status.state == State::Leader).await;
    node.close().await;
}

/// A node has room for as many as its cluster needs.
#[tokio::test(start_paused = true)]
async fn v6_clusters_of_all_sizes_elect_and_keep_their_lists() {
    for size in [1, 7, 8, 64] {
        for declares in [false, true] {
            let names: Vec<_> = (0..size).map(|number| format!("n{number}")).collect();
            let all: Vec<_> = names.iter().map(|name| id(name)).collect();
            let network = MemoryNetwork::new();
            let (mut nodes, votes) = (Vec::new(), MemoryVotes::new());
            for name in names.iter().rev() {
                let node = builder(name, size);
                let node = if declares { node.voters(all.clone()).first_record() } else { node };
                let kept = if name == "n0" { votes.clone() } else { MemoryVotes::new() };
                nodes.push(node.start(network.transport(), kept).await.unwrap());
            }
            wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
            for node in &nodes {
                node.close().await;
            }
            let record = votes.clone().load().unwrap().record;
            let listed = record.voter_list().map(|list| list.voters().to_vec());
            assert_eq!(listed, declares.then_some(all), "{size} voters");
        }
    }
}

/// It goes to Go nodes, which can't be declared, and of which there are fewer.
#[tokio::test(start_paused = true)]
async fn v6_a_node_has_room_for_the_list_in_its_record() {
    let (network, votes) = (MemoryNetwork::new(), MemoryVotes::new());
    let all: Vec<_> = (0..8).map(|number| id(&format!("n{number}"))).collect();
    let node = builder("n0", 8).voters(all).first_record();
    node.start(network.transport(), votes.clone()).await.unwrap().close().await;
    let before = votes.clone().load().unwrap().record;
    let node = graft_builder("n0", 3).start(network.transport(), votes.clone()).await;
    node.unwrap().close().await;
    let list_id = |record: &VoteRecord| record.list.as_ref().map(RecordedList::id);
    assert_eq!(list_id(&votes.clone().load().unwrap().record), list_id(&before));
}

#[tokio::test(start_paused = true)]
async fn g8_a_new_id_is_kept_before_anyone_hears_of_it() {
    let votes = MemoryVotes::new();
    let node = Node::builder(ClusterInfo::new("c", 3))
        .start(MemoryNetwork::new().transport(), votes.clone())
        .await
        .unwrap();
    assert_eq!(votes.clone().load().unwrap().id, Some(node.id()));
    node.close().await;
}

#[tokio::test]
async fn a_node_that_restarts_with_its_file_while_others_lead_follows_them() {
    let directory = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let start = |name: &'static str| {
        let votes = VoteFile::open(directory.path().join(name)).unwrap();
        let starting = builder(name, 3).start(network.transport(), votes);
        async move { starting.await.unwrap() }
    };
    let mut nodes = [start("a").await, start("b").await, start("c").await];
    let all = |nodes: &[Node; 3]| nodes.iter().map(Node::status).collect::<Vec<_>>();
    for round in 0..3 {
        let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
        let restarted = (leader + 1 + round % 2) % 3;
        let before = nodes[restarted].status();
        nodes[restarted].close().await;
        nodes[restarted] = start(["a", "b", "c"][restarted]).await;
        // T1, V1
        assert_eq!(nodes[restarted].current_term(), before.term);
        assert_eq!(nodes[restarted].current_vote(), before.vote);
        // A2: the leader is not deposed by who comes back.
        let again = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
        assert_eq!(
            (again, nodes[again].current_term()),
            (leader, before.term),
            "{:?}",
            all(&nodes)
        );
        // The next round has another leader.
        let leader_name = ["a", "b", "c"][leader];
        nodes[leader].close().await;
        let others: Vec<_> = nodes.iter().filter(|node| node.state() != State::Closed).collect();
        let next = others[wait_for_agreement(&others).await].id();
        nodes[leader] = start(leader_name).await;
        wait_until(&nodes[leader], |status| status.leader.as_ref() == Some(&next)).await;
    }
    for node in &nodes {
        node.close().await;
    }
}
