//! Leader election as a state machine. It never does I/O, reads a clock, allocates, blocks, logs or
//! panics: messages, time, randomness and the stored vote are handed in, and what comes out is at
//! most one message for each input.
//!
//! A [`Node`] is one voter of a cluster of fixed size. Its driver feeds it every message it hears
//! ([`Node::handle_message`]) and wakes it at its deadline ([`Node::handle_timeout`]); the answer
//! is an [`Output`]: nothing, a message to send, or a vote to store first. The rules that comments
//! name ("V1", "T3") are those of the project's `docs/protocol.md`.
//!
//! Capacities are fixed: `VOTERS`, a node's const parameter, bounds the size of its cluster, and
//! [`NodeId::CAPACITY`] and [`Position::CAPACITY`] bound what a message can carry.

#![no_std]
#![forbid(unsafe_code)]

mod answers;
mod application;
mod config;
mod handover;
mod leading;
mod lease;
mod message;
mod node;
mod node_id;
mod output;
mod role;
mod saving;
mod status;
mod time;
mod timer;
mod view;
mod vote_record;
mod votes;

pub use application::{AlwaysGrant, Application};
pub use config::{Config, ConfigError, Mode};
pub use lease::Leadership;
pub use message::{
    Handover, Heartbeat, HeartbeatResponse, Message, Outgoing, Position, PositionTooLong,
    PreVoteResponse, Recipient, VoteRequest, VoteResponse,
};
pub use node::Node;
pub use node_id::{NodeId, NodeIdError};
pub use output::{Output, Unsaved};
pub use status::{COMPATIBLE_VERSION, Reason, Refusal, Report, State, quorum};
pub use time::Instant;
pub use vote_record::{TERM_END, VoteRecord};
