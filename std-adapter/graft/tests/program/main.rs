//! The program `graft` as its users run it: real processes, real signals, real files.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod bridge;
mod check;
mod cluster;
mod command;
mod containment;
mod demo;
mod deploy;
mod doctor;
mod exit_status;
mod floods;
mod from_go;
mod giving_up;
mod http;
mod inspect;
mod keep;
mod key;
mod leader_file;
mod live_voters;
mod login;
mod machines;
mod manual;
mod names;
mod nats;
/// What the other tests start servers with: they are of another package.
#[allow(dead_code, unreachable_pub, reason = "these tests need only part of it")]
#[path = "../../../../tests/src/nats_server.rs"]
mod nats_server;
mod nats_service;
mod observe;
mod on_change;
mod once;
mod operate;
mod peer;
mod process;
/// Theirs as well.
#[allow(dead_code, unreachable_pub, reason = "these tests need only part of it")]
#[path = "../../../../tests/src/proxy.rs"]
mod proxy;
mod pty;
mod reports;
mod run;
mod settings;
mod surroundings;
mod systemd;
mod terminal;
mod times;
mod traces;
mod voters;
