//! Messages that no node sent.

use std::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Message, NodeId, Position, PreVoteResponse,
    VoteRequest, VoteResponse,
};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use crate::{Identity, NodeIndex};

/// The node that is to hear a forged message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearer {
    pub(crate) identity: Identity,
    pub(crate) term: u64,
    /// Its last round of pre-votes, which everyone has heard (rule C1).
    pub(crate) round: Option<NonZeroU32>,
}

/// A message that no node may act on: its term is invalid or over, it hands over from a later term,
/// or it is in the hearer's own name.
pub(crate) fn draw_garbage(rng: &mut SmallRng, hearer: Hearer) -> Message {
    let (own_term, round) = (hearer.term, hearer.round);
    let from = NodeId::new("mallory").expect("it is valid");
    let no_term = rng.next_u64() | 1 << 63;
    match rng.random_range(0..4) {
        0 => draw_message(rng, no_term, from, round),
        1 => {
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
            };
            Message::VoteRequest(request)
        }
        2 => {
            let term = own_term.saturating_add(rng.random_range(0..1_000));
            draw_message(rng, term, hearer.identity.id(), round)
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
            response.round = NonZeroU32::new(rng.next_u32());
        }
        _ => {}
    }
    message
}

fn draw_id(rng: &mut SmallRng, nodes: usize) -> NodeId {
    Identity { index: NodeIndex::new(rng.random_range(0..nodes)), generation: 1 }.id()
}

/// A message of any kind. One about pre-votes is of the given round.
fn draw_message(rng: &mut SmallRng, term: u64, from: NodeId, round: Option<NonZeroU32>) -> Message {
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
    match rng.random_range(0..7) {
        0 | 1 => {
            let handover_from = NonZeroU64::new(rng.random_range(0..3));
            let candidate = from;
            let request = VoteRequest { term, candidate, position, handover_from, size, round };
            if rng.random_bool(0.5) {
                Message::VoteRequest(request)
            } else {
                Message::PreVoteRequest(request)
            }
        }
        2 => Message::VoteResponse(VoteResponse { term, granted, voter: Some(from) }),
        3 => Message::Heartbeat(Heartbeat { term, leader: from, sent_at, size }),
        4 => Message::HeartbeatResponse(HeartbeatResponse {
            term,
            follower: from,
            position,
            sent_at,
            priority: rng.random_range(0..3),
            bound_for: NonZeroU64::new(rng.next_u64()),
        }),
        5 => {
            let proposed_term = term.wrapping_add(rng.random_range(0..2));
            let voter = from;
            Message::PreVoteResponse(PreVoteResponse { term, granted, voter, proposed_term, round })
        }
        _ => Message::Handover(Handover { term, leader: from, target: None }),
    }
}
