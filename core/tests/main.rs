//! The rules of `docs/protocol.md` as conversations with one node, then as histories of a whole
//! cluster. A test that shows a numbered rule ("V2") or a defect of the Go original ("G7") has that
//! number in front of its name.

#![cfg(test)]

mod campaigning;
mod common;
mod config;
mod failover;
mod handover;
mod identity;
mod leading;
mod lease;
mod lists;
mod operators;
mod pre_voting;
mod priorities;
mod properties;
mod terms;
mod transitions;
mod voting;
mod whole_cluster;
