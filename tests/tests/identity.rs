//! Who says it, to whom, in which cluster: two processes of one id, several clusters of the same
//! ids, and other lists of voters, over each transport (N1 to N6, V6).

use std::time::Duration;

use graft_election::core::ListId;
use graft_election::{
    ClusterInfo, ConfigError, EventKind, Fault, MemoryNetwork, MemoryVotes, Mode, NatsTransport,
    Node, NodeBuilder, NodeId, Reason, Report, RunError, SerialLine, SerialTransport, StartError,
    State, Transport, VoteRecord, VoteStore, VoterList,
};
use graft_election_tests::bus::{Bus, Member};
use graft_election_tests::cluster::{
    PATIENCE, builder, faults_of, id, wait_for_agreement, wait_for_fault, wait_until,
};
use graft_election_tests::killable_node::KillableNode;
use graft_election_tests::nats_server::NatsServer;
use tokio::time::{sleep, timeout};

/// The times of these clusters: long enough for a busy machine.
const HEARTBEAT: Duration = Duration::from_millis(200);
const ELECTION_TIMEOUT: (Duration, Duration) =
    (Duration::from_millis(1_200), Duration::from_millis(2_400));

/// How long a double takes at most until it gives up, and some more (N5).
const DOUBT: Duration = Duration::from_millis(5_000);

fn voters() -> [NodeId; 3] {
    ["a", "b", "c"].map(id)
}

/// A declared voter of the cluster `c`.
fn voter(name: &str) -> NodeBuilder {
    unhurried(builder(name, 3)).voters(voters())
}

fn unhurried(node: NodeBuilder) -> NodeBuilder {
    let (min, max) = ELECTION_TIMEOUT;
    node.heartbeat_interval(HEARTBEAT).election_timeout(min, max)
}

/// The votes of a voter that is new.
fn first_votes(name: &str) -> MemoryVotes {
    let mut votes = MemoryVotes::new();
    votes.save(&id(name), &VoteRecord::first(VoterList::declared(&voters()).unwrap())).unwrap();
    votes
}

/// Where nodes of any id can be, several of one id as well.
enum Place {
    Nats(NatsServer),
    Bus { bus: Bus, members: Vec<Member> },
}

impl Place {
    async fn start(&mut self, name: &str, votes: MemoryVotes) -> Node {
        match self {
            Self::Nats(server) => {
                let transport = NatsTransport::connect(server.url()).await.unwrap();
                voter(name).start(transport, votes).await.unwrap()
            }
            Self::Bus { bus, members } => {
                let member = bus.join(&format!("{name}{}", members.len()));
                let line = SerialLine::Unix(member.socket().to_owned());
                members.push(member);
                voter(name).start(SerialTransport::new(line), votes).await.unwrap()
            }
        }
    }

    fn all() -> [Self; 2] {
        [Self::Nats(NatsServer::start()), Self::Bus { bus: Bus::new(), members: Vec::new() }]
    }
}

async fn closes_as_a_double(node: &Node) {
    let status = wait_until(node, |status| status.state == State::Closed).await;
    assert_eq!(status.reason, Reason::DuplicateId);
}

/// Two processes never both lead, and one process keeps its lease.
#[tokio::test]
async fn n5_a_double_is_refused_and_says_why_and_the_first_keeps_its_lease() {
    for mut place in Place::all() {
        let nodes = [
            place.start("a", first_votes("a")).await,
            place.start("b", first_votes("b")).await,
            place.start("c", first_votes("c")).await,
        ];
        let leader = &nodes[wait_for_agreement(&nodes.each_ref()).await];
        let lease = leader.wait_for_leadership().await.unwrap();
        let name = leader.id();

        // A clone of the machine, with a copy of the vote file.
        let double = place.start(name.as_str(), first_votes(name.as_str())).await;
        let mut events = double.events();
        let ran = timeout(DOUBT, double.run_while_leader(async |_| ())).await;
        assert_eq!(ran.expect("it gives up soon"), Err(RunError::DuplicateId));
        closes_as_a_double(&double).await;
        wait_for_fault(&mut events, |fault| matches!(fault, Fault::Report(Report::DuplicateId)))
            .await;
        assert!(lease.is_valid(), "the first goes on");
        assert_eq!(wait_for_agreement(&nodes.each_ref()).await, index_of(&nodes, &name));
    }
}

fn index_of(nodes: &[Node], id: &NodeId) -> usize {
    nodes.iter().position(|node| node.id() == *id).unwrap()
}

/// Whatever was started: in the end one process of each id is left, and they agree.
#[tokio::test]
async fn n5_of_three_doubles_that_start_together_one_is_left() {
    for mut place in Place::all() {
        let mut doubles = Vec::new();
        for _ in 0..3 {
            doubles.push(place.start("a", first_votes("a")).await);
        }
        let others =
            [place.start("b", first_votes("b")).await, place.start("c", first_votes("c")).await];
        sleep(DOUBT).await;
        doubles.retain(|double| double.state() != State::Closed);
        assert_eq!(doubles.len(), 1, "one goes on");
        wait_for_agreement(&[&doubles[0], &others[0], &others[1]]).await;
    }
}

/// F3: nobody else is there to hear them when two of one id start.
#[tokio::test]
async fn n5_of_two_doubles_that_start_alone_one_leads_once_there_is_a_quorum() {
    let mut place = Place::Nats(NatsServer::start());
    let doubles =
        [place.start("a", first_votes("a")).await, place.start("a", first_votes("a")).await];
    sleep(ELECTION_TIMEOUT.1).await;
    let _witness = place.start("b", first_votes("b")).await;
    let mut tokens = Vec::new();
    for _ in 0..500 {
        let held = doubles.iter().filter_map(Node::leadership);
        let held: Vec<_> = held.map(|leadership| leadership.token()).collect();
        assert!(held.len() <= 1, "two leases: {held:?}");
        tokens.extend(held);
        sleep(Duration::from_millis(10)).await;
    }
    let closed = doubles.iter().filter(|double| double.state() == State::Closed).count();
    assert_eq!(closed, 1);
    assert!(!tokens.is_empty() || doubles.iter().all(|double| double.state() != State::Leader));
}

/// A supervisor that starts a double again and again takes nobody's leadership away.
#[tokio::test]
async fn n5_a_double_that_is_started_again_and_again_disturbs_nobody() {
    for mut place in Place::all() {
        let nodes = [
            place.start("a", first_votes("a")).await,
            place.start("b", first_votes("b")).await,
            place.start("c", first_votes("c")).await,
        ];
        let leader = wait_for_agreement(&nodes.each_ref()).await;
        let lease = nodes[leader].wait_for_leadership().await.unwrap();
        for name in ["a", "b", "a"] {
            let double = place.start(name, first_votes(name)).await;
            timeout(DOUBT, closes_as_a_double(&double)).await.expect("it gives up soon");
        }
        assert!(lease.is_valid(), "one leadership all the while");
    }
}

/// H3, N5: the dead don't answer, and who closes is soon gone.
#[tokio::test]
async fn n5_a_node_that_follows_its_own_predecessor_starts() {
    let server = NatsServer::start();
    let votes = first_votes("a");
    let start = |votes: MemoryVotes| {
        let url = server.url();
        async move {
            let transport = NatsTransport::connect(url).await.unwrap();
            voter("a").start(transport, votes).await.unwrap()
        }
    };
    let _others = ["b", "c"].map(|name| {
        let url = server.url();
        tokio::spawn(async move {
            let transport = NatsTransport::connect(url).await.unwrap();
            let _node = voter(name).priority(0).start(transport, first_votes(name)).await.unwrap();
            std::future::pending::<()>().await
        })
    });
    let killed = KillableNode::start(start(votes.clone())).await;
    wait_until(killed.node(), |status| status.state == State::Leader).await;
    killed.kill().await;

    let restarted = start(votes.clone()).await;
    let mut events = restarted.events();
    wait_until(&restarted, |status| status.state == State::Leader).await;
    // It hands over to nobody, and stays for a while.
    let (successor, ()) = tokio::join!(start(votes), restarted.close());
    wait_until(&successor, |status| status.state == State::Leader).await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event.kind, EventKind::Fault(_)), "{event:?}");
    }
}

async fn start_cluster(server: &NatsServer, cluster: &str, mode: Mode) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        let node = Node::builder(ClusterInfo::new(cluster, 3)).id(id(name)).mode(mode);
        let node = unhurried(node).voters(voters()).start(transport, first_votes(name));
        nodes.push(node.await.unwrap());
    }
    nodes
}

/// F2: clusters that share ids on one account know nothing of each other.
#[tokio::test]
async fn n1_clusters_of_the_same_ids_each_elect_a_leader_and_keep_it() {
    for modes in [
        [Mode::Extended; 4],
        [Mode::Graft; 4],
        [Mode::Extended, Mode::Graft, Mode::Extended, Mode::Graft],
    ] {
        let server = NatsServer::start();
        let mut clusters = Vec::new();
        for (name, mode) in ["billing", "mail", "mail.eu", "a"].into_iter().zip(modes) {
            clusters.push(start_cluster(&server, name, mode).await);
        }
        let mut settled = Vec::new();
        for nodes in &clusters {
            let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
            settled.push(nodes[leader].status());
        }
        sleep(2 * ELECTION_TIMEOUT.1).await;
        for (nodes, settled) in clusters.iter().zip(settled) {
            let leader = &nodes[wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await];
            let status = leader.status();
            assert_eq!((&status.id, status.term), (&settled.id, settled.term), "{modes:?}");
        }
    }
}

/// The configuration of a server on which each voter may speak in its own name alone, and nobody
/// on Go's subjects.
fn strict_configuration() -> String {
    let user = |name: &str| {
        format!(
            r#"{{ user: {name}, password: {name}, permissions: {{
                publish: {{ allow: ["graft.c.*.{name}", "graft.c.*.{name}.*"] }},
                subscribe: {{ allow: ["graft.c.>"],
                    deny: ["graft.c.vote_request", "graft.c.heartbeat"] }} }} }}"#
        )
    };
    format!("authorization {{ users: [{}] }}", ["a", "b", "c"].map(user).join(", "))
}

/// Section 3: the server binds each voter's name to its credentials.
#[tokio::test]
async fn n3_credentials_of_one_voter_can_not_speak_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("server.conf");
    std::fs::write(&configuration, strict_configuration()).unwrap();
    let server = NatsServer::start_with(&configuration);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let transport = NatsTransport::connect_with_options(server.url(), |options| {
            Ok(options.user_and_password(name.to_owned(), name.to_owned()))
        });
        nodes.push(voter(name).start(transport.await.unwrap(), first_votes(name)).await.unwrap());
    }
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
    let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    let lease = nodes[leader].wait_for_leadership().await.unwrap();
    for events in &mut events {
        assert_eq!(faults_of(events), [""; 0], "nobody misses Go's subjects");
    }

    let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "a".into());
    let thief = options.connect(server.url()).await.unwrap();
    let bystander = (0..3).find(|place| *place != leader && *place != 0).unwrap();
    let before = nodes[bystander].status();
    for name in ["b", "c"] {
        let heartbeat = graft_election_tests::pb::Heartbeat {
            term: before.term + 5,
            leader: name.into(),
            ..Default::default()
        };
        let payload = prost::Message::encode_to_vec(&heartbeat);
        for subject in [
            format!("graft.c.heartbeat.{name}"),
            "graft.c.heartbeat".to_owned(),
            "graft.c.heartbeat.a".to_owned(),
        ] {
            thief.publish(subject, payload.clone().into()).await.unwrap();
        }
    }
    thief.flush().await.unwrap();
    // What the thief may publish doesn't come from whom it names.
    let after = wait_until(&nodes[bystander], |status| status.dropped >= before.dropped + 2).await;
    assert_eq!((after.term, after.dropped), (before.term, before.dropped + 2));
    wait_for_fault(
        &mut events[bystander],
        |fault| matches!(fault, Fault::Malformed { from, .. } if from == "graft.c.heartbeat.a"),
    )
    .await;
    assert!(lease.is_valid());
}

/// F4: a voter is replaced by a rolling restart.
#[tokio::test]
async fn v6_a_list_that_changes_in_a_rolling_restart_starts_nobody_and_is_reported() {
    for size in [3, 5] {
        let all: Vec<_> = ["a", "b", "c", "d", "e"].map(id).into_iter().take(size).collect();
        let mut new = all.clone();
        new[size - 1] = id("z");
        let network = MemoryNetwork::new();
        let (mut nodes, mut votes) = (Vec::new(), Vec::new());
        for name in &all {
            votes.push(MemoryVotes::new());
            let node = builder(name.as_str(), size).voters(all.clone()).first_record();
            let votes = votes.last().unwrap().clone();
            nodes.push(node.start(network.transport(), votes).await.unwrap());
        }
        wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;

        let newcomer = builder("z", size).voters(new.clone()).first_record();
        let newcomer = newcomer.start(network.transport(), MemoryVotes::new()).await.unwrap();
        let (list, origin) = (ListId::declared(&new), ListId::declared(&all));
        // Nobody is elected who is on one list alone.
        let mut seen = newcomer.events();
        wait_for_fault(&mut seen, |fault| {
            matches!(fault, Fault::Report(Report::ListMismatch { list, .. }) if *list == origin)
                || matches!(fault, Fault::Report(Report::Stranger(node)) if all.contains(node))
        })
        .await;
        let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
        // One that stays.
        let place = (0..size - 1).find(|place| *place != leader).unwrap();
        nodes[place].close().await;
        let restarted = builder(all[place].as_str(), size).voters(new);
        let refused = restarted.start(network.transport(), votes[place].clone()).await;
        let expected = ConfigError::ListChanged { recorded: origin, declared: list };
        assert!(
            matches!(&refused, Err(StartError::Config(error)) if *error == expected),
            "{refused:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn n6_a_declared_voter_makes_its_first_record_once() {
    let (network, votes) = (MemoryNetwork::new(), MemoryVotes::new());
    let start = |node: NodeBuilder| node.start(network.transport(), votes.clone());
    let refused = start(voter("a")).await;
    let missing = ConfigError::RecordMissing;
    assert!(matches!(&refused, Err(StartError::Config(error)) if *error == missing));

    start(voter("a").first_record()).await.unwrap().close().await;
    let kept = votes.clone().load().unwrap();
    assert_eq!(
        (kept.record, kept.id),
        (VoteRecord::first(VoterList::declared(&voters()).unwrap()), Some(id("a")))
    );
    start(voter("a")).await.unwrap().close().await;
    let refused = start(voter("a").first_record()).await;
    assert!(matches!(refused, Err(StartError::RecordExists { .. })), "{refused:?}");
}

/// A node that joined when its link was down asks again when it is up.
#[tokio::test]
async fn n5_a_node_without_a_link_asks_again_once_it_has_one() {
    let server = NatsServer::start();
    let first = {
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        voter("a").start(transport, first_votes("a")).await.unwrap()
    };
    sleep(ELECTION_TIMEOUT.0).await;
    let transport = Late { inner: NatsTransport::connect(server.url()).await.unwrap(), sent: 0 };
    let double = voter("a").start(transport, first_votes("a")).await.unwrap();
    timeout(PATIENCE, closes_as_a_double(&double)).await.unwrap();
    assert_ne!(first.state(), State::Closed);
}

/// A transport whose link comes up after the first message that it should have sent.
struct Late {
    inner: NatsTransport,
    sent: usize,
}

/// The link is down.
#[derive(Debug)]
struct NoLink;

impl std::fmt::Display for NoLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no link")
    }
}

impl std::error::Error for NoLink {}

impl Transport for Late {
    type Error = NoLink;

    async fn join(&mut self, member: &graft_election::Member<'_>) -> Result<(), NoLink> {
        self.inner.join(member).await.map_err(|_| NoLink)
    }

    async fn receive(&mut self) -> graft_election::Arrival {
        if self.sent == 1 {
            sleep(Duration::from_millis(100)).await;
            self.sent = 2;
            return graft_election::Arrival::Connection(graft_election::Connection::Restored);
        }
        self.inner.receive().await
    }

    async fn send(&mut self, outgoing: &graft_election::core::Outgoing) -> Result<(), NoLink> {
        if self.sent == 0 {
            self.sent = 1;
            return Err(NoLink);
        }
        self.inner.send(outgoing).await.map_err(|_| NoLink)
    }

    async fn leave(&mut self) {
        self.inner.leave().await;
    }
}

/// Section 2, over the subjects of both modes: a cluster moves node by node, and back.
#[tokio::test]
async fn n1_a_cluster_on_nats_moves_from_graft_mode_to_extended_mode_and_back() {
    let server = NatsServer::start();
    let mut votes = ["a", "b", "c"].map(|name| (name, MemoryVotes::new()));
    let start = async |name: &str, mode: Mode, votes: &MemoryVotes| {
        let transport = NatsTransport::connect(server.url()).await.unwrap();
        unhurried(builder(name, 3)).mode(mode).start(transport, votes.clone()).await.unwrap()
    };
    let mut nodes = Vec::new();
    for (name, votes) in &votes {
        nodes.push(start(name, Mode::Graft, votes).await);
    }
    for mode in [Mode::Extended, Mode::Graft] {
        for (place, (name, votes)) in votes.iter_mut().enumerate() {
            wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
            nodes[place].close().await;
            let others: Vec<_> =
                nodes.iter().filter(|node| node.state() != State::Closed).collect();
            let leader = others[wait_for_agreement(&others).await].id();
            nodes[place] = start(name, mode, votes).await;
            let all: Vec<_> = nodes.iter().collect();
            let led = nodes[wait_for_agreement(&all).await].id();
            assert_eq!(led, leader, "A2: who comes back deposes nobody");
        }
        let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
        if mode == Mode::Extended {
            nodes[leader].wait_for_leadership().await.unwrap();
        }
    }
}
