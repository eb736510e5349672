//! Builds for microcontrollers: with a compiler that has their libraries, or else with Debian's,
//! which has those libraries' sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, cargo_of, command, run, text};
use crate::tools::{apt_install, on_path};
use crate::workspace::{BOARDS_FOLDER, root, target_dir};

/// What is built for: a Cortex-M3, and the least of the Cortex-M.
pub(crate) const TARGETS: [&str; 2] = ["thumbv7m-none-eabi", "thumbv6m-none-eabi"];

/// The boards, and what the firmware of each is built for.
pub(crate) const BOARDS: [(&str, &[&str]); 2] =
    [(EMULATED_BOARD, &TARGETS), ("raspberry-pi-pico", &["thumbv6m-none-eabi"])];

/// The board that QEMU emulates.
pub(crate) const EMULATED_BOARD: &str = "mps2-an385";

/// What its processor is.
pub(crate) const EMULATED_TARGET: &str = TARGETS[0];

/// What Debian's packages need to be called for a build.
const DEBIAN_PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-clippy", "rust-web-src", "binutils-arm-none-eabi"];

/// Where Debian has its compiler, which rustup's hides on the path.
const DEBIAN_PROGRAMS: &str = "/usr/bin";

/// For which clusters firmware is built: those without a key, or those with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Plain,
    Sealed,
}

impl Variant {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Sealed];

    /// The options of cargo that ask for it.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Sealed => &["--features", "seal"],
        }
    }
}

/// A compiler that builds for [`TARGETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The compiler of the workspace, with libraries for the targets.
    Installed,
    /// Debian's compiler, which builds the one library that is needed, `core`, from its sources.
    Debian,
}

/// Builds the firmware of every board, and has clippy look at it: once, since no code of a board is
/// for one target alone.
///
/// # Errors
///
/// The compiler or clippy complains.
pub(crate) fn check(toolchain: Toolchain) -> Result<()> {
    for (board, targets) in BOARDS {
        for variant in Variant::ALL {
            for target in targets {
                toolchain.build(board, target, variant)?;
            }
            toolchain.clippy(board, targets[0], variant)?;
        }
    }
    Ok(())
}

/// The manifest of a board's firmware.
pub(crate) fn manifest(board: &str) -> String {
    format!("{BOARDS_FOLDER}/{board}/Cargo.toml")
}

impl Toolchain {
    /// Finds a compiler, and installs what it lacks.
    ///
    /// # Errors
    ///
    /// Says what to install.
    pub(crate) fn install() -> Result<Self> {
        if has_targets()? {
            return Ok(Self::Installed);
        }
        if has_debian() {
            return Ok(Self::Debian);
        }
        if add_targets() {
            return Ok(Self::Installed);
        }
        apt_install(&DEBIAN_PACKAGES).with_context(|| {
            format!("no compiler builds firmware: run `rustup target add {}`", TARGETS.join(" "))
        })?;
        ensure!(has_debian(), "Debian's compiler has no sources of its libraries");
        Ok(Self::Debian)
    }

    /// The firmware of a board, built for `target`.
    pub(crate) fn build(self, board: &str, target: &str, variant: Variant) -> Result<PathBuf> {
        self.build_program(&manifest(board), &format!("graft-firmware-{board}"), target, variant)
    }

    /// The program called `name` of the package of `manifest`, built for `target`. With a key,
    /// `-sealed` is added to its name.
    pub(crate) fn build_program(
        self,
        manifest: &str,
        name: &str,
        target: &str,
        variant: Variant,
    ) -> Result<PathBuf> {
        let mut build = self.cargo("build", manifest, target)?;
        build.args(["--release", "--locked"]).args(variant.options());
        text(build).with_context(|| format!("{name} could not be built for {target}"))?;
        let built = self.target_dir()?.join(target).join("release").join(name);
        if variant == Variant::Plain {
            return Ok(built);
        }
        // Cargo gives both the same name, and links the one it is asked for to that name again. If
        // it is still the same file, renaming it would leave both names.
        let sealed = built.with_file_name(format!("{name}-sealed"));
        if sealed.exists() {
            fs::remove_file(&sealed)?;
        }
        fs::rename(built, &sealed)?;
        Ok(sealed)
    }

    /// Clippy on the firmware of a board, with every warning an error.
    fn clippy(self, board: &str, target: &str, variant: Variant) -> Result<()> {
        let mut clippy = self.cargo("clippy", &manifest(board), target)?;
        clippy.args(["--release", "--locked"]).args(variant.options());
        clippy.args(["--", "--deny", "warnings"]);
        run(clippy)
    }

    /// Cargo's `subcommand` on the package of `manifest`, for `target`.
    fn cargo(self, subcommand: &str, manifest: &str, target: &str) -> Result<Command> {
        let mut cargo = match self {
            Self::Installed => cargo([subcommand])?,
            Self::Debian => debian_cargo(subcommand, target)?,
        };
        // There is a configuration in the package's folder too, for those who build it by hand.
        let folder = Path::new(manifest).parent().context("a manifest is in a folder")?;
        cargo.current_dir(root()?.join(folder));
        cargo.args(["--target", target, "--target-dir"]).arg(self.target_dir()?);
        Ok(cargo)
    }

    /// The compilers build in folders of their own: each would rebuild all of the other's.
    fn target_dir(self) -> Result<PathBuf> {
        Ok(target_dir()?.join(match self {
            Self::Installed => "firmware",
            Self::Debian => "firmware-debian",
        }))
    }
}

fn has_targets() -> Result<bool> {
    for target in TARGETS {
        let mut rustc = command("rustc")?;
        rustc.args(["--print", "target-libdir", "--target", target]);
        if !Path::new(text(rustc)?.trim()).is_dir() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether rustup could add the libraries; it is not always there, nor always connected.
fn add_targets() -> bool {
    on_path("rustup").is_some()
        && command("rustup").is_ok_and(|mut rustup| {
            rustup.args(["target", "add"]).args(TARGETS);
            run(rustup).is_ok()
        })
}

fn has_debian() -> bool {
    let programs = Path::new(DEBIAN_PROGRAMS);
    let has_programs = ["rustc", "cargo", "cargo-clippy", "arm-none-eabi-ld"]
        .iter()
        .all(|program| programs.join(program).is_file());
    let sources = "../lib/rustlib/src/rust/library/core/src/lib.rs";
    has_programs && programs.join(sources).is_file()
}

/// Debian's cargo, which builds `core` along with everything else. To a stable compiler that is an
/// unstable feature, so it is told to be another.
fn debian_cargo(subcommand: &str, target: &str) -> Result<Command> {
    let programs = Path::new(DEBIAN_PROGRAMS);
    // Clippy is a program of its own, which cargo would look for among rustup's.
    let program = if subcommand == "clippy" { "cargo-clippy" } else { "cargo" };
    let mut cargo = cargo_of(programs.join(program))?;
    let target = target.replace('-', "_").to_uppercase();
    cargo
        .args([subcommand, "-Zbuild-std=core"])
        .env("CARGO", programs.join("cargo"))
        .env("RUSTC", programs.join("rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env(format!("CARGO_TARGET_{target}_LINKER"), "arm-none-eabi-ld")
        .env(format!("CARGO_TARGET_{target}_RUSTFLAGS"), "-Clinker-flavor=ld");
    Ok(cargo)
}
