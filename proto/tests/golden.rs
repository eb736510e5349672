//! What the Go original wrote and what it made of odd payloads, line for line (protocol, section
//! 3).

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use graft_election_core::Message;
use graft_election_proto::{ENCODED_MAX, Kind, WireError, decode, encode, wire};
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
    // Field 2 of a VoteResponse is a bool, and these hold the id of another message.
    ("VoteResponse", "fields reversed order"),
    ("VoteResponse", "field2 lone surrogate utf8"),
    ("VoteResponse", "field2 overlong utf8"),
    ("VoteResponse", "field2 nul"),
    ("VoteResponse", "field2 empty"),
];

#[test]
fn every_message_is_written_as_go_writes_it_and_read_back() {
    for line in lines("proto_encode.jsonl") {
        if line.get("encode_error").is_some() {
            // A text of invalid UTF-8. Go refuses to write it; here no &str can hold it.
            let id = ["CandidateHex", "LeaderHex"].map(|name| line["fields"].get(name));
            let id = id.into_iter().flatten().map(bytes).next().unwrap();
            assert!(str::from_utf8(&id).is_err(), "{line}");
            continue;
        }
        let payload = bytes(&line["hex"]);
        let (kind, fields) = (text(&line["type"]), Fields::of(&line["fields"]));
        assert_eq!(fields.written_as(kind), payload, "{line}");
        assert_eq!(Fields::read_from(kind, &payload), Ok(fields), "{line}");
    }
}

#[test]
fn v7_every_payload_is_read_as_go_reads_it_but_for_wrong_wire_types() {
    let mut wrong_wire_types = 0;
    for line in lines("proto_decode.jsonl") {
        let payload = bytes(&line["hex"]);
        let (kind, case) = (text(&line["type"]), text(&line["case"]));
        let read = Fields::read_from(kind, &payload);
        if is_wrong_wire_type(kind, case) {
            wrong_wire_types += 1;
            assert_eq!(line["ok"], true, "{line}");
            assert!(matches!(read, Err(WireError::WrongWireType { .. })), "{line}: {read:?}");
        } else if line["ok"] == true {
            assert_eq!(read, Ok(Fields::of(&line["fields"])), "{line}");
        } else {
            assert!(read.is_err(), "{line}: {read:?}");
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

    fn read_from(kind: &str, payload: &[u8]) -> Result<Self, WireError> {
        Ok(match kind {
            "VoteRequest" => {
                let request = wire::VoteRequest::decode(payload)?;
                assert_eq!((request.handover_from, request.size), (0, 0));
                Self {
                    term: request.term,
                    id: request.candidate.into(),
                    current_state: request.current_state.into(),
                    granted: false,
                }
            }
            "VoteResponse" => {
                let response = wire::VoteResponse::decode(payload)?;
                Self {
                    term: response.term,
                    granted: response.granted,
                    id: response.voter.into(),
                    ..Self::default()
                }
            }
            "Heartbeat" => {
                let heartbeat = wire::Heartbeat::decode(payload)?;
                assert_eq!((heartbeat.sent_at, heartbeat.size), (0, 0));
                Self { term: heartbeat.term, id: heartbeat.leader.into(), ..Self::default() }
            }
            _ => panic!("{kind} is not a message of the Go original"),
        })
    }

    fn written_as(&self, kind: &str) -> Vec<u8> {
        let id = str::from_utf8(&self.id).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let payload = match kind {
            "VoteRequest" => wire::VoteRequest {
                term: self.term,
                candidate: id,
                current_state: &self.current_state,
                ..wire::VoteRequest::default()
            }
            .encode(&mut buffer),
            "VoteResponse" => wire::VoteResponse {
                term: self.term,
                granted: self.granted,
                ..wire::VoteResponse::default()
            }
            .encode(&mut buffer),
            "Heartbeat" => {
                wire::Heartbeat { term: self.term, leader: id, ..wire::Heartbeat::default() }
                    .encode(&mut buffer)
            }
            _ => panic!("{kind} is not a message of the Go original"),
        };
        payload.unwrap().to_vec()
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

fn is_wrong_wire_type(kind: &str, case: &str) -> bool {
    WRONG_WIRE_TYPE.contains(&(kind, case))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The bytes that a string of hexadecimal digits stands for.
fn bytes(hexadecimal: &Value) -> Vec<u8> {
    let digits = text(hexadecimal).as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
