use core::time::Duration;

/// A point on the node's own monotonic clock, in microseconds since any fixed moment.
///
/// The clock is the caller's: it must never run backwards, must include the time the machine spends
/// suspended, and is never compared with another node's (protocol, section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// An instant that no clock reaches: the deadline of a node that waits for nothing.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the clock's origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's origin.
    ///
    /// A driver whose timer is coarser rounds a deadline *up*: an early wake-up does nothing.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The instant `span` later, or [`FAR_FUTURE`](Self::FAR_FUTURE) where the clock would end.
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// The time from `earlier` to this instant; nothing if `earlier` is not earlier.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    /// The microseconds from `earlier` to this instant; 0 if `earlier` is not earlier. It avoids
    /// the `Duration` between them, which takes a 64-bit division.
    pub(crate) const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant later by as much as `to` is later than `from`.
    pub(crate) const fn later_by(self, from: Self, to: Self) -> Self {
        Self(self.0.saturating_add(to.micros_since(from)))
    }

    /// The instant `micros` microseconds later; a deadline the timing rules compute.
    ///
    /// To a 32-bit processor it is long enough to be worth a call.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) const fn plus_micros(self, micros: u32) -> Self {
        Self(self.0.saturating_add(micros as u64))
    }

    /// The instant that a random number picks from the `span` microseconds that follow this one.
    pub(crate) fn plus_drawn(self, number: u32, span: u32) -> Self {
        let offset = (u64::from(number) * u64::from(span)) >> 32;
        // The product of two 32-bit numbers, shifted by 32, fits 32 bits.
        self.plus_micros(offset as u32)
    }
}

/// A span in whole microseconds, rounded up. It avoids `Duration::as_micros`, whose 128-bit result
/// a microcontroller pays for.
pub(crate) const fn micros(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(span.subsec_nanos().div_ceil(1_000) as u64)
}

/// A span no longer than [`Config::TIME_MAX`](crate::Config::TIME_MAX), which a checked
/// configuration's are not.
pub(crate) fn clamped_micros(span: Duration) -> u32 {
    u32::try_from(micros(span)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_up_to_microseconds() {
        let start = Instant::from_micros(5);
        assert_eq!(start.saturating_add(Duration::from_nanos(1)).as_micros(), 6);
        assert_eq!(start.saturating_add(Duration::from_millis(2)).as_micros(), 2_005);
    }

    #[test]
    fn additions_stop_at_the_end_of_the_clock() {
        assert_eq!(Instant::FAR_FUTURE.saturating_add(Duration::MAX), Instant::FAR_FUTURE);
        assert_eq!(Instant::from_micros(1).saturating_add(Duration::MAX), Instant::FAR_FUTURE);
    }

    #[test]
    fn the_time_since_a_later_instant_is_nothing() {
        let (early, late) = (Instant::from_micros(10), Instant::from_micros(25));
        assert_eq!(late.saturating_since(early), Duration::from_micros(15));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
