//! Nodes of one machine that talk through sockets in a directory.

use std::fs;
use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use graft_election::core::{
    HeartbeatResponse, Life, ListId, Message, Outgoing, Position, Recipient, Round,
};
use graft_election::proto::{ENCODED_MAX, Kind, encode};
use graft_election::{
    Arrival, Config, Connection, ErrorChain, EventKind, Fault, LocalTransport, MemoryVotes, Node,
    StartError, State, Transport,
};
use graft_election_tests::cluster::{
    builder, id, member, wait_for_agreement, wait_for_fault, wait_for_restored, wait_until,
};
use graft_election_tests::peer::plain_heartbeat;
use tokio::time::timeout;

async fn start(base: &Path, name: &str, size: usize) -> Result<Node, StartError> {
    builder(name, size).start(LocalTransport::new(base), MemoryVotes::new()).await
}

/// Why node `name` can't start.
async fn refusal(base: &Path, name: &str) -> String {
    ErrorChain(&start(base, name, 3).await.unwrap_err()).to_string()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn three_nodes_elect_a_leader_and_replace_it() {
    let base = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for name in ["a", "b/%", "c"] {
        nodes.push(start(base.path(), name, 3).await.unwrap());
    }
    let leader = wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    let directory = base.path().join("c");
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);

    nodes.remove(leader).close().await;
    wait_for_agreement(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        node.close().await;
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "sockets go with their nodes");
}

#[tokio::test]
async fn a_socket_that_a_crash_left_over_is_replaced_and_one_in_use_is_not() {
    let base = tempfile::tempdir().unwrap();
    let node = start(base.path(), "a", 3).await.unwrap();
    let refused = refusal(base.path(), "a").await;
    assert!(refused.contains("another running process has the id a, and uses /"), "{refused}");
    assert!(refused.ends_with("/c/a; stop it, or give this one an id of its own"), "{refused}");
    node.close().await;

    let socket = base.path().join("c/a");
    drop(UnixDatagram::bind(&socket).unwrap());
    assert!(socket.exists(), "a socket outlives the process that bound it");
    let node = start(base.path(), "a", 3).await.unwrap();
    // What a dead peer left over does not disturb whoever sends to everyone.
    drop(UnixDatagram::bind(base.path().join("c/b")).unwrap());
    let mut events = node.events();
    wait_until(&node, |status| status.state == State::PreCandidate).await;
    node.close().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event.kind, EventKind::Fault(_)), "{event:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_socket_of_a_node_silences_nobody() {
    let base = tempfile::tempdir().unwrap();
    let nodes =
        [start(base.path(), "a", 2).await.unwrap(), start(base.path(), "z", 2).await.unwrap()];
    let directory = base.path().join("c");
    let _strange: Vec<_> =
        ["b", "m", "zz"].map(|name| UnixListener::bind(directory.join(name)).unwrap()).into();
    let leader = wait_for_agreement(&[&nodes[0], &nodes[1]]).await;
    let mut events = nodes[leader].events();
    let told = loop {
        let event = events.next().await.unwrap();
        if let EventKind::Fault(fault) = event.kind {
            break ErrorChain(&fault).to_string();
        }
    };
    assert!(told.starts_with("a message was not sent: could not send to "), "{told}");
}

#[tokio::test]
async fn a_directory_that_others_may_use_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("c");
    fs::create_dir(&directory).unwrap();
    for mode in [0o755, 0o740, 0o701, 0o777] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let refused = refusal(base.path(), "a").await;
        assert!(refused.ends_with(&format!("with mode 0700, not {mode:04o}")), "{refused}");
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_named() {
    let base = tempfile::tempdir().unwrap();
    let deep = base.path().join("d".repeat(100));
    let refused = refusal(&deep, "a").await;
    assert!(refused.contains(&"d".repeat(100)), "{refused}");
    assert!(refused.contains("take a shorter directory or id"), "{refused}");
    assert!(!deep.exists());
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused_with_both_users() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("c");
    let own_user = rustix::process::geteuid().as_raw();
    // Only root can give a directory away, and root's are another user's to all others.
    let user = if own_user == 0 {
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(65_534), None).unwrap();
        65_534
    } else {
        symlink("/", &directory).unwrap();
        0
    };
    let refused = refusal(base.path(), "a").await;
    let both = format!("belongs to user {user}, and not to user {own_user}, who runs this node");
    assert!(refused.ends_with(&both), "{refused}");
}

#[tokio::test]
async fn datagrams_that_are_no_messages_are_counted() {
    let base = tempfile::tempdir().unwrap();
    let node = start(base.path(), "a", 3).await.unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    let garbage: [&[u8]; 5] = [b"", b"\0", b"\x08", b"\x03garbage", &[3; 4096]];
    for datagram in garbage {
        sender.send_to(datagram, base.path().join("c/a")).unwrap();
    }
    wait_until(&node, |status| status.dropped == 5).await;
    node.close().await;
}

fn heartbeat(term: u64) -> Outgoing {
    let heartbeat = plain_heartbeat(id("a-leader"), term);
    Outgoing { to: Recipient::Everyone, message: Message::Heartbeat(heartbeat) }
}

/// Whether nothing has arrived: what has is received at the first look at the sockets.
async fn hears_nothing(transport: &mut LocalTransport) -> bool {
    timeout(Duration::from_millis(20), transport.receive()).await.is_err()
}

#[tokio::test]
async fn processes_that_are_stopped_keep_no_message_from_the_others() {
    let base = tempfile::tempdir().unwrap();
    let mut transport = LocalTransport::new(base.path());
    transport.join(&member("c", &id("a"))).await.unwrap();
    // What a stopped process leaves unread takes room until the process goes on. These leave more
    // than one socket may have under way.
    let stopped: Vec<_> = (0..100)
        .map(|number| UnixDatagram::bind(base.path().join(format!("c/{number}"))).unwrap())
        .collect();
    let live = UnixDatagram::bind(base.path().join("c/live")).unwrap();
    live.set_nonblocking(true).unwrap();
    for term in 1..=20 {
        transport.send(&heartbeat(term)).await.unwrap();
        let mut datagram = [0; 1024];
        let length = live.recv(&mut datagram).unwrap_or_else(|error| panic!("{term}: {error}"));
        assert_eq!((datagram[0], length > 1), (Kind::Heartbeat.number(), true));
        assert!(live.recv(&mut datagram).is_err(), "each hears each message once");
    }
    drop(stopped);
    let Arrival::Connection(Connection::Impaired(told)) = transport.receive().await else {
        panic!("it has heard itself");
    };
    assert!(told.contains(" messages were dropped since their receivers don't read them"));
    assert!(hears_nothing(&mut transport).await, "it doesn't hear itself");
}

#[tokio::test]
async fn the_longest_messages_arrive_and_answers_only_where_they_are_meant() {
    let base = tempfile::tempdir().unwrap();
    let (mut a, mut b, mut c) = (
        LocalTransport::new(base.path()),
        LocalTransport::new(base.path()),
        LocalTransport::new(base.path()),
    );
    // As long as ids are, but not longer than the path of a socket may be.
    let names = ["a".repeat(50), "b".repeat(50), "c".repeat(50)].map(|name| id(&name));
    a.join(&member("c", &names[0])).await.unwrap();
    b.join(&member("c", &names[1])).await.unwrap();
    c.join(&member("c", &names[2])).await.unwrap();
    let longest = Message::HeartbeatResponse(HeartbeatResponse {
        term: u64::MAX,
        follower: id(&"x".repeat(64)),
        position: Position::new(&[0xff; 64]).unwrap(),
        sent_at: NonZeroU64::new(u64::MAX),
        priority: u32::MAX,
        bound_for: NonZeroU64::new(u64::MAX),
        round: Round::new(u32::MAX),
        list: Some(ListId { term: u64::MAX, version: u32::MAX }),
        life: Life::new(u32::MAX),
        is_paused: true,
        is_full: true,
        wanted: NonZeroU32::new(u32::MAX),
    });
    assert_eq!(encode(&longest, &mut [0; ENCODED_MAX]).unwrap().len(), ENCODED_MAX);
    let to_all = Outgoing { to: Recipient::Everyone, message: longest.clone() };
    a.send(&to_all).await.unwrap();
    for other in [&mut b, &mut c] {
        let Arrival::Message(heard) = other.receive().await else { panic!("it is a message") };
        assert_eq!(*heard, longest);
    }
    let to_a = Outgoing { to: Recipient::Node(names[0].clone()), message: longest.clone() };
    b.send(&to_a).await.unwrap();
    assert!(matches!(a.receive().await, Arrival::Message(heard) if *heard == longest));
    assert!(hears_nothing(&mut c).await);
}

#[tokio::test]
async fn ids_that_differ_only_in_escapes_have_sockets_of_their_own() {
    let base = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for name in ["a/b", "a%2Fb", "a%252Fb", "a_b"] {
        nodes.push(start(base.path(), name, 5).await.unwrap());
    }
    assert_eq!(fs::read_dir(base.path().join("c")).unwrap().count(), 4);
}

#[tokio::test]
async fn two_nodes_elect_a_leader_that_keeps_leading_while_the_third_is_stopped() {
    let base = tempfile::tempdir().unwrap();
    let a = start(base.path(), "a", 3).await.unwrap();
    let _stopped = UnixDatagram::bind(base.path().join("c/b")).unwrap();
    let c = start(base.path(), "c", 3).await.unwrap();
    let leader = [&a, &c][wait_for_agreement(&[&a, &c]).await];
    let term = leader.current_term();
    // Long enough to fill the queue of the stopped process and to miss the leader after that.
    tokio::time::sleep(3 * Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!((leader.state(), leader.current_term()), (State::Leader, term));
    assert_eq!((a.leader(), c.leader()), (Some(leader.id()), Some(leader.id())));
    a.close().await;
    c.close().await;
}

#[tokio::test]
async fn an_entry_that_is_no_node_is_reported_and_keeps_no_message_from_the_others() {
    let base = tempfile::tempdir().unwrap();
    let node = start(base.path(), "a", 2).await.unwrap();
    // They stand before and after the node in the directory, whatever the order of its entries.
    let _strangers: Vec<_> = (0..20)
        .map(|number| UnixListener::bind(base.path().join(format!("c/{number}"))).unwrap())
        .collect();
    let other = start(base.path(), "b", 2).await.unwrap();
    let leader = [&node, &other][wait_for_agreement(&[&node, &other]).await];
    wait_for_fault(&mut leader.events(), |fault| matches!(fault, Fault::Send(_))).await;
    node.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_process_that_was_stopped_hears_what_has_arrived_before_it_believes_its_timer() {
    let base = tempfile::tempdir().unwrap();
    let (min, max) = (Duration::from_millis(200), Duration::from_millis(250));
    let node = builder("a", 3)
        .election_timeout(min, max)
        .heartbeat_interval(Duration::from_millis(50))
        .start(LocalTransport::new(base.path()), MemoryVotes::new())
        .await
        .unwrap();
    let mut leader = LocalTransport::new(base.path());
    leader.join(&member("c", &id("p"))).await.unwrap();
    leader.send(&heartbeat(1)).await.unwrap();
    wait_until(&node, |status| status.leader.is_some()).await;
    for _ in 0..5 {
        leader.send(&heartbeat(1)).await.unwrap();
        // Nothing else of this runtime runs meanwhile, so that its timer and its socket have news
        // for the node at once.
        std::thread::sleep(2 * max);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!((node.current_term(), node.leader()), (1, Some(id("a-leader"))));
    }
    node.close().await;
}

#[tokio::test]
async fn what_is_no_socket_is_in_the_way_and_stays() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("c");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(directory.join("file"), "precious").unwrap();
    fs::create_dir(directory.join("directory")).unwrap();
    symlink("file", directory.join("link")).unwrap();
    for name in ["file", "directory", "link"] {
        let refused = refusal(base.path(), name).await;
        let told = format!("{name} is no socket of a node: it is in the way, and is not removed");
        assert!(refused.ends_with(&told), "{refused}");
        assert!(fs::symlink_metadata(directory.join(name)).is_ok(), "{name} is gone");
    }
    assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_that_is_removed_under_its_node_is_bound_anew() {
    let base = tempfile::tempdir().unwrap();
    let mut a = LocalTransport::new(base.path());
    a.join(&member("c", &id("a"))).await.unwrap();
    for removes_all in [false, true] {
        if removes_all {
            fs::remove_dir_all(base.path()).unwrap();
        } else {
            fs::remove_file(base.path().join("c/a")).unwrap();
        }
        let arrival = a.receive().await;
        let Arrival::Connection(Connection::Impaired(told)) = arrival else {
            panic!("{arrival:?}");
        };
        assert!(told.ends_with("c/a was gone, and is bound anew"), "{told}");
        let mut b = LocalTransport::new(base.path());
        b.join(&member("c", &id("b"))).await.unwrap();
        b.send(&heartbeat(7)).await.unwrap();
        let heard = a.receive().await;
        let is_heartbeat = |it: &Message| matches!(it, Message::Heartbeat(_));
        assert!(matches!(heard, Arrival::Message(it) if is_heartbeat(&it)));
        b.leave().await;
    }
}

/// Until its socket is there again, nobody could answer it.
#[tokio::test]
async fn a_node_whose_socket_can_not_be_bound_anew_does_not_campaign() {
    let base = tempfile::tempdir().unwrap();
    let node = start(base.path(), "a", 1).await.unwrap();
    let mut events = node.events();
    let socket = base.path().join("c/a");
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    wait_for_fault(&mut events, |fault| match fault {
        Fault::ConnectionPartial(why) => why.ends_with("in the way, and is not removed"),
        _ => false,
    })
    .await;
    tokio::time::sleep(2 * Config::ELECTION_TIMEOUT_MAX).await;
    assert_eq!((node.state(), node.current_term()), (State::Follower, 0));

    fs::remove_file(&socket).unwrap();
    wait_for_restored(&mut events).await;
    wait_until(&node, |status| status.state == State::Leader).await;
    // It is closed in time although it had something to wait for, and leaves what isn't its own.
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    node.close().await;
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

/// The kernel keeps ten datagrams for a socket: the answers to one heartbeat are many more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_nodes_of_one_directory_hold_a_leader() {
    let base = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for number in 0..64 {
        nodes.push(start(base.path(), &format!("n{number}"), 64).await.unwrap());
    }
    let all: Vec<_> = nodes.iter().collect();
    let leader = all[wait_for_agreement(&all).await];
    let term = leader.current_term();
    let lost = loses_lease(leader, term, 5 * Config::ELECTION_TIMEOUT_MAX).await;
    assert!(!lost, "the leader of term {term} is {:?} now", leader.status());
    for node in &nodes {
        node.close().await;
    }
}

/// Whether the node loses its lease with this token within this time.
async fn loses_lease(node: &Node, lease: u64, within: Duration) -> bool {
    let mut events = node.events();
    let lost = async {
        while let Some(event) = events.next().await {
            match event.kind {
                EventKind::LeadershipLost { token } if token == lease => return,
                _ => {}
            }
        }
    };
    timeout(within, lost).await.is_ok()
}
