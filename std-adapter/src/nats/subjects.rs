//! The Go original's subjects (protocol, section 3).

use graft_election_proto::Kind;

/// What every node of a cluster receives.
pub(crate) const CLUSTER_KINDS: [Kind; 4] =
    [Kind::VoteRequest, Kind::Heartbeat, Kind::PreVoteRequest, Kind::Handover];

/// What only one node receives. The vote response is last: joining waits for one of its own.
pub(crate) const NODE_KINDS: [Kind; 3] =
    [Kind::HeartbeatResponse, Kind::PreVoteResponse, Kind::VoteResponse];

/// The subject of such messages to the cluster or node `name`.
pub(crate) fn subject(name: &str, kind: Kind) -> String {
    format!("graft.{name}.{kind}")
}

/// The kind of message that answers this one, where Go sets a reply subject.
pub(crate) fn reply_kind(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::VoteRequest => Some(Kind::VoteResponse),
        Kind::PreVoteRequest => Some(Kind::PreVoteResponse),
        Kind::VoteResponse
        | Kind::Heartbeat
        | Kind::HeartbeatResponse
        | Kind::PreVoteResponse
        | Kind::Handover => None,
    }
}
