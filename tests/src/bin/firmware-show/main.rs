//! A cluster of three emulated boards with the firmware, to watch, and to take the power of.
//! `cargo xtask firmware` builds the firmware and starts this program.

#![forbid(unsafe_code)]

mod keys;
mod log_line;
mod report;
mod stage;
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
use crate::stage::Stage;

/// How many boards there are.
const SIZE: u32 = 3;

/// Far longer than any election takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long everything stays as it is, to be looked at, before the script goes on.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the boards are left alone between one loss and the next.
const REST: Duration = Duration::from_secs(2);

/// Shows three boards, emulated, that elect one of them to lead.
///
/// On a terminal, keys take a board's power away and give it back. Otherwise, and for a given time,
/// the one that leads loses its power, another leads, and the first comes back with its vote.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask firmware")]
struct Arguments {
    /// Ends after so many seconds; until then leaders lose their power, one after the other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Print one JSON object a line.
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
            // If nobody can be told, there is nobody left to tell.
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
    let mut stage = Stage::start(SIZE, Reporter::new(arguments.json))?;
    let end = async {
        match arguments.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        played = play(&mut stage, is_for_keys, arguments.seconds.is_none()) => played?,
        () = end => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stage.summarize()
}

async fn play(stage: &mut Stage, is_for_keys: bool, is_once: bool) -> Result<()> {
    if is_for_keys {
        return follow_keys(stage).await;
    }
    loop {
        lose_the_leader(stage).await?;
        if is_once {
            return Ok(());
        }
        stage.watch_for(REST).await?;
    }
}

/// The one that leads loses its power, another leads, and the first comes back.
async fn lose_the_leader(stage: &mut Stage) -> Result<()> {
    stage.wait_for_leader(PATIENCE).await?;
    stage.watch_for(PAUSE).await?;
    // On a busy machine it may be another by now.
    let leader = stage.wait_for_leader(PATIENCE).await?;
    stage.cut_power(leader)?;
    stage.wait_for_leader(PATIENCE).await?;
    stage.watch_for(PAUSE).await?;
    stage.switch_on(leader)?;
    stage.wait_for_leader(PATIENCE).await?;
    Ok(())
}

/// Does what the keys say, until one says to quit.
async fn follow_keys(stage: &mut Stage) -> Result<()> {
    let mut keys = Keys::read()?;
    stage
        .note("keys: 1 2 3 take a board's power or give it back, l takes the leader's, q quits")?;
    loop {
        tokio::select! {
            key = keys.next() => match key {
                None | Some(b'q' | keys::INTERRUPT) => return Ok(()),
                Some(b'l') => match stage.leader() {
                    Some(leader) => stage.cut_power(leader)?,
                    None => stage.note("nobody leads")?,
                },
                Some(digit @ b'1'..=b'9') => stage.toggle(usize::from(digit - b'1'))?,
                Some(_) => {}
            },
            watched = stage.watch() => watched?,
        }
    }
}
