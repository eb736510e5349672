//! The program `graft` as its users run it: real processes, real signals, real files.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod command;
mod demo;
mod from_go;
mod log;
mod peer;
mod process;
mod run;
