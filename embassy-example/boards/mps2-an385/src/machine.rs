//! The machine's clock rate, its interrupts, and access to its registers.

use core::ptr;

use cortex_m::interrupt::InterruptNumber;

/// The clock that drives the timers, and from which the baud rate is divided.
pub(crate) const CLOCK_HZ: u32 = 25_000_000;

/// The interrupts in use, by number. The executor's belongs to a device that is not in use, the
/// third serial line.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(crate) enum Interrupt {
    /// The serial line has a byte.
    Uart0Received = 0,
    /// The serial line can take a byte.
    Uart0Sent = 1,
    /// Raised by software, for the executor.
    Executor = 4,
    /// The clock's counter has wrapped.
    Timer0 = 8,
    /// The alarm's time has come.
    Timer1 = 9,
}

impl Interrupt {
    /// All except the one raised by software.
    pub(crate) const OF_DEVICES: [Self; 4] =
        [Self::Uart0Received, Self::Uart0Sent, Self::Timer0, Self::Timer1];
}

// SAFETY: the numbers are those of the machine, and each belongs to one interrupt.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// A 32-bit register of a device, at a fixed address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register(usize);

impl Register {
    /// # Safety
    ///
    /// There must be a register at `address`, and neither reading nor writing it may touch the
    /// program's memory.
    pub(crate) const unsafe fn at(address: usize) -> Self {
        Self(address)
    }

    pub(crate) fn read(self) -> u32 {
        // SAFETY: the caller of `at` has promised it.
        unsafe { ptr::with_exposed_provenance::<u32>(self.0).read_volatile() }
    }

    pub(crate) fn write(self, value: u32) {
        // SAFETY: the caller of `at` has promised it.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(self.0).write_volatile(value) }
    }
}
