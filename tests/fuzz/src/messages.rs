//! Payloads of each kind: what is accepted survives being written and read again, and the verdict
//! on a payload is prost's, except for what rule V7 adds.

#![no_main]

#[path = "../../../proto/tests/pb/mod.rs"]
pub mod pb;

use graft_election_core::Recipient;
use graft_election_proto::seal::{Key, Keys, Seals};
use graft_election_proto::{DecodeError, ENCODED_MAX, Kind, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The first byte says of which kind the rest is to be.
    let Some((number, payload)) = input.split_first() else {
        return;
    };
    let kind = Kind::ALL[usize::from(*number) % Kind::ALL.len()];
    judge_as_prost_does(kind, payload);
    be_sealed_by_nobody(kind, payload);
    survive_being_written(kind, payload);
});

/// Nobody guesses a MAC (rule K1), whatever comes before it.
fn be_sealed_by_nobody(kind: Kind, payload: &[u8]) {
    let Ok(message) = decode(kind, payload) else {
        return;
    };
    let keys = Keys { current: Key::new([1; Key::LEN]), other: None };
    let mut seals = Seals::<1>::of_listener("fuzz", &keys);
    assert!(seals.open(&message, &Recipient::Everyone, payload).is_err());
}

fn survive_being_written(kind: Kind, payload: &[u8]) {
    let Ok(message) = decode(kind, payload) else {
        return;
    };
    assert_eq!(Kind::of(&message), kind);
    let mut buffer = [0; ENCODED_MAX];
    let written = encode(&message, &mut buffer).expect("ENCODED_MAX has room for any message");
    assert_eq!(decode(kind, written).as_ref(), Ok(&message));
}

fn judge_as_prost_does(kind: Kind, payload: &[u8]) {
    let ours = decode(kind, payload);
    match pb::read(kind, payload) {
        Ok(reading) => {
            assert_eq!(ours, reading.message);
            if let Ok(message) = ours {
                let mut buffer = [0; ENCODED_MAX];
                assert_eq!(encode(&message, &mut buffer), Ok(reading.rewritten.as_slice()));
            }
        }
        // Of a repeated id we judge only the last one, and prost each.
        Err(error) if error.to_string().contains("UTF-8") => {}
        Err(_) => assert!(matches!(ours, Err(DecodeError::Wire(_)))),
    }
}
