use core::num::{NonZeroU32, NonZeroU64};

use crate::{NodeId, Position};

/// A message between two nodes of a cluster (protocol, section 3).
///
/// Its fields can't hold a malformed id or an over-long position: such a message never becomes a
/// value of this type (rule V7). Terms are checked by the node that receives it (rule T4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Message {
    /// A candidate asks everyone for their vote.
    VoteRequest(VoteRequest),
    /// A voter answers the candidate.
    VoteResponse(VoteResponse),
    /// A leader tells everyone that it leads.
    Heartbeat(Heartbeat),
    /// A follower acknowledges a heartbeat, or refuses one from a lower term.
    HeartbeatResponse(HeartbeatResponse),
    /// A node asks everyone whether they *would* vote for it; the term is only proposed.
    PreVoteRequest(VoteRequest),
    /// A voter answers the node that asked.
    PreVoteResponse(PreVoteResponse),
    /// A leader has stopped leading and names who should campaign.
    Handover(Handover),
}

impl Message {
    /// The term the message carries; for a pre-vote request the term it proposes.
    pub fn term(&self) -> u64 {
        match self {
            Self::VoteRequest(request) | Self::PreVoteRequest(request) => request.term,
            Self::VoteResponse(response) => response.term,
            Self::Heartbeat(heartbeat) => heartbeat.term,
            Self::HeartbeatResponse(response) => response.term,
            Self::PreVoteResponse(response) => response.term,
            Self::Handover(handover) => handover.term,
        }
    }

    /// Who sent it, as far as it says so: the answers of Go nodes don't.
    pub fn sender(&self) -> Option<&NodeId> {
        match self {
            Self::VoteRequest(request) | Self::PreVoteRequest(request) => Some(&request.candidate),
            Self::VoteResponse(response) => response.voter.as_ref(),
            Self::Heartbeat(heartbeat) => Some(&heartbeat.leader),
            Self::HeartbeatResponse(response) => Some(&response.follower),
            Self::PreVoteResponse(response) => Some(&response.voter),
            Self::Handover(handover) => Some(&handover.leader),
        }
    }
}

/// A candidate's request for a vote, or for a pre-vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VoteRequest {
    /// The term the candidate campaigns in, or would campaign in.
    pub term: u64,
    /// Who asks.
    pub candidate: NodeId,
    /// How far the candidate's application has come, for the voter's application to judge.
    pub position: Position,
    /// The term of the leader that told this candidate to take over (rule H2).
    pub handover_from: Option<NonZeroU64>,
    /// How many voters the candidate believes there are; Go nodes don't say (rule L6).
    pub size: Option<NonZeroU32>,
    /// The round of pre-votes it asks for, to be echoed unchanged (rule C1); absent from a request
    /// for a vote.
    pub round: Option<NonZeroU32>,
}

/// The answer to a [`VoteRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VoteResponse {
    /// The voter's term.
    pub term: u64,
    /// Whether the candidate has the voter's vote in that term.
    pub granted: bool,
    /// Who answers; absent from a Go node.
    pub voter: Option<NodeId>,
}

/// A leader's sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Heartbeat {
    /// The term it leads in.
    pub term: u64,
    /// Who leads.
    pub leader: NodeId,
    /// The leader's own clock in microseconds, to be echoed unchanged; absent, it asks for no
    /// acknowledgement and no promise.
    pub sent_at: Option<NonZeroU64>,
    /// How many voters the leader believes there are; Go nodes don't say (rule L6).
    pub size: Option<NonZeroU32>,
}

/// The answer to a [`Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HeartbeatResponse {
    /// The follower's term.
    pub term: u64,
    /// Who answers.
    pub follower: NodeId,
    /// How far the follower's application has come.
    pub position: Position,
    /// The heartbeat's own `sent_at`; absent from a refusal.
    pub sent_at: Option<NonZeroU64>,
    /// The follower's preference for leading; a witness's is 0 (rule H4).
    pub priority: u32,
    /// The follower's promise: for this many microseconds after the heartbeat it helps to elect no
    /// one (rule V2). Absent, it promises nothing.
    pub bound_for: Option<NonZeroU64>,
}

/// The answer to a pre-vote request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PreVoteResponse {
    /// The voter's term.
    pub term: u64,
    /// Whether the voter would vote for the one who asked.
    pub granted: bool,
    /// Who answers.
    pub voter: NodeId,
    /// The proposed term of the request that this answers.
    pub proposed_term: u64,
    /// The request's own `round`.
    pub round: Option<NonZeroU32>,
}

/// A leader's word that it no longer leads (rules H1, L4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Handover {
    /// The term it led in.
    pub term: u64,
    /// Who led.
    pub leader: NodeId,
    /// Who is to campaign at once; absent, anyone.
    pub target: Option<NodeId>,
}

/// A message to be sent, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outgoing {
    /// Who is to hear it.
    pub to: Recipient,
    /// What to send.
    pub message: Message,
}

/// Who is to hear a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Recipient {
    /// All nodes of the cluster.
    Everyone,
    /// One node alone.
    Node(NodeId),
}
