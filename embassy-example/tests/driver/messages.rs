//! Ids and messages, briefly written.

use graft_election_core::{Heartbeat, LeaderValue, Message, NodeId, VoteRequest};

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn heartbeat(leader: &str, term: u64) -> Message {
    Message::Heartbeat(plain_heartbeat(leader, term))
}

/// A heartbeat as a Go node sends it; tests add to it.
pub(crate) fn plain_heartbeat(leader: &str, term: u64) -> Heartbeat {
    let value = LeaderValue::EMPTY;
    Heartbeat {
        term,
        leader: id(leader),
        sent_at: None,
        size: None,
        round: None,
        list: None,
        value,
    }
}

pub(crate) fn vote_request(candidate: &str, term: u64) -> Message {
    Message::VoteRequest(VoteRequest {
        term,
        candidate: id(candidate),
        position: Default::default(),
        handover_from: None,
        size: None,
        round: None,
        list: None,
    })
}
