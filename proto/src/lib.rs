#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod field;
pub mod frame;
mod kind;
mod message;
mod reader;
#[cfg(feature = "seal")]
pub mod seal;
mod wire_type;
mod writer;

pub use kind::Kind;
pub use message::{DecodeError, ENCODED_MAX, SEAL_LEN, decode, encode};
pub use reader::WireError;
pub use writer::EncodeError;
