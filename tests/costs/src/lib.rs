//! Scenes that show what the election's core costs: instructions, time, messages, bytes and
//! allocations.
//!
//! `cargo xtask costs` counts, and fails if it comes to other figures than those of `costs.toml`;
//! `cargo xtask bench` measures the time of the same scenes, beside those of other libraries.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only measurements use this crate"
)]

pub mod cluster;
pub mod scene;

/// Runs what is measured. Callgrind counts what happens in this function, and nothing else.
#[inline(never)]
pub fn measured(scene: &mut dyn FnMut() -> u64) -> u64 {
    scene()
}
