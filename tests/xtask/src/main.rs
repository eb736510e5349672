//! The project's own commands.

mod proofs;

use clap::Parser;

#[derive(Parser)]
#[command(about)]
enum Xtask {
    /// Prove that the core and the wire format need neither std nor an allocator.
    NoStd,
    /// Prove that the core and the wire format can't panic.
    NoPanic,
}

fn main() -> anyhow::Result<()> {
    match Xtask::parse() {
        Xtask::NoStd => proofs::no_std(),
        Xtask::NoPanic => proofs::no_panic(),
    }
}
