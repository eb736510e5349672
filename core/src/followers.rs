//! What a leader knows of its followers: what they promised (rule L3), and which of them may lead
//! (rule H1).

use crate::{Config, Instant, Life, NodeId};

/// What a leader knows of its followers, by their indexes in the electorate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Followers<const VOTERS: usize> {
    by_index: [Follower; VOTERS],
    /// How many of them are bound for longer than the lease lasts.
    outlasting: usize,
}

/// What a leader knows of one follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// Until then, on the leader's clock, the follower helps to elect no one (rule L3).
    /// [`NEVER`](Self::NEVER), if it has promised nothing yet.
    pub(crate) bound_until: Instant,
    /// Since when its promises have followed each other without a gap.
    pub(crate) steady_since: Instant,
    /// Its preference for leading (rule H4).
    pub(crate) priority: u32,
    /// Whether the leader would vote for it, judging by its position (rule H1).
    pub(crate) is_up_to_date: bool,
    /// It has named the leader's present list in an acknowledgement (rule R6).
    pub(crate) has_named_list: bool,
    /// It has no room for one more voter (rule R7).
    pub(crate) is_full: bool,
    /// Which process answers, once one has (rule N4).
    life: Option<Life>,
    /// When the first process that answered was first heard.
    heard_at: Instant,
    /// Its acknowledgements of heartbeats that were sent before then don't count: they are of
    /// another life, or may be (rule N4).
    counts_from: Instant,
}

impl Follower {
    /// The end of a promise that was never given.
    pub(crate) const NEVER: Instant = Instant::from_micros(0);

    const UNKNOWN: Self = Self {
        bound_until: Self::NEVER,
        steady_since: Self::NEVER,
        priority: Config::WITNESS,
        is_up_to_date: false,
        has_named_list: false,
        is_full: false,
        life: None,
        heard_at: Self::NEVER,
        counts_from: Self::NEVER,
    };

    /// N4: whether an acknowledgement of this life, of a heartbeat that was sent at `sent_at`,
    /// counts. One of a new life doesn't: the heartbeat may be from before its start, and a process
    /// that has just started knows of no promise but is bound all the same.
    fn recognize(
        &mut self,
        life: Option<Life>,
        sent_at: Instant,
        now: Instant,
        election_timeout_max: u32,
    ) -> Recognition {
        if self.life.is_none() {
            (self.life, self.heard_at) = (life, now);
        }
        if sent_at < self.counts_from {
            // While it is suspected, its changes are not counted either: it may come to rest.
            if self.counts_from > now {
                self.life = life;
            }
            return Recognition::Late;
        }
        if self.life == life {
            return Recognition::Counts;
        }
        // The network held it back: the process that was heard first is the later one.
        if sent_at < self.heard_at {
            return Recognition::Late;
        }
        self.life = life;
        let has_changed = self.counts_from != Self::NEVER;
        if has_changed && now.micros_since(self.counts_from) < election_timeout_max.into() {
            let span = election_timeout_max;
            self.counts_from = now.plus_micros(span).plus_micros(span);
            return Recognition::TwoLives;
        }
        self.counts_from = now;
        Recognition::Late
    }

    /// Takes note of an acknowledgement. Of all that it promised, the latest end counts (rule L3).
    fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        let Acknowledgement { now, bound_until, priority, .. } = acknowledgement;
        if self.bound_until <= now || self.priority != priority {
            self.steady_since = now;
        }
        self.bound_until = self.bound_until.max(bound_until);
        self.priority = priority;
        self.is_up_to_date = acknowledgement.is_up_to_date;
        // It never goes back to an older list.
        self.has_named_list |= acknowledgement.has_named_list;
        self.is_full = acknowledgement.is_full;
    }

    /// Whether leadership may be given to it (rule H1).
    pub(crate) fn may_lead(&self) -> bool {
        self.priority != Config::WITNESS && self.is_up_to_date && self.has_named_list
    }

    /// R7: whether it is bound at `now`, and knows the leader's present list.
    pub(crate) fn has_caught_up(&self, now: Instant) -> bool {
        self.bound_until > now && self.has_named_list
    }
}

impl<const VOTERS: usize> Followers<VOTERS> {
    pub(crate) const fn none() -> Self {
        Self { by_index: [Follower::UNKNOWN; VOTERS], outlasting: 0 }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Follower> {
        self.by_index.get(index)
    }

    /// N4: whether the follower's acknowledgement counts, and which process it came from.
    pub(crate) fn recognize(
        &mut self,
        index: usize,
        life: Option<Life>,
        sent_at: Instant,
        now: Instant,
        election_timeout_max: u32,
    ) -> Recognition {
        match self.by_index.get_mut(index) {
            Some(follower) => follower.recognize(life, sent_at, now, election_timeout_max),
            None => Recognition::Late,
        }
    }

    /// Takes note of an acknowledgement, while the lease lasts until `lease_until`.
    pub(crate) fn acknowledge(
        &mut self,
        index: usize,
        acknowledgement: Acknowledgement,
        lease_until: Instant,
    ) {
        let Some(follower) = self.by_index.get_mut(index) else {
            return;
        };
        if follower.bound_until <= lease_until && acknowledgement.bound_until > lease_until {
            self.outlasting = self.outlasting.saturating_add(1);
        }
        follower.acknowledge(acknowledgement);
    }

    /// What is known of each of the first `size` followers, in the order of the electorate.
    pub(crate) fn first(&self, size: usize) -> &[Follower] {
        self.by_index.get(..size).unwrap_or(&self.by_index)
    }

    /// R6: nobody has named the leader's list yet, which is a new one.
    pub(crate) fn forget_named(&mut self) {
        for follower in &mut self.by_index {
            follower.has_named_list = false;
        }
    }

    /// R7, R8: the voter at `index` of the electorate is one no longer, and what it promised is
    /// forgotten; the one that was `last` takes its place. The lease lasts until `lease_until`.
    pub(crate) fn remove(&mut self, index: usize, last: usize, lease_until: Instant) {
        let moved = self.by_index.get_mut(last);
        let moved = moved.map(|last| core::mem::replace(last, Follower::UNKNOWN));
        if let Some((moved, place)) = moved.zip(self.by_index.get_mut(index))
            && index != last
        {
            *place = moved;
        }
        self.count_outlasting(lease_until);
    }

    /// R7: the voter at `index` of the electorate is one from now on.
    pub(crate) fn add(&mut self, index: usize, newcomer: Follower, lease_until: Instant) {
        if let Some(follower) = self.by_index.get_mut(index) {
            *follower = newcomer;
        }
        self.count_outlasting(lease_until);
    }

    fn count_outlasting(&mut self, lease_until: Instant) {
        let outlasts = |follower: &&Follower| follower.bound_until > lease_until;
        self.outlasting = self.by_index.iter().filter(outlasts).count();
    }

    /// The instant until which `count` followers at least are bound, if that is later than
    /// `lease_until`, the last such instant, in whose place it comes.
    ///
    /// Promises come one at a time and only move later, so the new end is the first of those that
    /// outlast the old. It is looked for once in a round of heartbeats: an acknowledgement among
    /// many voters takes no longer than one among few.
    pub(crate) fn bound_beyond(&mut self, lease_until: Instant, count: usize) -> Option<Instant> {
        if self.outlasting == 0 || self.outlasting < count {
            return None;
        }
        let ends = self.by_index.iter().map(|follower| follower.bound_until);
        let first = ends.filter(|end| *end > lease_until).min()?;
        self.count_outlasting(first);
        Some(first)
    }

    /// The index of the follower that is highest in `order` among those that are meant.
    pub(crate) fn best_by<K: Ord>(
        &self,
        is_meant: impl Fn(&Follower) -> bool,
        order: impl Fn(&Follower) -> K,
    ) -> Option<usize> {
        let meant = self.by_index.iter().enumerate().filter(|(_, follower)| is_meant(follower));
        meant.max_by_key(|(_, follower)| order(follower)).map(|(index, _)| index)
    }
}

/// A node that an operator wants added (rule R7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Newcomer {
    pub(crate) id: NodeId,
    pub(crate) follower: Follower,
}

impl Newcomer {
    /// One that has not been heard yet.
    pub(crate) const fn new(id: NodeId) -> Self {
        Self { id, follower: Follower::UNKNOWN }
    }

    /// Takes note of its acknowledgement, if that counts (rule N4).
    pub(crate) fn acknowledge(
        &mut self,
        life: Option<Life>,
        sent_at: Instant,
        acknowledgement: Acknowledgement,
        election_timeout_max: u32,
    ) {
        let now = acknowledgement.now;
        let recognition = self.follower.recognize(life, sent_at, now, election_timeout_max);
        if recognition == Recognition::Counts {
            self.follower.acknowledge(acknowledgement);
        }
    }
}

/// What comes of looking at the life in an acknowledgement (rule N4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recognition {
    /// It counts.
    Counts,
    /// It may be of a life that is over, and is dropped.
    Late,
    /// The follower changes its life too often: for a while it doesn't count.
    TwoLives,
}

/// A follower's answer to a heartbeat, as the leader understands it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) now: Instant,
    pub(crate) bound_until: Instant,
    pub(crate) priority: u32,
    pub(crate) is_up_to_date: bool,
    pub(crate) has_named_list: bool,
    pub(crate) is_full: bool,
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const VOTERS: usize = 6;

    /// As the rule has it: the instant until which so many followers at least are bound.
    fn quorum_bound_until(followers: &Followers<VOTERS>, count: usize) -> Instant {
        let mut ends = followers.by_index.map(|follower| follower.bound_until);
        ends.sort();
        ends[VOTERS - count]
    }

    #[test]
    fn l3_the_lease_is_that_of_the_latest_quorum_whatever_the_order_of_promises() {
        let mut rng = SmallRng::seed_from_u64(1);
        for count in 1..=VOTERS {
            let mut followers = Followers::<VOTERS>::none();
            let mut lease_until = Follower::NEVER;
            for time in 0..2_000 {
                let now = Instant::from_micros(time);
                let bound_until = Instant::from_micros(time / 10 + rng.random_range(0..20));
                let promise = Acknowledgement {
                    now,
                    bound_until,
                    priority: 1,
                    is_up_to_date: true,
                    has_named_list: true,
                    is_full: false,
                };
                followers.acknowledge(rng.random_range(0..VOTERS), promise, lease_until);
                let until = followers.bound_beyond(lease_until, count);
                lease_until = until.unwrap_or(lease_until);
                assert_eq!(lease_until, quorum_bound_until(&followers, count), "{time}");
            }
        }
    }
}
