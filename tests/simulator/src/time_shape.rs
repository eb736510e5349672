//! The times of a world's nodes, and how far apart their clocks may be.

use std::time::Duration;

use graft_election_core::Config;
use rand::RngExt;
use rand::rngs::SmallRng;

/// The greatest rho of a world, in hundredths. A clock that is slow by more loses more than rho of
/// real time, on which the bounds on recovery rely.
const RHO_MAX: u8 = 50;

/// How much greater than the truth a node's rho is, at most, in hundredths.
const CAUTION_MAX: u8 = 10;

/// The coarsest clock shows only multiples of so many milliseconds.
const TICK_MAX: u64 = 20;

/// What the times of a world have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeShape {
    /// By how many hundredths the rates of its clocks differ, at most.
    rho: u8,
    /// T_max in hundredths of T_min, and how often H fits into T_min; those of the Go original if
    /// absent.
    unusual: Option<(u64, u64)>,
}

impl TimeShape {
    /// Half a second to a second, and H = 100 ms, as the Go original has them.
    pub(crate) const USUAL: Self = Self { rho: Config::CLOCK_DRIFT_PERCENT, unusual: None };

    /// One of all shapes that nodes start with.
    pub(crate) fn draw(rng: &mut SmallRng) -> Self {
        // Most of them just above T_min, where candidates collide.
        let share: f64 = rng.random_range(0.0..1.0);
        let percent = 105 + (share * share * 295.0) as u64;
        let rho = rng.random_range(1..=RHO_MAX);
        Self { rho, unusual: Some((percent, rng.random_range(2..=12))) }
    }

    pub(crate) fn is_usual(self) -> bool {
        self.unusual.is_none() && self.rho == Self::USUAL.rho
    }

    /// By how many hundredths the rates of the world's clocks differ, at most.
    pub(crate) fn rho(self) -> u8 {
        self.rho
    }

    /// A node's rho: the truth or more.
    pub(crate) fn draw_rho(self, rng: &mut SmallRng) -> u8 {
        rng.random_range(self.rho..=self.rho + CAUTION_MAX)
    }

    /// A node's T_min, T_max and H, with which it starts whatever its tick and its rho.
    pub(crate) fn draw_times(self, rng: &mut SmallRng) -> [Duration; 3] {
        let t_min = rng.random_range(300..1_200);
        let Some((percent, intervals)) = self.unusual else {
            return [
                Duration::from_millis(t_min),
                Duration::from_millis(t_min * 2),
                Config::HEARTBEAT_INTERVAL,
            ];
        };
        let lease = t_min * u64::from(100 - self.rho - CAUTION_MAX) / 100;
        let heartbeat = (t_min / intervals).min(lease - TICK_MAX - 1);
        [t_min, t_min * percent / 100, heartbeat].map(Duration::from_millis)
    }

    /// The times of nodes that are all given the same.
    pub(crate) fn draw_common_times(self, rng: &mut SmallRng) -> [Duration; 3] {
        if self.unusual.is_some() {
            return self.draw_times(rng);
        }
        [Config::ELECTION_TIMEOUT_MIN, Config::ELECTION_TIMEOUT_MAX, Config::HEARTBEAT_INTERVAL]
    }

    /// How often a coarse clock moves on.
    pub(crate) fn draw_tick(rng: &mut SmallRng) -> Duration {
        Duration::from_millis(rng.random_range(1..=TICK_MAX))
    }
}

/// How far off a clock's rate is, at most, in millionths, where two differ by less than so many
/// hundredths of the faster one.
pub(crate) fn drift_max(rho: u8) -> i32 {
    let rho = i32::from(rho);
    // A little less, since the nodes' own arithmetic has an end.
    990_000 * rho / (200 - rho)
}
