//! The messages of `graft.proto` as prost structs, for programs that have an allocator and already
//! speak prost. They are the same bytes as those of [`wire`](crate::wire).
//!
//! Ids and positions are not checked: what is read here must pass [`decode`](crate::decode) before
//! an election may see it.

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

/// A candidate asks for votes.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct VoteRequest {
    /// The term it campaigns in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The candidate's id.
    #[prost(string, tag = "2")]
    pub candidate: String,
    /// How far its application has come.
    #[prost(bytes = "vec", tag = "3")]
    pub current_state: Vec<u8>,
    /// The term of the leader that told it to take over; 0: none did (rule H2).
    #[prost(uint64, tag = "8")]
    pub handover_from: u64,
    /// How many voters it believes there are; 0: it doesn't say (rule L6).
    #[prost(uint32, tag = "9")]
    pub size: u32,
}

/// A node asks for pre-votes (rule C1).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PreVoteRequest {
    /// The term that it would campaign in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The id of the node that asks.
    #[prost(string, tag = "2")]
    pub candidate: String,
    /// How far its application has come.
    #[prost(bytes = "vec", tag = "3")]
    pub current_state: Vec<u8>,
    /// The term of the leader that told it to take over; 0: none did (rules H2, H5).
    #[prost(uint64, tag = "8")]
    pub handover_from: u64,
    /// How many voters it believes there are; 0: it doesn't say (rule L6).
    #[prost(uint32, tag = "9")]
    pub size: u32,
    /// Which round of pre-votes it asks in, to be echoed unchanged.
    #[prost(uint32, tag = "10")]
    pub round: u32,
}

/// A voter answers a candidate.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct VoteResponse {
    /// The voter's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whether the candidate has the voter's vote in that term.
    #[prost(bool, tag = "2")]
    pub granted: bool,
    /// The voter's id; empty: a Go node's answer (rule V6).
    #[prost(string, tag = "8")]
    pub voter: String,
}

/// A leader says that it leads.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Heartbeat {
    /// The term it leads in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The leader's id.
    #[prost(string, tag = "2")]
    pub leader: String,
    /// Microseconds on the leader's own clock; 0: it asks for no acknowledgement (rule L2).
    #[prost(uint64, tag = "8")]
    pub sent_at: u64,
    /// How many voters it believes there are; 0: it doesn't say (rule L6).
    #[prost(uint32, tag = "9")]
    pub size: u32,
}

/// A follower answers a heartbeat.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct HeartbeatResponse {
    /// The follower's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The follower's id.
    #[prost(string, tag = "2")]
    pub follower: String,
    /// How far its application has come.
    #[prost(bytes = "vec", tag = "3")]
    pub current_state: Vec<u8>,
    /// The heartbeat's own `SentAt`; 0: a refusal.
    #[prost(uint64, tag = "8")]
    pub sent_at: u64,
    /// How gladly it would lead; 0: never (rule H4).
    #[prost(uint32, tag = "9")]
    pub priority: u32,
    /// For how many microseconds it helps to elect no one; 0: no promise (rule V2).
    #[prost(uint64, tag = "10")]
    pub bound_for: u64,
}

/// A voter answers a request for a pre-vote.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PreVoteResponse {
    /// The voter's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whether it would vote for the one who asked.
    #[prost(bool, tag = "2")]
    pub granted: bool,
    /// The voter's id.
    #[prost(string, tag = "8")]
    pub voter: String,
    /// The term of the request that this answers.
    #[prost(uint64, tag = "9")]
    pub proposed_term: u64,
    /// The request's own `round`.
    #[prost(uint32, tag = "10")]
    pub round: u32,
}

/// A leader says that it no longer leads.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Handover {
    /// The term it led in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The id of the node that led.
    #[prost(string, tag = "2")]
    pub leader: String,
    /// The id of the node that is to campaign at once; empty: anyone.
    #[prost(string, tag = "3")]
    pub target: String,
}
