//! What a leader knows of its followers: which of them may lead, since when they have been steady,
//! and which of them answered last (rules H1, H4, O2).

use std::time::Duration;

use graft_election_core::{Instant, Life};

use crate::Identity;

/// For how many of its T_max a leader watches a follower before it gives way (rule H4).
const STEADY_TIMEOUTS: u32 = 10;

/// How often that time doubles at most.
const DOUBLINGS_MAX: u32 = 16;

/// The leader rounds the ends of promises down. What is closer than this is too close to call.
const ROUNDING: Duration = Duration::from_millis(1);

/// A leader's followers, as far as they answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Followers(Vec<Follower>);

/// What a leader has heard of a follower.
#[derive(Clone, Copy, Debug)]
struct Follower {
    /// Nobody, for a forged id.
    id: Option<Identity>,
    /// What it said last.
    offer: Offer,
    /// Until when it is bound, on the leader's clock.
    until: Instant,
    /// Since when its promises have followed each other without a gap, with one priority.
    steady_since: Instant,
    /// The highest priority that it ever said.
    priority_max: u32,
    /// Whether it ever was fit.
    was_fit: bool,
    /// The leader surely has room for it: it is a declared voter (rule V6).
    has_room: bool,
    /// It has answered in several lives, of which the leader counts one at a time (rule N4), or
    /// just when its promise ended.
    is_unsure: bool,
}

/// A follower's answer to a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) life: Option<Life>,
    pub(super) priority: u32,
    /// Whether it may lead, by its priority and its position (rule H1).
    pub(super) is_fit: bool,
}

/// What is known of whether a leader may hand over to a follower (rule O2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Fitness {
    /// It was fit, as far as the leader may know.
    pub(super) may_be: bool,
    /// The leader must know that it is fit.
    pub(super) is_sure: bool,
}

/// How a leader's attempts to give way to a follower of higher priority went (rule H4). It outlives
/// each leadership.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promotions {
    /// To whom it gave way, and who doesn't lead yet.
    target: Option<Option<Identity>>,
    /// How many attempts in a row came to nothing.
    failures: u32,
}

impl Followers {
    /// It leads anew, and has heard nobody yet.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A follower answers at `now`, and is bound `until` then.
    pub(super) fn hear(
        &mut self,
        id: Option<Identity>,
        offer: Offer,
        until: Instant,
        now: Instant,
        has_room: bool,
    ) {
        match self.0.iter_mut().find(|known| known.id == id) {
            Some(known) => known.hear(offer, until, now),
            None => self.0.push(Follower {
                id,
                offer,
                until,
                steady_since: now,
                priority_max: offer.priority,
                was_fit: offer.is_fit,
                has_room,
                is_unsure: false,
            }),
        }
    }

    /// O2: whether leadership may be given to this follower, or to any if none is named, and surely
    /// so.
    pub(super) fn fitness_of(&self, target: Option<Option<Identity>>, now: Instant) -> Fitness {
        let is_meant = |known: &&Follower| target.is_none_or(|target| known.id == target);
        let meant = || self.0.iter().filter(is_meant).filter(|known| known.until > now);
        let may_be = meant().any(Follower::may_be_fit);
        let is_sure = meant().any(Follower::is_surely_fit);
        Fitness { may_be, is_sure }
    }

    /// H1: whether a leader that is free to choose may name this follower, or anyone. Otherwise a
    /// follower that it should rather have named; none if it should have named nobody.
    pub(super) fn check_successor(
        &self,
        target: Option<Option<Identity>>,
    ) -> Result<(), Option<Identity>> {
        let named = target.map(|target| self.find(target).filter(|known| known.may_be_fit()));
        let answered_at = match named {
            None => Instant::from_micros(0),
            Some(Some(named)) => named.until.saturating_add(ROUNDING),
            Some(None) => Instant::FAR_FUTURE,
        };
        let surely_fit = self.0.iter().filter(|known| known.is_surely_fit());
        match surely_fit.max_by_key(|known| known.until) {
            Some(last) if last.until > answered_at => Err(last.id),
            _ if named.is_some_and(|named| named.is_none()) => Err(None),
            _ => Ok(()),
        }
    }

    /// H4: whether the follower may be one that is bound at `now`, and has been steady for so long
    /// with a priority above this one.
    pub(super) fn may_exceed(
        &self,
        id: Option<Identity>,
        priority: u32,
        now: Instant,
        steady_for: Duration,
    ) -> bool {
        self.find(id).is_some_and(|known| {
            let said = if known.is_unsure { known.priority_max } else { known.offer.priority };
            let is_steady = now.saturating_since(known.steady_since) >= steady_for;
            said > priority && is_steady && known.until > now && known.may_be_fit()
        })
    }

    /// H4: a follower of which all that is certain.
    pub(super) fn surely_exceeds(
        &self,
        priority: u32,
        now: Instant,
        steady_for: Duration,
    ) -> Option<Identity> {
        let is_meant = |known: &&Follower| {
            let is_steady = now.saturating_since(known.steady_since) >= steady_for;
            let is_bound = known.until > now.saturating_add(ROUNDING);
            known.offer.priority > priority && is_steady && is_bound && known.is_surely_fit()
        };
        self.0.iter().find(is_meant).and_then(|known| known.id)
    }

    fn find(&self, id: Option<Identity>) -> Option<&Follower> {
        self.0.iter().find(|known| known.id == id)
    }
}

impl Follower {
    fn hear(&mut self, offer: Offer, until: Instant, now: Instant) {
        let is_close = self.until > now && self.until <= now.saturating_add(ROUNDING);
        self.is_unsure |= offer.life != self.offer.life || is_close;
        let is_same = offer.priority == self.offer.priority || self.is_unsure;
        if self.until <= now || !is_same {
            self.steady_since = now;
        }
        self.offer = offer;
        self.until = self.until.max(until);
        self.priority_max = self.priority_max.max(offer.priority);
        self.was_fit |= offer.is_fit;
    }

    fn may_be_fit(&self) -> bool {
        if self.is_unsure { self.was_fit } else { self.offer.is_fit }
    }

    fn is_surely_fit(&self) -> bool {
        self.has_room && !self.is_unsure && self.offer.is_fit
    }
}

impl Promotions {
    /// For how long a follower must have been steady.
    pub(super) fn wait(self, t_max: Duration) -> Duration {
        t_max * (STEADY_TIMEOUTS << self.failures.min(DOUBLINGS_MAX))
    }

    /// The node gives way.
    pub(super) fn begin(&mut self, target: Option<Identity>) {
        self.target = Some(target);
    }

    /// The node follows this leader now, if it follows anyone, or else runs again.
    pub(super) fn look(&mut self, leader: Option<Option<Identity>>, runs: bool) {
        if leader.is_none() && !runs {
            return;
        }
        if let Some(target) = self.target.take() {
            let has_succeeded = leader == Some(target);
            self.failures = if has_succeeded { 0 } else { self.failures.saturating_add(1) };
        }
    }
}
