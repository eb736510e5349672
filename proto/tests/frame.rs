//! What becomes of frames on a line that loses, cuts, changes and invents bytes
//! (`docs/serial-frames.md`; rule V7).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::num::{NonZeroU32, NonZeroU64};

use crc::{CRC_32_ISCSI, Crc};
use graft_election_core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Handover, Heartbeat,
    HeartbeatResponse, Identity, LeaderValue, Life, ListId, ListPart, ListRequest, Message, NodeId,
    Outgoing, Position, PreVoteResponse, Recipient, Round, VoteRequest, VoteResponse,
};
use graft_election_proto::frame::{
    ClusterTag, DELIMITER, FRAME_MAX, FrameErrors, FrameReader, encode_frame, encode_payload,
};
use graft_election_proto::{ENCODED_MAX, EncodeError, Kind, SEAL_LEN, encode};
use proptest::prelude::*;

const FORMAT: &str = include_str!("../../docs/serial-frames.md");

/// Of the cluster that the examples of the format are of.
const CLUSTER: ClusterTag = ClusterTag::of("lamps");

#[test]
fn the_examples_of_the_format_are_what_is_written_and_read() {
    let examples =
        [(heartbeat("a", 7), "heartbeat"), (vote("b", "a"), "vote"), (question("a"), "question")];
    for (sent, name) in examples {
        let frame = encoded(&sent);
        let (_, example) = FORMAT.split_once(&format!("```frame {name}\n")).unwrap();
        let example = example.split_once("```").unwrap().0;
        let bytes = example.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
        assert_eq!(bytes.collect::<Vec<_>>(), frame, "{name}: {frame:02x?}");
        assert_eq!(read(&frame), ([sent].into(), FrameErrors::NONE));
    }
}

#[test]
fn the_longest_frame_fills_the_greatest_buffer() {
    let sent = longest();
    let longest = encoded(&sent);
    assert!(FORMAT.contains(&format!("at most {} bytes", longest.len())));
    assert_eq!(read(&longest).0.len(), 1);

    let Sent { sender, outgoing: Outgoing { to, message } } = &sent;
    let (mut payload, mut buffer) = ([0; ENCODED_MAX + SEAL_LEN], [0; FRAME_MAX]);
    let len = encode(message, &mut payload).unwrap().len();
    assert_eq!(len, ENCODED_MAX);
    // An unknown field as long as a seal, without a key to make one.
    payload[len..][..2].copy_from_slice(&[0x7a, SEAL_LEN as u8 - 2]);
    let kind = Kind::of(message);
    let sealed = encode_payload(CLUSTER, kind, sender, to, &payload, &mut buffer).unwrap();
    assert_eq!(sealed.len(), FRAME_MAX);
    assert!(FORMAT.contains(&format!("{FRAME_MAX} with a [seal]")));
    assert_eq!(read(sealed).0, [sent]);
}

/// A heartbeat to a cluster of three, and its two acknowledgements.
#[test]
fn a_heartbeat_and_its_answers_are_as_long_as_the_format_says() {
    for (list, stated) in [
        (None, "two acknowledgements are 158 bytes"),
        (ListId::declared(&["board-1", "board-2", "board-3"].map(id)).into(), "170 bytes if"),
    ] {
        let heartbeat = Heartbeat {
            term: 7,
            leader: id("board-1"),
            // A minute after the board's start.
            sent_at: NonZeroU64::new(60_000_000),
            size: NonZeroU32::new(3),
            round: Round::new(u32::MAX),
            list,
            value: LeaderValue::EMPTY,
        };
        let heartbeat = Message::Heartbeat(heartbeat);
        let mut line = encoded(&Sent {
            sender: id("board-1"),
            outgoing: Outgoing { to: Recipient::Everyone, message: heartbeat },
        });
        for follower in ["board-2", "board-3"].map(id) {
            let answer = HeartbeatResponse {
                term: 7,
                follower: follower.clone(),
                position: Position::EMPTY,
                sent_at: NonZeroU64::new(60_000_000),
                priority: 1,
                bound_for: NonZeroU64::new(500_000),
                round: Round::new(u32::MAX),
                list,
                life: Life::new(u32::MAX),
                is_paused: false,
                is_full: false,
                wanted: None,
            };
            let message = Message::HeartbeatResponse(answer);
            let outgoing = Outgoing { to: Recipient::Node(id("board-1")), message };
            line.extend(encoded(&Sent { sender: follower, outgoing }));
        }
        assert!(stated.contains(&format!("{} bytes", line.len())), "{}: {stated}", line.len());
        assert!(FORMAT.replace('\n', " ").contains(stated), "{stated}");
    }
}

#[test]
fn a_buffer_that_is_too_small_is_told_the_size_it_should_have() {
    let Sent { sender, outgoing } = &longest();
    let required = FRAME_MAX - SEAL_LEN;
    let too_small = EncodeError { required };
    for len in 0..required {
        assert_eq!(encode_frame(CLUSTER, sender, outgoing, &mut vec![0; len]), Err(too_small));
    }
}

#[test]
fn a_payload_that_no_reader_would_take_is_not_sent() {
    let longest_id = id(&"n".repeat(NodeId::CAPACITY));
    let to = Recipient::Node(longest_id.clone());
    let payload = [1; ENCODED_MAX + SEAL_LEN + 1];
    let mut buffer = [0; 2 * FRAME_MAX];
    let result = encode_payload(CLUSTER, Kind::Handover, &longest_id, &to, &payload, &mut buffer);
    assert_eq!(result, Err(EncodeError { required: FRAME_MAX + 1 }));
}

#[test]
fn a_payload_comes_out_as_it_went_in_unknown_fields_included() {
    let payload = b"\x08\x07\x12\x01a\x98\x06\x01";
    let mut buffer = [0; FRAME_MAX];
    let (kind, to) = (Kind::Heartbeat, Recipient::Everyone);
    let mut line = encode_payload(CLUSTER, kind, &id("a"), &to, payload, &mut buffer).unwrap();
    let mut reader = FrameReader::new(CLUSTER);
    assert_eq!(reader.read_any(&mut line).unwrap().payload, payload);
}

#[test]
fn a_frame_after_noise_survives() {
    let frame = encoded(&heartbeat("a", 7));
    for noise in [&b"\x01"[..], b"\xff\xff", b"\x05ab", b"\0\x02a\0\0", &[0xaa; 5000]] {
        let line = [noise, &frame].concat();
        assert_eq!(read(&line).0, [heartbeat("a", 7)], "{noise:02x?}");
    }
}

#[test]
fn v7_what_is_no_frame_is_dropped_and_counted_by_its_cause() {
    let none = FrameErrors::NONE;
    let cases = [
        (stuffed(b"\x03\x01a\0\x12\x01a", 0)[..10].to_vec(), FrameErrors { cut_off: 1, ..none }),
        (b"\0\x03ab\0".to_vec(), FrameErrors { cut_off: 1, ..none }),
        (vec![0xff; 400], FrameErrors { too_long: 1, ..none }),
        (vec![0x01; 400], FrameErrors { too_long: 1, ..none }),
        (stuffed(b"\x03\x01a\0\x12\x01a", 1), FrameErrors { checksum: 1, ..none }),
        (untagged(b""), FrameErrors { cut_off: 1, ..none }),
        (untagged(b"\x5e"), FrameErrors { cut_off: 1, ..none }),
        (stuffed(b"", 0), FrameErrors { kind: 1, ..none }),
        (stuffed(b"\x0a\x01a\0\x12\x01a", 0), FrameErrors { kind: 1, ..none }),
        (stuffed(b"\0\x01a\0\x12\x01a", 0), FrameErrors { kind: 1, ..none }),
        (stuffed(b"\x03", 0), FrameErrors { id: 1, ..none }),
        (stuffed(b"\x03\x05a\0", 0), FrameErrors { id: 1, ..none }),
        (stuffed(b"\x03\0\0\x12\x01a", 0), FrameErrors { id: 1, ..none }),
        (stuffed(b"\x03\x01.\0\x12\x01a", 0), FrameErrors { id: 1, ..none }),
        (stuffed(b"\x03\x01\xff\0\x12\x01a", 0), FrameErrors { id: 1, ..none }),
        (stuffed(b"\x03\x01a\x01*\x12\x01a", 0), FrameErrors { id: 1, ..none }),
        (stuffed(&over_long_id(), 0), FrameErrors { id: 1, ..none }),
        // The message names another sender.
        (stuffed(b"\x03\x01b\0\x12\x01a", 0), FrameErrors { id: 1, ..none }),
        (stuffed(b"\x03\x01a\0\x12\x01*", 0), FrameErrors { payload: 1, ..none }),
        (stuffed(b"\x03\x01a\0\x12\x02a", 0), FrameErrors { payload: 1, ..none }),
    ];
    for (mut line, errors) in cases {
        let shown = format!("{line:02x?}");
        line.extend(encoded(&heartbeat("a", 7)));
        assert_eq!(read(&line), ([heartbeat("a", 7)].into(), errors), "{shown}");
        assert_eq!(errors.total(), 1);
    }
}

#[test]
fn n1_frames_of_another_cluster_are_no_errors_and_are_not_read() {
    let doors = ClusterTag::of("doors");
    let Sent { sender, outgoing } = heartbeat("a", 7);
    let mut buffer = [0; FRAME_MAX];
    let line = encode_frame(doors, &sender, &outgoing, &mut buffer).unwrap();
    let counted = FrameErrors { other_cluster: 1, ..FrameErrors::NONE };
    assert_eq!(read(line), (Vec::new(), counted));
    assert_eq!(counted.total(), 0);
    // Nor is what only that cluster's later versions could read.
    let unknown = [b"\xaa\xbb".as_slice(), b"\x63\xff"].concat();
    assert_eq!(read(&untagged(&unknown)), (Vec::new(), counted));

    let own = encoded(&heartbeat("b", 8));
    assert_eq!(read(&[line, &own].concat()), ([heartbeat("b", 8)].into(), counted));
}

/// Nodes of different versions must agree on it.
#[test]
fn the_tag_of_a_cluster_is_the_low_half_of_its_name_s_checksum() {
    let checksum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(b"lamps");
    let frame = untagged(&[&checksum.to_le_bytes()[..2], b"\x03\x01a\0\x08\x07\x12\x01a"].concat());
    assert_eq!(read(&frame).0, [heartbeat("a", 7)]);
}

#[test]
fn errors_of_different_causes_add_up() {
    let errors = FrameErrors { cut_off: 1, checksum: 2, payload: 4, ..FrameErrors::NONE };
    assert_eq!(errors.total(), 7);
    let endless = FrameErrors { too_long: u32::MAX, kind: 1, ..FrameErrors::NONE };
    assert_eq!(endless.total(), u32::MAX);
}

#[test]
fn delimiters_alone_are_nothing() {
    assert_eq!(read(&[DELIMITER; 1000]), (Vec::new(), FrameErrors::NONE));
}

#[test]
fn a_peer_that_never_stops_talking_is_one_error() {
    let line: Vec<u8> = (0..1_000_000).map(|index| (index % 255) as u8 + 1).collect();
    assert_eq!(read(&line), (Vec::new(), FrameErrors { too_long: 1, ..FrameErrors::NONE }));
}

#[test]
fn a_nameless_vote_says_who_sent_it_in_its_frame_alone() {
    let Sent { sender, mut outgoing } = vote("b", "a");
    let Message::VoteResponse(vote) = &mut outgoing.message else { unreachable!() };
    vote.voter = None;
    let sent = Sent { sender, outgoing };
    assert_eq!(read(&encoded(&sent)).0, [sent]);
}

#[test]
fn v6_a_vote_reaches_its_candidate_and_no_other() {
    let line = [("c", 1), ("a", 2), ("aa", 3), ("A", 4)].map(|(candidate, term)| {
        let mut vote = vote("b", candidate);
        let Message::VoteResponse(response) = &mut vote.outgoing.message else { unreachable!() };
        response.term = term;
        encoded(&vote)
    });
    let terms = |node: &str| -> Vec<u64> {
        read_for(&id(node), &line.concat()).iter().map(Message::term).collect()
    };
    assert_eq!(terms("a"), [2]);
    assert_eq!(terms("aa"), [3]);
    assert_eq!(terms("c"), [1]);
    // Not even to the voter itself, where the line echoes.
    assert_eq!(terms("b"), []);
}

#[test]
fn v5_what_is_for_everyone_reaches_everyone_its_sender_included() {
    let line = [encoded(&vote("b", "c")), encoded(&heartbeat("a", 7))].concat();
    for node in ["a", "b", "d"] {
        assert_eq!(read_for(&id(node), &line), [heartbeat("a", 7).outgoing.message], "{node}");
    }
}

#[test]
fn v7_what_is_wrong_with_a_frame_is_counted_whoever_it_is_for() {
    let mut line = &[encoded(&vote("b", "c")), stuffed(b"\x03\x01b\x01c\x12\x01*", 0)].concat()[..];
    let mut reader = FrameReader::new(CLUSTER);
    assert_eq!(reader.read_for(&id("a"), &mut line), None);
    assert!(line.is_empty());
    assert_eq!(reader.errors(), FrameErrors { payload: 1, ..FrameErrors::NONE });
}

#[test]
fn one_or_two_wrong_bits_never_make_another_frame() {
    let first = encoded(&vote("b", "a"));
    let bits = 8 * first.len();
    for one in 0..bits {
        for two in one..bits {
            let mut line = first.clone();
            line[one / 8] ^= 1 << (one % 8);
            if two != one {
                line[two / 8] ^= 1 << (two % 8);
            }
            check_corrupted(&line, &vote("b", "a"));
        }
    }
}

proptest! {
    #[test]
    fn what_was_sent_comes_out_whatever_the_portions(
        sent in prop::collection::vec(sent(), 0..5),
        portions in prop::collection::vec(1_usize..50, 1..20),
    ) {
        let line: Vec<u8> = sent.iter().flat_map(encoded).collect();
        let mut reader = FrameReader::new(CLUSTER);
        let mut frames = Vec::new();
        let mut rest = &line[..];
        for len in portions.iter().cycle() {
            let (mut portion, after) = rest.split_at(rest.len().min(*len));
            frames.extend(drain(&mut reader, &mut portion));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(frames, sent);
        prop_assert_eq!(reader.errors(), FrameErrors::NONE);
    }

    #[test]
    fn a_node_hears_just_what_is_for_it_or_for_everyone(
        sent in prop::collection::vec(sent(), 0..5),
        node in ids(),
        receiver in any::<prop::sample::Index>(),
    ) {
        let mut sent = sent;
        if let Some(index) = sent.len().checked_sub(1).map(|last| receiver.index(last + 1)) {
            sent[index].outgoing.to = Recipient::Node(node.clone());
        }
        let line: Vec<u8> = sent.iter().flat_map(encoded).collect();
        let for_others = |to: &Recipient| matches!(to, Recipient::Node(other) if *other != node);
        sent.retain(|sent| !for_others(&sent.outgoing.to));
        let expected: Vec<Message> = sent.into_iter().map(|sent| sent.outgoing.message).collect();
        prop_assert_eq!(read_for(&node, &line), expected);
    }

    #[test]
    fn a_frame_contains_no_delimiter(sent in sent()) {
        let frame = encoded(&sent);
        let [first, inside @ .., last] = frame.as_slice() else { unreachable!() };
        prop_assert_eq!([*first, *last], [DELIMITER; 2]);
        prop_assert!(!inside.contains(&DELIMITER));
    }

    #[test]
    fn wrong_bits_never_make_another_frame(
        sent in sent(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..9),
    ) {
        let mut line = encoded(&sent);
        let bits = 8 * line.len();
        for flip in flips {
            let bit = flip.index(bits);
            line[bit / 8] ^= 1 << (bit % 8);
        }
        check_corrupted(&line, &sent);
    }

    #[test]
    fn overwritten_lost_and_invented_bytes_never_make_another_frame(
        sent in sent(),
        from in any::<prop::sample::Index>(),
        lost in 0_usize..20,
        invented in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut line = encoded(&sent);
        let from = from.index(line.len());
        let to = line.len().min(from + lost);
        line.splice(from..to, invented);
        check_corrupted(&line, &sent);
    }

    #[test]
    fn any_bytes_are_survived_and_the_next_frame_is_read(
        noise in prop::collection::vec(prop_oneof![Just(DELIMITER), any::<u8>()], 0..2000),
        sent in sent(),
    ) {
        let line = [noise, encoded(&sent)].concat();
        prop_assert_eq!(read(&line).0, [sent]);
    }

    /// With a good checksum, so that what lies behind it is reached.
    #[test]
    fn any_content_is_survived(
        content in prop::collection::vec(any::<u8>(), 0..300),
        kind in 0_u8..9,
    ) {
        let content = [&[kind, 1, b'a', 0], content.as_slice()].concat();
        let (frames, errors) = read(&stuffed(&content, 0));
        prop_assert_eq!(frames.len() + errors.total() as usize, 1);
    }
}

/// A message and its sender.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    sender: NodeId,
    outgoing: Outgoing,
}

/// After a corrupted frame nothing but that frame, whole, may come out; and then the next one.
#[track_caller]
fn check_corrupted(corrupted: &[u8], original: &Sent) {
    let next = heartbeat("next", 9);
    let frames = read(&[corrupted, &encoded(&next)].concat()).0;
    let (last, before) = frames.split_last().unwrap();
    assert_eq!(*last, next, "{corrupted:02x?}");
    assert!(before.iter().all(|frame| frame == original), "{corrupted:02x?} became {before:?}");
    assert!(before.len() <= 1);
}

fn encoded(sent: &Sent) -> Vec<u8> {
    let mut buffer = [0xaa; FRAME_MAX];
    encode_frame(CLUSTER, &sent.sender, &sent.outgoing, &mut buffer).unwrap().to_vec()
}

/// What may follow the cluster's tag, as a frame, its checksum falsified by `wrong`.
fn stuffed(content: &[u8], wrong: u32) -> Vec<u8> {
    let tag = Crc::<u32>::new(&CRC_32_ISCSI).checksum(b"lamps").to_le_bytes();
    framed(&[&tag[..2], content].concat(), wrong)
}

/// Any content as a frame.
fn untagged(content: &[u8]) -> Vec<u8> {
    framed(content, 0)
}

fn framed(content: &[u8], wrong: u32) -> Vec<u8> {
    let checksum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(content) ^ wrong;
    let content = [content, &checksum.to_le_bytes()].concat();
    let mut frame = vec![0; cobs::max_encoding_length(content.len()) + 2];
    let len = cobs::encode_including_sentinels(&content, &mut frame);
    frame.truncate(len);
    frame
}

fn over_long_id() -> Vec<u8> {
    [&[3, 65][..], &[b'a'; 65], b"\0\x12\x01a"].concat()
}

/// All frames on the line, and what was dropped.
fn read(mut line: &[u8]) -> (Vec<Sent>, FrameErrors) {
    let mut reader = FrameReader::new(CLUSTER);
    (drain(&mut reader, &mut line), reader.errors())
}

/// All messages on the line that are for `node`.
fn read_for(node: &NodeId, mut line: &[u8]) -> Vec<Message> {
    let mut reader = FrameReader::new(CLUSTER);
    let messages = std::iter::from_fn(|| reader.read_for(node, &mut line)).collect();
    assert!(line.is_empty());
    messages
}

fn drain(reader: &mut FrameReader, line: &mut &[u8]) -> Vec<Sent> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.read_any(line) {
        let outgoing = Outgoing { to: frame.to, message: frame.message };
        frames.push(Sent { sender: frame.sender, outgoing });
    }
    assert!(line.is_empty());
    frames
}

fn heartbeat(leader: &str, term: u64) -> Sent {
    let leader_id = id(leader);
    let message = Message::Heartbeat(Heartbeat {
        term,
        leader: leader_id,
        sent_at: None,
        size: None,
        round: None,
        list: None,
        value: LeaderValue::EMPTY,
    });
    Sent { sender: id(leader), outgoing: Outgoing { to: Recipient::Everyone, message } }
}

fn vote(voter: &str, candidate: &str) -> Sent {
    let vote = VoteResponse {
        term: 7,
        granted: true,
        voter: Some(id(voter)),
        round: None,
        list: None,
        life: None,
        wanted: None,
    };
    let (to, message) = (Recipient::Node(id(candidate)), Message::VoteResponse(vote));
    Sent { sender: id(voter), outgoing: Outgoing { to, message } }
}

fn question(node: &str) -> Sent {
    let (round, life) = (Round::new(0x0403_0201).unwrap(), Life::new(0x0403_0201).unwrap());
    let message = Message::Who(Identity { node: id(node), round, life });
    Sent { sender: id(node), outgoing: Outgoing { to: Recipient::Everyone, message } }
}

/// The greatest of all messages, with the longest of all ids, and no zero in it.
fn longest() -> Sent {
    let follower = id(&"n".repeat(NodeId::CAPACITY));
    let message = Message::HeartbeatResponse(HeartbeatResponse {
        term: u64::MAX,
        follower: follower.clone(),
        position: Position::new(&[0xff; Position::CAPACITY]).unwrap(),
        sent_at: Some(NonZeroU64::MAX),
        priority: u32::MAX,
        bound_for: Some(NonZeroU64::MAX),
        round: Round::new(u32::MAX),
        list: Some(ListId { term: u64::MAX, version: u32::MAX }),
        life: Life::new(u32::MAX),
        is_paused: true,
        is_full: true,
        wanted: NonZeroU32::new(u32::MAX),
    });
    let to = Recipient::Node(id(&"m".repeat(NodeId::CAPACITY)));
    Sent { sender: follower, outgoing: Outgoing { to, message } }
}

fn sent() -> impl Strategy<Value = Sent> {
    let to = prop_oneof![Just(Recipient::Everyone), ids().prop_map(Recipient::Node)];
    (ids(), to, any::<(u64, u64, u32, bool)>(), positions(), prop::option::of(ids()), 0..13)
        .prop_map(|(sender, to, (term, number, small, granted), position, other, kind)| {
            let from = sender.clone();
            let (sent_at, size) = (NonZeroU64::new(number), NonZeroU32::new(small));
            let (round, life) = (Round::new(small), Life::new(!small));
            let list = round.map(|round| ListId { term: number, version: round.number() });
            let request = VoteRequest {
                term,
                candidate: from.clone(),
                position: position.clone(),
                handover_from: sent_at,
                size,
                round,
                list,
            };
            let voter = Some(from.clone());
            let node = from.clone();
            let identity = || Identity {
                node: node.clone(),
                round: round.unwrap_or(Round::new(1).unwrap()),
                life: life.unwrap_or(Life::new(1).unwrap()),
            };
            let message = match kind {
                0 => Message::VoteRequest(request),
                1 => Message::PreVoteRequest(request),
                2 => {
                    let vote =
                        VoteResponse { term, granted, voter, round, list, life, wanted: None };
                    Message::VoteResponse(vote)
                }
                3 => {
                    let (leader, value) = (from, LeaderValue::new(position.as_bytes()).unwrap());
                    let heartbeat = Heartbeat { term, leader, sent_at, size, round, list, value };
                    Message::Heartbeat(heartbeat)
                }
                4 => answer(&from, (term, small, granted), position, (round, list, life)),
                5 => Message::PreVoteResponse(PreVoteResponse {
                    term,
                    granted,
                    voter: from,
                    proposed_term: number,
                    round,
                    list,
                    life,
                    wanted: None,
                }),
                6 => Message::Handover(Handover { term, leader: from, target: other, round }),
                7 => Message::Who(identity()),
                8 => Message::Here(identity()),
                9 => asked(term, identity(), other),
                10 => wanted(identity(), size),
                11 => told(identity(), other, list),
                _ => answered(term, identity(), other, granted),
            };
            Sent { sender, outgoing: Outgoing { to, message } }
        })
}

/// The answer to a heartbeat.
fn answer(
    from: &NodeId,
    (term, small, granted): (u64, u32, bool),
    position: Position,
    (round, list, life): (Option<Round>, Option<ListId>, Option<Life>),
) -> Message {
    let (sent_at, follower) = (NonZeroU64::new(term), from.clone());
    Message::HeartbeatResponse(HeartbeatResponse {
        term,
        follower,
        position,
        sent_at,
        priority: small,
        bound_for: sent_at,
        round,
        list,
        life,
        is_paused: granted,
        is_full: !granted,
        wanted: NonZeroU32::new(small),
    })
}

/// A request for a part of a list.
fn wanted(of: Identity, place: Option<NonZeroU32>) -> Message {
    let Identity { node, life, .. } = of;
    let wanted = place.unwrap_or(NonZeroU32::MIN);
    Message::ListRequest(ListRequest { node, life, wanted })
}

/// A part of a list.
fn told(by: Identity, voter: Option<NodeId>, list: Option<ListId>) -> Message {
    let voter = voter.unwrap_or_else(|| by.node.clone());
    let (place, count) = (NonZeroU32::MIN, NonZeroU32::MAX);
    let (sender, life, root) = (by.node, Some(by.life), list);
    Message::ListPart(ListPart { sender, voter, place, count, list, life, root })
}

/// What an operator asks.
fn asked(term: u64, of: Identity, target: Option<NodeId>) -> Message {
    let Identity { node, round, life } = of;
    let (action, last, life) = (ControlAction::Pause, Some(round), Some(life));
    Message::ControlRequest(ControlRequest {
        term,
        node,
        target,
        action,
        round,
        last,
        life,
        list: None,
        wanted: None,
    })
}

/// What a node answers to an operator.
fn answered(term: u64, by: Identity, leader: Option<NodeId>, is_paused: bool) -> Message {
    let Identity { node, round, life } = by;
    let (outcome, last) = (ControlOutcome::Outdated, None);
    Message::ControlResponse(ControlResponse {
        term,
        node,
        leader,
        outcome,
        round,
        last,
        is_paused,
        life,
        is_committed: false,
        list: None,
    })
}

fn ids() -> impl Strategy<Value = NodeId> {
    "[a-z0-9/_-]{1,64}".prop_map(|name| id(&name))
}

fn positions() -> impl Strategy<Value = Position> {
    prop::collection::vec(any::<u8>(), 0..=Position::CAPACITY)
        .prop_map(|bytes| Position::new(&bytes).unwrap())
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}
