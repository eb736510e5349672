//! Gives the linker its scripts.

use std::path::PathBuf;
use std::{env, fs, io};

/// The scripts that cortex-m-rt's own includes.
const SCRIPTS: [&str; 2] = ["memory.x", "device.x"];

/// How the firmware is linked: with the scripts of cortex-m-rt and of the logs, and without padding
/// to the pages of an operating system.
const ARGUMENTS: [&str; 3] = ["-Tlink.x", "-Tdefmt.x", "--nmagic"];

fn main() -> io::Result<()> {
    // Cargo always sets it.
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    for script in SCRIPTS {
        fs::copy(script, out.join(script))?;
        println!("cargo:rerun-if-changed={script}");
    }
    println!("cargo:rustc-link-search={}", out.display());
    for argument in ARGUMENTS {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    Ok(())
}
