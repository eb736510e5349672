//! Clusters of which some nodes are on a serial bus and some on a real nats-server, with a bridge
//! between them.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use graft_election::core::{Message, Outgoing, Position, Recipient, VoteRequest, VoteResponse};
use graft_election::proto::frame::{ClusterTag, FRAME_MAX, FrameReader, encode_frame};
use graft_election::proto::{ENCODED_MAX, encode};
use graft_election::{
    Bridge, BridgeEvent, BridgeRates, Connection, ErrorChain, MemoryVotes, Mode, NatsTransport,
    Node, NodeId, SerialLine, SerialTransport, State,
};
use graft_election_tests::bridge::RunningBridge;
use graft_election_tests::bus::{Bus, Member};
use graft_election_tests::cluster::{PATIENCE, builder, id, wait_for_agreement, wait_until};
use graft_election_tests::nats_server::NatsServer;
use graft_election_tests::peer::plain_heartbeat;
use graft_election_tests::trial::is_trial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

/// Longer than a message is behind the one before it.
const QUIET: Duration = Duration::from_millis(300);

const FAST: BridgeRates = RunningBridge::FAST;

/// Someone on the bus who is not a node.
struct Talker {
    stream: UnixStream,
    reader: FrameReader,
}

impl Talker {
    async fn join(bus: &Bus, name: &str) -> Self {
        let stream = UnixStream::connect(bus.join(name).socket()).await.unwrap();
        Self { stream, reader: FrameReader::new(ClusterTag::of("c")) }
    }

    async fn say(&mut self, sender: &str, outgoing: &Outgoing) {
        let mut buffer = [0; FRAME_MAX];
        let frame = encode_frame(ClusterTag::of("c"), &id(sender), outgoing, &mut buffer).unwrap();
        self.stream.write_all(frame).await.unwrap();
    }

    /// Waits for a message, and hears all that come until there is quiet.
    async fn hear(&mut self) -> Vec<(NodeId, Recipient, Message)> {
        self.hear_all(1).await
    }

    /// Waits for so many messages for as long as a busy machine may take, and hears all that come
    /// until there is quiet.
    async fn hear_all(&mut self, expected: usize) -> Vec<(NodeId, Recipient, Message)> {
        let mut quiet_at = Instant::now() + PATIENCE;
        let (mut heard, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(count) = timeout_at(quiet_at, self.stream.read(&mut bytes)).await {
            assert!(heard.len() < 10_000, "the line has no quiet");
            let mut bytes = &bytes[..count.unwrap()];
            while let Some(frame) = self.reader.read_any(&mut bytes) {
                heard.push((frame.sender, frame.to, frame.message));
                if heard.len() >= expected {
                    quiet_at = Instant::now() + QUIET;
                }
            }
        }
        heard
    }
}

/// Someone on NATS who is not a node, and hears everything.
struct Spy {
    client: Client,
    all: Subscriber,
}

impl Spy {
    async fn join(server: &NatsServer) -> Self {
        let options = async_nats::ConnectOptions::new().no_echo();
        let client = options.connect(server.url()).await.unwrap();
        let all = client.subscribe("graft.>").await.unwrap();
        // The answer to a ping comes after the subscription is in place.
        client.flush().await.unwrap();
        sleep(Duration::from_millis(50)).await;
        Self { client, all }
    }

    async fn say(&self, subject: &str, message: &Message) {
        let mut buffer = [0; ENCODED_MAX];
        let payload = encode(message, &mut buffer).unwrap().to_vec();
        self.client.publish(subject.to_owned(), payload.into()).await.unwrap();
    }

    /// Waits for a message, and hears all that come until there is quiet.
    async fn hear(&mut self) -> Vec<(String, Option<String>, Vec<u8>)> {
        self.hear_all(1).await
    }

    /// Waits for so many messages for as long as a busy machine may take, and hears all that come
    /// until there is quiet: subject, reply subject and payload of each.
    async fn hear_all(&mut self, expected: usize) -> Vec<(String, Option<String>, Vec<u8>)> {
        self.hear_within(PATIENCE, expected).await
    }

    /// The messages that come until there is quiet, of which `expected` may take `time_max`.
    async fn hear_within(
        &mut self,
        time_max: Duration,
        expected: usize,
    ) -> Vec<(String, Option<String>, Vec<u8>)> {
        let (mut heard, mut quiet_at) = (Vec::new(), Instant::now() + time_max);
        while let Ok(Some(message)) = timeout_at(quiet_at, self.all.next()).await {
            assert!(heard.len() < 10_000, "NATS has no quiet");
            // Someone who joins tries out what the server permits (section 3).
            if is_trial(&message) {
                continue;
            }
            let reply = message.reply.map(|reply| reply.to_string());
            heard.push((message.subject.to_string(), reply, message.payload.to_vec()));
            if heard.len() >= expected {
                quiet_at = Instant::now() + QUIET;
            }
        }
        heard
    }
}

fn heartbeat(leader: &str, term: u64) -> Message {
    Message::Heartbeat(plain_heartbeat(id(leader), term))
}

fn vote_request(candidate: &str, term: u64) -> Message {
    let (candidate, position) = (id(candidate), Position::default());
    Message::VoteRequest(VoteRequest {
        term,
        candidate,
        position,
        handover_from: None,
        size: None,
        round: None,
        list: None,
    })
}

fn to_all(message: Message) -> Outgoing {
    Outgoing { to: Recipient::Everyone, message }
}

fn vote(term: u64, voter: Option<&str>) -> Message {
    Message::VoteResponse(VoteResponse {
        term,
        granted: true,
        voter: voter.map(id),
        round: None,
        list: None,
        life: None,
        wanted: None,
    })
}

fn bytes_of(message: &Message) -> Vec<u8> {
    encode(message, &mut [0; ENCODED_MAX]).unwrap().to_vec()
}

#[tokio::test]
async fn each_message_is_carried_once_and_unchanged_whoever_it_is_for() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let bridge = RunningBridge::start(&member, &server, FAST).await;
    let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);

    let request = vote_request("l", 3);
    talker.say("l", &to_all(request.clone())).await;
    let heard = spy.hear().await;
    assert_eq!(heard, [("graft.c.vote_request.l".to_owned(), None, bytes_of(&request))]);

    // An answer reaches the node on the line, and one of Go's too, which names nobody.
    spy.say("graft.c.vote_response.n.l", &vote(3, Some("n"))).await;
    spy.say("graft.l.vote_response", &vote(3, None)).await;
    let heard = talker.hear_all(2).await;
    let [(named, to, first), (bridge_id, to_too, second)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!((to, to_too), (&Recipient::Node(id("l")), &Recipient::Node(id("l"))));
    assert_eq!((named, first), (&id("n"), &vote(3, Some("n"))));
    assert_ne!(bridge_id, &id("n"));
    assert_eq!(second, &vote(3, None));

    // So does one in the other direction; one for a neighbour stays on the line.
    let to_node = |node| Recipient::Node(id(node));
    talker.say("l", &Outgoing { to: to_node("n"), message: vote(4, Some("l")) }).await;
    talker.say("m", &Outgoing { to: to_node("l"), message: vote(4, Some("m")) }).await;
    let heard = spy.hear().await;
    let expected = ("graft.c.vote_response.l.n".to_owned(), None, bytes_of(&vote(4, Some("l"))));
    assert_eq!(heard, [expected]);

    for term in 10..60 {
        talker.say("l", &to_all(heartbeat("l", term))).await;
        spy.say("graft.c.heartbeat.n", &heartbeat("n", term)).await;
    }
    let heard = talker.hear_all(50).await;
    let terms: Vec<_> = heard.iter().map(|(.., message)| message.term()).collect();
    assert_eq!(terms, (10..60).collect::<Vec<_>>());
    let payloads: Vec<_> =
        spy.hear_all(50).await.into_iter().map(|(.., payload)| payload).collect();
    let sent: Vec<_> = (10..60).map(|term| bytes_of(&heartbeat("l", term))).collect();
    assert_eq!(payloads, sent);

    let counts = bridge.stop().await;
    assert_eq!((counts.to_nats.carried, counts.to_nats.stayed), (52, 1), "{counts}");
    assert_eq!(counts.to_line.carried, 52, "{counts}");
}

#[tokio::test]
async fn what_a_line_echoes_is_not_carried_back() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let bridge = RunningBridge::start(&member, &server, FAST).await;
    let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
    spy.say("graft.c.heartbeat", &heartbeat("n", 1)).await;
    assert_eq!(talker.hear().await.len(), 1);
    talker.say("n", &to_all(heartbeat("n", 1))).await;
    assert_eq!(spy.hear_within(QUIET, 1).await, []);
    assert_eq!(bridge.stop().await.to_nats.echoes, 1);
}

#[tokio::test]
async fn a_bridge_logs_in_with_the_options_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    std::fs::write(&config, "authorization { token: t0ken }").unwrap();
    let (server, bus) = (NatsServer::start_with(&config), Bus::new());
    let member = bus.join("bridge");
    let line = SerialLine::Unix(member.socket().to_owned());
    assert!(Bridge::connect("c", line.clone(), server.url(), FAST).await.is_err());
    let connect = Bridge::connect_with_options("c", line.clone(), server.url(), FAST, |options| {
        Ok(options.token("t0ken".to_owned()))
    });
    drop(connect.await.unwrap());
    let url = server.url().replace("nats://", "nats://t0ken@");
    Bridge::connect("c", line, url, FAST).await.unwrap();
}

#[tokio::test]
async fn a_bridge_that_may_not_listen_says_so_at_its_start_in_the_words_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("server.conf");
    let bus = Bus::new();
    let member = bus.join("bridge");
    for (permissions, is_permitted) in [
        (r#"subscribe: { deny: "graft.c.*.*" }"#, false),
        // It speaks in the names of the nodes on the line alone.
        (r#"publish: "graft.c.*.board""#, true),
    ] {
        let users = format!("[{{ user: a, password: a, permissions: {{ {permissions} }} }}]");
        std::fs::write(&config, format!("no_auth_user: a, authorization {{ users: {users} }}"))
            .unwrap();
        let server = NatsServer::start_with(&config);
        let line = SerialLine::Unix(member.socket().to_owned());
        let bridge = Bridge::connect("c", line, server.url(), FAST).await;
        let told = bridge.map_err(|error| ErrorChain(&error).to_string()).err();
        let refused = "the server refuses what is needed: Permissions Violation for \
                       Subscription to \"graft.c.*.*\"";
        assert_eq!(told.as_deref(), (!is_permitted).then_some(refused));
    }
}

/// A message in a node's name on NATS may be late, or forged.
#[tokio::test]
async fn what_is_said_on_nats_in_the_name_of_a_node_on_the_line_keeps_it_from_nobody() {
    for is_known in [true, false] {
        let (bus, server) = (Bus::new(), NatsServer::start());
        let member = bus.join("bridge");
        let bridge = RunningBridge::start(&member, &server, FAST).await;
        let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
        if is_known {
            talker.say("board", &to_all(heartbeat("board", 1))).await;
            assert_eq!(spy.hear().await.len(), 1);
        }
        spy.say("graft.c.heartbeat.board", &heartbeat("board", 2)).await;
        assert_eq!(talker.hear().await.len(), 1);
        // Of a node that it doesn't know yet, the bridge takes two frames for those of another
        // bridge.
        let doubted = if is_known { 0 } else { 2 };
        for term in 3..=12 {
            talker.say("board", &to_all(heartbeat("board", term))).await;
        }
        assert_eq!(spy.hear_all(10 - doubted).await.len(), 10 - doubted);
        // What is for it still reaches it.
        spy.say("graft.c.vote_response.n.board", &vote(12, Some("n"))).await;
        assert_eq!(talker.hear().await.len(), 1);
        bridge.stop().await;
    }
}

/// Sends twenty messages each way, and checks that each arrives `times` times.
async fn check_both_ways(talker: &mut Talker, spy: &mut Spy, times: usize) {
    for term in 1..=20 {
        talker.say("l", &to_all(heartbeat("l", term))).await;
        spy.say("graft.c.heartbeat.n", &heartbeat("n", term)).await;
    }
    let expected = 20 * times;
    let heard = (spy.hear_all(expected).await.len(), talker.hear_all(expected).await.len());
    assert_eq!(heard, (expected, expected));
}

/// Two bridges that share a line double what they carry, and no message goes round between them.
#[tokio::test]
async fn two_bridges_at_once_carry_a_message_twice_and_never_back() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let members = ["first", "second"].map(|name| bus.join(name));
    let first = RunningBridge::start(&members[0], &server, FAST).await;
    let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
    check_both_ways(&mut talker, &mut spy, 1).await;

    // The second doesn't know yet which side anyone is on.
    let second = RunningBridge::start(&members[1], &server, FAST).await;
    spy.say("graft.c.heartbeat", &heartbeat("n", 1)).await;
    assert_eq!(talker.hear_all(2).await.len(), 2);
    // It takes the first's frame for one of a node on the line if it hears that before the message
    // itself, and then publishes it, once.
    let mistaken = spy.hear_within(QUIET, 1).await.len();
    assert!(mistaken <= 1);
    check_both_ways(&mut talker, &mut spy, 2).await;

    first.kill().await;
    check_both_ways(&mut talker, &mut spy, 1).await;
    let counts = second.stop().await;
    assert_eq!(counts.to_nats.carried, 40 + mistaken as u64, "{counts}");
    assert_eq!(counts.to_line.carried, 41, "{counts}");
}

/// All senders have equal shares of the bridge's rate.
#[tokio::test]
async fn a_sender_that_floods_the_line_leaves_others_their_share() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let rates = BridgeRates { to_nats: 100, ..FAST };
    let bridge = RunningBridge::start(&member, &server, rates).await;
    let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
    for term in 1..=20 {
        for _ in 0..100 {
            talker.say("babbler", &to_all(heartbeat("babbler", term))).await;
        }
        talker.say("l", &to_all(heartbeat("l", term))).await;
        sleep(Duration::from_millis(100)).await;
    }
    let heard = spy.hear().await;
    let led: Vec<_> = (1..=20).map(|term| bytes_of(&heartbeat("l", term))).collect();
    let of_leader = heard.iter().filter(|(.., payload)| led.contains(payload)).count();
    assert_eq!(of_leader, 20, "every heartbeat comes through");
    let counts = bridge.stop().await;
    assert!(counts.to_nats.over_rate > 1_500, "{counts}");
}

/// Two lines of one cluster meet on NATS.
#[tokio::test]
async fn two_lines_reach_each_other_over_one_server() {
    let (here, there, server) = (Bus::new(), Bus::new(), NatsServer::start());
    let (first, second) = (here.join("bridge"), there.join("bridge"));
    let _first = RunningBridge::start_on_line(&first, &server, &id("here")).await;
    let _second = RunningBridge::start_on_line(&second, &server, &id("there")).await;
    let (mut near, mut far) = (Talker::join(&here, "t").await, Talker::join(&there, "t").await);
    let request = vote_request("l", 1);
    near.say("l", &to_all(request.clone())).await;
    assert_eq!(far.hear().await, [(id("l"), Recipient::Everyone, request)]);
    let answer = Outgoing { to: Recipient::Node(id("l")), message: vote(1, Some("m")) };
    far.say("m", &answer).await;
    assert_eq!(near.hear().await, [(id("m"), answer.to, answer.message)]);
}

#[tokio::test]
async fn neither_side_floods_the_other() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let rates = BridgeRates { to_nats: 50, to_line: 1_000 };
    let bridge = RunningBridge::start(&member, &server, rates).await;
    let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
    let began = Instant::now();
    for term in 0..200 {
        for _ in 0..10 {
            talker.say("l", &to_all(heartbeat("l", term))).await;
            spy.say("graft.c.heartbeat.n", &heartbeat("n", term)).await;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let seconds = began.elapsed().as_secs_f64() + 0.25;
    let (on_line, on_nats) = (talker.hear().await.len(), spy.hear().await.len());
    let frame = encode_frame(
        ClusterTag::of("c"),
        &id("n"),
        &to_all(heartbeat("n", 100)),
        &mut [0; FRAME_MAX],
    )
    .unwrap()
    .len();
    assert!(on_nats as f64 <= 50.0 * seconds + 1.0 && on_nats >= 100, "{on_nats} in {seconds} s");
    assert!(
        on_line as f64 <= 1_000.0 * seconds / (frame as f64 - 1.0) + 1.0,
        "{on_line} of {frame}"
    );
    assert!(on_line * frame >= 1_900, "{on_line} of {frame}");
    let counts = bridge.stop().await;
    assert!(counts.to_nats.over_rate > 1_000 && counts.to_line.over_rate > 1_000, "{counts}");
}

#[tokio::test]
async fn nothing_is_kept_while_the_server_or_the_line_is_away() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let mut bridge = RunningBridge::start(&member, &server, FAST).await;
    let mut talker = Talker::join(&bus, "talker").await;
    let mut spy = Spy::join(&server).await;
    talker.say("l", &to_all(heartbeat("l", 1))).await;
    assert_eq!(spy.hear().await.len(), 1);
    let stopped = server.stop();
    bridge.wait_for(|event| matches!(event, BridgeEvent::Nats(Connection::Lost(_)))).await;
    for term in 2..100 {
        talker.say("l", &to_all(heartbeat("l", term))).await;
    }
    sleep(QUIET).await;
    let server = stopped.restart();
    let mut spy = Spy::join(&server).await;
    bridge.wait_for(|event| *event == BridgeEvent::Nats(Connection::Restored)).await;
    talker.say("l", &to_all(heartbeat("l", 100))).await;
    let heard: Vec<_> = spy.hear().await.into_iter().map(|(.., payload)| payload).collect();
    assert_eq!(heard, [bytes_of(&heartbeat("l", 100))]);

    member.hang_up();
    bridge.wait_for(|event| matches!(event, BridgeEvent::Line(Connection::Lost(_)))).await;
    spy.say("graft.c.heartbeat", &heartbeat("n", 101)).await;
    bridge.wait_for(|event| *event == BridgeEvent::Line(Connection::Restored)).await;
    spy.say("graft.c.heartbeat", &heartbeat("n", 102)).await;
    let heard: Vec<_> = talker.hear().await.iter().map(|(.., message)| message.term()).collect();
    assert_eq!(heard, [102]);
    let counts = bridge.stop().await;
    assert_eq!((counts.to_nats.disconnected, counts.to_line.disconnected), (98, 1), "{counts}");
}

/// Five nodes, of which `n1` to `n3` are on the bus and `n4` and `n5` on NATS.
struct Mixed {
    bus: Bus,
    nodes: Vec<Node>,
    votes: Vec<MemoryVotes>,
    members: Vec<Member>,
}

impl Mixed {
    const ON_BUS: usize = 3;
    const SIZE: usize = 5;

    async fn start(server: &NatsServer) -> Self {
        let votes: Vec<_> = (0..Self::SIZE).map(|_| MemoryVotes::new()).collect();
        let bus = Bus::new();
        let members = (1..=Self::ON_BUS).map(|number| bus.join(&format!("n{number}"))).collect();
        let mut mixed = Self { bus, nodes: Vec::new(), votes, members };
        for index in 0..Self::SIZE {
            let node = mixed.start_node(index, server).await;
            mixed.nodes.push(node);
        }
        mixed
    }

    async fn start_node(&self, index: usize, server: &NatsServer) -> Node {
        let builder = builder(&format!("n{}", index + 1), Self::SIZE);
        let votes = self.votes[index].clone();
        match self.members.get(index) {
            Some(member) => {
                let line = SerialLine::Unix(member.socket().to_owned());
                builder.start(SerialTransport::new(line), votes).await.unwrap()
            }
            None => {
                let transport = NatsTransport::connect(server.url()).await.unwrap();
                builder.start(transport, votes).await.unwrap()
            }
        }
    }

    /// Waits until all nodes that are open agree on a leader; returns its index.
    async fn leader(&self) -> usize {
        let open: Vec<_> = self.nodes.iter().filter(|node| node.state() != State::Closed).collect();
        let leader = open[wait_for_agreement(&open).await].id();
        self.nodes.iter().position(|node| node.id() == leader).unwrap()
    }
}

/// I1: one leader for both sides, whichever side it is on and loses it.
#[tokio::test]
async fn nodes_on_a_bus_and_on_nats_are_one_cluster_and_replace_leaders_on_either_side() {
    let server = NatsServer::start();
    let mut mixed = Mixed::start(&server).await;
    let member = mixed.bus.join("bridge");
    let bridge = RunningBridge::start(&member, &server, FAST).await;
    let (mut lost, mut rounds) = (BTreeSet::new(), 0);
    while lost.len() < 2 {
        let leader = mixed.leader().await;
        let term = mixed.nodes[leader].current_term();
        lost.insert(leader < Mixed::ON_BUS);
        mixed.nodes[leader].close().await;
        let next = mixed.leader().await;
        assert!(mixed.nodes[next].current_term() > term);
        mixed.nodes[leader] = mixed.start_node(leader, &server).await;
        rounds += 1;
        assert!(rounds < 40, "one side never leads");
    }
    mixed.leader().await;
    let counts = bridge.stop().await;
    assert_eq!((counts.to_nats.malformed, counts.to_line.malformed), (0, 0), "{counts}");
    assert_eq!((counts.to_nats.echoes, counts.to_line.echoes), (0, 0), "{counts}");
}

/// I2: three of five are enough without the others, and all five agree once they hear each other.
#[tokio::test]
async fn the_bus_goes_on_without_the_bridge_or_the_server() {
    let server = NatsServer::start();
    let mixed = Mixed::start(&server).await;
    let member = mixed.bus.join("bridge");
    let bridge = RunningBridge::start(&member, &server, FAST).await;
    mixed.leader().await;

    bridge.stop().await;
    let on_bus: Vec<_> = mixed.nodes[..Mixed::ON_BUS].iter().collect();
    wait_for_agreement(&on_bus).await;
    let bridge = RunningBridge::start(&member, &server, FAST).await;
    mixed.leader().await;

    let stopped = server.stop();
    wait_for_agreement(&on_bus).await;
    for node in &mixed.nodes[Mixed::ON_BUS..] {
        wait_until(node, |status| status.state != State::Follower).await;
    }
    let _server = stopped.restart();
    mixed.leader().await;
    bridge.stop().await;
}

/// Nodes in Graft mode on the line speak to Go nodes where those listen.
#[tokio::test]
async fn in_graft_mode_what_go_reads_goes_to_the_subjects_of_go() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let _bridge = RunningBridge::start_in(&member, &server, Mode::Graft).await;
    let (mut talker, mut spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
    let request = vote_request("l", 3);
    talker.say("l", &to_all(request.clone())).await;
    let reply = Some("graft.l.vote_response".to_owned());
    let expected = ("graft.c.vote_request".to_owned(), reply, bytes_of(&request));
    assert_eq!(spy.hear().await, [expected]);
    let to = Recipient::Node(id("n"));
    talker.say("l", &Outgoing { to, message: vote(3, Some("l")) }).await;
    let expected = ("graft.n.vote_response".to_owned(), None, bytes_of(&vote(3, Some("l"))));
    assert_eq!(spy.hear().await, [expected]);
}

/// Section 3: nobody speaks for another on the line either.
#[tokio::test]
async fn what_does_not_come_from_whom_its_subject_names_is_not_carried() {
    let (bus, server) = (Bus::new(), NatsServer::start());
    let member = bus.join("bridge");
    let bridge = RunningBridge::start(&member, &server, FAST).await;
    let (mut talker, spy) = (Talker::join(&bus, "talker").await, Spy::join(&server).await);
    spy.say("graft.c.heartbeat.thief", &heartbeat("n", 1)).await;
    spy.say("graft.c.heartbeat.n", &heartbeat("n", 2)).await;
    let heard = talker.hear_all(1).await;
    assert_eq!(heard, [(id("n"), Recipient::Everyone, heartbeat("n", 2))]);
    let counts = bridge.stop().await;
    assert_eq!((counts.to_line.carried, counts.to_line.malformed), (1, 1));
}
