#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod carrier_sense;
mod clock;
#[cfg(feature = "defmt")]
mod defmt_log;
mod driver;
mod lease;
mod link;
mod observer;
mod serial_link;
mod vote_flash;
mod vote_storage;

pub use carrier_sense::CarrierSense;
#[cfg(feature = "defmt")]
pub use defmt_log::DefmtLog;
pub use driver::{Board, Driver, StartError};
pub use lease::{Leadership, Lease};
pub use link::Link;
pub use observer::{Observer, SendError, StateChange};
pub use serial_link::{SerialError, SerialLink};
pub use vote_flash::{RegionError, VoteFlash, VoteFlashError};
pub use vote_storage::VoteStorage;
