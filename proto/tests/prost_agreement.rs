//! The codec and prost write the same bytes and read the same values (protocol, section 3),
//! whatever the payload; what only rule V7 refuses is refused for the right reason.

pub mod pb;

use graft_election_proto::{DecodeError, ENCODED_MAX, EncodeError, Kind, decode, encode};
use pb::ToMessage;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message as _;

/// A sender in field 2. For a `VoteResponse` that is a truth value, and its sender may be left out.
const SENDER: &[u8] = b"\x12\x01a";

/// A sender in field 8. In most requests that is a number.
const VOTER: &[u8] = b"\x42\x01a";

/// All three fields of a question of identity.
const IDENTITY: &[u8] = b"\x12\x01a\x55\x01\0\0\0\x75\x02\0\0\0";

/// What no request of an operator, and no answer to one, may be without.
const CONTROL: &[u8] = b"\x12\x01a\x40\x01\x55\x01\0\0\0\x75\x02\0\0\0";

/// What no part of a list may be without.
const LIST_PART: &[u8] = b"\x12\x01a\x1a\x01b\x40\x01\x48\x03";

/// All three fields of a request for one.
const LIST_REQUEST: &[u8] = b"\x12\x01a\x75\x02\0\0\0\x90\x01\x01";

/// States that the two codecs agree on one message of `graft.proto`: on the bytes of its fields, on
/// the fields of its bytes, and on what is not such a message at all.
macro_rules! agreement {
    ($test:ident, $message:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        mod $test {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(1_000))]

                #[test]
                fn both_write_the_same_bytes_and_read_them_back($($field in $strategy),*) {
                    let by_prost = pb::$message { $($field),* };
                    let payload = by_prost.encode_to_vec();
                    let message = decode(Kind::$message, &payload);
                    prop_assert_eq!(&message, &by_prost.to_message());
                    if let Ok(message) = message {
                        let mut buffer = [0; ENCODED_MAX];
                        prop_assert_eq!(encode(&message, &mut buffer).unwrap(), payload);
                    }
                }

                #[test]
                fn a_buffer_is_too_small_by_one_byte_or_not_at_all($($field in $strategy),*) {
                    let Ok(message) = (pb::$message { $($field),* }).to_message() else {
                        return Ok(());
                    };
                    let mut buffer = [0; ENCODED_MAX];
                    let required = encode(&message, &mut buffer).unwrap().len();
                    prop_assert!(encode(&message, &mut buffer[..required]).is_ok());
                    if let Some(short) = required.checked_sub(1) {
                        let too_small = Err(EncodeError { required });
                        prop_assert_eq!(encode(&message, &mut buffer[..short]), too_small);
                    }
                }

                #[test]
                fn both_read_any_payload_alike(payload in payloads()) {
                    agree(Kind::$message, &payload);
                }
            }
        }
    };
}

agreement!(
    vote_requests,
    VoteRequest {
        term: numbers(),
        candidate: ids(),
        current_state: positions(),
        handover_from: numbers(),
        size: sizes(),
        round: rounds(),
        list_term: list_terms(),
        list_version: list_versions(),
    }
);

agreement!(
    pre_vote_requests,
    PreVoteRequest {
        term: numbers(),
        candidate: ids(),
        current_state: positions(),
        handover_from: numbers(),
        size: sizes(),
        round: rounds(),
        list_term: list_terms(),
        list_version: list_versions(),
    }
);

agreement!(
    vote_responses,
    VoteResponse {
        term: numbers(),
        granted: any::<bool>(),
        voter: ids(),
        round: rounds(),
        list_term: list_terms(),
        list_version: list_versions(),
        life: rounds(),
        wanted: sizes(),
    }
);

agreement!(
    heartbeats,
    Heartbeat {
        term: numbers(),
        leader: ids(),
        sent_at: numbers(),
        size: sizes(),
        round: rounds(),
        list_term: list_terms(),
        list_version: list_versions(),
        value: positions(),
    }
);

agreement!(
    heartbeat_responses,
    HeartbeatResponse {
        term: numbers(),
        follower: ids(),
        current_state: positions(),
        sent_at: numbers(),
        priority: sizes(),
        round: rounds(),
        bound_for: numbers(),
        list_term: list_terms(),
        list_version: list_versions(),
        life: rounds(),
        paused: any::<bool>(),
        wanted: sizes(),
        full: any::<bool>(),
    }
);

agreement!(
    pre_vote_responses,
    PreVoteResponse {
        term: numbers(),
        granted: any::<bool>(),
        voter: ids(),
        proposed_term: numbers(),
        round: rounds(),
        list_term: list_terms(),
        list_version: list_versions(),
        life: rounds(),
        wanted: sizes(),
    }
);

agreement!(handovers, Handover { term: numbers(), leader: ids(), target: ids(), round: rounds() });

agreement!(
    list_parts,
    ListPart {
        sender: ids(),
        voter: ids(),
        place: sizes(),
        count: sizes(),
        list_term: list_terms(),
        list_version: list_versions(),
        life: rounds(),
        root_term: list_terms(),
        root_version: list_versions(),
    }
);

agreement!(list_requests, ListRequest { node: ids(), life: rounds(), wanted: sizes() });

agreement!(questions, Who { node: ids(), round: rounds(), life: rounds() });

agreement!(answers, Here { node: ids(), round: rounds(), life: rounds() });

agreement!(
    control_requests,
    ControlRequest {
        term: numbers(),
        node: ids(),
        target: ids(),
        action: choices(),
        last: rounds(),
        round: rounds(),
        list_term: list_terms(),
        list_version: list_versions(),
        life: rounds(),
        wanted: sizes(),
    }
);

agreement!(
    control_responses,
    ControlResponse {
        term: numbers(),
        node: ids(),
        leader: ids(),
        outcome: choices(),
        last: rounds(),
        round: rounds(),
        paused: any::<bool>(),
        list_term: list_terms(),
        list_version: list_versions(),
        life: rounds(),
        committed: any::<bool>(),
    }
);

/// Both refuse a field that lies deeper in groups than 100, and only then.
#[test]
fn both_bound_the_depth_of_groups_alike() {
    for depth in [1, 2, 98, 99, 100, 101, 102, 10_000] {
        for filling in [&[][..], &[0x28, 1]] {
            let begin = [0x3b].repeat(depth);
            let end = [0x3c].repeat(depth);
            agree(Kind::Heartbeat, &[&begin, filling, &end].concat());
        }
    }
}

/// Prost refuses a text that isn't UTF-8 even if another follows, which counts.
#[test]
fn of_a_repeated_id_only_the_last_is_judged() {
    for earlier in [&b"\xff"[..], "\u{f6}".as_bytes(), b"", &[b'n'; 65]] {
        let earlier = [&[0x12, earlier.len() as u8], earlier].concat();
        let payload = [&earlier, SENDER].concat();
        assert_eq!(decode(Kind::Heartbeat, &payload), decode(Kind::Heartbeat, SENDER));
        assert!(decode(Kind::Heartbeat, &[SENDER, &earlier].concat()).is_err());
    }
}

/// Compares the two codecs on a payload, and on the same with a sender at its end, without which
/// most are refused.
#[track_caller]
fn agree(kind: Kind, payload: &[u8]) {
    let sender = match kind {
        Kind::VoteResponse | Kind::PreVoteResponse => VOTER,
        Kind::Who | Kind::Here => IDENTITY,
        Kind::ControlRequest | Kind::ControlResponse => CONTROL,
        Kind::ListPart => LIST_PART,
        Kind::ListRequest => LIST_REQUEST,
        _ => SENDER,
    };
    for payload in [payload, &[payload, sender].concat()] {
        let ours = decode(kind, payload);
        match pb::read(kind, payload) {
            Ok(reading) => {
                assert_eq!(ours, reading.message, "{kind} {payload:02x?}");
                if let Ok(message) = ours {
                    let mut buffer = [0; ENCODED_MAX];
                    let written = encode(&message, &mut buffer);
                    assert_eq!(written, Ok(&*reading.rewritten), "{kind} {payload:02x?}");
                }
            }
            // See `of_a_repeated_id_only_the_last_is_judged`.
            Err(error) if error.to_string().contains("UTF-8") => {}
            Err(error) => {
                let is_no_protobuf = matches!(ours, Err(DecodeError::Wire(_)));
                assert!(is_no_protobuf, "{kind} {payload:02x?}: {ours:?}, {error}");
            }
        }
    }
}

/// Numbers of every length on the wire.
fn numbers() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..=64_u32).prop_map(|(number, shift)| number.checked_shr(shift).unwrap_or(0))
}

fn sizes() -> impl Strategy<Value = u32> {
    numbers().prop_map(|number| number as u32)
}

/// Most of them stand for something.
fn choices() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..=11_u32, 1 => sizes()]
}

fn rounds() -> impl Strategy<Value = u32> {
    prop_oneof![4 => any::<u32>(), 1 => Just(0)]
}

fn list_terms() -> impl Strategy<Value = u64> {
    prop_oneof![1 => numbers(), 1 => Just(0)]
}

fn list_versions() -> impl Strategy<Value = u32> {
    prop_oneof![4 => sizes(), 1 => Just(0)]
}

fn ids() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9/_-]{1,64}", 1 => texts()]
}

fn positions() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..=64), 1 => vec(any::<u8>(), 65..100)]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9]{1,70}", "\\PC{0,20}", any::<String>()]
}

/// Payloads that are often almost, and sometimes wholly, protobuf: fields, known and unknown, of
/// right and wrong wire types, in groups, repeated, cut off, and with bytes that make no sense.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let whole = vec(fields(), 0..6).prop_map(|fields| fields.concat()).boxed();
    let cut = (whole.clone(), any::<Index>()).prop_map(|(mut payload, at)| {
        payload.truncate(at.index(payload.len() + 1));
        payload
    });
    let flipped = (whole.clone(), any::<Index>(), any::<u8>()).prop_map(|(payload, at, byte)| {
        let at = at.index(payload.len().max(1));
        let flip = |(index, old): (usize, u8)| if index == at { old ^ byte } else { old };
        payload.into_iter().enumerate().map(flip).collect()
    });
    prop_oneof![4 => whole, 1 => cut, 2 => flipped, 1 => vec(any::<u8>(), 0..40)]
}

fn fields() -> impl Strategy<Value = Vec<u8>> {
    let key = |number: u64, wire_type: u64| varint(number << 3 | wire_type, 0);
    let numbered = move |wire_type: u64, value: Vec<u8>| {
        field_numbers().prop_map(move |number| [key(number, wire_type), value.clone()].concat())
    };
    let varints = (numbers(), 0..4_usize).prop_map(|(value, padding)| varint(value, padding));
    let delimited = |bytes: Vec<u8>| [varint(bytes.len() as u64, 0), bytes].concat();
    let bytes = prop_oneof![texts().prop_map(String::into_bytes), vec(any::<u8>(), 0..20),];
    let leaf = prop_oneof![
        4 => varints.prop_flat_map(move |value| numbered(0, value)),
        4 => bytes.prop_flat_map(move |value| numbered(2, delimited(value))),
        1 => any::<[u8; 8]>().prop_flat_map(move |value| numbered(1, value.to_vec())),
        3 => any::<[u8; 4]>().prop_flat_map(move |value| numbered(5, value.to_vec())),
    ];
    leaf.prop_recursive(4, 12, 3, move |inner| {
        (14..24_u64, vec(inner, 0..3), 0..8_u8).prop_map(move |(number, inside, odd)| {
            let end = if odd == 0 { number + 1 } else { number };
            [key(number, 3), inside.concat(), key(end, 4)].concat()
        })
    })
}

fn field_numbers() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 1..=3_u64, 6 => 8..=22_u64, 2 => 4..=25_u64, 1 => 0..1_u64 << 30]
}

/// The bytes of `value`, longer than need be by `padding` where there is room.
fn varint(mut value: u64, padding: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    for _ in 0..padding {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push(0);
    }
    bytes
}
