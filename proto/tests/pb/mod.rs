//! The messages of `graft.proto` as prost structs, and what `decode` owes to prost's reading of a
//! payload: the reference to which tests hold the codec.

use std::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    ControlAction, ControlOutcome, Identity, LeaderValue, Life, ListId, Message, NodeId, Position,
    Round,
};
use graft_election_proto::{DecodeError, Kind};

/// What prost makes of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What `decode` must make of it: what prost has read, or why no node may see it (rule V7).
    pub message: Result<Message, DecodeError>,
    /// How prost writes what it has read.
    pub rewritten: Vec<u8>,
}

/// Has prost read `payload` as a message of `kind`.
///
/// # Errors
///
/// It is not such a message of protobuf.
pub fn read(kind: Kind, payload: &[u8]) -> Result<Reading, prost::DecodeError> {
    match kind {
        Kind::VoteRequest => reading::<VoteRequest>(payload),
        Kind::VoteResponse => reading::<VoteResponse>(payload),
        Kind::Heartbeat => reading::<Heartbeat>(payload),
        Kind::HeartbeatResponse => reading::<HeartbeatResponse>(payload),
        Kind::PreVoteRequest => reading::<PreVoteRequest>(payload),
        Kind::PreVoteResponse => reading::<PreVoteResponse>(payload),
        Kind::Handover => reading::<Handover>(payload),
        Kind::ListPart => reading::<ListPart>(payload),
        Kind::ListRequest => reading::<ListRequest>(payload),
        Kind::Who => reading::<Who>(payload),
        Kind::Here => reading::<Here>(payload),
        Kind::ControlRequest => reading::<ControlRequest>(payload),
        Kind::ControlResponse => reading::<ControlResponse>(payload),
    }
}

fn reading<M: ToMessage + prost::Message + Default>(
    payload: &[u8],
) -> Result<Reading, prost::DecodeError> {
    let by_prost = M::decode(payload)?;
    Ok(Reading { message: by_prost.to_message(), rewritten: by_prost.encode_to_vec() })
}

/// A message of which anything may be wrong.
pub trait ToMessage {
    /// The election's own message.
    ///
    /// # Errors
    ///
    /// No node may see it (rule V7).
    fn to_message(&self) -> Result<Message, DecodeError>;
}

impl ToMessage for VoteRequest {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::VoteRequest(graft_election_core::VoteRequest {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            candidate: id("Candidate", &self.candidate)?,
            position: Position::new(&self.current_state)?,
            handover_from: NonZeroU64::new(self.handover_from),
            size: NonZeroU32::new(self.size),
            round: Round::new(self.round),
        }))
    }
}

impl ToMessage for PreVoteRequest {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::PreVoteRequest(graft_election_core::VoteRequest {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            candidate: id("Candidate", &self.candidate)?,
            position: Position::new(&self.current_state)?,
            handover_from: NonZeroU64::new(self.handover_from),
            size: NonZeroU32::new(self.size),
            round: Round::new(self.round),
        }))
    }
}

impl ToMessage for VoteResponse {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::VoteResponse(graft_election_core::VoteResponse {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            granted: self.granted,
            voter: optional_id("Voter", &self.voter)?,
            round: Round::new(self.round),
            life: Life::new(self.life),
            wanted: NonZeroU32::new(self.wanted),
        }))
    }
}

impl ToMessage for Heartbeat {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::Heartbeat(graft_election_core::Heartbeat {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            leader: id("Leader", &self.leader)?,
            sent_at: NonZeroU64::new(self.sent_at),
            size: NonZeroU32::new(self.size),
            round: Round::new(self.round),
            value: LeaderValue::new(&self.value)?,
        }))
    }
}

impl ToMessage for HeartbeatResponse {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::HeartbeatResponse(graft_election_core::HeartbeatResponse {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            follower: id("Follower", &self.follower)?,
            position: Position::new(&self.current_state)?,
            sent_at: NonZeroU64::new(self.sent_at),
            priority: self.priority,
            bound_for: NonZeroU64::new(self.bound_for),
            round: Round::new(self.round),
            life: Life::new(self.life),
            is_paused: self.paused,
            is_full: self.full,
            wanted: NonZeroU32::new(self.wanted),
        }))
    }
}

impl ToMessage for PreVoteResponse {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::PreVoteResponse(graft_election_core::PreVoteResponse {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            granted: self.granted,
            voter: id("Voter", &self.voter)?,
            proposed_term: self.proposed_term,
            round: Round::new(self.round),
            life: Life::new(self.life),
            wanted: NonZeroU32::new(self.wanted),
        }))
    }
}

impl ToMessage for Handover {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::Handover(graft_election_core::Handover {
            term: self.term,
            leader: id("Leader", &self.leader)?,
            target: optional_id("Target", &self.target)?,
            round: Round::new(self.round),
        }))
    }
}

impl ToMessage for ListPart {
    fn to_message(&self) -> Result<Message, DecodeError> {
        let (of, root) = (
            list(self.list_term, self.list_version)?,
            list_named("RootVersion", self.root_term, self.root_version)?,
        );
        Ok(Message::ListPart(graft_election_core::ListPart {
            sender: id("Sender", &self.sender)?,
            voter: id("Voter", &self.voter)?,
            place: number("Place", self.place)?,
            count: number("Count", self.count)?,
            list: of,
            life: Life::new(self.life),
            root,
        }))
    }
}

impl ToMessage for ListRequest {
    fn to_message(&self) -> Result<Message, DecodeError> {
        Ok(Message::ListRequest(graft_election_core::ListRequest {
            node: id("Node", &self.node)?,
            life: life(self.life)?,
            wanted: number("Wanted", self.wanted)?,
        }))
    }
}

impl ToMessage for Who {
    fn to_message(&self) -> Result<Message, DecodeError> {
        identity(&self.node, self.round, self.life).map(Message::Who)
    }
}

impl ToMessage for Here {
    fn to_message(&self) -> Result<Message, DecodeError> {
        identity(&self.node, self.round, self.life).map(Message::Here)
    }
}

impl ToMessage for ControlRequest {
    fn to_message(&self) -> Result<Message, DecodeError> {
        let action = ControlAction::from_number(self.action);
        Ok(Message::ControlRequest(graft_election_core::ControlRequest {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            node: id("Node", &self.node)?,
            target: optional_id("Target", &self.target)?,
            action: action.ok_or(DecodeError::Unknown { field: "Action" })?,
            round: round(self.round)?,
            last: Round::new(self.last),
            life: Life::new(self.life),
            wanted: NonZeroU32::new(self.wanted),
        }))
    }
}

impl ToMessage for ControlResponse {
    fn to_message(&self) -> Result<Message, DecodeError> {
        let outcome = ControlOutcome::from_number(self.outcome);
        Ok(Message::ControlResponse(graft_election_core::ControlResponse {
            list: list(self.list_term, self.list_version)?,
            term: self.term,
            node: id("Node", &self.node)?,
            leader: optional_id("Leader", &self.leader)?,
            outcome: outcome.ok_or(DecodeError::Unknown { field: "Outcome" })?,
            round: round(self.round)?,
            last: Round::new(self.last),
            is_paused: self.paused,
            life: life(self.life)?,
            is_committed: self.committed,
        }))
    }
}

fn round(number: u32) -> Result<Round, DecodeError> {
    Round::new(number).ok_or(DecodeError::Missing { field: "Round" })
}

fn number(field: &'static str, number: u32) -> Result<NonZeroU32, DecodeError> {
    NonZeroU32::new(number).ok_or(DecodeError::Missing { field })
}

fn life(number: u32) -> Result<Life, DecodeError> {
    Life::new(number).ok_or(DecodeError::Missing { field: "Life" })
}

fn identity(node: &str, round_number: u32, life_number: u32) -> Result<Identity, DecodeError> {
    let node = id("Node", node)?;
    Ok(Identity { node, round: round(round_number)?, life: life(life_number)? })
}

/// It is judged before all that may be wrong with other members.
fn list(term: u64, version: u32) -> Result<Option<ListId>, DecodeError> {
    list_named("ListVersion", term, version)
}

fn list_named(field: &'static str, term: u64, version: u32) -> Result<Option<ListId>, DecodeError> {
    match (term, version) {
        (0, 0) => Ok(None),
        (_, 0) => Err(DecodeError::Missing { field }),
        (term, version) => Ok(Some(ListId { term, version })),
    }
}

fn id(field: &'static str, name: &str) -> Result<NodeId, DecodeError> {
    NodeId::new(name).map_err(|error| DecodeError::InvalidId { field, error })
}

fn optional_id(field: &'static str, name: &str) -> Result<Option<NodeId>, DecodeError> {
    if name.is_empty() { Ok(None) } else { id(field, name).map(Some) }
}

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
    /// The campaign that it belongs to (rule N1).
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
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
    /// The round of pre-votes that it belongs to, to be echoed unchanged (rule N1).
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
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
    /// The request's own `round`.
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// Which process answers (rule N4).
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// Which voter of the other's list it needs, from 1 on; 0: none (rule R9).
    #[prost(uint32, tag = "18")]
    pub wanted: u32,
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
    /// The campaign that it won (rule N1).
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// What the leader says beside (rule L7).
    #[prost(bytes = "vec", tag = "17")]
    pub value: Vec<u8>,
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
    /// Its preference for leading; 0: it never campaigns (rule H4).
    #[prost(uint32, tag = "9")]
    pub priority: u32,
    /// The heartbeat's own `round`.
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// For how many microseconds it helps to elect no one; 0: no promise (rule V2).
    #[prost(uint64, tag = "11")]
    pub bound_for: u64,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// Which process answers (rule N4).
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// Whether it is kept from leading (rule O3).
    #[prost(bool, tag = "16")]
    pub paused: bool,
    /// Which voter of the other's list it needs, from 1 on; 0: none (rule R9).
    #[prost(uint32, tag = "18")]
    pub wanted: u32,
    /// Whether it has no room for a longer list than its own (rule R7).
    #[prost(bool, tag = "19")]
    pub full: bool,
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
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// Which process answers (rule N4).
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// Which voter of the other's list it needs, from 1 on; 0: none (rule R9).
    #[prost(uint32, tag = "18")]
    pub wanted: u32,
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
    /// The campaign that it had won (rule H2).
    #[prost(fixed32, tag = "10")]
    pub round: u32,
}

/// A node tells one voter of its list (rule R9).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListPart {
    /// Whose list it is.
    #[prost(string, tag = "2")]
    pub sender: String,
    /// The voter.
    #[prost(string, tag = "3")]
    pub voter: String,
    /// Its place, from 1 on.
    #[prost(uint32, tag = "8")]
    pub place: u32,
    /// How many voters the list has.
    #[prost(uint32, tag = "9")]
    pub count: u32,
    /// With the next: the list.
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// Which process asked; 0: an operator did (rule O5).
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// With the next: the root of the list; both 0: itself (rule R1).
    #[prost(uint64, tag = "20")]
    pub root_term: u64,
    /// See above.
    #[prost(uint32, tag = "21")]
    pub root_version: u32,
}

/// A node asks for one voter of another's list (rule R9).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ListRequest {
    /// Who asks.
    #[prost(string, tag = "2")]
    pub node: String,
    /// Which process asks.
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// Which voter, from 1 on.
    #[prost(uint32, tag = "18")]
    pub wanted: u32,
}

/// A node asks whether another process uses its id (rule N5).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Who {
    /// The id that it is about.
    #[prost(string, tag = "2")]
    pub node: String,
    /// The question.
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// Which process asks.
    #[prost(fixed32, tag = "14")]
    pub life: u32,
}

/// A process answers that it does (rule N5).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Here {
    /// The id that it is about.
    #[prost(string, tag = "2")]
    pub node: String,
    /// The question.
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// Which process answers.
    #[prost(fixed32, tag = "14")]
    pub life: u32,
}

/// An operator asks something of a node (rule O1).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ControlRequest {
    /// The term of the leadership that is to be handed over.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Who is to do it.
    #[prost(string, tag = "2")]
    pub node: String,
    /// To whom leadership is to be handed over; empty: to whoever is fit.
    #[prost(string, tag = "3")]
    pub target: String,
    /// What is asked.
    #[prost(uint32, tag = "8")]
    pub action: u32,
    /// The last request that the node obeyed (rule O4).
    #[prost(fixed32, tag = "9")]
    pub last: u32,
    /// The operator's own number for it.
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// With the next: the list that is to be changed; both 0: whichever it is (rule R7).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// Which process is to do it.
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// Which voter of the other's list it needs, from 1 on; 0: none (rule R9).
    #[prost(uint32, tag = "18")]
    pub wanted: u32,
}

/// The node answers the operator.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ControlResponse {
    /// The node's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Who answers.
    #[prost(string, tag = "2")]
    pub node: String,
    /// The leader; empty: it knows of none.
    #[prost(string, tag = "3")]
    pub leader: String,
    /// What has come of the request.
    #[prost(uint32, tag = "8")]
    pub outcome: u32,
    /// The last request that it obeyed.
    #[prost(fixed32, tag = "9")]
    pub last: u32,
    /// The request's own `round`.
    #[prost(fixed32, tag = "10")]
    pub round: u32,
    /// Whether an operator has paused it (rule O3).
    #[prost(bool, tag = "11")]
    pub paused: bool,
    /// With the next: its list of voters; both 0: it has declared none (rule V6).
    #[prost(uint64, tag = "12")]
    pub list_term: u64,
    /// See above.
    #[prost(uint32, tag = "13")]
    pub list_version: u32,
    /// Which process answers.
    #[prost(fixed32, tag = "14")]
    pub life: u32,
    /// Whether it leads, and its list is committed (rule R6).
    #[prost(bool, tag = "22")]
    pub committed: bool,
}
