//! The core's microseconds and embassy's ticks, which may be coarser or finer.

use core::time::Duration;

use embassy_time::TICK_HZ;
use graft_election_core::Instant;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// How long embassy's clock shows the same time, rounded up to microseconds. The leases and
/// promises of rules L3 and V2 allow for it.
pub(crate) const TICK: Duration = Duration::from_micros(MICROS_PER_SECOND.div_ceil(TICK_HZ));

/// The time by embassy's clock, rounded down to microseconds.
pub(crate) fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

/// The first tick at which [`now`] is not before `instant`. It is rounded up, because a timeout
/// handled early does nothing, and would be tried again and again until the next tick.
///
/// Embassy's own conversion of an instant rounds down.
pub(crate) fn at_or_after(instant: Instant) -> embassy_time::Instant {
    embassy_time::Instant::from_ticks(ticks_rounded_up(instant.as_micros(), TICK_HZ))
}

/// How many ticks it takes until `micros` microseconds have passed; `u64::MAX` if that is more
/// ticks than can be counted.
const fn ticks_rounded_up(micros: u64, tick_hz: u64) -> u64 {
    if tick_hz == MICROS_PER_SECOND {
        // At the usual rate there is nothing to divide; a 64-bit division takes long.
        return micros;
    }
    // Whole seconds are converted separately, so that the product fits in 64 bits for as long as
    // the clock runs.
    let whole_seconds = (micros / MICROS_PER_SECOND).saturating_mul(tick_hz);
    let rest = ((micros % MICROS_PER_SECOND) * tick_hz).div_ceil(MICROS_PER_SECOND);
    whole_seconds.saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch crystal's ticks last 30.517… microseconds.
    const WATCH_CRYSTAL: u64 = 32_768;

    #[test]
    fn a_deadline_is_rounded_up_to_a_tick() {
        assert_eq!(ticks_rounded_up(0, WATCH_CRYSTAL), 0);
        assert_eq!(ticks_rounded_up(30, WATCH_CRYSTAL), 1);
        assert_eq!(ticks_rounded_up(31, WATCH_CRYSTAL), 2);
        assert_eq!(ticks_rounded_up(1_500_000, WATCH_CRYSTAL), 49_152);
        assert_eq!(ticks_rounded_up(1_500_001, WATCH_CRYSTAL), 49_153);
    }

    #[test]
    fn a_deadline_has_come_at_its_tick_and_not_one_tick_before() {
        for tick_hz in [1, 1_000, WATCH_CRYSTAL, 1_000_000, 16_000_000, 64_000_000] {
            for micros in (1..3_000_000).step_by(997) {
                let tick = ticks_rounded_up(micros, tick_hz);
                let is_over = |tick| tick * MICROS_PER_SECOND / tick_hz >= micros;
                assert!(is_over(tick), "{micros} µs at {tick_hz} Hz come too early");
                assert!(!is_over(tick - 1), "{micros} µs at {tick_hz} Hz come too late");
            }
        }
    }

    #[test]
    fn a_deadline_that_never_comes_stays_beyond_the_clock() {
        let never = Instant::FAR_FUTURE;
        assert_eq!(at_or_after(never), embassy_time::Instant::MAX);
        assert_eq!(ticks_rounded_up(never.as_micros(), 64_000_000), u64::MAX);
    }

    #[test]
    fn a_deadline_after_years_is_exact() {
        let century = 100 * 365 * 86_400;
        assert_eq!(
            ticks_rounded_up(century * MICROS_PER_SECOND + 1, WATCH_CRYSTAL),
            century * WATCH_CRYSTAL + 1
        );
    }
}
