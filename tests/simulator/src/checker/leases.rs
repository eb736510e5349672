//! Leases in real time, which no node knows (rules I4, I5, L3).

use std::time::Duration;

use graft_election_core::{Instant, Leadership, State};

use super::Checker;
use crate::judgement::Judged;
use crate::{Identity, Moment, NodeIndex};

/// The leases of all nodes, each up to the moment at which its holder's clock ends it.
///
/// A crash ends no lease, as a rule: what was allowed under it may still be going on.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: [Option<Lease>; NodeIndex::COUNT_MAX],
    /// The holder and the token of the latest lease.
    latest: Option<(Identity, u64)>,
}

/// One node's lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) holder: Identity,
    pub(super) token: u64,
    /// Its end on the holder's clock.
    pub(super) valid_until: Instant,
    /// Since when its holder has had it without a break, in real time.
    pub(super) since: Moment,
    /// Its end in real time.
    pub(super) ends_at: Moment,
}

impl Leases {
    /// Whether a node's lease is known to end at that instant of its clock.
    pub(super) fn is_known(&self, holder: Identity, token: u64, valid_until: Instant) -> bool {
        self.held[holder.index.get()].is_some_and(|lease| {
            (lease.holder, lease.token, lease.valid_until) == (holder, token, valid_until)
        })
    }

    /// I11: whether its holder had this lease for longer.
    fn shortens(&self, lease: Lease) -> bool {
        self.held[lease.holder.index.get()].is_some_and(|before| {
            (before.holder, before.token) == (lease.holder, lease.token)
                && before.valid_until > lease.valid_until
        })
    }

    /// The node no longer has a lease.
    pub(super) fn end(&mut self, node: NodeIndex) {
        self.held[node.get()] = None;
    }

    /// A node has this lease at `now`. Returns a lease of another node that is valid too (I4).
    pub(super) fn grant(&mut self, mut lease: Lease, now: Moment) -> Option<Lease> {
        let before = self.held[lease.holder.index.get()];
        if let Some(before) = before.filter(|before| {
            (before.holder, before.token) == (lease.holder, lease.token) && before.ends_at >= now
        }) {
            lease.since = before.since;
        }
        self.held[lease.holder.index.get()] = Some(lease);
        let mut others = self.held.iter().flatten();
        others.find(|other| other.holder != lease.holder && other.ends_at > now).copied()
    }

    /// The two leases that have overlapped for the longest time by `now`, and for how long.
    fn overlap(&self, now: Moment) -> Option<(Duration, Identity, Identity)> {
        let held = || self.held.iter().flatten();
        let pairs = held().flat_map(|one| held().map(move |other| (one, other)));
        let overlaps =
            pairs.filter(|(one, other)| one.holder < other.holder).map(|(one, other)| {
                let end = one.ends_at.min(other.ends_at).min(now);
                (end.since(one.since.max(other.since)), one.holder, other.holder)
            });
        overlaps.max()
    }

    /// Who has a lease at `now` with this token.
    pub(super) fn holder_in(&self, token: u64, now: Moment) -> Option<Identity> {
        let mut held = self.held.iter().flatten();
        held.find(|lease| lease.token == token && lease.ends_at > now).map(|lease| lease.holder)
    }

    /// A lease of another node and an earlier term that is valid at `now`.
    fn outlived(&self, node: Identity, term: u64, now: Moment) -> Option<Lease> {
        let is_meant = |it: &&Lease| it.holder != node && it.token < term && it.ends_at > now;
        self.held.iter().flatten().find(is_meant).copied()
    }

    /// Notes the lease, which must be the latest one or have a higher token than all before it
    /// (I5). Returns the latest one otherwise.
    pub(super) fn succeed(&mut self, lease: Lease) -> Option<(Identity, u64)> {
        let this = (lease.holder, lease.token);
        let before = self.latest.filter(|latest| *latest != this);
        if before.is_some_and(|(_, token)| token >= lease.token) {
            return before;
        }
        self.latest = Some(this);
        None
    }
}

impl Checker {
    /// Whether a node's lease ends at another instant than when it was last judged.
    pub(crate) fn is_news(&self, node: Identity, leadership: Leadership) -> bool {
        !self.leases.is_known(node, leadership.token, leadership.valid_until)
    }

    /// A node has no lease at `now`.
    pub(crate) fn has_no_lease(&mut self, node: Identity, now: Moment) {
        self.overlap_briefly(now);
        self.leases.end(node.index);
    }

    /// A node's program stops at `now` without a word.
    ///
    /// N3: its double waits T_min, its own, after it has asked in vain. Where another T_min is
    /// longer, the lease of one that can't be heard any more may be longer than that too.
    pub(crate) fn crashed(&mut self, node: Identity, now: Moment) {
        if matches!(self.judged, Judged::Doubles { .. }) && !self.has_one_t_min() {
            self.has_no_lease(node, now);
        }
    }

    /// At `now` a node has a lease, which its clock will end at the moment `ends_at`.
    pub(crate) fn has_lease(
        &mut self,
        node: Identity,
        leadership: Leadership,
        ends_at: Moment,
        now: Moment,
    ) {
        let Leadership { token, valid_until } = leadership;
        let incarnation = self.history(node).incarnation.as_ref();
        let earned = incarnation.and_then(|incarnation| incarnation.leased_until());
        let is_alone = incarnation.is_some_and(|incarnation| incarnation.size == 1);
        let is_earned = is_alone || earned.is_some_and(|until| valid_until <= until);
        self.require("L3", is_earned || self.judged.is_of_nodes_alone(), || {
            format!("{node} has a lease until {valid_until:?}, and what it heard ends {earned:?}")
        });
        self.keeps_back(node, State::Leader);
        let lease = Lease { holder: node, token, valid_until, since: now, ends_at };
        if let Judged::Doubles { .. } = self.judged {
            self.overlap_briefly(now);
            self.leases.grant(lease, now);
            return;
        }
        let is_shortened = self.leases.shortens(lease);
        self.require("I11", !is_shortened, || {
            format!("{node} has a lease until {valid_until:?}, and had a longer one")
        });
        if !matches!(self.judged, Judged::Everything | Judged::Changing) || !self.is_voter(node) {
            return;
        }
        let other = self.leases.grant(lease, now);
        self.require("I4", other.is_none(), || {
            let (holder, ends_at) =
                other.map_or((node, ends_at), |other| (other.holder, other.ends_at));
            format!("{node} has a lease at {now}, and that of {holder} lasts until {ends_at}")
        });
        let before = self.leases.succeed(lease);
        self.require("I5", before.is_none(), || {
            format!("{node} has a lease with token {token} after {before:?}")
        });
    }

    /// I4: a node has been elected at `now`, in whatever mode. Whoever is bound to a leader with a
    /// lease has not helped.
    pub(crate) fn elected(&mut self, node: Identity, term: u64, now: Moment) {
        if !matches!(self.judged, Judged::Everything | Judged::Changing) || !self.is_voter(node) {
            return;
        }
        let outlived = self.leases.outlived(node, term, now);
        self.require("I4", outlived.is_none(), || {
            let lease = outlived.map(|lease| (lease.holder.to_string(), lease.token));
            format!("{node} is elected in term {term} at {now}, beside the lease of {lease:?}")
        });
    }

    /// N3: two processes of one id hear of each other within a message's delay, and then neither
    /// leads. As long as no double has led, every voter has answered as a single process.
    fn overlap_briefly(&mut self, now: Moment) {
        let Judged::Doubles { delay_max } = self.judged else { return };
        let Some((overlap, one, other)) = self.leases.overlap(now) else { return };
        let allowed = if self.only_firsts_led() { Duration::ZERO } else { delay_max };
        self.require("N3", overlap <= allowed, || {
            format!("the leases of {one} and {other} overlap for {overlap:?}")
        });
    }
}
