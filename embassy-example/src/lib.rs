//! The election on an embedded loop.

#![no_std]
#![forbid(unsafe_code)]
