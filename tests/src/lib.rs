//! What the tests share: real servers, clusters to watch, and peers that do as they are told.
//!
//! Everything here stops the test that uses it at the first surprise, so it panics where other code
//! returns errors.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use this crate"
)]

pub mod application;
pub mod board;
pub mod boards;
pub mod bridge;
pub mod browser;
pub mod bus;
pub mod cluster;
pub mod faulty_network;
pub mod killable_node;
pub mod nats_server;
#[path = "../../proto/tests/pb/mod.rs"]
pub mod pb;
pub mod peer;
pub mod proxy;
pub mod transport;
pub mod trial;
pub mod votes;
pub mod witness;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
