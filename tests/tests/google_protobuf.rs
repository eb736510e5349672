//! The wire format against Google's own protobuf library: each reads what the other writes, to the
//! field and to the byte (protocol, section 3).

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::num::{NonZeroU32, NonZeroU64};
use std::process::{Child, Command, Stdio};

use graft_election::core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Handover, Heartbeat,
    HeartbeatResponse, Identity, LeaderValue, Life, ListId, ListPart, ListRequest, Message, NodeId,
    Position, PreVoteResponse, Round, VoteRequest, VoteResponse,
};
use graft_election::proto::{DecodeError, ENCODED_MAX, Kind, decode, encode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/google_protobuf.py");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/graft.proto");

/// How many messages each writes.
const COUNT: usize = 100_000;

#[test]
fn google_reads_what_is_written_here_and_writes_the_same() {
    let mut google = google(&["check", PROTO]);
    let mut input = google.stdin.take().unwrap();
    let output = BufReader::new(google.stdout.take().unwrap());
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..COUNT {
        let message = draw(*Kind::ALL.choose(&mut random).unwrap(), &mut random);
        let name = format!("{:?}", Kind::of(&message));
        let payload = hex(&written(&message));
        let case = json!({ "message": name, "fields": fields(&message), "payload": payload });
        writeln!(input, "{case}").expect("google_protobuf.py reads on");
    }
    drop(input);
    let verdict: Vec<_> = output.lines().map(Result::unwrap).collect();
    assert!(google.wait().unwrap().success());
    assert_eq!(verdict, [format!("{COUNT} messages agree")]);
}

#[test]
fn what_google_writes_is_read_here_however_odd_it_is() {
    let mut google = google(&["write", PROTO, &COUNT.to_string()]);
    let (mut accepted, mut refused) = (0, 0);
    for line in BufReader::new(google.stdout.take().unwrap()).lines() {
        let case: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |key: &str| case[key].as_str().unwrap();
        let is_named = |kind: &Kind| format!("{kind:?}") == text("message");
        let kind = Kind::ALL.into_iter().find(is_named).unwrap();
        match decode(kind, &unhex(text("payload"))) {
            Ok(message) => {
                assert_eq!(fields(&message), case["fields"], "{case}");
                assert_eq!(hex(&written(&message)), text("canonical"), "{case}");
                accepted += 1;
            }
            Err(error) => {
                assert_eq!(Some(error), refusal(kind, &case["fields"]), "{case}");
                refused += 1;
            }
        }
    }
    assert!(google.wait().unwrap().success());
    assert_eq!(accepted + refused, COUNT);
    assert!(accepted.min(refused) > COUNT / 10, "{accepted} accepted, {refused} refused");
}

/// A random message of `kind`.
fn draw(kind: Kind, random: &mut StdRng) -> Message {
    match kind {
        Kind::VoteRequest => Message::VoteRequest(draw_request(random)),
        Kind::VoteResponse => Message::VoteResponse(VoteResponse {
            term: number(random),
            granted: random.random(),
            voter: optional(random, id),
            round: Round::new(small(random)),
            list: list(random),
            life: Life::new(small(random)),
            wanted: None,
        }),
        Kind::Heartbeat => Message::Heartbeat(Heartbeat {
            term: number(random),
            leader: id(random),
            sent_at: NonZeroU64::new(number(random)),
            size: NonZeroU32::new(small(random)),
            round: Round::new(small(random)),
            list: list(random),
            value: LeaderValue::new(position(random).as_bytes()).unwrap(),
        }),
        Kind::HeartbeatResponse => Message::HeartbeatResponse(HeartbeatResponse {
            term: number(random),
            follower: id(random),
            position: position(random),
            sent_at: NonZeroU64::new(number(random)),
            priority: small(random),
            bound_for: NonZeroU64::new(number(random)),
            round: Round::new(small(random)),
            list: list(random),
            life: Life::new(small(random)),
            is_paused: random.random(),
            is_full: false,
            wanted: None,
        }),
        Kind::PreVoteRequest => Message::PreVoteRequest(draw_request(random)),
        Kind::PreVoteResponse => Message::PreVoteResponse(PreVoteResponse {
            term: number(random),
            granted: random.random(),
            voter: id(random),
            proposed_term: number(random),
            round: Round::new(small(random)),
            list: list(random),
            life: Life::new(small(random)),
            wanted: None,
        }),
        Kind::Handover => Message::Handover(Handover {
            term: number(random),
            leader: id(random),
            target: optional(random, id),
            round: Round::new(small(random)),
        }),
        Kind::Who => Message::Who(draw_identity(random)),
        Kind::Here => Message::Here(draw_identity(random)),
        Kind::ListPart | Kind::ListRequest => draw_of_list(kind, random),
        Kind::ControlRequest | Kind::ControlResponse => draw_of_operator(kind, random),
    }
}

/// A part of a list, or the request for one.
fn draw_of_list(kind: Kind, random: &mut StdRng) -> Message {
    match kind {
        Kind::ListPart => Message::ListPart(ListPart {
            sender: id(random),
            voter: id(random),
            place: NonZeroU32::new(small(random).max(1)).unwrap(),
            count: NonZeroU32::new(small(random).max(1)).unwrap(),
            list: list(random),
            life: Life::new(small(random)),
            root: list(random),
        }),
        Kind::ListRequest => Message::ListRequest(ListRequest {
            node: id(random),
            life: Life::new(small(random).max(1)).unwrap(),
            wanted: NonZeroU32::new(small(random).max(1)).unwrap(),
        }),
        other => panic!("{other} is another kind"),
    }
}

/// What an operator asks, or is answered.
fn draw_of_operator(kind: Kind, random: &mut StdRng) -> Message {
    match kind {
        Kind::ControlRequest => Message::ControlRequest(ControlRequest {
            term: number(random),
            node: id(random),
            target: optional(random, id),
            action: ControlAction::from_number(random.random_range(1..=6)).unwrap(),
            last: Round::new(small(random)),
            round: Round::new(small(random).max(1)).unwrap(),
            list: list(random),
            life: Life::new(small(random)),
            wanted: NonZeroU32::new(small(random)),
        }),
        Kind::ControlResponse => Message::ControlResponse(ControlResponse {
            term: number(random),
            node: id(random),
            leader: optional(random, id),
            outcome: ControlOutcome::from_number(random.random_range(1..=10)).unwrap(),
            last: Round::new(small(random)),
            round: Round::new(small(random).max(1)).unwrap(),
            is_paused: random.random(),
            list: list(random),
            life: Life::new(small(random).max(1)).unwrap(),
            is_committed: random.random(),
        }),
        other => panic!("{other} is another kind"),
    }
}

fn draw_request(random: &mut StdRng) -> VoteRequest {
    VoteRequest {
        term: number(random),
        candidate: id(random),
        position: position(random),
        handover_from: NonZeroU64::new(number(random)),
        size: NonZeroU32::new(small(random)),
        round: Round::new(small(random)),
        list: list(random),
    }
}

fn draw_identity(random: &mut StdRng) -> Identity {
    let round = Round::new(small(random).max(1)).unwrap();
    Identity { node: id(random), round, life: Life::new(small(random).max(1)).unwrap() }
}

fn list(random: &mut StdRng) -> Option<ListId> {
    let list = |random: &mut StdRng| ListId { term: number(random), version: small(random).max(1) };
    optional(random, list)
}

fn optional<T>(random: &mut StdRng, draw: impl Fn(&mut StdRng) -> T) -> Option<T> {
    let is_there: bool = random.random();
    is_there.then(|| draw(random))
}

fn written(message: &Message) -> Vec<u8> {
    let mut buffer = [0; ENCODED_MAX];
    encode(message, &mut buffer).unwrap().to_vec()
}

/// The fields of a message by their names in `graft.proto`, as `google_protobuf.py` has them.
fn fields(message: &Message) -> Value {
    let hex = |position: &Position| hex(position.as_bytes());
    let long = |number: Option<NonZeroU64>| number.map_or(0, NonZeroU64::get);
    let short = |number: Option<NonZeroU32>| number.map_or(0, NonZeroU32::get);
    let text = |id: &Option<NodeId>| id.as_ref().map_or(String::new(), NodeId::to_string);
    let round = |round: Option<Round>| round.map_or(0, Round::number);
    let life = |life: Option<Life>| life.map_or(0, Life::number);
    let mut fields = match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => json!({
            "Term": request.term,
            "Candidate": request.candidate.as_str(),
            "CurrentState": hex(&request.position),
            "HandoverFrom": long(request.handover_from),
            "Size": short(request.size),
        }),
        Message::VoteResponse(response) => json!({
            "Term": response.term,
            "Granted": response.granted,
            "Voter": text(&response.voter),
            "Life": life(response.life),
            "Wanted": short(response.wanted),
        }),
        Message::Heartbeat(heartbeat) => json!({
            "Term": heartbeat.term,
            "Leader": heartbeat.leader.as_str(),
            "SentAt": long(heartbeat.sent_at),
            "Size": short(heartbeat.size),
            "Value": self::hex(heartbeat.value.as_bytes()),
        }),
        Message::HeartbeatResponse(response) => json!({
            "Term": response.term,
            "Follower": response.follower.as_str(),
            "CurrentState": hex(&response.position),
            "SentAt": long(response.sent_at),
            "Priority": response.priority,
            "BoundFor": long(response.bound_for),
            "Life": life(response.life),
            "Paused": response.is_paused,
            "Wanted": short(response.wanted),
            "Full": response.is_full,
        }),
        Message::PreVoteResponse(response) => json!({
            "Term": response.term,
            "Granted": response.granted,
            "Voter": response.voter.as_str(),
            "ProposedTerm": response.proposed_term,
            "Life": life(response.life),
            "Wanted": short(response.wanted),
        }),
        Message::Handover(handover) => json!({
            "Term": handover.term,
            "Leader": handover.leader.as_str(),
            "Target": text(&handover.target),
        }),
        Message::Who(identity) | Message::Here(identity) => json!({
            "Node": identity.node.as_str(),
            "Life": identity.life.number(),
        }),
        Message::ListPart(_) | Message::ListRequest(_) => list_fields(message),
        Message::ControlRequest(_) | Message::ControlResponse(_) => control_fields(message),
    };
    let kind = Kind::of(message);
    if !matches!(kind, Kind::ListPart | Kind::ListRequest) {
        fields["Round"] = round(message.round()).into();
    }
    if has_list(kind) {
        let list = list_in(message);
        fields["ListTerm"] = list.map_or(0, |list| list.term).into();
        fields["ListVersion"] = list.map_or(0, |list| list.version).into();
    }
    fields
}

/// Those of a part of a list, and of the request for one.
fn list_fields(message: &Message) -> Value {
    let life = |life: Option<Life>| life.map_or(0, Life::number);
    match message {
        Message::ListPart(part) => json!({
            "Sender": part.sender.as_str(),
            "Voter": part.voter.as_str(),
            "Place": part.place.get(),
            "Count": part.count.get(),
            "Life": life(part.life),
            "RootTerm": part.root.map_or(0, |root| root.term),
            "RootVersion": part.root.map_or(0, |root| root.version),
        }),
        Message::ListRequest(request) => json!({
            "Node": request.node.as_str(),
            "Life": request.life.number(),
            "Wanted": request.wanted.get(),
        }),
        other => panic!("{other:?} is not of a list"),
    }
}

/// Those of what an operator asks and is answered.
fn control_fields(message: &Message) -> Value {
    let text = |id: &Option<NodeId>| id.as_ref().map_or(String::new(), NodeId::to_string);
    let round = |round: Option<Round>| round.map_or(0, Round::number);
    match message {
        Message::ControlRequest(request) => json!({
            "Term": request.term,
            "Node": request.node.as_str(),
            "Target": text(&request.target),
            "Action": request.action.number(),
            "Last": round(request.last),
            "Life": request.life.map_or(0, Life::number),
            "Wanted": request.wanted.map_or(0, NonZeroU32::get),
        }),
        Message::ControlResponse(response) => json!({
            "Term": response.term,
            "Node": response.node.as_str(),
            "Leader": text(&response.leader),
            "Outcome": response.outcome.number(),
            "Last": round(response.last),
            "Paused": response.is_paused,
            "Life": response.life.number(),
            "Committed": response.is_committed,
        }),
        other => panic!("{other:?} is not of an operator"),
    }
}

/// The list that a message names.
fn list_in(message: &Message) -> Option<ListId> {
    match message {
        Message::ListPart(part) => part.list,
        Message::ControlRequest(request) => request.list,
        Message::ControlResponse(response) => response.list,
        message => message.list(),
    }
}

fn has_list(kind: Kind) -> bool {
    match kind {
        Kind::VoteRequest
        | Kind::VoteResponse
        | Kind::Heartbeat
        | Kind::HeartbeatResponse
        | Kind::PreVoteRequest
        | Kind::PreVoteResponse
        | Kind::ListPart
        | Kind::ControlRequest
        | Kind::ControlResponse => true,
        Kind::Handover | Kind::ListRequest | Kind::Who | Kind::Here => false,
    }
}

/// Why no node may see a message with these fields (rule V7).
fn refusal(kind: Kind, fields: &Value) -> Option<DecodeError> {
    let text = |field: &str| Some(fields.get(field)?.as_str().unwrap());
    let is_optional = |field| match field {
        "Target" => true,
        "Leader" => kind == Kind::ControlResponse,
        _ => kind == Kind::VoteResponse,
    };
    let of_id = |field: &'static str| {
        let name = text(field).filter(|name| !name.is_empty() || !is_optional(field))?;
        let error = NodeId::new(name).err()?;
        Some(DecodeError::InvalidId { field, error })
    };
    let of_position =
        || Position::new(&unhex(text("CurrentState")?)).err().map(DecodeError::PositionTooLong);
    let is_zero = |field: &str| fields.get(field).is_some_and(|number| *number == 0);
    let missing = |field| DecodeError::Missing { field };
    let of_half = |term, version| (is_zero(version) && !is_zero(term)).then(|| missing(version));
    let of_list = of_half("ListTerm", "ListVersion").or(of_half("RootTerm", "RootVersion"));
    let of_value = || {
        let value = text("Value")?;
        LeaderValue::new(&unhex(value)).err().map(DecodeError::ValueTooLong)
    };
    let of_choice = || {
        let (field, last) = match kind {
            Kind::ControlRequest => ("Action", 6),
            Kind::ControlResponse => ("Outcome", 10),
            _ => return None,
        };
        let is_known = (1..=last).contains(&fields[field].as_u64().unwrap());
        (!is_known).then_some(DecodeError::Unknown { field })
    };
    let of_question = || {
        let needed: &[_] = match kind {
            Kind::Who | Kind::Here | Kind::ControlResponse => &["Round", "Life"],
            Kind::ControlRequest => &["Round"],
            Kind::ListPart => &["Place", "Count"],
            Kind::ListRequest => &["Life", "Wanted"],
            _ => &[],
        };
        needed.iter().copied().find(|field| is_zero(field)).map(missing)
    };
    let ids = ["Sender", "Node", "Candidate", "Leader", "Follower", "Voter", "Target"];
    let of_ids = || ids.into_iter().find_map(of_id);
    let of_bytes = || of_position().or_else(of_value);
    of_list.or_else(of_ids).or_else(of_bytes).or_else(of_choice).or_else(of_question)
}

/// The script with Google's library, which `cargo xtask test` installs.
fn google(arguments: &[&str]) -> Child {
    let library = std::env::var_os("GOOGLE_PROTOBUF")
        .expect("GOOGLE_PROTOBUF names no folder: `cargo xtask test` installs the library in one");
    Command::new("python3")
        .arg(SCRIPT)
        .args(arguments)
        .env("PYTHONPATH", library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts")
}

/// A number of any length on the wire.
fn number(random: &mut StdRng) -> u64 {
    let shift = random.random_range(0..=64);
    random.next_u64().checked_shr(shift).unwrap_or(0)
}

fn small(random: &mut StdRng) -> u32 {
    number(random) as u32
}

fn id(random: &mut StdRng) -> NodeId {
    let len = *[1, 26, NodeId::CAPACITY].choose(random).unwrap();
    let name: String = (0..len).map(|_| *['a', '9', '-', '~'].choose(random).unwrap()).collect();
    NodeId::new(&name).unwrap()
}

fn position(random: &mut StdRng) -> Position {
    let mut bytes = vec![0; *[0, 1, Position::CAPACITY].choose(random).unwrap()];
    random.fill_bytes(&mut bytes);
    Position::new(&bytes).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
