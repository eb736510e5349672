//! Messages that no node sent.

use std::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Identity as IdentityMessage, LeaderValue, Life,
    Message, NodeId, Position, PreVoteResponse, Round, VoteRequest, VoteResponse,
};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use crate::{Identity, NodeIndex};

/// How far in the past or in the future a forged echo is, in microseconds: less than a lease.
const ECHO_AGE_MAX: u64 = 200_000;

/// The node that is to hear a forged message.
#[derive(Clone, Debug)]
pub(crate) struct Hearer {
    pub(crate) identity: Identity,
    pub(crate) term: u64,
    /// What its clock shows, in microseconds.
    pub(crate) now: u64,
    /// Rounds that everyone has heard: its own last ones, or those of any node (rule N1).
    pub(crate) round: Option<Round>,
    /// The last that was sent to it.
    pub(crate) acknowledgement: Option<HeartbeatResponse>,
}

/// A message that no node may act on: its term is invalid or over, it hands over from a later term,
/// it is in the hearer's own name, or it echoes what the hearer said in another term or is yet to
/// say.
pub(crate) fn draw_garbage(rng: &mut SmallRng, hearer: Hearer) -> Message {
    let (own_term, round) = (hearer.term, hearer.round);
    let from = NodeId::new("mallory").expect("it is valid");
    let no_term = rng.next_u64() | 1 << 63;
    match (rng.random_range(0..6), &hearer.acknowledgement) {
        (0, _) => draw_message(rng, no_term, from, round),
        (1, _) => {
            let term = own_term.saturating_add(rng.random_range(0..1_000));
            let handover_from = NonZeroU64::new(term.saturating_add(rng.random_range(1..3)));
            let position = Position::EMPTY;
            let request = VoteRequest {
                term,
                candidate: from,
                position,
                handover_from,
                size: None,
                round: None,
                list: None,
            };
            Message::VoteRequest(request)
        }
        (2, _) => {
            let term = own_term.saturating_add(rng.random_range(0..1_000));
            draw_message(rng, term, hearer.identity.id(), round)
        }
        (3 | 4, Some(acknowledgement)) => {
            Message::HeartbeatResponse(draw_echo(rng, &hearer, acknowledgement))
        }
        // A term that is over for the hearer.
        _ if own_term > 0 => {
            let behind = rng.random_range(1..1_000);
            draw_message(rng, own_term.saturating_sub(behind), from, round)
        }
        _ => draw_message(rng, no_term, from, round),
    }
}

/// Any message at all.
pub(crate) fn draw_forgery(rng: &mut SmallRng, nodes: usize, hearer: Hearer) -> Message {
    let own_term = hearer.term;
    let name = if rng.random_bool(0.1) {
        NodeId::new("mallory").expect("it is valid")
    } else {
        draw_id(rng, nodes)
    };
    let term = match rng.random_range(0..16) {
        0 => rng.next_u64(),
        1 => rng.next_u64() >> 1,
        2 => own_term.wrapping_add(1 << 32).wrapping_add(rng.random_range(0..3)).wrapping_sub(1),
        3..=7 => own_term,
        8..=12 => own_term.wrapping_add(rng.random_range(0..4)),
        _ => own_term.wrapping_sub(rng.random_range(0..4)),
    };
    let mut message = draw_message(rng, term, name, hearer.round);
    match &mut message {
        Message::Handover(handover) => {
            handover.target = rng.random_bool(0.7).then(|| draw_id(rng, nodes));
        }
        // Like a Go node, the voter doesn't say who it is.
        Message::VoteResponse(response) if rng.random_bool(0.2) => response.voter = None,
        // It answers another round.
        Message::PreVoteResponse(response) if rng.random_bool(0.2) => {
            response.round = Round::new(rng.next_u32());
        }
        _ => {}
    }
    message
}

/// An acknowledgement that was sent to the hearer, changed so that it counts for nothing.
fn draw_echo(
    rng: &mut SmallRng,
    hearer: &Hearer,
    acknowledgement: &HeartbeatResponse,
) -> HeartbeatResponse {
    let off_by = rng.random_range(1..ECHO_AGE_MAX);
    let (term, sent_at) = if rng.random_bool(0.5) {
        (acknowledgement.term, hearer.now.saturating_add(off_by))
    } else {
        (hearer.term.saturating_sub(1), hearer.now.saturating_sub(off_by))
    };
    let sent_at = NonZeroU64::new(sent_at);
    HeartbeatResponse { term, sent_at, ..acknowledgement.clone() }
}

fn draw_id(rng: &mut SmallRng, nodes: usize) -> NodeId {
    Identity { index: NodeIndex::new(rng.random_range(0..nodes)), generation: 1 }.id()
}

fn pre_vote(
    granted: bool,
    terms: [u64; 2],
    voter: NodeId,
    life: Option<Life>,
    round: Option<Round>,
) -> Message {
    let [term, proposed_term] = terms;
    let (list, wanted) = (None, None);
    let response =
        PreVoteResponse { term, granted, voter, proposed_term, round, list, life, wanted };
    Message::PreVoteResponse(response)
}

/// A message of any kind, of the given round.
fn draw_message(rng: &mut SmallRng, term: u64, from: NodeId, round: Option<Round>) -> Message {
    let size = NonZeroU32::new(rng.random_range(0..4));
    let sent_at = NonZeroU64::new(match rng.random_range(0..2) {
        0 => rng.random_range(0..3),
        // In the hearer's future, or not long ago.
        _ => rng.random_range(0..60_000_000),
    });
    let granted = rng.random_bool(0.7);
    let bytes = rng.next_u64().to_le_bytes();
    let position = &bytes[..rng.random_range(0..3)];
    let position = Position::new(position).expect("two bytes are a short position");
    let (list, life) = (None, Life::new(rng.random_range(0..2)));
    match rng.random_range(0..8) {
        0 | 1 => {
            let handover_from = NonZeroU64::new(rng.random_range(0..3));
            let candidate = from;
            let request =
                VoteRequest { term, candidate, position, handover_from, size, round, list };
            if rng.random_bool(0.5) {
                Message::VoteRequest(request)
            } else {
                Message::PreVoteRequest(request)
            }
        }
        2 => {
            let (voter, wanted) = (Some(from), None);
            let vote = VoteResponse { term, granted, voter, round, list, life, wanted };
            Message::VoteResponse(vote)
        }
        3 => {
            let value = LeaderValue::EMPTY;
            let heartbeat = Heartbeat { term, leader: from, sent_at, size, round, list, value };
            Message::Heartbeat(heartbeat)
        }
        4 => Message::HeartbeatResponse(HeartbeatResponse {
            term,
            follower: from,
            position,
            sent_at,
            priority: rng.random_range(0..3),
            bound_for: NonZeroU64::new(rng.next_u64()),
            round,
            list,
            life,
            is_paused: false,
            is_full: false,
            wanted: None,
        }),
        5 => {
            let proposed_term = term.wrapping_add(rng.random_range(0..2));
            pre_vote(granted, [term, proposed_term], from, life, round)
        }
        6 => {
            let round = round.or(Round::new(1)).expect("1 is a round");
            let life = Life::new(rng.next_u32() | 1).expect("it is odd");
            let identity = IdentityMessage { node: from, round, life };
            if rng.random_bool(0.5) { Message::Who(identity) } else { Message::Here(identity) }
        }
        _ => Message::Handover(Handover { term, leader: from, target: None, round }),
    }
}
