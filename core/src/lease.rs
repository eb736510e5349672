//! How long a leader may act without asking: the lease (rule L3), and the arithmetic behind it.

use crate::Instant;

/// The right to act as the leader, for a while (rules L3, I4, I5).
///
/// Until `valid_until`, read on the clock that the node is driven with, no other node of the
/// cluster has a valid leadership. A check and what it allows are two things, though: time may pass
/// between them, and a message may take a while. So pass the token along with every write, and have
/// the store reject any token lower than the highest it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Leadership {
    /// The fencing token: the term. A later leadership of any node has a higher one (rule I5).
    pub token: u64,
    /// The first instant at which the leadership is no longer valid, unless it is renewed first.
    pub valid_until: Instant,
}

/// What a leader may conclude from an acknowledgement, given the clocks (rule L3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeaseTerms {
    election_timeout_min: u32,
    /// 1 - rho, in units of 2^-16, rounded down: there is no division left to do later.
    slowest_clock: u32,
    /// The least step of the leader's own clock, in microseconds.
    clock_tick: u32,
}

impl LeaseTerms {
    /// T_min and the clock's tick are in microseconds, rho in hundredths.
    pub(crate) fn new(election_timeout_min: u32, clock_drift_percent: u8, clock_tick: u32) -> Self {
        let percent = 100_u32.saturating_sub(clock_drift_percent.into());
        Self { election_timeout_min, slowest_clock: (percent << 16) / 100, clock_tick }
    }

    /// For how many microseconds of the leader's clock a voter is sure to be bound that promised
    /// `bound_for` of its own.
    ///
    /// The voter's clock may be faster than the leader's by rho, so that its time is over earlier.
    /// What the leader reads from its own clock may be older than the truth by one tick; the voter
    /// makes up for its own clock's by itself (rule V2).
    pub(crate) fn lasts(&self, bound_for: u64) -> u32 {
        let promised = u64::from(self.election_timeout_min).min(bound_for);
        // A number of 32 bits, times one of at most 2^16, over 2^16: 32 bits.
        let sure = (promised * u64::from(self.slowest_clock)) >> 16;
        (sure as u32).saturating_sub(self.clock_tick)
    }

    /// The longest that a lease lasts: that of voters that promise no less than this node would.
    pub(crate) fn longest(&self) -> u32 {
        self.lasts(u64::MAX)
    }
}
