#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use this crate"
)]

mod application;
mod checker;
mod clock;
mod disk;
mod event;
mod faults;
mod forgery;
mod go_voter;
mod identity;
mod judgement;
mod machine;
mod message_text;
mod network;
pub mod raft_paper;
pub mod script;
pub mod script_folder;
mod setup;
pub mod shrink;
pub mod simulation;
mod step;
mod step_text;
mod time_shape;
pub mod timeline;
pub mod times;
mod transcript;
mod world;

pub use application::Answers;
pub use clock::Moment;
pub use disk::{DiskMode, Remains};
pub use event::{Event, Observer};
pub use faults::Kind;
pub use identity::{Identity, NodeIndex};
pub use judgement::{Judged, Violation};
pub use machine::Condition;
pub use network::{Flight, FlightKey, Network};
pub use setup::{NodeSetup, Setup};
pub use simulation::{Cluster, Figures, Links, Simulation};
pub use step::{Change, Pick, Step};
pub use world::{CannotHappen, World};
