//! Real time, and the nodes' clocks, which don't agree on it.

use std::fmt;
use std::time::Duration;

use graft_election_core::Instant;

/// How many millionths make a whole.
const MILLION: i64 = 1_000_000;

/// A point in real time, which no node knows: microseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The end of time.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the world began.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the world began.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `span` later.
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_micros() as u64))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A node's own clock. It never runs backwards, but its rate may be off, and it may leap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What it showed at `set_at`.
    shown: u64,
    set_at: Moment,
    /// How much faster than real time it runs, in millionths.
    drift: i32,
    /// It shows only multiples of this many microseconds.
    tick: u64,
}

impl Clock {
    /// The greatest drift in either direction, in millionths: half the rate of real time.
    pub(crate) const DRIFT_MAX: u32 = 500_000;

    /// A clock that shows `shown` when the world begins, and runs at the rate of real time.
    pub(crate) fn new(shown: u64, tick: Duration) -> Self {
        let tick = (tick.as_micros() as u64).max(1);
        Self { shown, set_at: Moment::default(), drift: 0, tick }
    }

    /// What it shows at `now`.
    pub(crate) fn read(&self, now: Moment) -> Instant {
        let exact = self.exact(now);
        Instant::from_micros(if self.tick == 1 { exact } else { exact - exact % self.tick })
    }

    /// What it would show at `now` if it had no ticks.
    fn exact(&self, now: Moment) -> u64 {
        let real = now.0.saturating_sub(self.set_at.0);
        let passed = if self.drift == 0 { real } else { self.at_own_rate(real) };
        self.shown.saturating_add(passed)
    }

    /// The first moment at which it shows `local` or more.
    pub(crate) fn shows_at(&self, local: Instant) -> Moment {
        if local == Instant::FAR_FUTURE {
            return Moment::NEVER;
        }
        let local = local.as_micros();
        let local = if self.tick == 1 {
            local
        } else {
            local.div_ceil(self.tick).saturating_mul(self.tick)
        };
        let passed = local.saturating_sub(self.shown);
        if self.drift == 0 {
            return Moment(self.set_at.0.saturating_add(passed));
        }
        let (rate, million) = (self.rate(), MILLION as u128);
        let real = (u128::from(passed) * million).div_ceil(rate);
        Moment(self.set_at.0.saturating_add(u64::try_from(real).unwrap_or(u64::MAX)))
    }

    /// Sets how much faster than real time it runs from `now` on, in millionths.
    pub(crate) fn set_drift(&mut self, now: Moment, drift: i32) {
        *self = Self { shown: self.exact(now), set_at: now, drift, ..*self };
    }

    /// Lets it leap forward, as after a suspension of its machine alone.
    pub(crate) fn leap(&mut self, by: Duration) {
        self.shown = self.shown.saturating_add(by.as_micros() as u64);
    }

    fn rate(&self) -> u128 {
        (MILLION + i64::from(self.drift)).unsigned_abs().into()
    }

    fn at_own_rate(&self, real: u64) -> u64 {
        u64::try_from(u128::from(real) * self.rate() / MILLION as u128).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_a_deadline_when_it_says_and_not_before() {
        for drift in [0, 1, -1, 100_000, -333_333, 500_000] {
            let mut clock = Clock::new(7, Duration::ZERO);
            clock.set_drift(Moment(1_000), drift);
            for local in [1_008, 1_500, 999_999, 123_456_789] {
                let local = Instant::from_micros(local);
                let at = clock.shows_at(local);
                assert!(clock.read(at) >= local, "{drift}");
                assert!(clock.read(Moment(at.0 - 1)) < local, "{drift}");
            }
        }
    }

    #[test]
    fn a_clock_never_runs_backwards() {
        let mut clock = Clock::new(0, Duration::ZERO);
        clock.set_drift(Moment(0), 100_000);
        assert_eq!(clock.read(Moment(1_000_000)).as_micros(), 1_100_000);
        clock.set_drift(Moment(1_000_000), -100_000);
        assert_eq!(clock.read(Moment(1_000_000)).as_micros(), 1_100_000);
        clock.leap(Duration::from_secs(5));
        assert_eq!(clock.read(Moment(2_000_000)).as_micros(), 7_000_000);
    }
}
