//! The checks and tests that cargo and its companions know how to run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cargo_metadata::semver::Version;
use cargo_metadata::{CargoOpt, MetadataCommand};

use crate::command::{cargo, command, run};
use crate::firmware::{BOARDS, EMULATED_BOARD, EMULATED_TARGET, Variant, manifest};
use crate::tools::Tools;
use crate::workspace::{BENCH, FUZZ, NO_PANIC, SIZES, root, target_dir};

/// What clippy looks at: everything, with all the features that some package of the workspace asks
/// for; then what else features may make of it.
const CLIPPY: [&[&str]; 7] = [
    &["--workspace", "--all-targets"],
    // The feature turns on those of the same name, and what is only for others is gone.
    &[
        "--package",
        "graft-election-core",
        "--package",
        "graft-election-proto",
        "--package",
        "graft-election-embassy",
        "--features",
        "graft-election-embassy/defmt,graft-election-embassy/seal",
        "--all-targets",
    ],
    &["--package", "graft-election", "--all-targets", "--no-default-features"],
    &["--package", "graft-election", "--all-targets"],
    &["--package", "graft-election", "--all-targets", "--features", "serde"],
    &[
        "--package",
        "graft-election",
        "--all-targets",
        "--no-default-features",
        "--features",
        "http",
    ],
    &[
        "--package",
        "graft-election",
        "--all-targets",
        "--no-default-features",
        "--features",
        "serial",
    ],
];

/// What no package of the workspace asks for, and has tests.
const TESTED_FEATURE: &str = "graft-election-embassy/seal";

/// What [`unstable_rustdoc`] is.
const UNSTABLE_RUSTDOC: &str = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";

pub(crate) fn formatting() -> Result<()> {
    run(cargo(["fmt", "--all", "--check"])?)?;
    let boards = BOARDS.map(|(board, _)| manifest(board));
    let fuzz = format!("{FUZZ}/Cargo.toml");
    let others = [BENCH, NO_PANIC, SIZES, &fuzz];
    for manifest in others.into_iter().chain(boards.iter().map(String::as_str)) {
        run(cargo(["fmt", "--check", "--manifest-path", manifest])?)?;
    }
    Ok(())
}

/// Clippy, with every warning an error. Its `incompatible_msrv` is one of them: see
/// [`oldest_compiler`].
pub(crate) fn clippy() -> Result<()> {
    for arguments in CLIPPY {
        let deny_warnings = ["--", "--deny", "warnings"];
        run(cargo(["clippy"].iter().chain(arguments).chain(&deny_warnings))?)?;
    }
    let no_panic = ["clippy", "--locked", "--manifest-path", NO_PANIC, "--release"];
    let mut no_panic = cargo(no_panic)?;
    no_panic.arg("--target-dir").arg(target_dir()?.join("no-panic"));
    no_panic.args(["--", "--deny", "warnings"]);
    run(no_panic)
}

pub(crate) fn documentation() -> Result<()> {
    let mut doc = cargo(["doc", "--workspace", "--no-deps"])?;
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    run(doc)
}

/// Builds all tests of the workspace: a step of its own, since it takes as long as they do.
pub(crate) fn build_tests() -> Result<()> {
    run(cargo(["test", "--workspace", "--no-run", "--features", TESTED_FEATURE])?)
}

/// All tests of the workspace, those in the documentation included: examples that must not compile
/// fail for the very error that they name.
///
/// Only an unstable compiler compares the errors, so a stable one is told to be one; for the
/// examples alone, since all that they need would be built once more for it.
pub(crate) fn tests(tools: &Tools) -> Result<()> {
    // The tests find the one of boards with a key beside the other.
    let build = |variant| tools.toolchain.build(EMULATED_BOARD, EMULATED_TARGET, variant);
    build(Variant::Sealed)?;
    let firmware = build(Variant::Plain)?;
    let mut test = cargo(["test", "--workspace", "--features", TESTED_FEATURE])?;
    test.env("NATS_SERVER", &tools.nats_server);
    test.env("GOOGLE_PROTOBUF", &tools.google_protobuf);
    test.env("PROMETHEUS_CLIENT", &tools.prometheus_client);
    test.env("CHROMIUM", &tools.browser);
    test.env("FIRMWARE", firmware).env("DEFMT_PRINT", &tools.defmt_print);
    test.env("RUSTDOC", unstable_rustdoc()?);
    run(test)
}

/// A program that is the compiler's rustdoc, told to be unstable.
fn unstable_rustdoc() -> Result<PathBuf> {
    let folder = target_dir()?.join("tools");
    fs::create_dir_all(&folder)?;
    let program = folder.join("unstable-rustdoc");
    fs::write(&program, UNSTABLE_RUSTDOC)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    Ok(program)
}

/// That no dependency asks for a younger compiler than the workspace promises to build with.
///
/// Together with clippy's `incompatible_msrv`, which finds calls to what the standard library only
/// got later, this shows that nobody *says* that more is needed. It doesn't show that the promised
/// compiler builds the workspace: that takes the compiler itself.
pub(crate) fn oldest_compiler() -> Result<()> {
    let promised = env!("CARGO_PKG_RUST_VERSION");
    let promised = Version::parse(&format!("{promised}.0"))
        .with_context(|| format!("rust-version is {promised}, not two numbers"))?;
    let metadata = MetadataCommand::new()
        .current_dir(root()?)
        .features(CargoOpt::AllFeatures)
        .exec()
        .context("could not list the dependencies")?;
    let younger: Vec<String> = metadata
        .packages
        .iter()
        .filter_map(|package| Some((package, package.rust_version.as_ref()?)))
        .filter(|(_, needed)| **needed > promised)
        .map(|(package, needed)| format!("{} {} needs {needed}", package.name, package.version))
        .collect();
    ensure!(
        younger.is_empty(),
        "the workspace promises to build with Rust {promised}, but {}",
        younger.join(", ")
    );
    println!("no dependency asks for more than Rust {promised}");
    Ok(())
}

/// What `deny.toml` says of the dependencies' licences, versions and sources. Known vulnerabilities
/// are not looked up: that takes a database which changes daily, and a commit can't be at fault for
/// what is found after it.
pub(crate) fn dependencies(cargo_deny: &Path) -> Result<()> {
    let mut deny = command(cargo_deny)?;
    deny.args(["check", "bans", "licenses", "sources"]);
    run(deny)?;
    let boards = BOARDS.map(|(board, _)| manifest(board));
    for manifest in boards.iter().map(String::as_str).chain([BENCH]) {
        let mut deny = command(cargo_deny)?;
        deny.args(["--locked", "--config", "deny.toml", "--manifest-path", manifest]);
        // These alone have not all of the licences.
        deny.args(["check", "--allow", "license-not-encountered", "bans", "licenses", "sources"]);
        run(deny)?;
    }
    Ok(())
}
