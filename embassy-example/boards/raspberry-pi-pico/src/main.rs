//! Leader election on the Raspberry Pi Pico: what belongs to this board, and nothing else. The
//! election is in the libraries.

#![no_std]
#![no_main]

mod fatal;
mod flash;
mod line;
mod settings;

use core::cell::Cell;
use core::future::pending;

// The logs leave through the debug probe, as does what a panic says.
use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_rp::clocks::RoscRng;
use embassy_rp::config::Config;
use embassy_rp::gpio::{Level, Output};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use graft_election_core::AlwaysGrant;
use graft_election_embassy::{Board, DefmtLog, Driver, Lease, SerialLink};
use graft_election_proto::frame::FrameErrors;
use panic_probe as _;
use rand_core::SeedableRng;
use rand_xoshiro::Xoroshiro64StarStar;

use crate::flash::BoardFlash;
use crate::line::Line;
use crate::settings::Settings;

/// The largest cluster that the node can be a voter of.
const VOTERS: usize = 7;

/// Takes part in the election for as long as there is power.
#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let pins = embassy_rp::init(Config::default());
    let mut light = Output::new(pins.PIN_25, Level::Low);
    let mut flash = BoardFlash::new(pins.FLASH, pins.DMA_CH0);
    let settings = match Settings::read(&mut flash) {
        Ok(settings) => settings,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let Some(id) = settings.id() else { fatal::no_start(&mut light, "the id is none").await };
    let storage = match flash.into_votes() {
        Ok(storage) => storage,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let (mut received, mut sent) = ([0; line::RECEIVED_CAPACITY], [0; line::SENT_CAPACITY]);
    let line = Line { uart: pins.UART0, output: pins.PIN_0, input: pins.PIN_1, ear: pins.PIN_2 };
    let (receiver, sender) = line.open(&mut received, &mut sent, noise(settings.chip_number));
    let frame_errors = Cell::new(FrameErrors::NONE);
    let board = Board {
        link: SerialLink::new(id.clone(), receiver, sender, &frame_errors),
        storage,
        rng: noise(settings.chip_number),
        observer: DefmtLog,
    };
    let config = settings.config();
    let driver = Driver::<_, _, _, _, _, VOTERS>::start(id, &config, AlwaysGrant, board).await;
    let mut driver = match driver {
        Ok(driver) => driver,
        Err(error) => fatal::no_start(&mut light, error).await,
    };
    let lease = Lease::<NoopRawMutex>::new();
    join(driver.run(&lease, pending()), shine(&lease, &mut light)).await;
}

/// What this board does as the leader: its light is on, for as long as it may act.
async fn shine(lease: &Lease<NoopRawMutex>, light: &mut Output<'_>) {
    lease
        .run_while_leader(async |leadership| {
            defmt::info!("the light is on, token {=u64}", leadership.token());
            let _lit = Lit::new(light);
            pending::<()>().await;
        })
        .await;
}

/// A light that is on for as long as this value lives.
struct Lit<'l, 'd>(&'l mut Output<'d>);

impl<'l, 'd> Lit<'l, 'd> {
    fn new(light: &'l mut Output<'d>) -> Self {
        light.set_high();
        Self(light)
    }
}

impl Drop for Lit<'_, '_> {
    fn drop(&mut self) {
        self.0.set_low();
        defmt::info!("the light is off");
    }
}

/// Random numbers, from a ring that oscillates as it likes. The chip's number tells boards apart even
/// if their rings are alike.
fn noise(chip_number: u64) -> Xoroshiro64StarStar {
    Xoroshiro64StarStar::seed_from_u64(RoscRng.next_u64() ^ chip_number)
}
