//! Emulated boards of a cluster with a key, and whoever else is on their line (rules K1 to K4).

use std::sync::Arc;
use std::time::Duration;

use graft_election::core::{Handover, Message, Outgoing, Position, Recipient, Round, VoteRequest};
use graft_election::proto::Kind;
use graft_election::proto::frame::{
    ClusterTag, DELIMITER, FRAME_MAX, FrameReader, encode_frame, encode_payload,
};
use graft_election::proto::seal::{SEALED_MAX, Seals};
use graft_election::{
    ClusterInfo, DropCause, Keys, MemoryVotes, Node, NodeId, SerialLine, SerialTransport,
    parse_keys,
};
use graft_election_tests::boards::{BOARDS_CLUSTER, Boards};
use graft_election_tests::bus::{Bus, Member, Sent};
use graft_election_tests::cluster::{PATIENCE, id};
use graft_election_tests::peer::plain_heartbeat;
use tokio::sync::broadcast::Receiver;
use tokio::time::{sleep, timeout};

const CLUSTER: ClusterTag = ClusterTag::of(BOARDS_CLUSTER);

const OLD: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
const NEW: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n";

/// Bytes per second of a line that a board's receiver keeps up with: 115,200 baud.
const SPEED: u32 = 11_520;

/// An emulator on a busy machine may come late.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);

/// Between two frames of an attacker: five frames of the line.
const GAP: Duration = Duration::from_millis(40);

/// Longer than an election takes.
const ELECTIONS: Duration = HEARTBEAT_INTERVAL.saturating_mul(30);

fn keys(text: &str) -> Keys {
    parse_keys(text).unwrap()
}

fn sealed(keys_of_boards: &[Option<&str>]) -> Boards {
    start_on(&Arc::new(Bus::new()), keys_of_boards, OLD)
}

/// Of what is said only that counts which is sealed with one of the keys in `believed`.
fn start_on(bus: &Arc<Bus>, keys_of_boards: &[Option<&str>], believed: &str) -> Boards {
    Boards::start_with_keys(bus, 3, keys_of_boards, &keys(believed), HEARTBEAT_INTERVAL)
}

async fn join(bus: &Bus) -> (Node, Member) {
    let place = bus.join("host");
    let transport = SerialTransport::new(SerialLine::Unix(place.socket().to_owned()));
    let host = Node::builder(ClusterInfo::new(BOARDS_CLUSTER, 3))
        .id(id("host"))
        .keys(keys(OLD))
        .heartbeat_interval(HEARTBEAT_INTERVAL)
        .election_timeout(5 * HEARTBEAT_INTERVAL, 10 * HEARTBEAT_INTERVAL);
    (host.start(transport, MemoryVotes::new()).await.unwrap(), place)
}

/// Waits until the host knows a leader in a term after `term`, while `boards` are heard.
async fn leader_of(host: &Node, boards: &mut Boards, term: u64) -> (u64, NodeId) {
    let mut watch = host.watch();
    let knows = watch.wait_for(|status| status.term > term && status.leader.is_some());
    let status = timeout(PATIENCE, boards.witness().hear_until(knows)).await;
    let status = status.unwrap_or_else(|_| panic!("nobody leads:\n{}", boards.logs())).unwrap();
    (status.term, status.leader.clone().unwrap())
}

/// Two that are left are a quorum only if the one that came back is believed.
#[tokio::test(flavor = "multi_thread")]
async fn k2_boards_with_a_key_fail_over_and_believe_one_that_lost_power() {
    let mut boards = sealed(&[Some(OLD); 3]);
    let (mut term, mut leader) = boards.leader_after(0).await;
    for round in 1..=3 {
        boards.cut_power(&leader);
        let (next_term, next) = boards.leader_after(term).await;
        assert_ne!(next, leader, "round {round}: a board without power does not lead");
        boards.come_back(&leader).await;
        boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
        let starts = boards.logged(&leader, "with the cluster's key").await;
        assert!(!starts.starts_with("start 1 "), "{starts}");
        (term, leader) = (next_term, next);
    }
    boards.check_that_all_run();
    assert!(!boards.logs().contains(&OLD[..8]), "{}", boards.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_a_host_with_the_key_takes_part_beside_boards() {
    let bus = Arc::new(Bus::new());
    let mut boards = start_on(&bus, &[Some(OLD); 2], OLD);
    let (term, leader) = boards.leader_after(0).await;
    let (host, _place) = join(&bus).await;
    assert_eq!(leader_of(&host, &mut boards, 0).await, (term, leader.clone()));
    boards.cut_power(&leader);
    // One of two boards and the host are a quorum.
    let (next_term, next) = leader_of(&host, &mut boards, term).await;
    assert_ne!(next, leader);
    let other = boards.ids().into_iter().find(|board| *board != leader).unwrap();
    boards.logged(&other, &format!("{next} leads in term {next_term}")).await;
    boards.come_back(&leader).await;
    boards.logged(&leader, &format!("{next} leads in term {next_term}")).await;
    assert_eq!(host.status().dropped, 0, "{:?}", host.counts().drops);
    host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k3_boards_without_the_key_or_with_another_one_are_not_believed() {
    let mut boards = sealed(&[Some(OLD), Some(OLD), None, Some(NEW)]);
    let (term, leader) = boards.leader_after(0).await;
    let [_, _, plain, stranger] = &*boards.ids() else { panic!("four boards") };
    // Who has no key reads what is sealed.
    boards.logged(plain, &format!("{leader} leads in term {term}")).await;
    boards.cut_power(&leader);
    boards.logged(plain, "no leader").await;
    boards.hear_for(ELECTIONS).await;
    let leaders = boards.heard().leaders.len();
    assert_eq!(leaders, 1, "one of two with the key leads:\n{}", boards.logs());

    boards.come_back(&leader).await;
    let (_, next) = boards.leader_after(term).await;
    for board in [plain, stranger] {
        assert_ne!(next, *board);
        assert!(!boards.log(board).iter().any(|line| line.contains("the light is on")));
    }
    boards.check_that_all_run();
}

#[tokio::test(flavor = "multi_thread")]
async fn k4_a_key_is_replaced_board_by_board() {
    let both = [OLD, NEW].concat();
    let bus = Arc::new(Bus::new());
    let mut boards = start_on(&bus, &[Some(OLD); 3], &both);
    boards.leader_after(0).await;
    for text in [both.clone(), [NEW, OLD].concat(), NEW.to_owned()] {
        for board in boards.ids() {
            boards.cut_power(&board);
            boards.set_key(&board, &text);
            boards.come_back(&board).await;
            boards.logged(&board, "leads in term").await;
        }
    }
    // The old key isn't needed any more.
    let (term, leader) = boards.latest_leader().await;
    boards.cut_power(&leader);
    boards.leader_after(term).await;
}

/// A key was meant, so the board doesn't go on without one.
#[tokio::test(flavor = "multi_thread")]
async fn k1_a_board_whose_key_is_missing_or_wrong_does_not_start() {
    let twice = [OLD, OLD].concat();
    let texts = ["", &OLD[1..], &twice];
    let mut boards = sealed(&texts.map(Some));
    for (board, error) in boards.ids().iter().zip(["Empty", "NotAKey { word: 1 }", "Alike"]) {
        boards.logged(board, &format!("can't start: {error}")).await;
    }
    boards.given_up(3).await;
}

/// Somebody on the line who hears all that is said, and has no key or another one.
struct Attacker {
    bus: Arc<Bus>,
    traffic: Receiver<Sent>,
}

impl Attacker {
    fn on(bus: &Arc<Bus>) -> Self {
        Self { bus: Arc::clone(bus), traffic: bus.listen() }
    }

    /// Whoever leaves no gaps for the others stops the cluster, key or not.
    async fn say(&self, frame: &[u8]) {
        self.bus.put("attacker", frame).await;
        sleep(GAP).await;
    }

    /// Says again all that was heard, and what was for one to the others.
    async fn replay_and_reflect(&mut self, nodes: &[NodeId]) {
        let heard = std::iter::from_fn(|| self.traffic.try_recv().ok());
        let stream: Vec<u8> = heard.flat_map(|sent| sent.bytes.to_vec()).collect();
        for content in stream.split(|byte| *byte == DELIMITER).filter(|it| !it.is_empty()) {
            self.say(&[&[DELIMITER], content, &[DELIMITER]].concat()).await;
        }
        let (mut reader, mut bytes) = (FrameReader::new(CLUSTER), &stream[..]);
        let mut reflected = Vec::new();
        while let Some(frame) = reader.read_any(&mut bytes) {
            let Recipient::Node(receiver) = &frame.to else { continue };
            for to in nodes.iter().filter(|node| *node != receiver) {
                let (kind, to) = (Kind::of(&frame.message), Recipient::Node(to.clone()));
                let mut buffer = [0; FRAME_MAX];
                let written =
                    encode_payload(CLUSTER, kind, &frame.sender, &to, frame.payload, &mut buffer);
                reflected.push(written.unwrap().to_vec());
            }
        }
        assert!(!reflected.is_empty(), "answers were heard");
        for frame in reflected {
            self.say(&frame).await;
        }
    }

    /// Says in the name of `victim`, once without a seal and once with that of another key, what
    /// would depose the leader.
    async fn forge(&self, victim: &NodeId, term: u64) {
        let handover =
            Handover { term, leader: victim.clone(), target: None, round: Round::new(1) };
        let request = VoteRequest {
            term: term + 100,
            candidate: victim.clone(),
            position: Position::EMPTY,
            handover_from: Some(term.try_into().unwrap()),
            size: None,
            round: Round::new(1),
            list: None,
        };
        let mut seals = Seals::<1>::of_node(BOARDS_CLUSTER, &keys(NEW), victim.clone(), 1_000);
        for message in [
            Message::Handover(handover),
            Message::Heartbeat(plain_heartbeat(victim.clone(), term + 1)),
            Message::VoteRequest(request),
        ] {
            let kind = Kind::of(&message);
            let outgoing = Outgoing { to: Recipient::Everyone, message };
            let mut buffer = [0; FRAME_MAX];
            let plain = encode_frame(CLUSTER, victim, &outgoing, &mut buffer).unwrap();
            self.say(plain).await;
            let mut payload = [0; SEALED_MAX];
            let payload = seals.encode(&outgoing, &mut payload).unwrap();
            let to = Recipient::Everyone;
            let sealed = encode_payload(CLUSTER, kind, victim, &to, payload, &mut buffer).unwrap();
            self.say(sealed).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k1_k2_whoever_may_write_to_the_line_but_has_no_key_changes_nothing() {
    let bus = Arc::new(Bus::with_speed(SPEED));
    let mut attacker = Attacker::on(&bus);
    let mut boards = start_on(&bus, &[Some(OLD); 2], OLD);
    let (host, _place) = join(&bus).await;
    boards.leader_after(0).await;
    let (term, leader) = leader_of(&host, &mut boards, 0).await;
    for board in boards.ids() {
        boards.logged(&board, &format!("{leader} leads in term {term}")).await;
    }

    let nodes: Vec<_> = boards.ids().into_iter().chain([id("host")]).collect();
    let attack = async {
        attacker.replay_and_reflect(&nodes).await;
        for victim in &nodes {
            attacker.forge(victim, term).await;
        }
    };
    boards.witness().hear_until(attack).await;
    // The host hears what the boards hear; what is forged comes last.
    let mut watch = host.watch();
    let drops = |cause| host.counts().drops.get(&cause).copied().unwrap_or_default();
    let has_dropped = watch.wait_for(|_| drops(DropCause::Unsealed) >= 6);
    let waited = timeout(PATIENCE, boards.witness().hear_until(has_dropped)).await.map(drop);
    assert!(waited.is_ok(), "{:?}", host.counts().drops);
    assert!(drops(DropCause::Replayed) > 0 && drops(DropCause::WrongSeal) > 0);

    boards.hear_for(ELECTIONS).await;
    assert_eq!(boards.heard().leaders, [(term, leader)].into(), "{}", boards.logs());
    assert_eq!(boards.heard().candidate_after(term), None, "{}", boards.logs());
    assert_eq!(boards.heard().term(), term);
    assert_eq!(host.status().term, term);
    boards.check_that_all_run();
}
