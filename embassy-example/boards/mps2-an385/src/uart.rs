//! The serial line: a CMSDK UART that raises an interrupt for each byte.
//!
//! The task that receives is woken at the end of a frame, and not by each of its bytes. A follower
//! hears ten heartbeats a second, of some 40 bytes each; if each byte made it look at its timer,
//! that would be most of its work.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::mem;
use core::task::Poll;

use critical_section::Mutex;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};
use graft_election_proto::frame::DELIMITER;
use heapless::Deque;

use crate::machine::{CLOCK_HZ, Register};

/// Bits per second.
const BAUD: u32 = 115_200;

/// Room for what arrives while the node is busy, with a save for instance: a few frames of the
/// usual length.
const RECEIVED_CAPACITY: usize = 256;

/// Room for more than half a usual frame, so that a sender waits for the line and not for the
/// interrupt of each byte.
const SENT_CAPACITY: usize = 64;

static RECEIVED: Mutex<RefCell<Received>> = Mutex::new(RefCell::new(Received::NOTHING));
/// Wakes the task that waits for a frame.
static FRAME_RECEIVED: AtomicWaker = AtomicWaker::new();
static SENT: Pipe<CriticalSectionRawMutex, SENT_CAPACITY> = Pipe::new();
/// Wakes the task that waits until everything is sent.
static ALL_SENT: AtomicWaker = AtomicWaker::new();

// SAFETY: the machine has such a device at this address.
static UART: Uart = unsafe { Uart::at(0x4000_4000) };

/// Opens the line. It has one half of each kind, so call this once.
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
    let is_frame = critical_section::with(|cs| {
        let mut received = RECEIVED.borrow_ref_mut(cs);
        if state & Uart::RECEIVER_OVERRUN != 0 {
            UART.state.write(Uart::RECEIVER_OVERRUN);
            received.lost = received.lost.saturating_add(1);
        }
        // The register has 32 bits, of which 8 are the byte.
        state & Uart::RECEIVER_FULL != 0 && received.take_in(UART.data.read() as u8)
    });
    if is_frame {
        FRAME_RECEIVED.wake();
    }
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
        let (len, lost) = poll_fn(|context| {
            FRAME_RECEIVED.register(context.waker());
            critical_section::with(|cs| RECEIVED.borrow_ref_mut(cs).hand_out(buffer))
        })
        .await;
        if lost > 0 {
            defmt::warn!("{=u32} bytes came too fast and were lost", lost);
        }
        Ok(len)
    }
}

/// What has arrived and has not been read yet.
struct Received {
    bytes: Deque<u8, RECEIVED_CAPACITY>,
    /// How many of the bytes may be read: those up to the end of the last frame.
    whole: usize,
    /// How many bytes were lost since the last read.
    lost: u32,
}

impl Received {
    const NOTHING: Self = Self { bytes: Deque::new(), whole: 0, lost: 0 };

    /// Takes in a byte; true if more bytes may be read now.
    fn take_in(&mut self, byte: u8) -> bool {
        if self.bytes.push_back(byte).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
        // A delimiter with nothing before it begins a frame. When there is no room left, what came
        // was not a frame.
        let begun = self.bytes.len() - self.whole;
        let is_frame = byte == DELIMITER && begun > 1 || begun > 0 && self.bytes.is_full();
        if is_frame {
            self.whole = self.bytes.len();
        }
        is_frame
    }

    /// Fills `buffer` with what may be read; returns how many bytes it
    /// filled in, and how many were lost.
    fn hand_out(&mut self, buffer: &mut [u8]) -> Poll<(usize, u32)> {
        let len = self.whole.min(buffer.len());
        if len == 0 {
            return Poll::Pending;
        }
        for byte in buffer.iter_mut().take(len) {
            *byte = self.bytes.pop_front().unwrap_or(DELIMITER);
        }
        self.whole -= len;
        Poll::Ready((len, mem::take(&mut self.lost)))
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
    /// There must be such a device at `address`.
    const unsafe fn at(address: usize) -> Self {
        // SAFETY: these are its registers, which are not memory.
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
