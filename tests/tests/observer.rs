//! Clusters as those see them who only listen.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use graft_election::core::{
    Heartbeat, HeartbeatResponse, Identity, Life, Message, Position, Recipient, Round, VoteRequest,
};
use graft_election::{
    Arrival, Codec, Config, Connection, Disagreement, EventKind, Listen, LocalError,
    LocalTransport, MemoryNetwork, MemoryVotes, Mode, NatsTransport, Node, NodeId, Observation,
    ObservedRole, Observer,
};
use graft_election_tests::cluster::{MemoryCluster, PATIENCE, builder, id, wait_for_agreement};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::peer::plain_heartbeat;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Waits for an observation that is the one meant.
async fn wait_for<L: Listen>(
    observer: &mut Observer<L>,
    mut is_meant: impl FnMut(&Observation) -> bool,
) -> Observation {
    let found = async {
        loop {
            let observation = observer.next().await;
            if is_meant(&observation) {
                return observation;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("it is observed")
}

/// Waits until this node is seen to lead, and those follow.
async fn wait_until_seen<L: Listen>(observer: &mut Observer<L>, leader: &NodeId, others: usize) {
    let seen = async {
        loop {
            let view = observer.view();
            let follows = |role| role == ObservedRole::Follower;
            let followers = view.nodes.iter().filter(|node| follows(node.role)).count();
            if view.leader.is_some_and(|seen| seen.id == *leader) && followers == others {
                return;
            }
            observer.next().await;
        }
    };
    let seen = timeout(PATIENCE, seen).await;
    assert!(seen.is_ok(), "{leader} is not seen to lead {others} others: {:#?}", observer.view());
}

fn leader_of(observation: &Observation) -> Option<Option<NodeId>> {
    match observation {
        Observation::LeaderChanged { leader, .. } => Some(leader.clone()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_election_its_leader_and_the_followers_are_seen() {
    let mut cluster = MemoryCluster::empty(3);
    let mut observer = Observer::connect(cluster.network.transport(), "c").await.unwrap();
    for _ in 0..3 {
        cluster.start_next().await;
    }
    let leads = |seen: &Observation| matches!(leader_of(seen), Some(Some(_)));
    let seen = wait_for(&mut observer, leads).await;
    let leader = cluster.wait_for_leader().await;
    let id = cluster.nodes[leader].id();
    assert_eq!(leader_of(&seen), Some(Some(id.clone())));
    wait_until_seen(&mut observer, &id, 2).await;
    let view = observer.view();
    let seen = view.leader.unwrap();
    assert_eq!((seen.term, seen.began_here), (cluster.nodes[leader].status().term, true));
    let lease = Config::ELECTION_TIMEOUT_MIN * 9 / 10;
    let left = seen.lease_left.unwrap();
    assert!(left <= lease && left > lease - 2 * Config::HEARTBEAT_INTERVAL, "{left:?}");
    for node in &view.nodes {
        let follows = node.id != id;
        assert_eq!(node.acknowledged_in.is_some(), follows, "{node:?}");
        assert_eq!(node.priority, follows.then_some(Config::PRIORITY));
        assert!(!node.is_go && node.silent_for < Config::ELECTION_TIMEOUT_MIN);
    }
    assert!(view.disagreements.is_empty());
    // Nobody counts the observer among the nodes.
    assert_eq!(cluster.network.len(), 3);
}

/// It never names a leader whose lease is over, and never two.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_gone_is_no_leader_once_its_lease_is_over() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let mut observer = Observer::connect(cluster.network.transport(), "c").await.unwrap();
    let id = cluster.nodes[leader].id();
    wait_until_seen(&mut observer, &id, 2).await;
    assert!(!observer.view().leader.unwrap().began_here);
    let lease_left = observer.view().leader.unwrap().lease_left.unwrap();
    let killed_at = Instant::now();
    cluster.kill(leader).await;
    let gone = wait_for(&mut observer, |seen| leader_of(seen).is_some()).await;
    assert_eq!(leader_of(&gone), Some(None));
    assert!(observer.view().leader.is_none());
    let noticed = killed_at.elapsed();
    let longest = Config::ELECTION_TIMEOUT_MIN + Config::HEARTBEAT_INTERVAL;
    assert!((lease_left..=longest).contains(&noticed), "{noticed:?}");
    let next = wait_for(&mut observer, |seen| leader_of(seen).is_some()).await;
    let next_leader = leader_of(&next).flatten().unwrap();
    assert_ne!(next_leader, id);
    let silent =
        |seen: &Observation| *seen == Observation::NodeChanged { id: id.clone(), role: None };
    wait_for(&mut observer, silent).await;
}

#[tokio::test(start_paused = true)]
async fn a_handover_is_seen_at_once() {
    let cluster = MemoryCluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let mut observer = Observer::connect(cluster.network.transport(), "c").await.unwrap();
    wait_until_seen(&mut observer, &cluster.nodes[leader].id(), 2).await;
    let began = Instant::now();
    assert!(cluster.nodes[leader].hand_over(None).await);
    let gone = wait_for(&mut observer, |seen| leader_of(seen).is_some()).await;
    assert_eq!(leader_of(&gone), Some(None));
    let next = wait_for(&mut observer, |seen| leader_of(seen).is_some()).await;
    assert!(leader_of(&next).flatten().is_some());
    assert!(began.elapsed() < Config::HEARTBEAT_INTERVAL);
}

/// A medium on which a test says what is heard, and what becomes of the connection.
#[derive(Debug)]
struct Said {
    messages: mpsc::UnboundedReceiver<Message>,
    changes: mpsc::UnboundedReceiver<Connection>,
}

impl Listen for Said {
    type Error = std::convert::Infallible;

    async fn listen(&mut self, _cluster: &str, _codec: &Codec) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn hear(&mut self) -> Arrival {
        tokio::select! {
            Some(message) = self.messages.recv() => {
                Codec::new().open(message, &Recipient::Everyone, &[])
            }
            Some(change) = self.changes.recv() => Arrival::Connection(change),
            else => std::future::pending().await,
        }
    }
}

async fn said() -> (mpsc::UnboundedSender<Message>, Observer<Said>) {
    let (say, _, observer) = said_over_a_connection().await;
    (say, observer)
}

async fn said_over_a_connection()
-> (mpsc::UnboundedSender<Message>, mpsc::UnboundedSender<Connection>, Observer<Said>) {
    let (say, messages) = mpsc::unbounded_channel();
    let (change, changes) = mpsc::unbounded_channel();
    (say, change, Observer::connect(Said { messages, changes }, "c").await.unwrap())
}

fn request(candidate: &str, term: u64) -> VoteRequest {
    VoteRequest {
        term,
        candidate: id(candidate),
        position: Position::EMPTY,
        handover_from: None,
        size: 3.try_into().ok(),
        round: Round::new(1),
        list: None,
    }
}

fn who(node: &str, life: u32) -> Message {
    let (round, life) = (Round::new(1).unwrap(), Life::new(life).unwrap());
    Message::Who(Identity { node: id(node), round, life })
}

/// Takes in all that was said, and lets time pass.
async fn observe_for(observer: &mut Observer<Said>, time: Duration) {
    let all = async {
        loop {
            observer.next().await;
        }
    };
    timeout(time, all).await.unwrap_err();
}

fn heartbeat(leader: &str, term: u64, size: u32) -> Message {
    Message::Heartbeat(Heartbeat {
        sent_at: 1_000.try_into().ok(),
        size: size.try_into().ok(),
        round: Round::new(1),
        ..plain_heartbeat(id(leader), term)
    })
}

fn response(follower: &str, term: u64, bound_for: u64) -> HeartbeatResponse {
    HeartbeatResponse {
        term,
        follower: id(follower),
        position: Position::default(),
        sent_at: 1_000.try_into().ok(),
        priority: 1,
        bound_for: bound_for.try_into().ok(),
        round: Round::new(1),
        list: None,
        life: Life::new(1),
        is_paused: false,
        is_full: false,
        wanted: None,
    }
}

fn disagreement(observation: &Observation) -> bool {
    matches!(observation, Observation::Disagreement(_))
}

#[tokio::test(start_paused = true)]
async fn what_must_not_differ_and_does_is_told_once() {
    let differing_sizes = vec![heartbeat("a", 1, 3), heartbeat("b", 2, 5)];
    let sizes = Disagreement::Sizes(BTreeSet::from([3, 5]));
    let times = [500_000, 700_000];
    let differing_times =
        times.map(|time| Message::HeartbeatResponse(response(&format!("n{time}"), 1, time)));
    let times = Disagreement::ElectionTimeouts(times.map(Duration::from_micros).into());
    let mut with_list = response("b", 1, 500_000);
    with_list.list = Some(graft_election::core::ListId { term: 0, version: 7 });
    let differing_lists = vec![heartbeat("a", 1, 3), Message::HeartbeatResponse(with_list)];
    let two_leaders = vec![heartbeat("a", 1, 3), heartbeat("b", 1, 3)];
    let leaders = Disagreement::Leaders(BTreeSet::from([id("a"), id("b")]));
    for (messages, found) in [
        (differing_sizes, sizes),
        (differing_times.to_vec(), times),
        (differing_lists, Disagreement::Lists),
        (two_leaders, leaders),
    ] {
        let (say, mut observer) = said().await;
        for message in messages.iter().chain(&messages) {
            say.send(message.clone()).unwrap();
        }
        let seen = wait_for(&mut observer, disagreement).await;
        assert_eq!(seen, Observation::Disagreement(found.clone()));
        assert_eq!(observer.view().disagreements, BTreeSet::from([found]));
        let again = timeout(Duration::from_millis(100), wait_for(&mut observer, disagreement));
        again.await.unwrap_err();
    }
}

/// Whoever speaks first may have missed a term, or not say which one it is in.
#[tokio::test(start_paused = true)]
async fn for_how_long_a_leader_has_led_is_known_only_if_its_beginning_was_heard() {
    let at_once = Duration::from_millis(1);
    let asks = |candidate, term| Message::VoteRequest(request(candidate, term));
    let proposes = |candidate, term| Message::PreVoteRequest(request(candidate, term));
    for (before, time, is_known) in [
        (proposes("b", 3), at_once, false),
        (proposes("a", 5), at_once, false),
        (who("a", 1), at_once, false),
        (asks("b", 4), at_once, false),
        // Its own campaign may have failed while another's did not.
        (asks("b", 5), at_once, false),
        (asks("a", 5), at_once, true),
        // A leader that doesn't know that it is one no more.
        (heartbeat("b", 4, 3), at_once, false),
        (heartbeat("b", 4, 3), Config::ELECTION_TIMEOUT_MIN, true),
    ] {
        let (say, mut observer) = said().await;
        say.send(before.clone()).unwrap();
        observe_for(&mut observer, time).await;
        say.send(heartbeat("a", 5, 3)).unwrap();
        observe_for(&mut observer, at_once).await;
        assert_eq!(observer.view().leader.unwrap().began_here, is_known, "{before:?}, {time:?}");
    }
}

/// What is said while the connection is lost is missed.
#[tokio::test(start_paused = true)]
async fn a_leader_that_began_while_the_connection_was_lost_began_elsewhere() {
    let (say, change, mut observer) = said_over_a_connection().await;
    assert!(!observer.view().has_listened);
    say.send(heartbeat("a", 4, 3)).unwrap();
    say.send(Message::VoteRequest(request("b", 5))).unwrap();
    observe_for(&mut observer, Config::ELECTION_TIMEOUT_MIN).await;
    assert!(observer.view().has_listened);
    change.send(Connection::Lost("gone".into())).unwrap();
    observe_for(&mut observer, Config::ELECTION_TIMEOUT_MIN).await;
    assert!(!observer.view().has_listened);
    change.send(Connection::Restored).unwrap();
    observe_for(&mut observer, Duration::from_millis(1)).await;
    say.send(heartbeat("b", 5, 3)).unwrap();
    observe_for(&mut observer, Duration::from_millis(1)).await;
    let view = observer.view();
    assert_eq!((view.has_listened, view.leader.unwrap().began_here), (false, false));
}

/// C1: a request for pre-votes names the term after the candidate's.
#[tokio::test(start_paused = true)]
async fn c1_the_term_of_a_node_is_the_one_that_it_is_in_and_not_the_one_that_it_proposes() {
    let (say, mut observer) = said().await;
    say.send(Message::PreVoteRequest(request("a", 3))).unwrap();
    say.send(who("b", 1)).unwrap();
    observe_for(&mut observer, Duration::from_millis(1)).await;
    let view = observer.view();
    let terms: Vec<_> = view.nodes.iter().map(|node| (node.id.as_str(), node.term)).collect();
    assert_eq!((view.term, terms), (2, vec![("a", Some(2)), ("b", None)]));
}

/// A client reports each of its attempts to connect again.
#[tokio::test(start_paused = true)]
async fn an_impairment_that_lasts_is_told_once_in_ten_seconds() {
    let (_say, change, mut observer) = said_over_a_connection().await;
    let impaired = |why: &str| Connection::Impaired(why.into());
    for why in ["refused", "refused", "slow", "refused"] {
        change.send(impaired(why)).unwrap();
    }
    for why in ["refused", "slow"] {
        assert_eq!(observer.next().await, Observation::Connection(impaired(why)));
    }
    observe_for(&mut observer, Duration::from_secs(10)).await;
    change.send(impaired("refused")).unwrap();
    assert_eq!(observer.next().await, Observation::Connection(impaired("refused")));
}

/// A restart is none, and neither is a late message of before.
#[tokio::test(start_paused = true)]
async fn two_processes_of_one_id_are_told_from_one_that_has_restarted() {
    let (say, mut observer) = said().await;
    for life in [1, 2, 1, 2, 3, 4] {
        say.send(who("a", life)).unwrap();
    }
    drop(timeout(Duration::from_millis(100), wait_for(&mut observer, disagreement)).await);
    let found = Disagreement::DuplicateId(id("a"));
    assert!(observer.view().disagreements.contains(&found), "{:?}", observer.view());

    let (say, mut observer) = said().await;
    for life in [1, 2, 1, 3, 4] {
        say.send(who("a", life)).unwrap();
    }
    let told = timeout(Duration::from_millis(100), wait_for(&mut observer, disagreement)).await;
    assert!(told.is_err() && observer.view().disagreements.is_empty());
}

/// Go nodes say neither sizes nor rounds, and acknowledge nothing in particular.
#[tokio::test(start_paused = true)]
async fn go_nodes_are_told_from_others() {
    let (say, mut observer) = said().await;
    let by_go = plain_heartbeat(id("go1"), 1);
    let mut answer = response("go2", 1, 0);
    (answer.sent_at, answer.round, answer.life) = (None, None, None);
    say.send(Message::Heartbeat(by_go)).unwrap();
    say.send(Message::HeartbeatResponse(answer)).unwrap();
    say.send(Message::HeartbeatResponse(response("ours", 1, 500_000))).unwrap();
    wait_until_seen(&mut observer, &id("go1"), 2).await;
    let view = observer.view();
    let go: Vec<_> = view.nodes.iter().map(|node| (node.id.as_str(), node.is_go)).collect();
    assert_eq!(go, [("go1", true), ("go2", true), ("ours", false)]);
    assert_eq!(view.leader.unwrap().lease_left, None);
}

/// Whoever can speak on a line can make up nodes and terms.
#[tokio::test(start_paused = true)]
async fn made_up_nodes_and_terms_fill_no_memory_and_depose_nobody() {
    let (say, mut observer) = said().await;
    say.send(heartbeat("a", 1, 3)).unwrap();
    for number in 0..1_000 {
        say.send(Message::HeartbeatResponse(response(&format!("n{number}"), 1, 1))).unwrap();
    }
    say.send(heartbeat("b", u64::MAX, 3)).unwrap();
    say.send(heartbeat("a", 1, 3)).unwrap();
    wait_until_seen(&mut observer, &id("a"), 127).await;
    assert!(observer.view().nodes.len() <= 128);
    assert_eq!(observer.view().term, 1);
}

#[tokio::test]
async fn on_one_machine_all_that_nodes_say_to_each_other_is_heard() {
    let base = tempfile::tempdir().unwrap();
    let observe = || Observer::connect(LocalTransport::new(base.path()), "c");
    // Whoever only listens makes no cluster.
    assert!(matches!(observe().await.unwrap_err(), LocalError::Directory { .. }));
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    let mut nodes: Vec<Node> = Vec::new();
    for name in ["a", "b/%", "c"] {
        let node = builder(name, 3).start(LocalTransport::new(base.path()), MemoryVotes::new());
        nodes.push(node.await.unwrap());
    }
    let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    let mut observers = [observe().await.unwrap(), observe().await.unwrap()];
    for observer in &mut observers {
        wait_until_seen(observer, &nodes[leader].id(), 2).await;
    }
    let clusters = LocalTransport::new(base.path()).clusters().unwrap();
    assert_eq!(clusters, BTreeSet::from(["c".to_owned()]));
    let sockets = || fs::read_dir(base.path().join("c")).unwrap().count();
    assert_eq!(sockets(), 5);
    drop(observers);
    assert_eq!(sockets(), 3);
    // One that was killed leaves its socket to the next. No process has the id 0.
    let stale = base.path().join("c/%ear-0-0");
    drop(std::os::unix::net::UnixDatagram::bind(&stale).unwrap());
    let _observer = observe().await.unwrap();
    assert!(!stale.exists());
}

/// A listener that was stopped, or whose socket is not theirs, is no concern of the nodes.
#[tokio::test]
async fn on_one_machine_a_listener_that_does_not_read_troubles_nobody() {
    let base = tempfile::tempdir().unwrap();
    let start = |name| builder(name, 2).start(LocalTransport::new(base.path()), MemoryVotes::new());
    let (a, b) = (start("a").await.unwrap(), start("b").await.unwrap());
    let _deaf = std::os::unix::net::UnixDatagram::bind(base.path().join("c/%ear-1-0")).unwrap();
    let mut events = a.events();
    wait_for_agreement(&[&a, &b]).await;
    // As many heartbeats as fill the socket and whatever waits for it, several times over.
    let is_trouble = |kind: &EventKind| matches!(kind, EventKind::Fault(_));
    let troubled = async {
        while let Some(event) = events.next().await {
            assert!(!is_trouble(&event.kind), "{event:?}");
        }
    };
    timeout(40 * Config::HEARTBEAT_INTERVAL, troubled).await.unwrap_err();
}

async fn start_on(server: &NatsServer, mode: Mode) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        let node = builder(name, 3).mode(mode).start(transport, MemoryVotes::new());
        nodes.push(node.await.unwrap());
    }
    nodes
}

#[tokio::test]
async fn on_nats_a_cluster_is_heard_on_our_subjects_and_on_gos() {
    // In Graft mode nobody is asked for acknowledgements, and followers keep silent.
    for (mode, followers) in [(Mode::Extended, 2), (Mode::Graft, 0)] {
        let server = NatsServer::start();
        let nodes = start_on(&server, mode).await;
        let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
        let mut transport = NatsTransport::connect(server.url()).await.unwrap();
        let clusters = transport.clusters(3 * Config::HEARTBEAT_INTERVAL).await.unwrap();
        assert_eq!(clusters, BTreeSet::from(["c".to_owned()]), "{mode:?}");
        let mut observer = Observer::connect(transport, "c").await.unwrap();
        wait_until_seen(&mut observer, &nodes[leader].id(), followers).await;
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        let mut elsewhere = Observer::connect(transport, "cc").await.unwrap();
        let heard = timeout(3 * Config::HEARTBEAT_INTERVAL, elsewhere.next()).await;
        assert!(heard.is_err(), "{mode:?}: {heard:?}");
    }
}

/// A configuration in which the user `o` may subscribe to this, and publish nothing.
fn permissions(subscribe: &str) -> String {
    let denied = "publish: { deny: [\">\"] }";
    let allowed = format!("subscribe: {{ allow: [\"{subscribe}\"] }}");
    let observer = format!("user: o, password: o, permissions: {{ {denied}, {allowed} }}");
    let users = format!("[{{ user: a, password: a }}, {{ {observer} }}]");
    format!("authorization {{ users: {users} }}, no_auth_user: a")
}

/// It needs the permission to subscribe to its cluster, and no other.
#[tokio::test]
async fn on_nats_an_observer_needs_no_right_to_speak() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("nats.conf");
    for (subscribe, hears) in [("graft.c.>", true), ("graft.other.>", false)] {
        fs::write(&config, permissions(subscribe)).unwrap();
        let server = NatsServer::start_with(&config);
        let nodes = start_on(&server, Mode::Extended).await;
        let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
        let url = server.url().replace("nats://", "nats://o:o@");
        let transport = NatsTransport::connect(url).await.unwrap();
        let mut observer = Observer::connect(transport, "c").await.unwrap();
        if hears {
            wait_until_seen(&mut observer, &nodes[leader].id(), 2).await;
            continue;
        }
        let is_refused = |seen: &Observation| match seen {
            Observation::Connection(Connection::Partial(why)) => why.contains("graft.c."),
            _ => false,
        };
        wait_for(&mut observer, is_refused).await;
        assert!(observer.view().nodes.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_nobody_asks_costs_the_nodes_nothing() {
    let network = MemoryNetwork::new();
    let observer = Observer::connect(network.transport(), "c").await.unwrap();
    let node = builder("a", 1).start(network.transport(), MemoryVotes::new()).await.unwrap();
    wait_for_agreement(&[&node]).await;
    // More than it has room for.
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(node.status().leader.is_some());
    drop(observer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(node.status().leader.is_some());
}
