//! Leader election for tokio programs: over NATS, over a serial line, between processes of one
//! machine, or within one process.
//!
//! A [`Node`] takes part in one cluster. It needs a [`Transport`] to hear the others over and a
//! [`VoteStore`] that outlives it; it never lets a slow disk, network or application hold up the
//! election, and tells what happens through [`Node::events`], [`Node::watch`] or a [`Handler`].
//!
//! What only the leader may do stands in [`Node::run_while_leader`], or asks [`Node::leadership`]
//! first. That a node's [`State`] is [`State::Leader`] doesn't say that it may act: only the lease
//! does.

#![forbid(unsafe_code)]

#[cfg(all(unix, feature = "bridge"))]
mod bridge;
mod clock;
mod counts;
mod driver;
mod error;
mod events;
#[cfg(all(unix, feature = "serial"))]
mod framed_line;
mod handler;
mod judge;
mod leadership;
#[cfg(unix)]
mod local;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod node;
mod publisher;
mod run_while_leader;
#[cfg(all(unix, feature = "serial"))]
mod serial;
#[cfg(all(unix, feature = "serial"))]
mod serial_line;
mod transport;
mod vote_file;
mod vote_store;

#[cfg(all(unix, feature = "bridge"))]
pub use bridge::{Bridge, BridgeCounts, BridgeError, BridgeEvent, BridgeRates, DirectionCounts};
pub use counts::Counts;
pub use driver::VOTERS_MAX;
pub use error::StartError;
pub use events::{ClusterInfo, EVENTS_MAX, Event, EventKind, Events, Fault, Status};
pub use graft_election_core as core;
pub use graft_election_core::{
    COMPATIBLE_VERSION, Config, ConfigError, Mode, NodeId, NodeIdError, Reason, Refusal, Report,
    State, VoteRecord, quorum,
};
pub use graft_election_proto as proto;
pub use handler::{AlwaysGrant, Application, ChannelHandler, Handler, StateChange};
pub use leadership::Leadership;
#[cfg(unix)]
pub use local::{LocalError, LocalTransport};
pub use memory::{MemoryJoinError, MemoryNetwork, MemoryTransport};
#[cfg(feature = "nats")]
pub use nats::{NatsError, NatsTransport};
pub use node::{Node, NodeBuilder};
pub use run_while_leader::RunError;
#[cfg(all(unix, feature = "serial"))]
pub use serial::{SerialError, SerialTransport};
#[cfg(all(unix, feature = "serial"))]
pub use serial_line::{SerialLine, SerialLineError};
pub use transport::{Arrival, Connection, Transport};
pub use vote_file::{
    Corruption, DeleteError, Digest, LoadError, OpenError, SaveError, SaveStep, Unusable, VoteFile,
    VoteFileContents,
};
pub use vote_store::{LoadWarning, MemoryVotes, StoredVote, VoteStore};

/// Keeps the example in the documentation true.
#[cfg(all(doctest, feature = "nats"))]
#[doc = include_str!("../../docs/from-go.md")]
struct FromGo;
