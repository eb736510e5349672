//! The tests against the world, a module for each part of it. One program has them all, so that the
//! libraries below are linked once.

#![cfg(test)]

mod application;
mod authentication;
mod bridge;
mod driver;
mod examples;
mod fencing;
mod firmware;
mod firmware_show;
mod go_defects;
mod go_peer;
mod google_protobuf;
mod http;
mod identity;
mod leadership;
mod local;
mod memory;
mod mixed;
mod nats;
mod observer;
mod own_parts;
mod permissions;
mod proxy;
mod scenes;
mod sealed_boards;
mod sealed_nats;
mod serial;
mod settings;
mod virtual_time;
mod voters;
