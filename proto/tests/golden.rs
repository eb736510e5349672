//! What the Go original wrote and what it made of odd payloads, line for line (protocol, section
//! 3).

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use graft_election_core::{
    Heartbeat, LeaderValue, Message, NodeId, Position, VoteRequest, VoteResponse,
};
use graft_election_proto::{DecodeError, ENCODED_MAX, Kind, WireError, decode, encode};
use serde_json::Value;

/// Payloads in which a known field has the wrong wire type. Go skips such a field; here the message
/// is dropped (rule V7). No Go node sends any.
const WRONG_WIRE_TYPE: [(&str, &str); 18] = [
    ("VoteRequest", "field1 as bytes (wrong wire type)"),
    ("VoteRequest", "field1 as fixed64 (wrong wire type)"),
    ("VoteResponse", "field1 as fixed64 (wrong wire type)"),
    ("Heartbeat", "field1 as fixed64 (wrong wire type)"),
    ("VoteRequest", "field1 as fixed32 (wrong wire type)"),
    ("Heartbeat", "field1 as fixed32 (wrong wire type)"),
    ("VoteRequest", "field2 as varint u64 max"),
    ("VoteRequest", "field3 as varint"),
    ("VoteRequest", "granted 0 explicit"),
    ("Heartbeat", "granted 0 explicit"),
    ("VoteRequest", "granted 1"),
    ("Heartbeat", "granted 1"),
    ("VoteRequest", "granted then 0"),
    // Field 2 of a VoteResponse is a truth value, and these hold the id of another message.
    ("VoteResponse", "fields reversed order"),
    ("VoteResponse", "field2 lone surrogate utf8"),
    ("VoteResponse", "field2 overlong utf8"),
    ("VoteResponse", "field2 nul"),
    ("VoteResponse", "field2 empty"),
];

#[test]
fn every_message_is_written_as_go_writes_it_and_read_back() {
    let mut written = 0;
    for line in lines("proto_encode.jsonl") {
        let fields = Fields::of(&line["fields"]);
        if line.get("encode_error").is_some() {
            // An id of invalid UTF-8. Go refuses to write it; here no `NodeId` can hold it.
            assert!(NodeId::from_bytes(&fields.id).is_err(), "{line}");
            continue;
        }
        let (kind, payload) = (kind(&line["type"]), bytes(&line["hex"]));
        let message = fields.message(kind);
        assert_eq!(decode(kind, &payload), message, "{line}");
        if let Ok(message) = message {
            let mut buffer = [0; ENCODED_MAX];
            assert_eq!(encode(&message, &mut buffer), Ok(payload.as_slice()), "{line}");
            written += 1;
        }
    }
    assert!(written > 60, "only {written} messages could be ours");
}

#[test]
fn v7_every_payload_is_read_as_go_reads_it_but_for_wrong_wire_types() {
    let mut wrong_wire_types = 0;
    for line in lines("proto_decode.jsonl") {
        let payload = bytes(&line["hex"]);
        let (kind, case) = (kind(&line["type"]), text(&line["case"]));
        let read = decode(kind, &payload);
        if is_wrong_wire_type(kind, case) {
            wrong_wire_types += 1;
            assert_eq!(line["ok"], true, "{line}");
            let error = matches!(read, Err(DecodeError::Wire(WireError::WrongWireType { .. })));
            assert!(error, "{line}: {read:?}");
        } else if line["ok"] == true {
            let fields = Fields::of(&line["fields"]);
            assert_eq!(read, fields.message(kind), "{line}");
            // Many requests and heartbeats name no sender, which Go reads and no node may see. With
            // one, the other fields are seen to be read as Go reads them, too.
            if kind != Kind::VoteResponse {
                let named = Fields { id: b"a".into(), ..fields };
                let payload = [&payload, &b"\x12\x01a"[..]].concat();
                assert_eq!(decode(kind, &payload), named.message(kind), "{line}");
            }
        } else if case.contains("utf8") {
            assert!(matches!(read, Err(DecodeError::InvalidId { .. })), "{line}: {read:?}");
        } else {
            assert!(matches!(read, Err(DecodeError::Wire(_))), "{line}: {read:?}");
        }
    }
    assert_eq!(wrong_wire_types, WRONG_WIRE_TYPE.len());
}

#[test]
fn the_traffic_of_go_nodes_is_understood_and_could_be_ours() {
    let heard = lines("traffic_subscriber.jsonl").into_iter().map(|line| {
        let payload = bytes(&line["hex"]);
        let fields = Fields::of(&line["decoded"]);
        (text(&line["subject"]).to_owned(), payload, Some(fields))
    });
    let proxied = lines("traffic_proxy.jsonl").into_iter().filter_map(|line| {
        // PUB subject [reply] size; MSG subject sid [reply] size.
        let subject = text(&line["args"]).split(' ').nth(1)?.to_owned();
        let payload = line.get("payload_hex").filter(|hex| hex.is_string())?;
        Some((subject, bytes(payload), None))
    });
    let mut count = 0;
    for (subject, payload, fields) in heard.chain(proxied) {
        let name = subject.rsplit('.').next().unwrap();
        let kind = Kind::from_name(name).unwrap();
        let message = decode(kind, &payload).unwrap();
        assert_eq!(Kind::of(&message), kind);
        if let Some(fields) = fields {
            assert_eq!(Fields::from(&message), fields, "{subject}");
        }
        let mut buffer = [0; ENCODED_MAX];
        assert_eq!(encode(&message, &mut buffer), Ok(payload.as_slice()), "{subject}");
        count += 1;
    }
    assert!(count > 40, "only {count} payloads were found");
}

/// A message of the Go original: the fields that any of its three has.
#[derive(Debug, Default, PartialEq)]
struct Fields {
    term: u64,
    granted: bool,
    id: Vec<u8>,
    current_state: Vec<u8>,
}

impl Fields {
    /// Takes the fields as the data has them: terms as decimal text or numbers, bytes as
    /// hexadecimal digits or text.
    fn of(fields: &Value) -> Self {
        let hexadecimal = |name: &str| fields.get(name).map(bytes);
        let plain = |name: &str| fields.get(name).map(|value| text(value).as_bytes().to_vec());
        let id = ["CandidateHex", "LeaderHex"].into_iter().find_map(hexadecimal);
        let plain_id = ["Candidate", "Leader"].into_iter().find_map(plain);
        let term = &fields["Term"];
        Self {
            term: term.as_u64().unwrap_or_else(|| text(term).parse().unwrap()),
            granted: fields.get("Granted").is_some_and(|granted| granted == true),
            id: id.or(plain_id).unwrap_or_default(),
            current_state: hexadecimal("CurrentStateHex").unwrap_or_default(),
        }
    }

    /// The message that has these fields, or why no node may see it.
    fn message(&self, kind: Kind) -> Result<Message, DecodeError> {
        let term = self.term;
        let id = |field| {
            NodeId::from_bytes(&self.id).map_err(|error| DecodeError::InvalidId { field, error })
        };
        Ok(match kind {
            Kind::VoteRequest => Message::VoteRequest(VoteRequest {
                term,
                candidate: id("Candidate")?,
                position: Position::new(&self.current_state)?,
                handover_from: None,
                size: None,
                round: None,
                list: None,
            }),
            Kind::VoteResponse => Message::VoteResponse(VoteResponse {
                term,
                granted: self.granted,
                voter: None,
                round: None,
                list: None,
                life: None,
                wanted: None,
            }),
            Kind::Heartbeat => Message::Heartbeat(Heartbeat {
                term,
                leader: id("Leader")?,
                sent_at: None,
                size: None,
                round: None,
                list: None,
                value: LeaderValue::EMPTY,
            }),
            _ => panic!("{kind} is not a message of the Go original"),
        })
    }
}

impl From<&Message> for Fields {
    fn from(message: &Message) -> Self {
        let id = message.sender().map(|id| id.as_str().into());
        let (granted, current_state) = match message {
            Message::VoteRequest(request) => (false, request.position.as_bytes()),
            Message::VoteResponse(response) => (response.granted, &[][..]),
            _ => (false, &[][..]),
        };
        Self {
            term: message.term(),
            granted,
            id: id.unwrap_or_default(),
            current_state: current_state.into(),
        }
    }
}

fn lines(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(file);
    let lines = fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_wrong_wire_type(kind: Kind, case: &str) -> bool {
    WRONG_WIRE_TYPE.contains(&(format!("{kind:?}").as_str(), case))
}

fn kind(name: &Value) -> Kind {
    Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == text(name)).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The bytes that a string of hexadecimal digits stands for.
fn bytes(hexadecimal: &Value) -> Vec<u8> {
    let digits = text(hexadecimal).as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
