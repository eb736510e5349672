//! Leader election on the emulated board mps2-an385. This program has only what is particular to
//! the board; the election is in the libraries.

#![no_std]
#![no_main]

mod fatal;
#[cfg(feature = "seal")]
mod key;
mod led;
mod machine;
mod nor_flash;
mod settings;
mod time_driver;
mod uart;

use core::cell::Cell;
use core::future::pending;
use core::pin::pin;

use cortex_m::peripheral::NVIC;
use cortex_m::{Peripherals, asm};
// The logs leave through the emulator.
use defmt_semihosting as _;
use embassy_executor::InterruptExecutor;
use embassy_futures::block_on;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use graft_election_core::AlwaysGrant;
use graft_election_embassy::{Board, DefmtLog, Driver, Lease, SerialTransport, VoteFlash};
use graft_election_proto::frame::{ClusterTag, FrameErrors};
use rand_core::SeedableRng;
use rand_xoshiro::Xoroshiro64StarStar;
use static_cell::{ConstStaticCell, StaticCell};

use crate::led::LightGuard;
use crate::machine::Interrupt;
use crate::nor_flash::Flash;
use crate::settings::{CLUSTER, Settings};
use crate::uart::{Receiver, Sender};

/// The largest cluster that the node can be a voter of.
const VOTERS: usize = 7;

/// Says until when this board may act as the leader.
static LEASE: Lease<CriticalSectionRawMutex> = Lease::new();

/// Runs in an interrupt of its own, so that the main thread can sleep (WFI). Embassy's thread
/// executor waits for an event instead (WFE), with which this emulator never sleeps.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

defmt::timestamp!("{=u64:us}", embassy_time::Instant::now().as_micros());

/// What is around messages: frames, and seals in them if the cluster has a key.
#[cfg(not(feature = "seal"))]
type Envelope = graft_election_embassy::Plain;
#[cfg(feature = "seal")]
type Envelope = graft_election_embassy::Sealed<VOTERS>;

/// The node with everything it needs.
type Voter = Driver<
    SerialTransport<'static, Receiver, Sender, Envelope>,
    VoteFlash<Flash>,
    Xoroshiro64StarStar,
    AlwaysGrant,
    DefmtLog,
    VOTERS,
>;

#[cortex_m_rt::entry]
fn main() -> ! {
    time_driver::start();
    enable_interrupts();
    let spawner = EXECUTOR.start(Interrupt::Executor);
    match (elect(), show_leadership()) {
        (Ok(elect), Ok(show_leadership)) => {
            spawner.spawn(elect);
            spawner.spawn(show_leadership);
        }
        _ => fatal::no_start("a task is already running"),
    }
    loop {
        asm::wfi();
    }
}

/// Lets the devices interrupt the executor, whose own interrupt is the least urgent.
fn enable_interrupts() {
    let Some(mut processor) = Peripherals::take() else {
        fatal::no_start("the processor is taken");
    };
    // SAFETY: no critical section depends on priorities.
    unsafe { processor.NVIC.set_priority(Interrupt::Executor, u8::MAX) };
    for interrupt in Interrupt::OF_DEVICES {
        // SAFETY: as above, and everything the handlers use exists from the start.
        unsafe { NVIC::unmask(interrupt) };
    }
}

/// Takes part in the election for as long as there is power, unless another board has this one's
/// number.
#[embassy_executor::task]
async fn elect() {
    if let Err(duplicate) = start().run(&LEASE, pending()).await {
        fatal::no_start(duplicate);
    }
}

/// What this board does as the leader: its light is on for as long as it may act.
#[embassy_executor::task]
async fn show_leadership() {
    LEASE
        .run_while_leader(async |leadership| {
            defmt::info!("the light is on, token {=u64}", leadership.token());
            let _light = LightGuard::on();
            pending::<()>().await;
        })
        .await;
}

/// Starts the node. It is separate from the task, which would otherwise keep room for it, in memory
/// and on the stack, for as long as it runs.
#[inline(never)]
fn start() -> &'static mut Voter {
    static VOTER: StaticCell<Voter> = StaticCell::new();
    static FRAME_ERRORS: ConstStaticCell<Cell<FrameErrors>> =
        ConstStaticCell::new(Cell::new(FrameErrors::NONE));

    let settings = Settings::read();
    let Some(id) = settings.id() else { fatal::no_start("the board has no number") };
    let config = settings.config();
    let (receiver, sender) = uart::open();
    let (cluster, errors) = (ClusterTag::of(CLUSTER), FRAME_ERRORS.take());
    // SAFETY: there is only one task, and it calls this once.
    let flash = unsafe { Flash::take() };
    #[cfg_attr(not(feature = "seal"), expect(unused_mut, reason = "starts are not counted"))]
    let mut votes = match VoteFlash::new(flash, 0) {
        Ok(votes) => votes,
        Err(error) => fatal::no_start(error),
    };
    let transport = SerialTransport::new(cluster, id.clone(), receiver, sender, errors);
    #[cfg(feature = "seal")]
    let transport = transport.with_seals(key::seals(id.clone(), &mut votes));
    let board = Board {
        transport,
        votes,
        rng: Xoroshiro64StarStar::seed_from_u64(settings.seed()),
        observer: DefmtLog,
    };
    let start = pin!(Voter::start(id, &config, AlwaysGrant, board));
    VOTER.init_with(|| match block_on(start) {
        Ok(voter) => voter,
        Err(error) => fatal::no_start(error),
    })
}

extern "C" fn on_executor() {
    // SAFETY: this is the handler of the interrupt that the executor was started with.
    unsafe { EXECUTOR.on_interrupt() }
}

/// The vectors of the machine's interrupts, by number, which follow the processor's own.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [extern "C" fn(); 32] = {
    let mut handlers = [fatal::on_unexpected as extern "C" fn(); 32];
    handlers[Interrupt::Uart0Received as usize] = uart::on_received;
    handlers[Interrupt::Uart0Sent as usize] = uart::on_sent;
    handlers[Interrupt::Executor as usize] = on_executor;
    handlers[Interrupt::Timer0 as usize] = time_driver::on_wrap;
    handlers[Interrupt::Timer1 as usize] = time_driver::on_alarm;
    handlers
};
