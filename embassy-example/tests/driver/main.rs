//! Drivers in virtual time: whole elections, and every part of a board failing.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod elections;
mod faults;
#[path = "../flash/mod.rs"]
mod flash;
mod lease;
mod power_cuts;
mod serial_bus;
mod station;
mod timing;
mod world;
