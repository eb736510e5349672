#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod application;
mod config;
mod control;
mod digest;
mod electorate;
mod followers;
mod heard;
mod leader_value;
mod lease;
mod list_id;
mod message;
mod node;
mod node_id;
mod position;
mod rounds;
#[cfg(feature = "serde")]
mod serialize;
mod short_bytes;
mod status;
mod time;
mod timing;
mod vote_record;
mod voter_list;
mod votes;

pub use application::{AlwaysGrant, Application};
pub use config::{Config, ConfigError, Mode};
pub use control::{Change, ControlAction, ControlOutcome, ControlRequest, ControlResponse};
pub use leader_value::{LeaderValue, ValueTooLong};
pub use lease::Leadership;
pub use list_id::ListId;
pub use message::{
    Handover, Heartbeat, HeartbeatResponse, Identity, ListPart, ListRequest, Message, Outgoing,
    PreVoteResponse, Recipient, VoteRequest, VoteResponse,
};
pub use node::{Node, Output, Unsaved};
pub use node_id::{NodeId, NodeIdError};
pub use position::{Position, PositionTooLong};
pub use rounds::{Life, Round};
pub use status::{COMPATIBLE_VERSION, Reason, Refusal, Report, State, quorum};
pub use time::Instant;
pub use vote_record::{TERM_END, VoteRecord};
pub use voter_list::{RecordedList, VoterList, VoterListError};
