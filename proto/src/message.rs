//! The election's own messages to bytes and back.

use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Message, NodeId, NodeIdError, Position,
    PositionTooLong, PreVoteResponse, VoteRequest, VoteResponse,
};

use crate::field::{Field, Values, read_fields, write_fields};
use crate::{EncodeError, Kind, WireError, wire};

/// The most bytes that any message takes: those of a heartbeat response with everything in it.
pub const ENCODED_MAX: usize = 171;

/// Reads `payload` as a message of `kind`.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong with the payload; nothing is ever cut to fit (rule V7). Terms
/// are left to the node that receives the message (rule T4).
pub fn decode(kind: Kind, payload: &[u8]) -> Result<Message, DecodeError> {
    let mut values = Values::default();
    read_fields(fields(kind), payload, &mut values)?;
    message(kind, &values)
}

/// The message that has these values.
///
/// It is a function of its own, and each of its arms the whole result, for the message to be put
/// together where it is to be: as a part of another function it is copied from place to place, which
/// takes a kibibyte more flash.
#[inline(never)]
fn message(kind: Kind, values: &Values<'_>) -> Result<Message, DecodeError> {
    match kind {
        Kind::VoteRequest => vote_request(values).map(Message::VoteRequest),
        Kind::PreVoteRequest => vote_request(values).map(Message::PreVoteRequest),
        Kind::VoteResponse => {
            let response = wire::VoteResponse::from_values(values);
            Ok(Message::VoteResponse(VoteResponse {
                term: response.term,
                granted: response.granted,
                voter: optional_id("Voter", response.voter)?,
            }))
        }
        Kind::Heartbeat => {
            let heartbeat = wire::Heartbeat::from_values(values);
            Ok(Message::Heartbeat(Heartbeat {
                term: heartbeat.term,
                leader: id("Leader", heartbeat.leader)?,
                sent_at: NonZeroU64::new(heartbeat.sent_at),
                size: NonZeroU32::new(heartbeat.size),
            }))
        }
        Kind::HeartbeatResponse => {
            let response = wire::HeartbeatResponse::from_values(values);
            Ok(Message::HeartbeatResponse(HeartbeatResponse {
                term: response.term,
                follower: id("Follower", response.follower)?,
                position: Position::new(response.current_state)?,
                sent_at: NonZeroU64::new(response.sent_at),
                priority: response.priority,
                bound_for: NonZeroU64::new(response.bound_for),
            }))
        }
        Kind::PreVoteResponse => {
            let response = wire::PreVoteResponse::from_values(values);
            Ok(Message::PreVoteResponse(PreVoteResponse {
                term: response.term,
                granted: response.granted,
                voter: id("Voter", response.voter)?,
                proposed_term: response.proposed_term,
                round: NonZeroU32::new(response.round),
            }))
        }
        Kind::Handover => {
            let handover = wire::Handover::from_values(values);
            Ok(Message::Handover(Handover {
                term: handover.term,
                leader: id("Leader", handover.leader)?,
                target: optional_id("Target", handover.target)?,
            }))
        }
    }
}

fn vote_request(values: &Values<'_>) -> Result<VoteRequest, DecodeError> {
    // All that either kind has: those of a request for a vote have no round.
    let request = wire::PreVoteRequest::from_values(values);
    Ok(VoteRequest {
        term: request.term,
        candidate: id("Candidate", request.candidate)?,
        position: Position::new(request.current_state)?,
        handover_from: NonZeroU64::new(request.handover_from),
        size: NonZeroU32::new(request.size),
        round: NonZeroU32::new(request.round),
    })
}

/// Writes `message` at the front of `buffer` and returns what was written. A buffer of
/// [`ENCODED_MAX`] bytes has room for any.
///
/// # Errors
///
/// [`EncodeError`] if the message doesn't fit.
pub fn encode<'b>(message: &Message, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
    let mut values = Values::default();
    match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
            wire::PreVoteRequest::from(request).fill(&mut values)
        }
        Message::VoteResponse(response) => wire::VoteResponse::from(response).fill(&mut values),
        Message::Heartbeat(heartbeat) => wire::Heartbeat::from(heartbeat).fill(&mut values),
        Message::HeartbeatResponse(response) => {
            wire::HeartbeatResponse::from(response).fill(&mut values)
        }
        Message::PreVoteResponse(response) => {
            wire::PreVoteResponse::from(response).fill(&mut values)
        }
        Message::Handover(handover) => wire::Handover::from(handover).fill(&mut values),
    }
    write_fields(fields(Kind::of(message)), &values, buffer)
}

/// The fields of the messages of a kind.
const fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::VoteRequest => wire::VoteRequest::FIELDS,
        Kind::PreVoteRequest => wire::PreVoteRequest::FIELDS,
        Kind::VoteResponse => wire::VoteResponse::FIELDS,
        Kind::Heartbeat => wire::Heartbeat::FIELDS,
        Kind::HeartbeatResponse => wire::HeartbeatResponse::FIELDS,
        Kind::PreVoteResponse => wire::PreVoteResponse::FIELDS,
        Kind::Handover => wire::Handover::FIELDS,
    }
}

/// Why a payload is not a message that a node may see (rule V7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeError {
    /// The payload is not the protobuf message it should be.
    Wire(WireError),
    /// A field that names a node doesn't hold a node id.
    InvalidId {
        /// The field, as `graft.proto` names it.
        field: &'static str,
        /// What is wrong with the id.
        error: NodeIdError,
    },
    /// `CurrentState` is longer than a position may be.
    PositionTooLong(PositionTooLong),
}

impl From<WireError> for DecodeError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<PositionTooLong> for DecodeError {
    fn from(error: PositionTooLong) -> Self {
        Self::PositionTooLong(error)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::InvalidId { field, error } => write!(f, "field {field}: {error}"),
            Self::PositionTooLong(error) => write!(f, "field CurrentState: {error}"),
        }
    }
}

impl core::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Wire(error) => Some(error),
            Self::InvalidId { error, .. } => Some(error),
            Self::PositionTooLong(error) => Some(error),
        }
    }
}

impl<'a> From<&'a VoteRequest> for wire::PreVoteRequest<'a> {
    fn from(request: &'a VoteRequest) -> Self {
        Self {
            term: request.term,
            candidate: request.candidate.as_str(),
            current_state: request.position.as_bytes(),
            handover_from: request.handover_from.map_or(0, NonZeroU64::get),
            size: request.size.map_or(0, NonZeroU32::get),
            round: request.round.map_or(0, NonZeroU32::get),
        }
    }
}

impl<'a> From<&'a VoteResponse> for wire::VoteResponse<'a> {
    fn from(response: &'a VoteResponse) -> Self {
        Self {
            term: response.term,
            granted: response.granted,
            voter: response.voter.as_ref().map_or("", NodeId::as_str),
        }
    }
}

impl<'a> From<&'a Heartbeat> for wire::Heartbeat<'a> {
    fn from(heartbeat: &'a Heartbeat) -> Self {
        Self {
            term: heartbeat.term,
            leader: heartbeat.leader.as_str(),
            sent_at: heartbeat.sent_at.map_or(0, NonZeroU64::get),
            size: heartbeat.size.map_or(0, NonZeroU32::get),
        }
    }
}

impl<'a> From<&'a HeartbeatResponse> for wire::HeartbeatResponse<'a> {
    fn from(response: &'a HeartbeatResponse) -> Self {
        Self {
            term: response.term,
            follower: response.follower.as_str(),
            current_state: response.position.as_bytes(),
            sent_at: response.sent_at.map_or(0, NonZeroU64::get),
            priority: response.priority,
            bound_for: response.bound_for.map_or(0, NonZeroU64::get),
        }
    }
}

impl<'a> From<&'a PreVoteResponse> for wire::PreVoteResponse<'a> {
    fn from(response: &'a PreVoteResponse) -> Self {
        Self {
            term: response.term,
            granted: response.granted,
            voter: response.voter.as_str(),
            proposed_term: response.proposed_term,
            round: response.round.map_or(0, NonZeroU32::get),
        }
    }
}

impl<'a> From<&'a Handover> for wire::Handover<'a> {
    fn from(handover: &'a Handover) -> Self {
        Self {
            term: handover.term,
            leader: handover.leader.as_str(),
            target: handover.target.as_ref().map_or("", NodeId::as_str),
        }
    }
}

fn id(field: &'static str, name: &str) -> Result<NodeId, DecodeError> {
    NodeId::new(name).map_err(|error| DecodeError::InvalidId { field, error })
}

/// An id that may be left out, which protobuf can't tell from an empty one.
fn optional_id(field: &'static str, name: &str) -> Result<Option<NodeId>, DecodeError> {
    if name.is_empty() { Ok(None) } else { id(field, name).map(Some) }
}
