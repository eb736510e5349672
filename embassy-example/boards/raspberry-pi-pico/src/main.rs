//! Leader election on the Raspberry Pi Pico. This program has only what is particular to the board;
//! the election is in the libraries.

#![no_std]
#![no_main]

mod fatal;
mod flash;
#[cfg(feature = "seal")]
mod key;
mod line;
mod settings;

use core::cell::Cell;
use core::future::pending;

// The logs leave through the debug probe, and so does the message of a panic.
use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_rp::clocks::RoscRng;
use embassy_rp::config::Config;
use embassy_rp::gpio::{Level, Output};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use graft_election_core::AlwaysGrant;
use graft_election_embassy::{Board, DefmtLog, Driver, Lease, SerialTransport};
use graft_election_proto::frame::{ClusterTag, FrameErrors};
use panic_probe as _;
use rand_core::SeedableRng;
use rand_xoshiro::Xoroshiro64StarStar;

use crate::flash::{BoardFlash, ERASE_CYCLES, Votes};
use crate::line::Line;
use crate::settings::{CLUSTER, ID_LEN, Settings};

/// The largest cluster that the node can be a voter of.
const VOTERS: usize = 7;

// The README says so. The voters are not declared.
const _: () = assert!(Votes::saves(ERASE_CYCLES, 0, ID_LEN) >= 20_000_000);

/// Takes part in the election for as long as there is power, unless another board has this one's
/// number.
#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let pins = embassy_rp::init(Config::default());
    let mut light = Output::new(pins.PIN_25, Level::Low);
    let mut flash = BoardFlash::new(pins.FLASH, pins.DMA_CH0);
    let settings = match Settings::read(&mut flash) {
        Ok(settings) => settings,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let Some(id) = settings.id() else { fatal::no_start(&mut light, "the id is invalid").await };
    #[cfg(feature = "seal")]
    let keys = match key::read(&mut flash) {
        Ok(keys) => keys,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    #[cfg_attr(not(feature = "seal"), expect(unused_mut, reason = "starts are not counted"))]
    let mut votes = match flash.into_votes() {
        Ok(votes) => votes,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let (mut received, mut sent) = ([0; line::RECEIVED_CAPACITY], [0; line::SENT_CAPACITY]);
    let line = Line { uart: pins.UART0, output: pins.PIN_0, input: pins.PIN_1, sense: pins.PIN_2 };
    let (receiver, sender) = line.open(&mut received, &mut sent, noise(settings.chip_number));
    let (cluster, frame_errors) = (ClusterTag::of(CLUSTER), Cell::new(FrameErrors::NONE));
    let transport = SerialTransport::new(cluster, id.clone(), receiver, sender, &frame_errors);
    #[cfg(feature = "seal")]
    let transport = match key::seals(&keys, id.clone(), &mut votes).await {
        Ok(seals) => transport.with_seals(seals),
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let board = Board { transport, votes, rng: noise(settings.chip_number), observer: DefmtLog };
    let config = settings.config();
    let driver = Driver::<_, _, _, _, _, VOTERS>::start(id, &config, AlwaysGrant, board).await;
    let mut driver = match driver {
        Ok(driver) => driver,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let lease = Lease::<NoopRawMutex>::new();
    let run = driver.run(&lease, pending());
    // Neither ends, unless another board has this one's number.
    if let Either::First(Err(duplicate)) = select(run, show_leadership(&lease, &mut light)).await {
        fatal::no_start(&mut light, duplicate).await;
    }
}

/// What this board does as the leader: its light is on for as long as it may act.
async fn show_leadership(lease: &Lease<NoopRawMutex>, light: &mut Output<'_>) {
    lease
        .run_while_leader(async |leadership| {
            defmt::info!("the light is on, token {=u64}", leadership.token());
            let _light = LightGuard::new(light);
            pending::<()>().await;
        })
        .await;
}

/// Keeps the light on for as long as it lives.
struct LightGuard<'l, 'd>(&'l mut Output<'d>);

impl<'l, 'd> LightGuard<'l, 'd> {
    fn new(light: &'l mut Output<'d>) -> Self {
        light.set_high();
        Self(light)
    }
}

impl Drop for LightGuard<'_, '_> {
    fn drop(&mut self) {
        self.0.set_low();
        defmt::info!("the light is off");
    }
}

/// Random numbers, seeded from the jitter of the chip's ring oscillator, so that no two starts have
/// the same (rule N4). The chip's number makes the boards differ even if their oscillators don't.
fn noise(chip_number: u64) -> Xoroshiro64StarStar {
    Xoroshiro64StarStar::seed_from_u64(RoscRng.next_u64() ^ chip_number)
}
