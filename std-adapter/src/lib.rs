#![cfg_attr(any(not(doctest), feature = "nats"), doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("graft-election needs a Unix system: file locks, directory syncs, Unix sockets");

mod application;
mod application_queries;
#[cfg(feature = "bridge")]
mod bridge;
mod clock;
mod codec;
mod core_node;
mod counts;
mod driver;
mod error;
mod error_chain;
mod events;
#[cfg(feature = "serial")]
mod framed_line;
mod handler;
#[cfg(feature = "http")]
mod http;
mod key_file;
mod leadership;
mod local;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod news;
mod node;
mod observer;
mod operator;
mod printable;
mod publisher;
mod run_while_leader;
#[cfg(feature = "serial")]
mod serial;
#[cfg(feature = "serial")]
mod serial_line;
#[cfg(feature = "serde")]
mod serialize;
mod small_file;
mod start_question;
mod times;
mod transport;
mod vote_file;
mod vote_store;

pub use application::{AlwaysGrant, Application};
#[cfg(feature = "nats")]
pub use async_nats;
#[cfg(feature = "bridge")]
pub use bridge::{Bridge, BridgeCounts, BridgeError, BridgeEvent, BridgeRates, DirectionCounts};
pub use codec::{Codec, Opened};
pub use core_node::{RecordedList, VOTERS_MAX, VoteRecord, VoterList};
pub use counts::{Counts, DropCause};
pub use error::StartError;
pub use error_chain::ErrorChain;
pub use events::{ClusterInfo, EVENTS_MAX, Event, EventKind, Events, Fault, Status};
pub use graft_election_core as core;
pub use graft_election_core::{
    COMPATIBLE_VERSION, Change, Config, ConfigError, ControlOutcome, LeaderValue, Mode, NodeId,
    NodeIdError, Reason, Refusal, Report, State, ValueTooLong, VoterListError, quorum,
};
pub use graft_election_proto as proto;
pub use graft_election_proto::seal::{Key, KeyTextError, Keys, SealError, SealFault};
pub use handler::{ChannelHandler, Handler, StateChange};
#[cfg(feature = "http")]
pub use http::HttpService;
pub use key_file::{KeyFileError, parse_keys, read_key_file};
pub use leadership::Leadership;
pub use local::{LocalError, LocalTransport};
pub use memory::{MemoryJoinError, MemoryNetwork, MemoryTransport};
#[cfg(feature = "nats")]
pub use nats::{NatsConnectError, NatsError, NatsServers, NatsServersError, NatsTransport};
pub use node::{Node, NodeBuilder, VotersUnchanged};
pub use observer::{
    ClusterView, Disagreement, LeaderView, NodeView, Observation, ObservedRole, Observer,
};
pub use operator::{HandedOver, KnownVoters, NodeAnswer, Operator, OperatorError};
pub use printable::Printable;
pub use run_while_leader::RunError;
#[cfg(feature = "serial")]
pub use serial::{SerialError, SerialTransport};
#[cfg(feature = "serial")]
pub use serial_line::{SerialLine, SerialLineError};
pub use small_file::SmallFile;
pub use times::Times;
pub use transport::{Arrival, Ask, Connection, ConnectionState, Listen, Member, Transport};
pub use vote_file::{
    Corruption, DeleteError, Digest, ListContents, LoadError, OpenError, SaveError, SaveStep,
    Unusable, VoteFile, VoteFileContents, VoteFileError,
};
pub use vote_store::{LoadWarning, MemoryVotes, SharedError, StoredVote, VoteStore};

/// Keeps the example in the documentation true.
#[cfg(all(doctest, feature = "nats"))]
#[doc = include_str!("../../docs/from-go.md")]
struct FromGo;
