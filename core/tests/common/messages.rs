//! The messages of these tests, each as short as what it says.

use std::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    ControlAction, ControlRequest, Handover, Heartbeat, HeartbeatResponse, Identity, Instant,
    LeaderValue, Life, Message, Outgoing, Position, PreVoteResponse, Recipient, Round, VoteRequest,
    VoteResponse,
};

use super::node_id;

/// What a leader's clock shows when it sends the heartbeats of these tests.
pub(crate) const SENT_AT: u64 = 7_000_000;

/// The life of a node whose random numbers are all 0, and the round of its first question, which
/// it asks at its start.
pub(crate) const LIFE: u32 = 1;

/// The round of another node that asks, or leads.
pub(crate) const ROUND: u32 = 7_000;

/// The life of every other node, unless a test gives it another.
pub(crate) const OTHERS_LIFE: u32 = 8_000;

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
        list: None,
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
    VoteRequest { round: Round::new(ROUND), ..plain_request(candidate, term) }
}

/// A request for a pre-vote as these nodes send it.
pub(crate) fn pre_request(candidate: &str, term: u64, size: usize) -> Message {
    Message::PreVoteRequest(VoteRequest { size: announced(size), ..plain_request(candidate, term) })
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
    Message::VoteResponse(VoteResponse {
        term,
        granted,
        voter: voter.map(node_id),
        round: None,
        list: None,
        life: None,
        wanted: None,
    })
}

pub(crate) fn pre_vote(voter: &str, term: u64, proposed_term: u64, granted: bool) -> Message {
    Message::PreVoteResponse(PreVoteResponse {
        term,
        granted,
        voter: node_id(voter),
        proposed_term,
        round: None,
        list: None,
        life: None,
        wanted: None,
    })
}

/// The same message in a round of the test's choice.
pub(crate) fn in_round(number: u32, mut message: Message) -> Message {
    *round_of(&mut message) = Round::new(number);
    message
}

/// The same answer of another life.
pub(crate) fn of_life(number: u32, mut message: Message) -> Message {
    if let Some(life) = life_of(&mut message) {
        *life = Life::new(number);
    }
    message
}

/// An answer as its sender's node completes it: to what was asked last, and of the life of all
/// nodes here. What a test sets stays, and Go nodes say nothing of the kind.
pub(crate) fn completed(mut message: Message, asked: Option<Round>) -> Message {
    let is_from_go =
        matches!(&message, Message::VoteResponse(response) if response.voter.is_none());
    if let (false, Some(life)) = (is_from_go, life_of(&mut message)) {
        *life = life.or(Life::new(OTHERS_LIFE));
        let round = round_of(&mut message);
        *round = round.or(asked);
    }
    message
}

/// What `actual` would be without what `expected` leaves open: rounds, lives and lists.
pub(crate) fn as_far_as(expected: &Message, mut actual: Message) -> Message {
    let mut expected = expected.clone();
    if let Message::Who(_) | Message::Here(_) | Message::ListRequest(_) = actual {
        return actual;
    }
    let is_handover = matches!(expected, Message::Handover(_));
    if round_of(&mut expected).is_none() || is_handover {
        *round_of(&mut actual) = expected.round();
    }
    if let (Some(None), Some(life)) = (life_of(&mut expected), life_of(&mut actual)) {
        *life = None;
    }
    if expected.list().is_none() {
        forget_list(&mut actual);
    }
    actual
}

fn round_of(message: &mut Message) -> &mut Option<Round> {
    match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => &mut request.round,
        Message::VoteResponse(response) => &mut response.round,
        Message::Heartbeat(heartbeat) => &mut heartbeat.round,
        Message::HeartbeatResponse(response) => &mut response.round,
        Message::PreVoteResponse(response) => &mut response.round,
        Message::Handover(handover) => &mut handover.round,
        Message::Who(_)
        | Message::Here(_)
        | Message::ControlRequest(_)
        | Message::ControlResponse(_)
        | Message::ListRequest(_)
        | Message::ListPart(_) => panic!("a question always has its round"),
    }
}

/// The life in an answer.
fn life_of(message: &mut Message) -> Option<&mut Option<Life>> {
    match message {
        Message::VoteResponse(response) => Some(&mut response.life),
        Message::HeartbeatResponse(response) => Some(&mut response.life),
        Message::PreVoteResponse(response) => Some(&mut response.life),
        _ => None,
    }
}

fn forget_list(message: &mut Message) {
    match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => request.list = None,
        Message::VoteResponse(response) => response.list = None,
        Message::Heartbeat(heartbeat) => heartbeat.list = None,
        Message::HeartbeatResponse(response) => response.list = None,
        Message::PreVoteResponse(response) => response.list = None,
        Message::Handover(_)
        | Message::Who(_)
        | Message::Here(_)
        | Message::ControlRequest(_)
        | Message::ControlResponse(_)
        | Message::ListRequest(_)
        | Message::ListPart(_) => {}
    }
}

/// A question of identity, or an answer to one.
pub(crate) fn identity(node: &str, round: u32, life: u32) -> Identity {
    let round = Round::new(round).expect("tests number rounds from 1");
    let life = Life::new(life).expect("tests number lives from 1");
    Identity { node: node_id(node), round, life }
}

/// A heartbeat as a Go node sends it: it asks for no promise.
pub(crate) fn plain_heartbeat(leader: &str, term: u64) -> Heartbeat {
    let (leader, value) = (node_id(leader), LeaderValue::EMPTY);
    Heartbeat { term, leader, sent_at: None, size: None, round: None, list: None, value }
}

/// A heartbeat of a leader in Graft mode, which asks for no promise either.
pub(crate) fn heartbeat(leader: &str, term: u64) -> Message {
    let round = Round::new(ROUND);
    Message::Heartbeat(Heartbeat { round, ..plain_heartbeat(leader, term) })
}

/// A heartbeat as these nodes send it.
pub(crate) fn announced_heartbeat(leader: &str, term: u64, size: usize) -> Message {
    Message::Heartbeat(Heartbeat { size: announced(size), ..plain_heartbeat(leader, term) })
}

/// A heartbeat of an Extended leader, which asks for a promise.
pub(crate) fn timed_heartbeat(leader: &str, term: u64) -> Message {
    Message::Heartbeat(Heartbeat {
        sent_at: NonZeroU64::new(SENT_AT),
        round: Round::new(ROUND),
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
        round: None,
        list: None,
        life: None,
        is_paused: false,
        is_full: false,
        wanted: None,
    }
}

/// The answer to a heartbeat of a lower term: it promises nothing.
pub(crate) fn refusal(follower: &str, term: u64) -> Message {
    Message::HeartbeatResponse(plain_refusal(follower, term))
}

/// The answer of a node that can't store its vote (rule C5), or still asks at its start (rule N5):
/// it is no successor.
pub(crate) fn acknowledgement_of_no_successor(follower: &str, term: u64) -> Message {
    Message::HeartbeatResponse(HeartbeatResponse {
        sent_at: NonZeroU64::new(SENT_AT),
        bound_for: NonZeroU64::new(500_000),
        priority: 0,
        ..plain_refusal(follower, term)
    })
}

pub(crate) fn handover(leader: &str, term: u64, target: Option<&str>) -> Message {
    let (leader, target) = (node_id(leader), target.map(node_id));
    Message::Handover(Handover { term, leader, target, round: Round::new(ROUND) })
}

pub(crate) fn announced(size: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(size).ok()?)
}

/// What an operator asks of the node `a` in its first life, as the first request.
pub(crate) fn control(action: ControlAction) -> ControlRequest {
    ControlRequest {
        term: 0,
        node: node_id("a"),
        target: None,
        action,
        round: operators_round(1),
        last: None,
        life: Life::new(LIFE),
        list: None,
        wanted: None,
    }
}

/// A number that an operator has drawn.
pub(crate) fn operators_round(number: u32) -> Round {
    Round::new(900_000 + number).expect("it isn't 0")
}
