use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use graft_election_core::Instant;

const READINGS_AT_START: usize = 16;

/// The node's clock: tokio's own, so that tests can control it, plus the time that the machine has
/// been suspended (protocol, section 1). It is monotonic. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
    suspension: Arc<Suspension>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let suspension = Suspension::starting(system::boottime, system::monotonic);
        Self { origin: tokio::time::Instant::now(), suspension: Arc::new(suspension) }
    }

    pub(crate) fn now(&self) -> Instant {
        let suspended = self.suspension.measure(system::boottime, system::monotonic);
        let micros = (self.origin.elapsed() + suspended).as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Pretends that the machine has been suspended for `span`.
    #[cfg(test)]
    pub(crate) fn suspend(&self, span: Duration) {
        let nanoseconds = i64::try_from(span.as_nanos()).unwrap();
        self.suspension.lead.fetch_add(nanoseconds, Ordering::SeqCst);
    }

    /// How long it is until `instant`; zero if that has passed.
    pub(crate) fn time_until(&self, instant: Instant) -> Duration {
        instant.saturating_since(self.now())
    }

    /// Waits until `deadline`; for ever if that is out of the clock's range. Timers stop while the
    /// machine is suspended, so this can return too late by that much, but by no more.
    pub(crate) async fn sleep_until(&self, deadline: Instant) {
        match tokio::time::Instant::now().checked_add(self.time_until(deadline)) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// How long the machine has been suspended since the start, in nanoseconds: by how much a clock
/// that runs meanwhile has gained on one that stops.
#[derive(Debug)]
struct Suspension {
    lead_at_start: i64,
    /// The largest lead seen, since a reading that is interrupted sees less than there is.
    lead: AtomicI64,
}

impl Suspension {
    /// Nothing so far.
    fn starting(boottime: impl Fn() -> i64, monotonic: impl Fn() -> i64) -> Self {
        // A reading that is interrupted would be taken for a suspension later. Few of many are.
        let leads = std::iter::repeat_with(|| lead(&boottime, &monotonic));
        let lead_at_start = leads.take(READINGS_AT_START).max().unwrap_or_default();
        Self { lead_at_start, lead: AtomicI64::new(lead_at_start) }
    }

    /// The time suspended so far. It never shrinks, and is never more than the truth.
    fn measure(&self, boottime: impl Fn() -> i64, monotonic: impl Fn() -> i64) -> Duration {
        let lead = lead(boottime, monotonic);
        let lead = self.lead.fetch_max(lead, Ordering::SeqCst).max(lead);
        let suspended = lead.saturating_sub(self.lead_at_start);
        Duration::from_nanos(u64::try_from(suspended).unwrap_or_default())
    }
}

/// By how much the clock that counts suspensions is ahead. It is read first, so that an
/// interruption between the two readings makes the lead smaller: a clock that is ahead of the truth
/// would promise a lease that is too long (rule L3).
fn lead(boottime: impl Fn() -> i64, monotonic: impl Fn() -> i64) -> i64 {
    let boottime = boottime();
    boottime.saturating_sub(monotonic())
}

/// The system's two clocks, in nanoseconds. On systems that don't have both, suspensions go
/// unnoticed.
mod system {
    #[cfg(target_os = "linux")]
    use rustix::time::{ClockId, Timespec, clock_gettime};

    #[cfg(target_os = "linux")]
    pub(super) fn boottime() -> i64 {
        nanoseconds(clock_gettime(ClockId::Boottime))
    }

    #[cfg(target_os = "linux")]
    pub(super) fn monotonic() -> i64 {
        nanoseconds(clock_gettime(ClockId::Monotonic))
    }

    #[cfg(target_os = "linux")]
    fn nanoseconds(time: Timespec) -> i64 {
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn boottime() -> i64 {
        0
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn monotonic() -> i64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// Two clocks that a test moves: the machine runs, sleeps, or interrupts a reading.
    #[derive(Default)]
    struct Machine {
        boottime: Cell<i64>,
        monotonic: Cell<i64>,
        /// For how long the next reading of both clocks is interrupted between the two.
        interruption: Cell<i64>,
    }

    impl Machine {
        fn run(&self, nanoseconds: i64) {
            self.boottime.set(self.boottime.get() + nanoseconds);
            self.monotonic.set(self.monotonic.get() + nanoseconds);
        }

        fn suspend(&self, nanoseconds: i64) {
            self.boottime.set(self.boottime.get() + nanoseconds);
        }

        fn start(&self) -> Suspension {
            Suspension::starting(|| self.read(&self.boottime), || self.read(&self.monotonic))
        }

        fn measure(&self, suspension: &Suspension) -> Duration {
            suspension.measure(|| self.read(&self.boottime), || self.read(&self.monotonic))
        }

        fn read(&self, clock: &Cell<i64>) -> i64 {
            let read = clock.get();
            self.run(self.interruption.take());
            read
        }
    }

    #[test]
    fn only_the_time_suspended_since_the_start_counts() {
        let machine = Machine::default();
        machine.run(5 * SECOND);
        machine.suspend(7 * SECOND);
        let suspension = machine.start();
        machine.run(SECOND);
        assert_eq!(machine.measure(&suspension), Duration::ZERO);
        machine.suspend(2 * SECOND);
        machine.run(SECOND);
        machine.suspend(3 * SECOND);
        assert_eq!(machine.measure(&suspension), Duration::from_secs(5));
    }

    #[test]
    fn l3_an_interrupted_reading_neither_leads_the_truth_nor_takes_anything_back() {
        let machine = Machine::default();
        let suspension = machine.start();
        machine.interruption.set(SECOND);
        assert_eq!(machine.measure(&suspension), Duration::ZERO);
        machine.suspend(2 * SECOND);
        assert_eq!(machine.measure(&suspension), Duration::from_secs(2));
        machine.interruption.set(SECOND);
        assert_eq!(machine.measure(&suspension), Duration::from_secs(2));
    }

    #[test]
    fn an_interruption_at_the_start_is_not_taken_for_a_suspension() {
        let machine = Machine::default();
        machine.interruption.set(SECOND);
        let suspension = machine.start();
        assert_eq!(machine.measure(&suspension), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_that_of_tokio() {
        let clock = Clock::start();
        let began = clock.now();
        tokio::time::advance(Duration::from_secs(3)).await;
        let passed = clock.now().saturating_since(began);
        // Real clocks are read in virtual time, too: they may differ by the time of a reading.
        let tolerance = Duration::from_millis(1);
        assert!(passed.abs_diff(Duration::from_secs(3)) < tolerance, "{passed:?}");
        let deadline = clock.now().saturating_add(Duration::from_secs(2));
        clock.sleep_until(deadline).await;
        assert!(clock.now() >= deadline);
    }
}
