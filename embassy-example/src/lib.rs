#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod announcer;
mod carrier_sense;
mod clock;
#[cfg(feature = "defmt")]
mod defmt_log;
mod driver;
mod envelope;
mod lease;
mod observer;
#[cfg(feature = "seal")]
mod sealed;
mod serial;
mod spokesman;
mod transport;
mod vote_flash;
mod vote_store;

pub use carrier_sense::CarrierSense;
#[cfg(feature = "defmt")]
pub use defmt_log::DefmtLog;
pub use driver::{Board, Driver, DuplicateId, StartError};
pub use envelope::{Envelope, Plain, Unwritten};
pub use lease::{Leadership, Lease};
pub use observer::{Observer, SendError, StateChange};
#[cfg(feature = "seal")]
pub use sealed::{KEYS_LEN_MAX, Sealed, keys_in_flash};
pub use serial::{SerialError, SerialTransport};
pub use transport::Transport;
pub use vote_flash::{RegionError, VoteFlash, VoteFlashError};
#[cfg(feature = "seal")]
pub use vote_store::CountError;
pub use vote_store::{ProvisionError, VoteStore};
