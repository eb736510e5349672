#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod announcer;
mod carrier_sense;
mod clock;
#[cfg(feature = "defmt")]
mod defmt_log;
mod driver;
mod lease;
mod observer;
mod serial;
mod spokesman;
mod transport;
mod vote_flash;
mod vote_store;

pub use carrier_sense::CarrierSense;
#[cfg(feature = "defmt")]
pub use defmt_log::DefmtLog;
pub use driver::{Board, Driver, DuplicateId, StartError};
pub use lease::{Leadership, Lease};
pub use observer::{Observer, SendError, StateChange};
pub use serial::{SerialError, SerialTransport};
pub use transport::Transport;
pub use vote_flash::{RegionError, VoteFlash, VoteFlashError};
pub use vote_store::{ProvisionError, VoteStore};
