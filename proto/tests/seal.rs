//! What a cluster's key proves, and what it doesn't (rules K1 to K4 of `docs/protocol.md`).

#![cfg(feature = "seal")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use graft_election_core::{
    ControlAction, ControlRequest, Handover, Identity, Life, Message, NodeId, Outgoing, Recipient,
    Round, VoteResponse,
};
use graft_election_proto::seal::{Key, Keys, SEALED_MAX, SealError, SealFault, Seals};
use graft_election_proto::{EncodeError, Kind, SEAL_LEN, decode, encode};
use proptest::prelude::*;

const KEY: [u8; Key::LEN] = {
    let mut key = [0; Key::LEN];
    let mut index = 0;
    while index < Key::LEN {
        key[index] = index as u8;
        index += 1;
    }
    key
};

/// Python's `hmac` made the MACs of these from what rule K1 says, for the key 00 01 .. 1f.
#[test]
fn k1_a_seal_is_what_the_rule_says() {
    let vote = vote("a", "b");
    let mut sealed = b"\x08\x07\x10\x01\x42\x01a\x7a\x18\x01\x00\x00\x00\x30\x00\x00\x00".to_vec();
    sealed.extend(0xe6d6_4bc9_b5a3_1afa_3ba4_be12_3d7e_464e_u128.to_be_bytes());
    assert_eq!(node("a", 3).seal(&vote), sealed);
    assert_eq!(node("b", 1).open(&vote, &sealed), Ok(()));

    let question = question_for("a");
    let mut sealed = b"\x12\x01a\x40\x01\x55\x09\x00\x00\x00\x7a\x18\0\0\0\0\0\0\0\0".to_vec();
    sealed.extend(0x31de_4915_d31c_fc4e_07b8_d56c_e01e_7eaf_u128.to_be_bytes());
    assert_eq!(listener().seal(&question), sealed);
    assert_eq!(node("a", 1).open(&question, &sealed), Ok(()));
}

#[test]
fn k1_who_has_no_key_reads_past_the_seal() {
    for outgoing in [vote("a", "b"), handover("a"), question_for("a")] {
        let Outgoing { message, .. } = &outgoing;
        let (plain, sealed) = (plain(&outgoing), node("a", 1).seal(&outgoing));
        assert_eq!(sealed.len(), plain.len() + SEAL_LEN);
        assert!(sealed.starts_with(&plain));
        assert_eq!(decode(Kind::of(message), &sealed).as_ref(), Ok(message));
    }
}

#[test]
fn k1_a_buffer_that_is_too_small_is_told_the_size_it_should_have() {
    let (mut a, vote) = (node("a", 1).0, vote("a", "b"));
    let required = plain(&vote).len() + SEAL_LEN;
    for len in plain(&vote).len()..required {
        let too_small = SealError::Encode(EncodeError { required });
        assert_eq!(a.encode(&vote, &mut vec![0; len]), Err(too_small));
    }
    assert_eq!(a.encode(&vote, &mut vec![0; required]).unwrap().len(), required);
}

#[test]
fn k1_a_message_can_not_be_turned_against_anyone_else() {
    let vote_for_b = vote("a", "b");
    let sealed = node("a", 1).seal(&vote_for_b);
    let Outgoing { message, .. } = &vote_for_b;
    let wrong = Err(SealFault::WrongSeal);
    // Reflected, or said to everyone.
    for to in [Recipient::Node(id("a")), Recipient::Node(id("c")), Recipient::Everyone] {
        assert_eq!(node("c", 1).0.open(message, &to, &sealed), wrong);
    }
    // With another cluster's name.
    let mut elsewhere = Seals::<4>::of_listener("lamp", &keys(KEY, None));
    assert_eq!(elsewhere.open(message, &Recipient::Node(id("b")), &sealed), wrong);
    // The same bytes as another kind, which has the same fields.
    let who = Message::Who(identity("a"));
    let here = Message::Here(identity("a"));
    let sealed = node("a", 1).seal(&Outgoing { to: Recipient::Everyone, message: who });
    assert_eq!(decode(Kind::Here, &sealed).as_ref(), Ok(&here));
    assert_eq!(listener().0.open(&here, &Recipient::Everyone, &sealed), wrong);
}

#[test]
fn k1_another_sender_is_another_seal() {
    let sealed = node("a", 1).seal(&handover("a"));
    // The medium's word and the message's agree, but the seal says otherwise.
    assert_eq!(listener().open(&handover("b"), &sealed), Err(SealFault::WrongSeal));
}

#[test]
fn k2_a_message_is_taken_once_and_in_any_order_within_the_window() {
    let (mut a, mut b) = (node("a", 1), listener());
    let sealed: Vec<_> = (0..100).map(|_| a.seal(&handover("a"))).collect();
    let mut open = |index: usize| b.open(&handover("a"), &sealed[index]);
    assert_eq!(open(70), Ok(()));
    for index in [69, 6, 7, 71, 8] {
        assert_eq!(open(index), Ok(()), "{index}");
        assert_eq!(open(index), Err(SealFault::Replayed), "{index} again");
    }
    assert_eq!(open(70), Err(SealFault::Replayed), "the highest before");
    assert_eq!(open(6), Err(SealFault::Replayed), "below the window");
    assert_eq!(open(99), Ok(()));
    assert_eq!(open(35), Ok(()), "the last of the window");
    assert_eq!(open(34), Err(SealFault::Replayed), "below the window, though never heard");
    for index in [71, 70, 69] {
        assert_eq!(open(index), Err(SealFault::Replayed), "{index} is remembered");
    }
    assert_eq!(open(72), Ok(()));
}

#[test]
fn k2_the_window_moves_by_its_whole_width() {
    for rise in [63, 64, 65] {
        let (mut a, mut b) = (node("a", 1), listener());
        let sealed: Vec<_> = (0..=rise).map(|_| a.seal(&handover("a"))).collect();
        assert_eq!(b.open(&handover("a"), &sealed[0]), Ok(()));
        assert_eq!(b.open(&handover("a"), &sealed[rise]), Ok(()));
        assert_eq!(b.open(&handover("a"), &sealed[0]), Err(SealFault::Replayed), "{rise}");
        assert_eq!(b.open(&handover("a"), &sealed[1]), Ok(()), "{rise}");
    }
}

#[test]
fn k2_a_start_outdates_all_that_was_said_before() {
    let (mut before, mut after, mut b) = (node("a", 1), node("a", 2), listener());
    let (old, held_back) = (before.seal(&handover("a")), before.seal(&handover("a")));
    assert_eq!(b.open(&handover("a"), &old), Ok(()));
    assert_eq!(b.open(&handover("a"), &after.seal(&handover("a"))), Ok(()));
    assert_eq!(b.open(&handover("a"), &held_back), Err(SealFault::EarlierLife));
    assert_eq!(b.open(&handover("a"), &old), Err(SealFault::EarlierLife));
}

#[test]
fn k2_ones_own_voice_counts_if_it_is_of_this_life_or_of_a_double() {
    let mut own = node("a", 2);
    let echo = own.seal(&handover("a"));
    for _ in 0..2 {
        assert_eq!(own.open(&handover("a"), &echo), Ok(()), "the election ignores it (V5)");
    }
    let double = node("a", 2).seal(&handover("a"));
    assert_eq!(own.open(&handover("a"), &double), Ok(()), "it must be heard (N3)");
    let of_old = node("a", 1).seal(&handover("a"));
    assert_eq!(own.open(&handover("a"), &of_old), Err(SealFault::EarlierLife));
}

#[test]
fn k2_whoever_was_silent_longest_makes_room() {
    let mut b = Seals::<2>::of_listener("lamps", &keys(KEY, None));
    let mut open = |name: &str, sealed: &[u8]| {
        let Outgoing { to, message } = handover(name);
        b.open(&message, &to, sealed)
    };
    let [from_a, from_c, from_d] = ["a", "c", "d"].map(|name| node(name, 1).seal(&handover(name)));
    let later_from_a = {
        let mut a = node("a", 1);
        a.seal(&handover("a"));
        a.seal(&handover("a"))
    };
    assert_eq!(open("a", &from_a), Ok(()));
    assert_eq!(open("c", &from_c), Ok(()));
    assert_eq!(open("a", &later_from_a), Ok(()));
    assert_eq!(open("d", &from_d), Ok(()), "in the place of c");
    assert_eq!(open("a", &from_a), Err(SealFault::Replayed));
    assert_eq!(open("d", &from_d), Err(SealFault::Replayed));
    assert_eq!(open("c", &from_c), Ok(()), "c was forgotten");
}

#[test]
fn k2_a_forgery_leaves_no_trace() {
    let (mut a, mut b) = (node("a", 1), listener());
    let sealed = a.seal(&handover("a"));
    let mut forged = sealed.clone();
    let number_at = sealed.len() - 17;
    forged[number_at] = 0xff;
    assert_eq!(b.open(&handover("a"), &forged), Err(SealFault::WrongSeal));
    assert_eq!(b.open(&handover("a"), &sealed), Ok(()), "its number was not taken");
}

#[test]
fn k2_a_request_may_be_repeated_since_o4_tells_an_old_one() {
    let (sealed, mut a) = (listener().seal(&question_for("a")), node("a", 1));
    for _ in 0..2 {
        assert_eq!(a.open(&question_for("a"), &sealed), Ok(()));
    }
}

#[test]
fn k3_what_has_no_seal_is_told_from_what_has_a_wrong_one() {
    let plain = plain(&handover("a"));
    assert_eq!(listener().open(&handover("a"), &plain), Err(SealFault::Unsealed));
    assert_eq!(listener().open(&handover("a"), b""), Err(SealFault::Unsealed));
    let mut other = Sealing(Seals::of_node("lamps", &keys([9; Key::LEN], None), id("a"), 1));
    let sealed = other.seal(&handover("a"));
    assert_eq!(listener().open(&handover("a"), &sealed), Err(SealFault::WrongSeal));
}

/// A Go node's answer names nobody (V6).
#[test]
fn k3_an_answer_without_a_name_is_never_taken() {
    let message = Message::VoteResponse(VoteResponse {
        term: 7,
        granted: true,
        voter: None,
        round: None,
        list: None,
        life: None,
        wanted: None,
    });
    let nameless = Outgoing { to: Recipient::Node(id("b")), message };
    let sealed = node("a", 1).seal(&nameless);
    assert_eq!(node("b", 1).open(&nameless, &sealed), Err(SealFault::WrongSeal));
}

#[test]
fn k4_two_keys_open_and_the_first_seals() {
    let (old, new) = (KEY, [9; Key::LEN]);
    let stages = [(old, None), (old, Some(new)), (new, Some(old)), (new, None)];
    let with = |(current, other), name| {
        Sealing(Seals::of_node("lamps", &keys(current, other), id(name), 1))
    };
    for neighbours in stages.windows(2) {
        for (from, to) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
            let sealed = with(neighbours[from], "a").seal(&handover("a"));
            assert_eq!(with(neighbours[to], "b").open(&handover("a"), &sealed), Ok(()));
        }
    }
    let sealed = with(stages[0], "a").seal(&handover("a"));
    assert_eq!(with(stages[3], "b").open(&handover("a"), &sealed), Err(SealFault::WrongSeal));
}

/// Nothing that is printed has any byte of the key.
#[test]
fn a_key_is_never_shown() {
    let keys = keys([0xab; Key::LEN], Some([0xcd; Key::LEN]));
    let seals = Seals::<1>::of_node("lamps", &keys, id("a"), 1);
    let shown = format!("{keys:?} {seals:?}").to_lowercase();
    for secret in ["ab", "171", "cd", "205"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn k1_no_bit_can_be_changed(at in 0..400_usize, is_cut in any::<bool>()) {
        let mut sealed = node("a", 1).seal(&handover("a"));
        let bits = sealed.len() * 8;
        let at = at % bits;
        sealed[at / 8] ^= 1 << (at % 8);
        if is_cut {
            sealed.truncate(at / 8);
        }
        let (to, mut b) = (Recipient::Everyone, listener().0);
        // As far as it can be read at all.
        if let Ok(message) = decode(Kind::Handover, &sealed) {
            prop_assert!(b.open(&message, &to, &sealed).is_err());
        }
    }

    #[test]
    fn i7_any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..SEALED_MAX)) {
        let Outgoing { to, message } = handover("a");
        prop_assert!(listener().0.open(&message, &to, &bytes).is_err());
    }
}

/// A node or a listener, with what tests do with it.
struct Sealing(Seals<4>);

impl Sealing {
    fn seal(&mut self, outgoing: &Outgoing) -> Vec<u8> {
        self.0.encode(outgoing, &mut [0; SEALED_MAX]).unwrap().to_vec()
    }

    fn open(&mut self, outgoing: &Outgoing, sealed: &[u8]) -> Result<(), SealFault> {
        self.0.open(&outgoing.message, &outgoing.to, sealed)
    }
}

fn node(name: &str, starts: u32) -> Sealing {
    Sealing(Seals::of_node("lamps", &keys(KEY, None), id(name), starts))
}

fn listener() -> Sealing {
    Sealing(Seals::of_listener("lamps", &keys(KEY, None)))
}

fn keys(current: [u8; Key::LEN], other: Option<[u8; Key::LEN]>) -> Keys {
    Keys { current: Key::new(current), other: other.map(Key::new) }
}

fn plain(outgoing: &Outgoing) -> Vec<u8> {
    encode(&outgoing.message, &mut [0; SEALED_MAX]).unwrap().to_vec()
}

fn vote(voter: &str, candidate: &str) -> Outgoing {
    let message = Message::VoteResponse(VoteResponse {
        term: 7,
        granted: true,
        voter: Some(id(voter)),
        round: None,
        list: None,
        life: None,
        wanted: None,
    });
    Outgoing { to: Recipient::Node(id(candidate)), message }
}

fn handover(leader: &str) -> Outgoing {
    let (leader, round) = (id(leader), Round::new(5));
    let message = Message::Handover(Handover { term: 7, leader, target: None, round });
    Outgoing { to: Recipient::Everyone, message }
}

fn question_for(node: &str) -> Outgoing {
    let message = Message::ControlRequest(ControlRequest {
        term: 0,
        node: id(node),
        target: None,
        action: ControlAction::Ask,
        last: None,
        round: Round::new(9).unwrap(),
        life: None,
        list: None,
        wanted: None,
    });
    Outgoing { to: Recipient::Everyone, message }
}

fn identity(node: &str) -> Identity {
    Identity { node: id(node), round: Round::new(3).unwrap(), life: Life::new(4).unwrap() }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}
