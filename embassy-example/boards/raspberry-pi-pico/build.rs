//! Hands the linker its scripts.

use std::path::PathBuf;
use std::{env, fs, io};

/// What cortex-m-rt's own script asks for.
const SCRIPT: &str = "memory.x";

/// How the firmware is put together: cortex-m-rt's script, that of the HAL for the boot loader's
/// second stage, that of the logs, and no padding to the pages of an operating system.
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
