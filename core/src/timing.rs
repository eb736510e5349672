//! The times that a node keeps.

use rand_core::Rng;

use crate::digest::Digest;
use crate::lease::LeaseTerms;
use crate::time::clamped_micros;
use crate::{Config, Instant, NodeId};

/// The times of a checked [`Config`], in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timing {
    pub(crate) election_timeout_min: u32,
    pub(crate) election_timeout_span: u32,
    pub(crate) heartbeat_interval: u32,
    pub(crate) clock_tick: u32,
    pub(crate) lease_terms: LeaseTerms,
    /// The id's part in each draw: nodes whose random sources are equal must not draw equal
    /// timeouts for ever.
    salt: u32,
}

impl Timing {
    pub(crate) fn new(config: &Config<'_>, id: &NodeId) -> Self {
        let election_timeout_min = clamped_micros(config.election_timeout_min);
        let election_timeout_max = clamped_micros(config.election_timeout_max);
        Self {
            election_timeout_min,
            election_timeout_span: election_timeout_max.saturating_sub(election_timeout_min),
            heartbeat_interval: clamped_micros(config.heartbeat_interval),
            clock_tick: clamped_micros(config.clock_tick),
            lease_terms: config.lease_terms(),
            salt: Digest::of(id),
        }
    }

    /// An instant drawn evenly from the `span` microseconds that follow `earliest`.
    pub(crate) fn draw(&self, rng: &mut impl Rng, earliest: Instant, span: u32) -> Instant {
        earliest.plus_drawn(rng.next_u32() ^ self.salt, span)
    }

    /// The end of an election timeout that begins now: T_min later at least, and from there on
    /// drawn from `span` microseconds.
    pub(crate) fn draw_election_timeout(
        &self,
        rng: &mut impl Rng,
        now: Instant,
        span: u32,
    ) -> Instant {
        self.draw(rng, now.plus_micros(self.election_timeout_min), span)
    }

    pub(crate) fn election_timeout_max(&self) -> u32 {
        self.election_timeout_min.saturating_add(self.election_timeout_span)
    }
}
