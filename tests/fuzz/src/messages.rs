//! Payloads of each kind: what is accepted survives being written and read again, and the verdict on
//! a payload is prost's, save for what rule V7 adds.

#![no_main]

use graft_election_proto::prost_messages as by_prost;
use graft_election_proto::{DecodeError, ENCODED_MAX, Kind, decode, encode, wire};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|input: &[u8]| {
    // The first byte says of which kind the rest is to be.
    let Some((number, payload)) = input.split_first() else {
        return;
    };
    let kind = Kind::ALL[usize::from(*number) % Kind::ALL.len()];
    judge_as_prost_does(kind, payload);
    survive_being_written(kind, payload);
});

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
    /// What each codec writes of what it has read.
    macro_rules! rewritten {
        ($message:ident) => {{
            let mut buffer = vec![0; payload.len()];
            let ours = wire::$message::decode(payload).ok();
            // What is written is never longer than what was read.
            let ours = ours.map(|message| message.encode(&mut buffer).expect("room").to_vec());
            let prosts = by_prost::$message::decode(payload).ok();
            (ours, prosts.map(|message| message.encode_to_vec()))
        }};
    }
    let (ours, prosts) = match kind {
        Kind::VoteRequest => rewritten!(VoteRequest),
        Kind::VoteResponse => rewritten!(VoteResponse),
        Kind::Heartbeat => rewritten!(Heartbeat),
        Kind::HeartbeatResponse => rewritten!(HeartbeatResponse),
        Kind::PreVoteRequest => rewritten!(PreVoteRequest),
        Kind::PreVoteResponse => rewritten!(PreVoteResponse),
        Kind::Handover => rewritten!(Handover),
    };
    assert_eq!(ours, prosts);
    let is_no_protobuf = matches!(decode(kind, payload), Err(DecodeError::Wire(_)));
    assert_eq!(is_no_protobuf, prosts.is_none());
}
