//! What becomes of a payload before an election may see it, and what an election's message becomes
//! on the wire (protocol, section 3; rules V7, T4, H4).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::error::Error;
use std::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Handover, Heartbeat,
    HeartbeatResponse, Identity, LeaderValue, Life, ListId, ListPart, ListRequest, Message, NodeId,
    NodeIdError, Position, PositionTooLong, PreVoteResponse, Round, ValueTooLong, VoteRequest,
    VoteResponse,
};
use graft_election_proto::{
    DecodeError, ENCODED_MAX, EncodeError, Kind, WireError, decode, encode,
};
use proptest::prelude::*;

const CANDIDATE: &[u8] = b"\x12\x01a";
const VOTER: &[u8] = b"\x42\x01a";

#[test]
fn the_longest_message_fills_the_greatest_buffer() {
    let mut longest = 0;
    for message in full_messages() {
        let mut buffer = [0; ENCODED_MAX];
        let payload = encode(&message, &mut buffer).unwrap();
        assert_eq!(decode(Kind::of(&message), payload), Ok(message));
        longest = longest.max(payload.len());
    }
    assert_eq!(longest, ENCODED_MAX);
}

#[test]
fn a_buffer_that_is_too_small_is_told_the_size_it_should_have() {
    for message in full_messages() {
        let EncodeError { required } = encode(&message, &mut []).unwrap_err();
        assert_eq!(encode(&message, &mut vec![0; required]).unwrap().len(), required);
        assert_eq!(encode(&message, &mut vec![0; required - 1]), Err(EncodeError { required }));
    }
}

#[test]
fn what_a_message_leaves_out_is_not_on_the_wire() {
    round_trip(Message::Heartbeat(heartbeat(None, None)), b"\x08\x03\x12\x01a");
    let vote = VoteResponse {
        term: 3,
        granted: false,
        voter: None,
        round: None,
        list: None,
        life: None,
        wanted: None,
    };
    round_trip(Message::VoteResponse(vote), b"\x08\x03");
    let handover = Handover { term: 3, leader: id("a"), target: None, round: None };
    round_trip(Message::Handover(handover), b"\x08\x03\x12\x01a");
}

#[test]
fn n1_a_round_takes_four_bytes_whatever_it_is() {
    let round = |number| heartbeat(Round::new(number), None);
    let payload = b"\x08\x03\x12\x01a\x55\x01\0\0\0";
    round_trip(Message::Heartbeat(round(1)), payload);
    let payload = b"\x08\x03\x12\x01a\x55\xfe\xff\xff\xff";
    round_trip(Message::Heartbeat(round(u32::MAX - 1)), payload);
    // Sent or not, 0 is none.
    let zero = decode(Kind::Heartbeat, b"\x08\x03\x12\x01a\x55\0\0\0\0");
    assert_eq!(zero, Ok(Message::Heartbeat(heartbeat(None, None))));
}

#[test]
fn n1_v7_a_round_of_another_width_or_cut_off_is_refused() {
    let field = "Round";
    for (payload, error) in [
        (&b"\x08\x03\x50\x01\x12\x01a"[..], WireError::WrongWireType { field, at: 2 }),
        (b"\x51\x01\0\0\0\0\0\0\0\x12\x01a", WireError::WrongWireType { field, at: 0 }),
        (b"\x52\x04\x01\0\0\0\x12\x01a", WireError::WrongWireType { field, at: 0 }),
        (b"\x12\x01a\x55\x01\0\0", WireError::Truncated { at: 4 }),
        (b"\x12\x01a\x55", WireError::Truncated { at: 4 }),
    ] {
        refuses(payload, error);
    }
    let life = WireError::WrongWireType { field: "Life", at: 3 };
    assert_eq!(wire_error(Kind::VoteResponse, b"\x42\x01a\x70\x01"), Some(life));
}

#[test]
fn v6_a_list_is_on_the_wire_as_its_term_and_its_version() {
    let list = |term, version| Message::Heartbeat(heartbeat(None, Some(ListId { term, version })));
    round_trip(list(0, 7), b"\x08\x03\x12\x01a\x68\x07");
    round_trip(list(300, 7), b"\x08\x03\x12\x01a\x60\xac\x02\x68\x07");
}

#[test]
fn v6_v7_half_the_id_of_a_list_is_refused() {
    for (kind, sender) in [
        (Kind::VoteRequest, CANDIDATE),
        (Kind::VoteResponse, VOTER),
        (Kind::Heartbeat, CANDIDATE),
        (Kind::HeartbeatResponse, CANDIDATE),
        (Kind::PreVoteRequest, CANDIDATE),
        (Kind::PreVoteResponse, VOTER),
    ] {
        let of_list = |list: &[u8]| decode(kind, &[sender, list].concat());
        let missing = Err(DecodeError::Missing { field: "ListVersion" });
        assert_eq!(of_list(b"\x60\x05"), missing, "{kind}");
        assert_eq!(of_list(b"\x60\x05\x68\0"), missing, "{kind}");
        // Of a number that is too long, the low half counts.
        assert_eq!(of_list(b"\x60\x05\x68\x80\x80\x80\x80\x10"), missing, "{kind}");
        let whole = of_list(b"\x68\x07").unwrap();
        assert_eq!(whole.list(), Some(ListId { term: 0, version: 7 }), "{kind}");
    }
}

#[test]
fn n5_a_question_without_its_round_or_its_life_is_refused() {
    let asked = Identity { node: id("a"), round: round(1), life: life(2) };
    let payload = b"\x12\x01a\x55\x01\0\0\0\x75\x02\0\0\0";
    round_trip(Message::Who(asked.clone()), payload);
    round_trip(Message::Here(asked), payload);
    for kind in [Kind::Who, Kind::Here] {
        for (payload, field) in [
            (&b"\x12\x01a\x75\x02\0\0\0"[..], "Round"),
            (b"\x12\x01a\x55\0\0\0\0\x75\x02\0\0\0", "Round"),
            (b"\x12\x01a\x55\x01\0\0\0", "Life"),
            (b"\x12\x01a\x55\x01\0\0\0\x75\0\0\0\0", "Life"),
        ] {
            assert_eq!(decode(kind, payload), Err(DecodeError::Missing { field }), "{kind}");
        }
    }
}

#[test]
fn n5_a_question_has_no_more_than_76_bytes() {
    let asked = Identity {
        node: id(&"n".repeat(NodeId::CAPACITY)),
        round: round(u32::MAX),
        life: life(u32::MAX),
    };
    let mut buffer = [0; 76];
    assert_eq!(encode(&Message::Who(asked), &mut buffer).unwrap().len(), 76);
}

#[test]
fn o1_what_is_asked_and_what_came_of_it_has_a_number() {
    for (kind, field) in [(Kind::ControlRequest, "Action"), (Kind::ControlResponse, "Outcome")] {
        let known = if kind == Kind::ControlRequest { 1..=6 } else { 1..=10 };
        for number in 0..=u8::MAX >> 1 {
            let payload =
                [&b"\x12\x01a\x40"[..], &[number], b"\x55\x01\0\0\0\x75\x02\0\0\0"].concat();
            let unknown = Some(DecodeError::Unknown { field }).filter(|_| !known.contains(&number));
            assert_eq!(decode(kind, &payload).err(), unknown, "{kind} {number}");
        }
    }
}

#[test]
fn l7_a_value_has_at_most_64_bytes() {
    let payload = |bytes| [&b"\x12\x01a\x8a\x01"[..], &[bytes], &vec![1; bytes.into()]].concat();
    assert!(decode(Kind::Heartbeat, &payload(64)).is_ok());
    let too_long = DecodeError::ValueTooLong(ValueTooLong { bytes: 65 });
    assert_eq!(decode(Kind::Heartbeat, &payload(65)), Err(too_long));
}

#[test]
fn h4_an_absent_priority_is_a_witness() {
    let response = decode(Kind::HeartbeatResponse, b"\x12\x01a");
    let Ok(Message::HeartbeatResponse(response)) = response else {
        panic!("{response:?}");
    };
    assert_eq!(response.priority, 0);
}

#[test]
fn t4_terms_are_left_to_the_node() {
    let payload = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x01a";
    let heartbeat = decode(Kind::Heartbeat, payload).unwrap();
    assert_eq!(heartbeat.term(), u64::MAX);
}

#[test]
fn v7_an_empty_payload_names_no_sender() {
    for (kind, field) in [
        (Kind::VoteRequest, "Candidate"),
        (Kind::Heartbeat, "Leader"),
        (Kind::HeartbeatResponse, "Follower"),
        (Kind::PreVoteRequest, "Candidate"),
        (Kind::PreVoteResponse, "Voter"),
        (Kind::Handover, "Leader"),
        (Kind::Who, "Node"),
        (Kind::Here, "Node"),
    ] {
        let error = NodeIdError::Empty;
        assert_eq!(decode(kind, b""), Err(DecodeError::InvalidId { field, error }));
    }
    // A Go node's denial in term 0.
    assert!(decode(Kind::VoteResponse, b"").is_ok());
}

#[test]
fn v7_a_malformed_or_over_long_id_is_refused_and_not_cut() {
    let forbidden = NodeIdError::Forbidden { at: 1 };
    refuses_id(Kind::VoteRequest, b"\x12\x03a.b", "Candidate", forbidden);
    refuses_id(Kind::VoteResponse, b"\x42\x03a b", "Voter", forbidden);
    // Not even UTF-8.
    refuses_id(Kind::Heartbeat, b"\x12\x03a\xffb", "Leader", forbidden);
    refuses_id(Kind::Handover, b"\x12\x01a\x1a\x02a>", "Target", forbidden);
    let over_long = [&[0x12, 65], [b'n'; 65].as_slice()].concat();
    refuses_id(Kind::Heartbeat, &over_long, "Leader", NodeIdError::TooLong { bytes: 65 });
}

#[test]
fn v7_an_over_long_position_is_refused_and_not_cut() {
    let longest = [CANDIDATE, &[0x1a, 64], &[7; 64]].concat();
    let over_long = [CANDIDATE, &[0x1a, 65], &[7; 65]].concat();
    for kind in [Kind::VoteRequest, Kind::PreVoteRequest, Kind::HeartbeatResponse] {
        assert!(decode(kind, &longest).is_ok());
        let error = DecodeError::PositionTooLong(PositionTooLong { bytes: 65 });
        assert_eq!(decode(kind, &over_long), Err(error));
    }
}

#[test]
fn v7_a_payload_that_is_no_message_is_refused_and_the_place_named() {
    refuses(b"\x08\x03\x12\x05a", WireError::Truncated { at: 3 });
    refuses(b"\x08\x80", WireError::Truncated { at: 1 });
    refuses(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", WireError::VarintTooLong { at: 1 });
    refuses(b"\x08\x03\x00\x01", WireError::InvalidKey { at: 2 });
    refuses(b"\x08\x03\x0e", WireError::InvalidKey { at: 2 });
    refuses(b"\x2c", WireError::UnexpectedGroupEnd { at: 0 });
    refuses(b"\x2b\x33\x2c\x34", WireError::UnexpectedGroupEnd { at: 2 });
    refuses(&[0x2b; 101], WireError::NestedTooDeep { at: 100 });
    refuses(b"\x08\x03\x10\x01", WireError::WrongWireType { field: "Leader", at: 2 });
}

#[test]
fn v7_errors_read_well() {
    let text = |payload: &[u8]| decode(Kind::Heartbeat, payload).unwrap_err().to_string();
    assert_eq!(text(b"\x10\x01"), "field Leader at byte 0 has the wrong wire type");
    assert_eq!(
        encode(&full_messages()[1], &mut []).unwrap_err().to_string(),
        "the message takes 113 bytes, more than the buffer has"
    );
    let missing = decode(Kind::Who, b"\x12\x01a\x75\x02\0\0\0").unwrap_err();
    assert_eq!(missing.to_string(), "field Round is missing");
    let position = [b"\x12\x01a\x1a\x41".as_slice(), &[0; 65]].concat();
    for (kind, payload, text) in [
        (Kind::Heartbeat, b"\x12\x05a".as_slice(), "the value at byte 1 is cut off"),
        (Kind::Heartbeat, b"", "field Leader: a node id must not be empty"),
        (
            Kind::VoteRequest,
            &position,
            "field CurrentState: a position has at most 64 bytes, not 65",
        ),
    ] {
        let error = decode(kind, payload).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none(), "the text has it all: {error}");
    }
}

/// The field names and numbers are in `graft.proto` and in the code: both must say the same.
#[test]
fn the_messages_are_those_of_the_proto_file() {
    let mut fields = Vec::new();
    for line in include_str!("../graft.proto").lines() {
        let words: Vec<_> = line.trim().trim_end_matches(';').split(' ').collect();
        match words[..] {
            ["message", message, "{"] => fields.push((message, Vec::new())),
            [kind, name, "=", number] if kind != "syntax" => {
                let field = (number.parse::<u8>().unwrap(), name, kind);
                fields.last_mut().unwrap().1.push(field);
            }
            _ => {}
        }
    }
    assert_eq!(fields.len(), Kind::ALL.len());
    for (kind, (message, fields)) in Kind::ALL.into_iter().zip(fields) {
        assert_eq!(format!("{kind:?}"), message);
        for number in 1..=20 {
            // A field of a width that no message has: skipped if it is unknown.
            let payload = [&key(number, 1)[..], &[0; 8]].concat();
            let known = fields.iter().find(|field| field.0 == number);
            let refusal = known.map(|(_, field, _)| WireError::WrongWireType { field, at: 0 });
            assert_eq!(wire_error(kind, &payload), refusal, "{kind} {number}");
        }
        for (number, name, kind_of_field) in fields {
            let (wire_type, value) = match kind_of_field {
                "string" | "bytes" => (2, &[0][..]),
                "fixed32" => (5, &[0; 4][..]),
                _ => (0, &[0][..]),
            };
            let payload = [&key(number, wire_type)[..], value].concat();
            assert_eq!(wire_error(kind, &payload), None, "{kind} {name}");
        }
    }
}

/// The key of a field, in one byte or two.
fn key(number: u8, wire_type: u8) -> Vec<u8> {
    match number {
        ..16 => vec![number << 3 | wire_type],
        _ => vec![number << 3 | wire_type | 0x80, number >> 4],
    }
}

proptest! {
    #[test]
    fn i7_any_payload_is_a_message_or_an_error(
        kind in prop::sample::select(&Kind::ALL),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(message) = decode(kind, &payload) {
            prop_assert_eq!(Kind::of(&message), kind);
            let mut buffer = [0; ENCODED_MAX];
            let written = encode(&message, &mut buffer).unwrap();
            prop_assert_eq!(decode(kind, written), Ok(message));
        }
    }
}

#[track_caller]
fn round_trip(message: Message, payload: &[u8]) {
    let mut buffer = [0; ENCODED_MAX];
    assert_eq!(encode(&message, &mut buffer), Ok(payload));
    assert_eq!(decode(Kind::of(&message), payload), Ok(message));
}

#[track_caller]
fn refuses_id(kind: Kind, payload: &[u8], field: &'static str, error: NodeIdError) {
    assert_eq!(decode(kind, payload), Err(DecodeError::InvalidId { field, error }));
}

/// Heartbeats will do for all: only the message's table of fields differs.
#[track_caller]
fn refuses(payload: &[u8], error: WireError) {
    assert_eq!(decode(Kind::Heartbeat, payload), Err(DecodeError::Wire(error)));
}

fn wire_error(kind: Kind, payload: &[u8]) -> Option<WireError> {
    match decode(kind, payload) {
        Err(DecodeError::Wire(error)) => Some(error),
        _ => None,
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn round(number: u32) -> Round {
    Round::new(number).unwrap()
}

fn life(number: u32) -> Life {
    Life::new(number).unwrap()
}

fn heartbeat(round: Option<Round>, list: Option<ListId>) -> Heartbeat {
    let value = LeaderValue::EMPTY;
    Heartbeat { term: 3, leader: id("a"), sent_at: None, size: None, round, list, value }
}

/// One message of each kind, with all that it can hold, in the order of [`Kind::ALL`]. No two
/// numbers of a message are alike.
fn full_messages() -> [Message; 13] {
    let id = id(&"n".repeat(NodeId::CAPACITY));
    let position = Position::new(&[0xff; Position::CAPACITY]).unwrap();
    let term = u64::MAX;
    let below = |steps| NonZeroU64::new(term - steps);
    let (size, round_number, life_number) = (u32::MAX, u32::MAX - 1, u32::MAX - 2);
    let (round, life) = (Round::new(round_number), Life::new(life_number));
    let list = Some(full_list());
    let request = VoteRequest {
        term,
        candidate: id.clone(),
        position: position.clone(),
        handover_from: below(1),
        size: NonZeroU32::new(size),
        round,
        list,
    };
    let (voter, leader) = (id.clone(), id.clone());
    let identity = Identity { node: id.clone(), round: round.unwrap(), life: life.unwrap() };
    [
        Message::VoteRequest(request.clone()),
        full_vote(&identity, list),
        Message::Heartbeat(Heartbeat {
            term,
            leader: leader.clone(),
            sent_at: below(1),
            size: NonZeroU32::new(size),
            round,
            list,
            value: LeaderValue::new(&[0xff; LeaderValue::CAPACITY]).unwrap(),
        }),
        Message::HeartbeatResponse(HeartbeatResponse {
            term,
            follower: id.clone(),
            position,
            sent_at: below(1),
            priority: size,
            bound_for: below(2),
            round,
            list,
            life,
            is_paused: true,
            is_full: true,
            wanted: NonZeroU32::new(size),
        }),
        Message::PreVoteRequest(request),
        Message::PreVoteResponse(PreVoteResponse {
            term,
            granted: true,
            voter,
            proposed_term: term - 1,
            round,
            list,
            life,
            wanted: NonZeroU32::new(u32::MAX),
        }),
        Message::Handover(Handover { term, leader, target: Some(id), round }),
        Message::Who(identity.clone()),
        Message::Here(identity.clone()),
        full_wish(&identity),
        full_part(&identity),
        full_request(&identity),
        full_answer(&identity),
    ]
}

fn full_vote(by: &Identity, list: Option<ListId>) -> Message {
    let (term, wanted) = (u64::MAX, NonZeroU32::new(u32::MAX));
    let (voter, round, life) = (Some(by.node.clone()), Some(by.round), Some(by.life));
    Message::VoteResponse(VoteResponse { term, granted: true, voter, round, list, life, wanted })
}

fn full_wish(of: &Identity) -> Message {
    let Identity { node, life, .. } = of.clone();
    Message::ListRequest(ListRequest { node, life, wanted: NonZeroU32::MAX })
}

fn full_part(by: &Identity) -> Message {
    Message::ListPart(ListPart {
        sender: by.node.clone(),
        voter: by.node.clone(),
        place: NonZeroU32::MAX,
        count: NonZeroU32::MAX,
        list: Some(full_list()),
        life: Some(by.life),
        root: Some(full_list()),
    })
}

fn full_list() -> ListId {
    ListId { term: u64::MAX - 3, version: u32::MAX - 3 }
}

fn full_request(of: &Identity) -> Message {
    Message::ControlRequest(ControlRequest {
        term: u64::MAX,
        node: of.node.clone(),
        target: Some(of.node.clone()),
        action: ControlAction::Resume,
        round: of.round,
        last: Some(of.round),
        life: Some(of.life),
        list: Some(full_list()),
        wanted: NonZeroU32::new(u32::MAX),
    })
}

fn full_answer(by: &Identity) -> Message {
    Message::ControlResponse(ControlResponse {
        term: u64::MAX,
        node: by.node.clone(),
        leader: Some(by.node.clone()),
        outcome: ControlOutcome::Refused,
        round: by.round,
        last: Some(by.round),
        is_paused: true,
        life: by.life,
        is_committed: true,
        list: Some(full_list()),
    })
}
