//! Tells the program which compiler made it, for `graft --version`.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=RUSTC");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(compiler).arg("--version").output();
    let version = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let version = version.ok().filter(|version| !version.is_empty());
    let version = version.as_deref().unwrap_or("a compiler that does not say its version");
    println!("cargo::rustc-env=GRAFT_COMPILER={version}");
}
