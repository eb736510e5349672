//! Claims about the core and the wire format that a test can't state, and that the compiler and the
//! linker can: that they need no `std` and no allocator, and that they can't panic.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, command, fails, output, succeeds, text};
use crate::workspace::{NO_PANIC, target_dir};

/// Proves that `graft-election-core` and `graft-election-proto` need neither `std` nor `alloc`:
/// they and all they depend on compile where neither exists.
///
/// A build for a microcontroller proves less, since `alloc` is there.
///
/// # Errors
///
/// Says what does not compile; or that the proof proves nothing, since a crate that needs an
/// allocator compiles too.
pub(crate) fn no_std() -> Result<()> {
    let host = host()?;
    let sysroot = core_only_sysroot(&host)?;
    let mut check = cargo(["check", "--package", "graft-election-core"])?;
    check
        .args(["--package", "graft-election-proto"])
        .args(["--target", &host, "--target-dir"])
        .arg(target_dir()?.join("no-std"))
        .env("CARGO_ENCODED_RUSTFLAGS", flag("--sysroot", sysroot.as_os_str()));
    succeeds(&output(check)?).context("core or proto needs more than libcore")?;
    println!("core and proto compile without std and alloc");
    fails(&output(needs_alloc(&sysroot)?)?, "can't find crate for `alloc`")?;
    println!("what needs alloc doesn't");
    Ok(())
}

/// Compiles a crate that needs an allocator, where there may be none.
fn needs_alloc(sysroot: &Path) -> Result<Command> {
    let source = sysroot.join("needs_alloc.rs");
    fs::write(&source, "#![no_std]\nextern crate alloc;\n")?;
    let mut rustc = command("rustc")?;
    rustc.args(["--crate-type", "lib", "--emit", "metadata", "--sysroot"]).arg(sysroot);
    rustc.arg("--out-dir").arg(sysroot).arg(source);
    Ok(rustc)
}

/// Proves that no panic can be reached from any public function of `graft-election-core` and
/// `graft-election-proto` (I7), by linking the program in `tests/no_panic`.
///
/// Where the linker finds `a_panic_is_reachable`, define a function of that name in the program:
/// then it links, and a disassembly shows who calls it.
///
/// # Errors
///
/// Says that a panic is reachable; or that the proof proves nothing, since the program links with
/// an `unwrap` in it too.
pub(crate) fn no_panic() -> Result<()> {
    let link = |features: &[&str]| {
        let mut cargo = cargo(["rustc", "--locked", "--release", "--manifest-path", NO_PANIC])?;
        cargo.arg("--target-dir").arg(target_dir()?.join("no-panic")).args(features);
        cargo.args(["--", "-C", "link-arg=-nostartfiles", "-C", "link-arg=-lc"]);
        output(cargo)
    };
    succeeds(&link(&[])?).context("core or proto can panic")?;
    println!("core and proto can't panic");
    fails(&link(&["--features", "plant"])?, "a_panic_is_reachable")?;
    println!("with an unwrap they could");
    Ok(())
}

/// A sysroot that has `core` and what the compiler itself calls, and nothing else.
fn core_only_sysroot(host: &str) -> Result<PathBuf> {
    let libraries = Path::new("lib/rustlib").join(host).join("lib");
    let full = PathBuf::from(rustc(&["--print", "sysroot"])?.trim()).join(&libraries);
    let sysroot = target_dir()?.join("core-only-sysroot");
    let here = sysroot.join(&libraries);
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot)?;
    }
    fs::create_dir_all(&here)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&full).with_context(|| format!("can't read {}", full.display()))? {
        let name = entry?.file_name();
        let kept = ["libcore-", "libcompiler_builtins-"]
            .into_iter()
            .find(|prefix| name.to_string_lossy().starts_with(prefix));
        if let Some(library) = kept {
            fs::copy(full.join(&name), here.join(&name))?;
            found.push(library);
        }
    }
    ensure!(found.contains(&"libcore-"), "{} has no libcore", full.display());
    Ok(sysroot)
}

fn host() -> Result<String> {
    let version = rustc(&["--version", "--verbose"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc doesn't name its host")?.to_owned())
}

fn rustc(arguments: &[&str]) -> Result<String> {
    let mut rustc = command("rustc")?;
    rustc.args(arguments);
    text(rustc)
}

/// A compiler flag and its value as `CARGO_ENCODED_RUSTFLAGS` has them, spaces and all.
fn flag(name: &str, value: &OsStr) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("\u{1f}");
    flag.push(value);
    flag
}
