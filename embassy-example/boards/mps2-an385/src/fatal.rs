//! How the firmware ends when it can't go on: it reports why, and the emulator exits.

use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};
use defmt::Format;
use semihosting::process;

/// The emulator's exit status after a panic, the same as for any Rust program.
const PANIC: i32 = 101;

/// The emulator's exit status after a fault of the processor.
const FAULT: i32 = 102;

/// The emulator's exit status if the node can't take part in the election.
const NO_START: i32 = 103;

/// Ends the firmware of a node that can't take part, and says why.
pub(crate) fn no_start(reason: impl Format) -> ! {
    defmt::error!("the node can't start: {}", reason);
    process::exit(NO_START)
}

/// Handles the interrupt of a device that is not in use.
pub(crate) extern "C" fn on_unexpected() {
    defmt::error!("unexpected interrupt");
    process::exit(FAULT)
}

/// Says where but not why: formatting the message would take more flash than the election does.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => defmt::error!("panic at {=str}:{=u32}", at.file(), at.line()),
        None => defmt::error!("panic"),
    }
    process::exit(PANIC)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!("fault at {=u32:#x}, called from {=u32:#x}", frame.pc(), frame.lr());
    process::exit(FAULT)
}
