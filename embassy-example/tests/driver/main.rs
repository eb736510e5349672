//! Drivers in virtual time: whole elections, and failures of every part of a board.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod elections;
mod faults;
#[path = "../flash/mod.rs"]
mod flash;
mod lease;
mod machine;
mod messages;
mod power_cuts;
mod serial_bus;
mod timing;
mod world;
