//! The program `graft`.

fn main() {}
