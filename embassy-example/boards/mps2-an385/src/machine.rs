//! The machine's interrupts, and its registers by address.

use core::ptr;

use cortex_m::interrupt::InterruptNumber;

/// The clock that counts in the timers and divides into baud rates.
pub(crate) const CLOCK_HZ: u32 = 25_000_000;

/// The interrupts in use, by their number. The software interrupt is one that the machine has, but
/// whose device, the third serial line, is not in use.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(crate) enum Interrupt {
    /// The serial line has a byte.
    Uart0Received = 0,
    /// The serial line takes a byte.
    Uart0Sent = 1,
    /// Raised by software, for the executor.
    Executor = 4,
    /// The clock's counter has wrapped.
    Timer0 = 8,
    /// The alarm.
    Timer1 = 9,
}

impl Interrupt {
    /// All but the one that is raised by software.
    pub(crate) const OF_DEVICES: [Self; 4] =
        [Self::Uart0Received, Self::Uart0Sent, Self::Timer0, Self::Timer1];
}

// SAFETY: the numbers are those of the machine, and each stands for one interrupt.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// A 32-bit register of a device, by its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register(usize);

impl Register {
    /// # Safety
    ///
    /// There is a register at `address`, and neither reading nor writing it touches the program's
    /// memory.
    pub(crate) const unsafe fn at(address: usize) -> Self {
        Self(address)
    }

    pub(crate) fn read(self) -> u32 {
        // SAFETY: promised to `at`.
        unsafe { ptr::with_exposed_provenance::<u32>(self.0).read_volatile() }
    }

    pub(crate) fn write(self, value: u32) {
        // SAFETY: promised to `at`.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(self.0).write_volatile(value) }
    }
}
