//! The messages of these tests, each as short as what it says.

use std::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Instant, Message, Outgoing, Position, PreVoteResponse,
    Recipient, VoteRequest, VoteResponse,
};

use super::node_id;

/// What a leader's clock shows when it sends the heartbeats of these tests.
pub(crate) const SENT_AT: u64 = 7_000_000;

/// The round of pre-votes of a node whose random numbers are all 0.
pub(crate) const ROUND: u32 = 1;

pub(crate) fn to(node: &str, message: Message) -> Outgoing {
    Outgoing { to: Recipient::Node(node_id(node)), message }
}

pub(crate) fn to_everyone(message: Message) -> Outgoing {
    Outgoing { to: Recipient::Everyone, message }
}

/// A request as a Go node sends it; tests add to it with struct update.
pub(crate) fn plain_request(candidate: &str, term: u64) -> VoteRequest {
    VoteRequest {
        term,
        candidate: node_id(candidate),
        position: Position::EMPTY,
        handover_from: None,
        size: None,
        round: None,
    }
}

pub(crate) fn vote_request(candidate: &str, term: u64) -> Message {
    Message::VoteRequest(plain_request(candidate, term))
}

/// A request as these nodes send it.
pub(crate) fn request(candidate: &str, term: u64, size: usize) -> Message {
    Message::VoteRequest(VoteRequest { size: announced(size), ..plain_request(candidate, term) })
}

/// A request that the leader of `from` asked for (rule H2).
pub(crate) fn released_request(candidate: &str, term: u64, from: u64) -> Message {
    Message::VoteRequest(VoteRequest {
        handover_from: NonZeroU64::new(from),
        ..plain_request(candidate, term)
    })
}

pub(crate) fn pre_vote_request(candidate: &str, term: u64) -> Message {
    Message::PreVoteRequest(plain_pre_request(candidate, term))
}

/// A request for a pre-vote that says nothing of the cluster; tests add to it with struct update.
pub(crate) fn plain_pre_request(candidate: &str, term: u64) -> VoteRequest {
    VoteRequest { round: NonZeroU32::new(ROUND), ..plain_request(candidate, term) }
}

/// A request for a pre-vote as these nodes send it.
pub(crate) fn pre_request(candidate: &str, term: u64, size: usize) -> Message {
    Message::PreVoteRequest(VoteRequest {
        size: announced(size),
        ..plain_pre_request(candidate, term)
    })
}

pub(crate) fn grant(voter: &str, term: u64) -> Message {
    answer(Some(voter), term, true)
}

pub(crate) fn denial(voter: &str, term: u64) -> Message {
    answer(Some(voter), term, false)
}

/// A Go node's vote doesn't say whose it is.
pub(crate) fn nameless_grant(term: u64) -> Message {
    answer(None, term, true)
}

pub(crate) fn nameless_denial(term: u64) -> Message {
    answer(None, term, false)
}

fn answer(voter: Option<&str>, term: u64, granted: bool) -> Message {
    Message::VoteResponse(VoteResponse { term, granted, voter: voter.map(node_id) })
}

pub(crate) fn pre_vote(voter: &str, term: u64, proposed_term: u64, granted: bool) -> Message {
    pre_vote_in(ROUND, voter, term, proposed_term, granted)
}

pub(crate) fn pre_vote_in(
    round: u32,
    voter: &str,
    term: u64,
    proposed_term: u64,
    granted: bool,
) -> Message {
    Message::PreVoteResponse(PreVoteResponse {
        term,
        granted,
        voter: node_id(voter),
        proposed_term,
        round: NonZeroU32::new(round),
    })
}

/// A heartbeat as a Go node sends it: it asks for no promise.
pub(crate) fn plain_heartbeat(leader: &str, term: u64) -> Heartbeat {
    Heartbeat { term, leader: node_id(leader), sent_at: None, size: None }
}

pub(crate) fn heartbeat(leader: &str, term: u64) -> Message {
    Message::Heartbeat(plain_heartbeat(leader, term))
}

/// A heartbeat as these nodes send it.
pub(crate) fn announced_heartbeat(leader: &str, term: u64, size: usize) -> Message {
    Message::Heartbeat(Heartbeat { size: announced(size), ..plain_heartbeat(leader, term) })
}

/// A heartbeat of an Extended leader, which asks for a promise.
pub(crate) fn timed_heartbeat(leader: &str, term: u64) -> Message {
    Message::Heartbeat(Heartbeat {
        sent_at: NonZeroU64::new(SENT_AT),
        ..plain_heartbeat(leader, term)
    })
}

/// A heartbeat as an Extended leader sends it at `now`.
pub(crate) fn extended_heartbeat(leader: &str, term: u64, size: usize, now: Instant) -> Message {
    Message::Heartbeat(Heartbeat {
        sent_at: NonZeroU64::new(now.as_micros()),
        size: announced(size),
        ..plain_heartbeat(leader, term)
    })
}

/// The answer of `follower` to the heartbeat that was sent at `sent_at`; tests add to it.
pub(crate) fn echo(follower: &str, term: u64, sent_at: Instant) -> HeartbeatResponse {
    HeartbeatResponse {
        sent_at: NonZeroU64::new(sent_at.as_micros()),
        bound_for: NonZeroU64::new(500_000),
        ..plain_refusal(follower, term)
    }
}

/// The answer to [`timed_heartbeat`] of a node at no position.
pub(crate) fn acknowledgement(follower: &str, term: u64) -> Message {
    Message::HeartbeatResponse(HeartbeatResponse {
        sent_at: NonZeroU64::new(SENT_AT),
        bound_for: NonZeroU64::new(500_000),
        ..plain_refusal(follower, term)
    })
}

pub(crate) fn plain_refusal(follower: &str, term: u64) -> HeartbeatResponse {
    HeartbeatResponse {
        term,
        follower: node_id(follower),
        position: Position::EMPTY,
        sent_at: None,
        priority: 1,
        bound_for: None,
    }
}

/// The answer to a heartbeat of a lower term: it promises nothing.
pub(crate) fn refusal(follower: &str, term: u64) -> Message {
    Message::HeartbeatResponse(plain_refusal(follower, term))
}

/// The answer of a node that can't store its vote (rule C5).
pub(crate) fn acknowledgement_of_a_sick_node(follower: &str, term: u64) -> Message {
    Message::HeartbeatResponse(HeartbeatResponse {
        sent_at: NonZeroU64::new(SENT_AT),
        bound_for: NonZeroU64::new(500_000),
        priority: 0,
        ..plain_refusal(follower, term)
    })
}

pub(crate) fn handover(leader: &str, term: u64, target: Option<&str>) -> Message {
    Message::Handover(Handover { term, leader: node_id(leader), target: target.map(node_id) })
}

pub(crate) fn announced(size: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(size).ok()?)
}
