//! Host processes as nodes on a serial bus.

use std::time::Duration;

use graft_election::core::{Message, Outgoing, Recipient};
use graft_election::proto::frame::{ClusterTag, FRAME_MAX, FrameReader, encode_frame};
use graft_election::{
    Arrival, Connection, EventKind, Events, Fault, MemoryVotes, Node, SerialError, SerialLine,
    SerialTransport, State, Transport,
};
use graft_election_tests::bus::{Bus, Faults, Member};
use graft_election_tests::cluster::{PATIENCE, builder, id, member, wait_for_agreement};
use graft_election_tests::peer::plain_heartbeat;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;

fn transport(member: &Member) -> SerialTransport {
    SerialTransport::new(SerialLine::Unix(member.socket().to_owned()))
}

async fn start(bus: &Bus, size: usize) -> (Vec<Member>, Vec<Node>) {
    let (mut members, mut nodes) = (Vec::new(), Vec::new());
    for number in 1..=size {
        let name = format!("n{number}");
        let member = bus.join(&name);
        let starting = builder(&name, size).start(transport(&member), MemoryVotes::new());
        nodes.push(starting.await.unwrap());
        members.push(member);
    }
    (members, nodes)
}

async fn agreed_leader(nodes: &[Node]) -> usize {
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await
}

async fn wait_for(events: &mut Events, mut is_it: impl FnMut(&Connection) -> bool) {
    let found = async {
        while let Some(event) = events.next().await {
            let change = match event.kind {
                EventKind::ConnectionRestored => Connection::Restored,
                EventKind::Fault(Fault::ConnectionLost(why)) => Connection::Lost(why),
                _ => continue,
            };
            if is_it(&change) {
                return;
            }
        }
        panic!("the node closed");
    };
    timeout(PATIENCE, found).await.expect("the event comes");
}

fn heartbeat(term: u64) -> Outgoing {
    let heartbeat = plain_heartbeat(id("a"), term);
    Outgoing { to: Recipient::Everyone, message: Message::Heartbeat(heartbeat) }
}

/// I1, T1: a leader that goes away without a word is replaced, and follows when it is back.
#[tokio::test]
async fn three_nodes_on_a_bus_elect_a_leader_and_replace_it() {
    let bus = Bus::new();
    let (members, nodes) = start(&bus, 3).await;
    let old = agreed_leader(&nodes).await;
    let term = nodes[old].current_term();

    members[old].cut();
    let others: Vec<_> = nodes.iter().filter(|node| node.id() != nodes[old].id()).collect();
    let next = others[wait_for_agreement(&others).await];
    assert!(next.current_term() > term);

    members[old].mend();
    let leader = agreed_leader(&nodes).await;
    assert_eq!(nodes[leader].id(), next.id());
}

/// V7: bytes that are no message change nothing.
#[tokio::test]
async fn a_leader_keeps_leading_through_noise_and_frames_that_are_corrupt_cut_off_or_late() {
    let bus = Bus::new();
    let (members, nodes) = start(&bus, 3).await;
    let leader = agreed_leader(&nodes).await;
    let mut watches: Vec<_> = nodes.iter().map(Node::watch).collect();
    let before: Vec<_> =
        watches.iter_mut().map(|watch| watch.borrow_and_update().dropped).collect();
    for member in &members {
        let delay = Duration::from_millis(5);
        member.set_faults(Faults { loss: 0.02, corruption: 0.05, delay });
    }

    let noise = bus.join("noise");
    let mut noise = UnixStream::connect(noise.socket()).await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let began = tokio::time::Instant::now();
    let mut buffer = [0; FRAME_MAX];
    while began.elapsed() < Duration::from_secs(5) {
        let mut bytes = vec![0; random.random_range(1..600)];
        random.fill(&mut bytes[..]);
        let frame = encode_frame(ClusterTag::of("c"), &id("a"), &heartbeat(1_000_000), &mut buffer)
            .unwrap();
        let mut frame = frame.to_vec();
        match random.random_bool(0.5) {
            true => frame.truncate(frame.len() / 2),
            false => frame[3] ^= 0x10,
        }
        bytes.extend(frame);
        bytes.push(0);
        noise.write_all(&bytes).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    for ((node, watch), before) in nodes.iter().zip(&watches).zip(before) {
        let status = watch.borrow();
        assert_eq!(status.leader, Some(nodes[leader].id()), "{status:?}");
        assert_eq!(node.current_term(), nodes[leader].current_term());
        assert!(status.dropped > before + 1_000, "{status:?}");
    }
    assert_eq!(nodes[leader].state(), State::Leader);
}

/// A member's place on a bus, on a TCP server.
async fn tcp_line(member: &Member) -> SerialLine {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = SerialLine::Tcp(listener.local_addr().unwrap().to_string());
    let socket = member.socket().to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut place = UnixStream::connect(&socket).await.unwrap();
            // It ends when one of them does.
            let _ = copy_bidirectional(&mut client, &mut place).await;
        }
    });
    line
}

/// I1, T1.
#[tokio::test]
async fn three_nodes_on_tcp_elect_a_leader_lose_it_and_have_it_back() {
    let bus = Bus::new();
    let (mut members, mut nodes) = (Vec::new(), Vec::new());
    for name in ["n1", "n2", "n3"] {
        let member = bus.join(name);
        let transport = SerialTransport::new(tcp_line(&member).await);
        nodes.push(builder(name, 3).start(transport, MemoryVotes::new()).await.unwrap());
        members.push(member);
    }
    let old = agreed_leader(&nodes).await;
    let (term, mut events) = (nodes[old].current_term(), nodes[old].events());

    members[old].cut();
    let others: Vec<_> = nodes.iter().filter(|node| node.id() != nodes[old].id()).collect();
    let next = others[wait_for_agreement(&others).await];
    assert!(next.current_term() > term);

    members[old].hang_up();
    wait_for(&mut events, |connection| matches!(connection, Connection::Lost(_))).await;
    members[old].mend();
    wait_for(&mut events, |connection| *connection == Connection::Restored).await;
    let leader = agreed_leader(&nodes).await;
    assert_eq!(nodes[leader].id(), next.id());
}

#[tokio::test]
async fn a_line_that_is_lost_is_reported_and_restored() {
    let bus = Bus::new();
    let (members, nodes) = start(&bus, 3).await;
    let leader = agreed_leader(&nodes).await;
    let mut events = nodes[leader].events();

    members[leader].hang_up();
    wait_for(&mut events, |connection| matches!(connection, Connection::Lost(_))).await;
    wait_for(&mut events, |connection| *connection == Connection::Restored).await;
    agreed_leader(&nodes).await;
}

#[tokio::test]
async fn nothing_is_sent_while_the_line_is_lost_and_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line");
    let listener = UnixListener::bind(&path).unwrap();
    let mut node = SerialTransport::new(SerialLine::Unix(path.clone()));
    node.join(&member("c", &id("a"))).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    drop((stream, listener));
    std::fs::remove_file(&path).unwrap();
    let lost = node.receive().await;
    assert!(matches!(lost, Arrival::Connection(Connection::Lost(_))), "{lost:?}");
    assert!(matches!(node.send(&heartbeat(1)).await, Err(SerialError::Disconnected)));

    // Waits that are given up don't keep the line from being opened again.
    let listener = UnixListener::bind(&path).unwrap();
    let restored = async {
        loop {
            if let Ok(arrival) = timeout(Duration::from_millis(30), node.receive()).await {
                return arrival;
            }
        }
    };
    let restored = timeout(PATIENCE, restored).await.unwrap();
    assert!(matches!(restored, Arrival::Connection(Connection::Restored)), "{restored:?}");
    node.send(&heartbeat(2)).await.unwrap();
    node.leave().await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(terms(&bytes), [2]);
}

#[tokio::test]
async fn a_line_that_takes_no_more_holds_nobody_up_and_recovers_with_the_next_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line");
    let listener = UnixListener::bind(&path).unwrap();
    let mut node = SerialTransport::new(SerialLine::Unix(path));
    node.join(&member("c", &id("a"))).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();

    let mut sent = Vec::new();
    let full = (1..).find_map(|term| match at_once(node.send(&heartbeat(term))) {
        Ok(()) => {
            sent.push(term);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(full, Some(SerialError::Full)), "{full:?}");

    let mut bytes = vec![0; 1 << 24];
    let mut length = stream.read(&mut bytes).await.unwrap();
    // The line's room is noticed a moment later.
    while node.send(&heartbeat(u64::MAX)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.leave().await;
    sent.push(u64::MAX);
    while let Ok(count @ 1..) = stream.read(&mut bytes[length..]).await {
        length += count;
    }
    assert_eq!(terms(&bytes[..length]), sent);
}

/// Its own id on the line: what it is sent is heard, what others are sent is not.
#[tokio::test]
async fn a_node_passes_over_what_is_directed_to_others() {
    let bus = Bus::new();
    let (a, b, c) = (bus.join("a"), bus.join("b"), bus.join("c"));
    let (mut a, mut b, mut c) = (transport(&a), transport(&b), transport(&c));
    for (node, name) in [(&mut a, "a"), (&mut b, "b"), (&mut c, "c")] {
        node.join(&member("c", &id(name))).await.unwrap();
    }
    let to_b = Outgoing { to: Recipient::Node(id("b")), ..heartbeat(1) };
    a.send(&to_b).await.unwrap();
    a.send(&heartbeat(2)).await.unwrap();
    for (node, expected) in [(&mut b, 1), (&mut c, 2)] {
        match node.receive().await {
            Arrival::Message(message) => assert_eq!(message.term(), expected),
            other => panic!("{other:?}"),
        }
    }
}

/// The outcome of what must not wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("it doesn't wait")
}

/// The terms of all frames in `bytes`.
fn terms(mut bytes: &[u8]) -> Vec<u64> {
    let mut reader = FrameReader::new(ClusterTag::of("c"));
    std::iter::from_fn(|| reader.read_any(&mut bytes).map(|frame| frame.message.term())).collect()
}
