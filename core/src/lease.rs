//! How long a leader may act without asking: the lease (rule L3), and the arithmetic behind it.

use crate::Instant;

/// The right to act as the leader, for a while (rules L3, I4, I5).
///
/// Until `valid_until`, read on the clock that the node is driven with, no other node of the
/// cluster has a valid leadership. A check and what it allows are two things, though: time may pass
/// between them, and a message may take a while. So whatever a leader writes to should be told the
/// token too, and refuse a token below the highest it has seen.
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

/// What a leader knows of its followers, by their indexes in the electorate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Followers<const VOTERS: usize>([Follower; VOTERS]);

/// What a leader knows of one follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// Until then, on the leader's clock, the follower helps to elect no one (rule L3).
    /// [`NEVER`](Self::NEVER), if it has promised nothing yet.
    pub(crate) bound_until: Instant,
    /// Since when its promises have followed each other without a gap.
    pub(crate) steady_since: Instant,
    /// Its preference for leading; 0: never (rule H4).
    pub(crate) priority: u32,
    /// Whether the leader would vote for it, judging by its position (rule H1).
    pub(crate) is_up_to_date: bool,
}

impl Follower {
    /// The end of a promise that was never given.
    pub(crate) const NEVER: Instant = Instant::from_micros(0);

    const UNKNOWN: Self = Self {
        bound_until: Self::NEVER,
        steady_since: Self::NEVER,
        priority: 0,
        is_up_to_date: false,
    };

    /// Whether leadership may be given to it (rule H1).
    pub(crate) fn may_lead(&self) -> bool {
        self.priority > 0 && self.is_up_to_date
    }
}

impl<const VOTERS: usize> Followers<VOTERS> {
    pub(crate) const fn none() -> Self {
        Self([Follower::UNKNOWN; VOTERS])
    }

    /// Takes note of an acknowledgement that arrived at `now`. Of all that a follower promised, the
    /// latest end counts (rule L3).
    pub(crate) fn acknowledge(&mut self, index: usize, acknowledgement: Acknowledgement) {
        let Some(follower) = self.0.get_mut(index) else {
            return;
        };
        let Acknowledgement { now, bound_until, priority, is_up_to_date } = acknowledgement;
        let is_steady = follower.bound_until > now && follower.priority == priority;
        *follower = Follower {
            bound_until: follower.bound_until.max(bound_until),
            steady_since: if is_steady { follower.steady_since } else { now },
            priority,
            is_up_to_date,
        };
    }

    /// The instant until which `count` followers at least are bound, if that is later than
    /// `lease_until`, the last such instant. Promises come one at a time and only move later, so
    /// that one look at each is enough: the new end is the first of those that outlast the old.
    pub(crate) fn bound_beyond(&self, lease_until: Instant, count: usize) -> Option<Instant> {
        let ends = self.0.iter().map(|follower| follower.bound_until);
        let (outlasting, first) = ends
            .filter(|end| *end > lease_until)
            .fold((0_usize, Instant::FAR_FUTURE), |(outlasting, first), end| {
                (outlasting.saturating_add(1), first.min(end))
            });
        (outlasting > 0 && outlasting >= count).then_some(first)
    }

    /// The index of the follower that is highest in `order` among those that are meant.
    pub(crate) fn best_by<K: Ord>(
        &self,
        is_meant: impl Fn(&Follower) -> bool,
        order: impl Fn(&Follower) -> K,
    ) -> Option<usize> {
        let meant = self.0.iter().enumerate().filter(|(_, follower)| is_meant(follower));
        meant.max_by_key(|(_, follower)| order(follower)).map(|(index, _)| index)
    }
}

/// A follower's answer to a heartbeat, as the leader understands it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) now: Instant,
    pub(crate) bound_until: Instant,
    pub(crate) priority: u32,
    pub(crate) is_up_to_date: bool,
}
