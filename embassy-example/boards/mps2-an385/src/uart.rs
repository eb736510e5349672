//! The serial line: a CMSDK UART that works by interrupts, with a pipe in each direction.

use core::convert::Infallible;
use core::future::poll_fn;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};

use crate::machine::{CLOCK_HZ, Register};

/// Bits per second.
const BAUD: u32 = 115_200;

/// Room for what comes while the node is busy, with a save for instance: two frames of the greatest
/// length.
const RECEIVED_CAPACITY: usize = 640;

/// Room for half a usual frame: whoever sends waits for the line, not for the interrupt of each
/// byte.
const SENT_CAPACITY: usize = 64;

static RECEIVED: Pipe<CriticalSectionRawMutex, RECEIVED_CAPACITY> = Pipe::new();
static SENT: Pipe<CriticalSectionRawMutex, SENT_CAPACITY> = Pipe::new();
/// Wakes who waits until all is sent.
static ALL_SENT: AtomicWaker = AtomicWaker::new();
/// How many bytes came and were lost since the receiver last looked.
static OVERRUNS: AtomicU32 = AtomicU32::new(0);

// SAFETY: the machine has such a device at this address.
static UART: Uart = unsafe { Uart::at(0x4000_4000) };

/// Opens the line. There is one of each half, so it is called once.
pub(crate) fn open() -> (Receiver, Sender) {
    UART.divisor.write(CLOCK_HZ / BAUD);
    UART.control
        .write(Uart::SEND | Uart::RECEIVE | Uart::SENT_INTERRUPT | Uart::RECEIVED_INTERRUPT);
    (Receiver(()), Sender(()))
}

/// A byte was received.
pub(crate) extern "C" fn on_received() {
    UART.interrupt.write(Uart::RECEIVED_INTERRUPT_STATUS);
    let state = UART.state.read();
    let mut overruns = 0;
    if state & Uart::RECEIVER_OVERRUN != 0 {
        UART.state.write(Uart::RECEIVER_OVERRUN);
        overruns += 1;
    }
    if state & Uart::RECEIVER_FULL != 0 {
        // The register has 32 bits, of which 8 are the byte.
        let byte = UART.data.read() as u8;
        overruns += u32::from(RECEIVED.try_write(&[byte]).is_err());
    }
    OVERRUNS.store(OVERRUNS.load(Ordering::Relaxed).saturating_add(overruns), Ordering::Relaxed);
}

/// A byte was sent.
pub(crate) extern "C" fn on_sent() {
    UART.interrupt.write(Uart::SENT_INTERRUPT_STATUS);
    send_next();
    if is_all_sent() {
        ALL_SENT.wake();
    }
}

fn is_all_sent() -> bool {
    SENT.is_empty() && UART.state.read() & Uart::SENDER_FULL == 0
}

/// Gives the device the next byte that waits, if it can take one: then its interrupt asks for more.
fn send_next() {
    critical_section::with(|_| {
        let mut byte = [0];
        if UART.state.read() & Uart::SENDER_FULL == 0 && SENT.try_read(&mut byte).is_ok() {
            UART.data.write(u32::from(byte[0]));
        }
    });
}

/// The half that receives.
#[derive(Debug)]
pub(crate) struct Receiver(());

impl ErrorType for Receiver {
    type Error = Infallible;
}

impl Read for Receiver {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let received = RECEIVED.read(buffer).await;
        let overruns = critical_section::with(|_| {
            let overruns = OVERRUNS.load(Ordering::Relaxed);
            OVERRUNS.store(0, Ordering::Relaxed);
            overruns
        });
        if overruns > 0 {
            defmt::warn!("{=u32} bytes came too fast and were lost", overruns);
        }
        Ok(received)
    }
}

/// The half that sends.
#[derive(Debug)]
pub(crate) struct Sender(());

impl ErrorType for Sender {
    type Error = Infallible;
}

impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let written = SENT.write(bytes).await;
        send_next();
        Ok(written)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|context| {
            ALL_SENT.register(context.waker());
            if is_all_sent() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

/// The device's registers.
struct Uart {
    data: Register,
    state: Register,
    control: Register,
    interrupt: Register,
    divisor: Register,
}

impl Uart {
    const SENDER_FULL: u32 = 1 << 0;
    const RECEIVER_FULL: u32 = 1 << 1;
    const RECEIVER_OVERRUN: u32 = 1 << 3;

    const SEND: u32 = 1 << 0;
    const RECEIVE: u32 = 1 << 1;
    const SENT_INTERRUPT: u32 = 1 << 2;
    const RECEIVED_INTERRUPT: u32 = 1 << 3;

    const SENT_INTERRUPT_STATUS: u32 = 1 << 0;
    const RECEIVED_INTERRUPT_STATUS: u32 = 1 << 1;

    /// # Safety
    ///
    /// There is such a device at `address`.
    const unsafe fn at(address: usize) -> Self {
        // SAFETY: these are its registers, and they are no memory.
        unsafe {
            Self {
                data: Register::at(address),
                state: Register::at(address + 0x4),
                control: Register::at(address + 0x8),
                interrupt: Register::at(address + 0xC),
                divisor: Register::at(address + 0x10),
            }
        }
    }
}
