//! The election's own messages to bytes and back.

use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Message, NodeId, NodeIdError, Position,
    PositionTooLong, PreVoteResponse, VoteRequest, VoteResponse,
};

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
    Ok(match kind {
        Kind::VoteRequest => Message::VoteRequest(wire::VoteRequest::decode(payload)?.try_into()?),
        Kind::VoteResponse => {
            Message::VoteResponse(wire::VoteResponse::decode(payload)?.try_into()?)
        }
        Kind::Heartbeat => Message::Heartbeat(wire::Heartbeat::decode(payload)?.try_into()?),
        Kind::HeartbeatResponse => {
            Message::HeartbeatResponse(wire::HeartbeatResponse::decode(payload)?.try_into()?)
        }
        Kind::PreVoteRequest => {
            Message::PreVoteRequest(wire::PreVoteRequest::decode(payload)?.try_into()?)
        }
        Kind::PreVoteResponse => {
            Message::PreVoteResponse(wire::PreVoteResponse::decode(payload)?.try_into()?)
        }
        Kind::Handover => Message::Handover(wire::Handover::decode(payload)?.try_into()?),
    })
}

/// Writes `message` at the front of `buffer` and returns what was written. A buffer of
/// [`ENCODED_MAX`] bytes has room for any.
///
/// # Errors
///
/// [`EncodeError`] if the message doesn't fit.
pub fn encode<'b>(message: &Message, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
    match message {
        Message::VoteRequest(request) => wire::VoteRequest::from(request).encode(buffer),
        Message::VoteResponse(response) => wire::VoteResponse::from(response).encode(buffer),
        Message::Heartbeat(heartbeat) => wire::Heartbeat::from(heartbeat).encode(buffer),
        Message::HeartbeatResponse(response) => {
            wire::HeartbeatResponse::from(response).encode(buffer)
        }
        Message::PreVoteRequest(request) => wire::PreVoteRequest::from(request).encode(buffer),
        Message::PreVoteResponse(response) => wire::PreVoteResponse::from(response).encode(buffer),
        Message::Handover(handover) => wire::Handover::from(handover).encode(buffer),
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

impl TryFrom<wire::VoteRequest<'_>> for VoteRequest {
    type Error = DecodeError;

    fn try_from(request: wire::VoteRequest<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: request.term,
            candidate: id("Candidate", request.candidate)?,
            position: Position::new(request.current_state)?,
            handover_from: NonZeroU64::new(request.handover_from),
            size: NonZeroU32::new(request.size),
        })
    }
}

impl<'a> From<&'a VoteRequest> for wire::VoteRequest<'a> {
    fn from(request: &'a VoteRequest) -> Self {
        Self {
            term: request.term,
            candidate: request.candidate.as_str(),
            current_state: request.position.as_bytes(),
            handover_from: request.handover_from.map_or(0, NonZeroU64::get),
            size: request.size.map_or(0, NonZeroU32::get),
        }
    }
}

impl TryFrom<wire::VoteResponse<'_>> for VoteResponse {
    type Error = DecodeError;

    fn try_from(response: wire::VoteResponse<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: response.term,
            granted: response.granted,
            voter: optional_id("Voter", response.voter)?,
        })
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

impl TryFrom<wire::Heartbeat<'_>> for Heartbeat {
    type Error = DecodeError;

    fn try_from(heartbeat: wire::Heartbeat<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: heartbeat.term,
            leader: id("Leader", heartbeat.leader)?,
            sent_at: NonZeroU64::new(heartbeat.sent_at),
            size: NonZeroU32::new(heartbeat.size),
        })
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

impl TryFrom<wire::HeartbeatResponse<'_>> for HeartbeatResponse {
    type Error = DecodeError;

    fn try_from(response: wire::HeartbeatResponse<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: response.term,
            follower: id("Follower", response.follower)?,
            position: Position::new(response.current_state)?,
            sent_at: NonZeroU64::new(response.sent_at),
            priority: response.priority,
            bound_for: NonZeroU64::new(response.bound_for),
        })
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

impl TryFrom<wire::PreVoteResponse<'_>> for PreVoteResponse {
    type Error = DecodeError;

    fn try_from(response: wire::PreVoteResponse<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: response.term,
            granted: response.granted,
            voter: id("Voter", response.voter)?,
            proposed_term: response.proposed_term,
        })
    }
}

impl<'a> From<&'a PreVoteResponse> for wire::PreVoteResponse<'a> {
    fn from(response: &'a PreVoteResponse) -> Self {
        Self {
            term: response.term,
            granted: response.granted,
            voter: response.voter.as_str(),
            proposed_term: response.proposed_term,
        }
    }
}

impl TryFrom<wire::Handover<'_>> for Handover {
    type Error = DecodeError;

    fn try_from(handover: wire::Handover<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: handover.term,
            leader: id("Leader", handover.leader)?,
            target: optional_id("Target", handover.target)?,
        })
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
