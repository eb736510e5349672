//! The wire format against Google's own protobuf library: each reads what the other writes, to the
//! field and to the byte (protocol, section 3).

#![cfg(test)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use graft_election::proto::wire;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/google_protobuf.py");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/graft.proto");

/// How many messages each writes.
const COUNT: usize = 100_000;

/// Says for each message of `graft.proto` which fields it has.
macro_rules! messages {
    ($($message:literal is $wire:ident { $($name:literal => $field:ident),* })*) => {
        /// The names of all messages.
        const MESSAGES: &[&str] = &[$($message),*];

        /// Writes a random message: its payload and its fields.
        fn write(message: &str, random: &mut StdRng) -> (Vec<u8>, Value) {
            let mut buffer = [0; 1_000];
            let (texts, bytes) = ([text(random), text(random)], bytes(random));
            let mut texts = texts.iter();
            let mut drawn = Drawn { random, texts: &mut texts, bytes: &bytes };
            match message {
                $($message => {
                    let message = wire::$wire { $($field: drawn.draw()),* };
                    let payload = message.encode(&mut buffer).unwrap().to_vec();
                    (payload, json!({ $($name: to_json(message.$field)),* }))
                })*
                other => panic!("{other} is no message"),
            }
        }

        /// Reads a message: its fields, and how it would be written.
        fn read(message: &str, payload: &[u8]) -> (Value, Vec<u8>) {
            let mut buffer = vec![0; payload.len()];
            match message {
                $($message => {
                    let message = wire::$wire::decode(payload).unwrap();
                    let fields = json!({ $($name: to_json(message.$field)),* });
                    (fields, message.encode(&mut buffer).unwrap().to_vec())
                })*
                other => panic!("{other} is no message"),
            }
        }
    };
}

messages! {
    "VoteRequest" is VoteRequest {
        "Term" => term, "Candidate" => candidate, "CurrentState" => current_state,
        "HandoverFrom" => handover_from, "Size" => size
    }
    "VoteResponse" is VoteResponse { "Term" => term, "Granted" => granted, "Voter" => voter }
    "Heartbeat" is Heartbeat {
        "Term" => term, "Leader" => leader, "SentAt" => sent_at, "Size" => size
    }
    "HeartbeatResponse" is HeartbeatResponse {
        "Term" => term, "Follower" => follower, "CurrentState" => current_state,
        "SentAt" => sent_at, "Priority" => priority, "BoundFor" => bound_for
    }
    "PreVoteRequest" is PreVoteRequest {
        "Term" => term, "Candidate" => candidate, "CurrentState" => current_state,
        "HandoverFrom" => handover_from, "Size" => size, "Round" => round
    }
    "PreVoteResponse" is PreVoteResponse {
        "Term" => term, "Granted" => granted, "Voter" => voter, "ProposedTerm" => proposed_term,
        "Round" => round
    }
    "Handover" is Handover { "Term" => term, "Leader" => leader, "Target" => target }
}

#[test]
fn google_reads_what_is_written_here_and_writes_the_same() {
    let mut google = google(&["check", PROTO]);
    let mut input = google.stdin.take().unwrap();
    let output = BufReader::new(google.stdout.take().unwrap());
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..COUNT {
        let message = *MESSAGES.choose(&mut random).unwrap();
        let (payload, fields) = write(message, &mut random);
        let case = json!({ "message": message, "fields": fields, "payload": hex(&payload) });
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
    let mut count = 0;
    for line in BufReader::new(google.stdout.take().unwrap()).lines() {
        let case: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |key: &str| case[key].as_str().unwrap();
        let (fields, written) = read(text("message"), &unhex(text("payload")));
        assert_eq!(fields, case["fields"], "{case}");
        assert_eq!(hex(&written), text("canonical"), "{case}");
        count += 1;
    }
    assert!(google.wait().unwrap().success());
    assert_eq!(count, COUNT);
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

/// What the fields of one message are drawn from.
struct Drawn<'d, 't> {
    random: &'d mut StdRng,
    texts: &'d mut std::slice::Iter<'t, String>,
    bytes: &'t [u8],
}

/// A value that a field can have.
trait Draw<V> {
    fn draw(&mut self) -> V;
}

impl Draw<u64> for Drawn<'_, '_> {
    fn draw(&mut self) -> u64 {
        number(self.random)
    }
}

impl Draw<u32> for Drawn<'_, '_> {
    fn draw(&mut self) -> u32 {
        number(self.random) as u32
    }
}

impl Draw<bool> for Drawn<'_, '_> {
    fn draw(&mut self) -> bool {
        self.random.random()
    }
}

impl<'t> Draw<&'t str> for Drawn<'_, 't> {
    fn draw(&mut self) -> &'t str {
        self.texts.next().expect("no message has more texts")
    }
}

impl<'t> Draw<&'t [u8]> for Drawn<'_, 't> {
    fn draw(&mut self) -> &'t [u8] {
        self.bytes
    }
}

/// A number of any length on the wire.
fn number(random: &mut StdRng) -> u64 {
    let shift = random.random_range(0..=64);
    random.next_u64().checked_shr(shift).unwrap_or(0)
}

fn text(random: &mut StdRng) -> String {
    let len = *[0, 1, 26, 64, 100].choose(random).unwrap();
    (0..len).map(|_| *['a', '9', '-', 'é', '€', '🦀', '\0'].choose(random).unwrap()).collect()
}

fn bytes(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; *[0, 1, 64, 100].choose(random).unwrap()];
    random.fill_bytes(&mut bytes);
    bytes
}

fn to_json<'v>(value: impl Into<Field<'v>>) -> Value {
    match value.into() {
        Field::Plain(value) => value,
        Field::Bytes(bytes) => hex(bytes).into(),
    }
}

/// Bytes would be an array of numbers.
enum Field<'v> {
    Plain(Value),
    Bytes(&'v [u8]),
}

macro_rules! plain {
    ($($type:ty),*) => { $(
        impl<'v> From<$type> for Field<'v> {
            fn from(value: $type) -> Self {
                Self::Plain(value.into())
            }
        }
    )* };
}

plain!(u64, u32, bool, &'v str);

impl<'v> From<&'v [u8]> for Field<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(bytes)
    }
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
