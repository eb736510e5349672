//! Whether this node may act as the leader.

use graft_election_core::{LeaderValue, Mode, NodeId, State};
use http::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use crate::node::Reader;

/// What the holder of a lease says.
#[derive(Debug, Serialize)]
struct Holder {
    id: NodeId,
    /// The fencing token.
    token: u64,
    /// How long the lease lasts if it is not renewed.
    lease_left_seconds: f64,
    /// What it says beside that it leads (rule L7).
    leader_value: LeaderValue,
}

/// What any other node says.
#[derive(Debug, Serialize)]
struct Other {
    id: NodeId,
    term: u64,
    /// Whom else to ask, if the node knows.
    leader: Option<NodeId>,
    /// What that one says beside that it leads (rule L7), its address for example.
    leader_value: LeaderValue,
    /// Why this node is not the one.
    text: String,
}

/// A load balancer that asks every node this sends its clients to the one that may act.
pub(super) fn leader(node: &Reader) -> Answer {
    // Read first: a lease that is seen here is held by a node of the status that is read after it.
    let lease = node.lease();
    let status = node.status();
    if let Some((token, left)) = lease {
        return Answer::json(&Holder {
            id: status.id.clone(),
            token,
            lease_left_seconds: left.as_secs_f64(),
            leader_value: status.leader_value.clone(),
        });
    }
    let text = match (node.mode(), status.state, &status.leader) {
        (Mode::Graft, State::Leader, _) => {
            "this node leads, but in Graft mode without a lease".into()
        }
        (_, State::Closed, _) => "this node has closed".into(),
        (_, State::Leader, _) => "this node leads, but holds no valid lease".into(),
        (_, _, Some(leader)) => format!("this node follows {leader}"),
        (_, _, None) => "this node knows no leader".into(),
    };
    // A leader without a lease is no one to ask.
    let leader = status.leader.clone().filter(|leader| *leader != status.id);
    Answer::json(&Other {
        id: status.id.clone(),
        term: status.term,
        leader,
        leader_value: status.leader_value.clone(),
        text,
    })
    .with_status(StatusCode::SERVICE_UNAVAILABLE)
}
