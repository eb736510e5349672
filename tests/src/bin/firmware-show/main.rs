//! Shows a cluster of three emulated boards that run the firmware, whose power one can cut.
//! `cargo xtask firmware` builds the firmware and starts this program.

#![forbid(unsafe_code)]

mod keys;
mod log_line;
mod report;
mod scene;
mod story;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::keys::Keys;
use crate::report::Reporter;
use crate::scene::Scene;

/// How many boards there are.
const SIZE: u32 = 3;

/// How long to wait for a leader: far longer than any election takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long nothing is changed, so that the output can be read, before the script goes on.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the boards are left alone between one power cut and the next.
const REST: Duration = Duration::from_secs(2);

/// Show three emulated boards that elect a leader.
///
/// On a terminal, keys cut a board's power and give it back. Without one, or with --seconds, the
/// leader's power is cut, another board takes over, and the first comes back with its vote.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask firmware")]
struct Arguments {
    /// End after N seconds; until then, cut the power of one leader after another.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let shown = match runtime.context("could not start the runtime") {
        Ok(runtime) => runtime.block_on(show(&arguments)),
        Err(error) => Err(error),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If that can't be written either, there is nothing left to do.
            let _ = writeln!(std::io::stderr(), "firmware-show: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Arguments) -> Result<()> {
    for variable in ["FIRMWARE", "DEFMT_PRINT"] {
        ensure!(
            std::env::var_os(variable).is_some(),
            "{variable} names no program: start this with `cargo xtask firmware`"
        );
    }
    let listen = |kind| signal(kind).context("could not listen for signals");
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let is_for_keys = arguments.seconds.is_none() && std::io::stdin().is_terminal();
    let mut scene = Scene::start(SIZE, Reporter::new(arguments.json))?;
    let end = async {
        match arguments.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        played = play(&mut scene, is_for_keys, arguments.seconds.is_none()) => played?,
        () = end => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    scene.summarize()
}

async fn play(scene: &mut Scene, is_for_keys: bool, is_once: bool) -> Result<()> {
    if is_for_keys {
        return follow_keys(scene).await;
    }
    loop {
        lose_the_leader(scene).await?;
        if is_once {
            return Ok(());
        }
        scene.watch_for(REST).await?;
    }
}

/// Cuts the leader's power, waits for another leader, and gives the power back.
async fn lose_the_leader(scene: &mut Scene) -> Result<()> {
    scene.wait_for_leader(TIMEOUT).await?;
    scene.watch_for(PAUSE).await?;
    // On a busy machine another board may lead by now.
    let leader = scene.wait_for_leader(TIMEOUT).await?;
    scene.cut_power(leader)?;
    scene.wait_for_leader(TIMEOUT).await?;
    scene.watch_for(PAUSE).await?;
    scene.switch_on(leader)?;
    scene.wait_for_leader(TIMEOUT).await?;
    Ok(())
}

/// Does what the keys say, until one of them quits.
async fn follow_keys(scene: &mut Scene) -> Result<()> {
    let mut keys = Keys::read()?;
    scene.note("keys: 1 2 3 cut a board's power or give it back, l cuts the leader's, q quits")?;
    loop {
        tokio::select! {
            key = keys.next() => match key {
                None | Some(b'q' | keys::INTERRUPT) => return Ok(()),
                Some(b'l') => match scene.leader() {
                    Some(leader) => scene.cut_power(leader)?,
                    None => scene.note("nobody leads")?,
                },
                Some(digit @ b'1'..=b'9') => scene.toggle(usize::from(digit - b'1'))?,
                Some(_) => {}
            },
            watched = scene.watch() => watched?,
        }
    }
}
