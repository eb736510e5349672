//! What goes wrong in a simulated world, and how often: all of it drawn from the seed.

use std::time::Duration;

use graft_election_core::VoteRecord;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use crate::{Judged, NodeIndex, NodeSetup, Setup};

/// How likely something is: a share of 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Odds(u32);

/// What kind of world a seed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything that can fail without malice.
    Faulty,
    /// Also messages that no sane node would send, or that were sent long ago.
    Garbage,
    /// Also forged messages that can't be told from real ones.
    Hostile,
    /// Also disks that are lost, so that their nodes come back under new ids.
    LostDisks,
    /// Also more live nodes than the cluster has voters.
    TooMany,
}

/// How often what goes wrong. Each seed switches on some of it only, at rates of its own: what
/// always happens hides what is rare.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) kind: Kind,
    /// For each message.
    pub(crate) loss: Odds,
    pub(crate) duplication: Odds,
    pub(crate) slow_message: Odds,
    pub(crate) message_delay_max: Duration,
    /// For each save.
    pub(crate) save_failure: Odds,
    pub(crate) save_crash: Odds,
    pub(crate) slow_save: Odds,
    /// For each timer that is due.
    pub(crate) late_timer: Odds,
    /// For each step.
    pub(crate) crash: Odds,
    pub(crate) pause: Odds,
    pub(crate) leap: Odds,
    pub(crate) close: Odds,
    pub(crate) hand_over: Odds,
    pub(crate) progress: Odds,
    pub(crate) forgery: Odds,
    pub(crate) cut: Odds,
    /// The longest that a node is down, stands still, or waits for its disk.
    pub(crate) absence_max: Duration,
    /// Whether a crash amid a save can leave something that is no record.
    pub(crate) tears: bool,
}

/// How long a message or a save takes in a healthy world, at most.
pub(crate) const MESSAGE_TIME_MAX: Duration = Duration::from_millis(10);
pub(crate) const SAVE_TIME_MAX: Duration = Duration::from_millis(2);

/// How far a clock is off, at most, in millionths: two then differ by less than rho, a tenth.
const DRIFT_MAX: i32 = 47_000;

impl Odds {
    pub(crate) const NEVER: Self = Self(0);

    pub(crate) fn new(share: f64) -> Self {
        Self((share * f64::from(u32::MAX)) as u32)
    }

    pub(crate) fn happens(self, rng: &mut SmallRng) -> bool {
        self.0 > 0 && rng.next_u32() < self.0
    }
}

impl Kind {
    fn draw(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..10) {
            0..=5 => Self::Faulty,
            6 => Self::Garbage,
            7 => Self::Hostile,
            8 => Self::LostDisks,
            _ => Self::TooMany,
        }
    }
}

impl Faults {
    /// No faults at all.
    pub(crate) fn none(kind: Kind) -> Self {
        Self {
            kind,
            loss: Odds::NEVER,
            duplication: Odds::NEVER,
            slow_message: Odds::NEVER,
            message_delay_max: Duration::ZERO,
            save_failure: Odds::NEVER,
            save_crash: Odds::NEVER,
            slow_save: Odds::NEVER,
            late_timer: Odds::NEVER,
            crash: Odds::NEVER,
            pause: Odds::NEVER,
            leap: Odds::NEVER,
            close: Odds::NEVER,
            hand_over: Odds::NEVER,
            progress: Odds::NEVER,
            forgery: Odds::NEVER,
            cut: Odds::NEVER,
            absence_max: Duration::ZERO,
            tears: false,
        }
    }

    /// The faults of a seed.
    pub(crate) fn draw(rng: &mut SmallRng) -> Self {
        let kind = Kind::draw(rng);
        let forges = matches!(kind, Kind::Garbage | Kind::Hostile);
        Self {
            kind,
            loss: draw_odds(rng, 0.3),
            duplication: draw_odds(rng, 0.2),
            slow_message: draw_odds(rng, 0.2),
            message_delay_max: Duration::from_millis(rng.random_range(50..3_000)),
            save_failure: draw_odds(rng, 0.3),
            save_crash: draw_odds(rng, 0.2),
            slow_save: draw_odds(rng, 0.2),
            late_timer: draw_odds(rng, 0.2),
            crash: draw_odds(rng, 0.01),
            pause: draw_odds(rng, 0.01),
            leap: draw_odds(rng, 0.005),
            close: draw_odds(rng, 0.005),
            hand_over: draw_odds(rng, 0.02),
            progress: draw_odds(rng, 0.01),
            forgery: if forges { Odds::new(0.05) } else { Odds::NEVER },
            cut: draw_odds(rng, 0.02),
            absence_max: Duration::from_millis(rng.random_range(20..3_000)),
            tears: rng.random_bool(0.5),
        }
    }

    /// The world of a seed, as it begins.
    pub(crate) fn draw_setup(&self, rng: &mut SmallRng) -> Setup {
        const SIZES: [usize; 14] = [1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 8, 9];
        let size = SIZES[rng.random_range(0..SIZES.len())];
        let declared = rng.random_bool(0.5);
        let count = match self.kind {
            Kind::TooMany => (size + rng.random_range(1..=size)).min(NodeIndex::COUNT_MAX),
            _ => size,
        };
        let judged = match self.kind {
            Kind::Hostile => Judged::NodesAlone,
            Kind::LostDisks | Kind::TooMany if !declared => Judged::AllButI1,
            _ => Judged::Everything,
        };
        let (unequal_terms, unequal_times) = (rng.random_bool(0.3), rng.random_bool(0.2));
        let unequal_positions = rng.random_bool(0.3);
        let nodes = (0..count).map(|_| {
            let mut node = NodeSetup {
                clock: Duration::from_micros(rng.random_range(0..10_000_000)),
                ..NodeSetup::default()
            };
            if unequal_terms {
                let bits = rng.random_range(0..32);
                node.record =
                    VoteRecord { term: rng.next_u64() & ((1 << bits) - 1), voted_for: None };
            }
            if unequal_times {
                let t_min = Duration::from_millis(rng.random_range(300..1_200));
                node.times = [t_min, t_min * 2, Duration::from_millis(100)];
            }
            if unequal_positions {
                node.position = rng.random_range(0..4);
            }
            node
        });
        let nodes = nodes.collect();
        Setup { nodes, size, declared, echo: rng.random_bool(0.5), seed: rng.next_u64(), judged }
    }
}

/// How far off the clock of a node is.
pub(crate) fn draw_drift(rng: &mut SmallRng) -> i32 {
    rng.random_range(-DRIFT_MAX..=DRIFT_MAX)
}

/// A span of a microsecond at least.
pub(crate) fn draw_span(rng: &mut SmallRng, max: Duration) -> Duration {
    let max = u32::try_from(max.as_micros()).unwrap_or(u32::MAX);
    // Cheaper than a division, and even enough.
    let micros = (u64::from(rng.next_u32()) * u64::from(max)) >> 32;
    Duration::from_micros(micros + 1)
}

/// Half of all faults don't occur at all; the others are mostly rare.
fn draw_odds(rng: &mut SmallRng, max: f64) -> Odds {
    if rng.random_bool(0.5) {
        return Odds::NEVER;
    }
    let share: f64 = rng.random_range(0.05..1.0);
    Odds::new(share * share * max)
}
