//! The times that a node keeps.

use rand_core::Rng;

use crate::lease::LeaseTerms;
use crate::time::clamped_micros;
use crate::{Config, Instant};

/// The times of a checked [`Config`], in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timing {
    pub(crate) election_timeout_min: u32,
    pub(crate) election_timeout_span: u32,
    pub(crate) heartbeat_interval: u32,
    pub(crate) clock_tick: u32,
    pub(crate) lease_terms: LeaseTerms,
}

impl Timing {
    pub(crate) fn new(config: &Config<'_>) -> Self {
        let election_timeout_min = clamped_micros(config.election_timeout_min);
        let election_timeout_max = clamped_micros(config.election_timeout_max);
        Self {
            election_timeout_min,
            election_timeout_span: election_timeout_max.saturating_sub(election_timeout_min),
            heartbeat_interval: clamped_micros(config.heartbeat_interval),
            clock_tick: clamped_micros(config.clock_tick),
            lease_terms: config.lease_terms(),
        }
    }

    pub(crate) fn draw_election_timeout(&self, rng: &mut impl Rng, now: Instant) -> Instant {
        now.plus_micros(self.election_timeout_min).plus_drawn(rng, self.election_timeout_span)
    }

    pub(crate) fn election_timeout_max(&self) -> u64 {
        let span = u64::from(self.election_timeout_span);
        u64::from(self.election_timeout_min).saturating_add(span)
    }
}
