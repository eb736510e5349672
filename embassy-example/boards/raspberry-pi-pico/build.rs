//! Gives the linker its scripts.

use std::path::PathBuf;
use std::{env, fs, io};

/// The script that cortex-m-rt's own includes.
const SCRIPT: &str = "memory.x";

/// How the firmware is linked: with the scripts of cortex-m-rt, of the HAL for the boot loader's
/// second stage, and of the logs, and without padding to the pages of an operating system.
const ARGUMENTS: [&str; 4] = ["-Tlink.x", "-Tlink-rp.x", "-Tdefmt.x", "--nmagic"];

fn main() -> io::Result<()> {
    // Cargo always sets it.
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    fs::copy(SCRIPT, out.join(SCRIPT))?;
    println!("cargo:rerun-if-changed={SCRIPT}");
    println!("cargo:rustc-link-search={}", out.display());
    for argument in ARGUMENTS {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    Ok(())
}
