//! The wire format of the election: the protobuf messages of `graft.proto` to bytes and back. It
//! never allocates, panics or cuts anything to fit.
//!
//! [`encode`] and [`decode`] are all that a transport needs: they turn the election's own
//! [`Message`](graft_election_core::Message) into bytes and back, and refuse what no node may see
//! (rule V7). [`Kind`] tells the messages apart, since protobuf doesn't. Behind them stand the
//! plain messages, borrowed from the payload, in [`wire`]; with the feature `prost` the module
//! `prost_messages` has them as prost structs too. Where messages travel as bare bytes, over a serial
//! line for instance, [`frame`] tells where each begins and ends, from whom it is and for whom.
//!
//! ```
//! use graft_election_core::{Message, NodeId, VoteResponse};
//! use graft_election_proto::{ENCODED_MAX, Kind, decode, encode};
//!
//! let voter = NodeId::new("a").ok();
//! let message = Message::VoteResponse(VoteResponse { term: 7, granted: true, voter });
//! let mut buffer = [0; ENCODED_MAX];
//! let payload = encode(&message, &mut buffer)?;
//! assert_eq!(payload, [0x08, 7, 0x10, 1, 0x42, 1, b'a']);
//! assert_eq!(decode(Kind::of(&message), payload)?, message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is accepted
//!
//! What a sane Go node sends is read exactly as Go and prost read it: unknown fields and
//! well-formed groups, up to 100 deep, are skipped, numbers may be longer than need be, any
//! non-zero number is true, the last of several values counts, and text must be UTF-8. One thing
//! differs from Go, by rule V7: a known field of the wrong wire type is an error, as it is for
//! prost.
//!
//! # Why its own codec
//!
//! The libraries that need no allocator were tried first: micropb refuses groups; femtopb's encoder
//! keeps panics that the optimizer can't remove, its errors name neither field nor place, and it
//! skips groups by calling itself, a hundred deep if the sender likes. prost needs an allocator;
//! tests hold this codec to its bytes and its verdicts.

#![no_std]
#![forbid(unsafe_code)]

mod field;
pub mod frame;
mod kind;
mod message;
mod reader;
mod wire_type;
mod writer;

pub use kind::Kind;
pub use message::{DecodeError, ENCODED_MAX, decode, encode};
pub use reader::WireError;
pub use writer::EncodeError;
