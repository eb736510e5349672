//! A deterministic simulator of the election. Its nodes are the real ones of the core; what is
//! simulated is the world around them: clocks, disks, the network, and everything that goes wrong.
//!
//! A [`World`] changes only by [`Step`]s, and says what came of each by events. A [`script`] is a
//! list of steps with the transcript that came of them, for people to read; a checker judges every
//! step by the invariants of the project's `docs/protocol.md`.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use this crate"
)]

mod checker;
mod clock;
mod disk;
mod event;
mod faults;
mod forgery;
mod identity;
mod message_text;
mod network;
pub mod script;
pub mod script_folder;
mod setup;
pub mod shrink;
pub mod simulation;
mod station;
mod step;
mod step_text;
pub mod timeline;
pub mod times;
mod transcript;
mod world;

pub use checker::{Judged, Violation};
pub use clock::Moment;
pub use disk::{DiskMode, Remains};
pub use event::{Event, Observer};
pub use faults::Kind;
pub use identity::{Identity, NodeIndex};
pub use network::{Flight, FlightKey, Network};
pub use setup::{NodeSetup, Setup};
pub use simulation::{Figures, Links, Simulation, Stage};
pub use station::Condition;
pub use step::{Pick, Step};
pub use world::{CannotHappen, World};
