//! Embassy's clock and alarm, on the machine's two timers. One runs freely and is the clock; the
//! other is set for each alarm. Nothing ticks in between.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use crate::machine::{CLOCK_HZ, Register};

/// How many counts of a timer make one tick.
const COUNTS_PER_TICK: u64 = CLOCK_HZ as u64 / TICK_HZ;

embassy_time_driver::time_driver_impl!(static DRIVER: TimeDriver = TimeDriver::new());

/// Starts the clock, at 0.
pub(crate) fn start() {
    DRIVER.clock.run(u32::MAX);
}

/// The clock's counter has wrapped, after 171 s.
pub(crate) extern "C" fn on_wrap() {
    critical_section::with(|cs| DRIVER.count_wrap(cs));
}

/// The alarm's time has come.
pub(crate) extern "C" fn on_alarm() {
    critical_section::with(|cs| {
        DRIVER.alarm.stop();
        DRIVER.wake_due(cs);
    });
}

struct TimeDriver {
    clock: Timer,
    alarm: Timer,
    /// How often the clock's counter has wrapped.
    wraps: AtomicU32,
    queue: Mutex<RefCell<Queue>>,
}

impl TimeDriver {
    const fn new() -> Self {
        // SAFETY: the machine has two timers, at these addresses.
        let (clock, alarm) = unsafe { (Timer::at(0x4000_0000), Timer::at(0x4000_1000)) };
        Self {
            clock,
            alarm,
            wraps: AtomicU32::new(0),
            queue: Mutex::new(RefCell::new(Queue::new())),
        }
    }

    /// Counts each wrap of the clock once, whether `now` or the interrupt sees it first.
    fn count_wrap(&self, _: CriticalSection<'_>) {
        if self.clock.has_expired() {
            self.clock.acknowledge();
            let wraps = self.wraps.load(Ordering::Relaxed).wrapping_add(1);
            self.wraps.store(wraps, Ordering::Relaxed);
        }
    }

    /// Wakes the tasks that are due, and sets the alarm for the next one.
    fn wake_due(&self, cs: CriticalSection<'_>) {
        let mut queue = self.queue.borrow_ref_mut(cs);
        let now = self.now();
        let next = queue.next_expiration(now);
        if next == u64::MAX {
            self.alarm.stop();
        } else {
            // An alarm further away than the timer can count goes off early, wakes nobody, and is
            // set again.
            let counts = next.saturating_sub(now).saturating_mul(COUNTS_PER_TICK);
            self.alarm.run(u32::try_from(counts).unwrap_or(u32::MAX).max(1));
        }
    }
}

impl Driver for TimeDriver {
    fn now(&self) -> u64 {
        let counts = critical_section::with(|cs| {
            let mut elapsed = self.clock.elapsed();
            if self.clock.has_expired() {
                self.count_wrap(cs);
                // The first value may have been read before the wrap.
                elapsed = self.clock.elapsed();
            }
            u64::from(self.wraps.load(Ordering::Relaxed)) << 32 | u64::from(elapsed)
        });
        counts / COUNTS_PER_TICK
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            if self.queue.borrow_ref_mut(cs).schedule_wake(at, waker) {
                self.wake_due(cs);
            }
        });
    }
}

/// A CMSDK timer: it counts down, raises its interrupt at 0, and starts over.
struct Timer {
    control: Register,
    value: Register,
    reload: Register,
    interrupt: Register,
}

impl Timer {
    const ENABLE: u32 = 1 << 0;
    const INTERRUPT: u32 = 1 << 3;

    /// # Safety
    ///
    /// There must be such a timer at `address`.
    const unsafe fn at(address: usize) -> Self {
        // SAFETY: these are its registers, which are not memory.
        unsafe {
            Self {
                control: Register::at(address),
                value: Register::at(address + 0x4),
                reload: Register::at(address + 0x8),
                interrupt: Register::at(address + 0xC),
            }
        }
    }

    /// Counts down from `counts`, over and over.
    fn run(&self, counts: u32) {
        self.stop();
        self.reload.write(counts);
        self.value.write(counts);
        self.control.write(Self::ENABLE | Self::INTERRUPT);
    }

    fn stop(&self) {
        self.control.write(0);
        self.acknowledge();
    }

    fn has_expired(&self) -> bool {
        self.interrupt.read() != 0
    }

    fn acknowledge(&self) {
        self.interrupt.write(1);
    }

    /// How far a timer that runs from the greatest count has come.
    fn elapsed(&self) -> u32 {
        !self.value.read()
    }
}
