//! What the checker knows of a node's program while it lives.

use std::time::Duration;

use graft_election_core::{
    HeartbeatResponse, Instant, Mode, State, VoteRequest, VoteResponse, quorum,
};

use super::handovers::Parting;
use super::pre_votes::PreVotes;
use crate::NodeSetup;

/// What a node was when the checker last looked at it, and what it owes to what it heard and said.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Terms don't fall while it lives.
    pub(super) term: u64,
    pub(super) state: State,
    pub(super) deadline: Instant,
    pub(super) mode: Mode,
    pub(super) priority: u32,
    pub(super) times: [Duration; 3],
    /// How long it is in quarantine after its start (rule V3).
    pub(super) quarantine: Duration,
    tick: Duration,
    /// The latest instant of the node's clock at which it may still refuse a vote without adopting
    /// the term (rules V2, V3).
    pub(super) may_be_bound_until: Instant,
    /// The latest instant at which it must: it has promised so, or has just started.
    pub(super) must_be_bound_until: Instant,
    pub(super) input: Input,
    pub(super) parting: Parting,
    /// Its last save failed (rule C5).
    pub(super) save_failed: bool,
    led_since: Instant,
    /// Until when each follower is bound, on this leader's clock (rule L3).
    echoes: Vec<(Place, Instant)>,
    pub(super) pre_votes: PreVotes,
    /// Who answered its campaign, and with a vote: as many as count (rule V6).
    answers: Vec<(Place, bool)>,
}

/// Where a voter's claims are kept.
pub(super) type Place = usize;

/// The latest input, as far as it decides what the node may do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Input {
    pub(super) at: Instant,
    /// The last save before it failed (rule C5).
    pub(super) has_sick_disk: bool,
    /// It leads, but no quorum is bound to it any more (rule L4).
    pub(super) is_over: bool,
    /// A leader hands over to this node (rule H2).
    pub(super) names_it: bool,
    /// A request that it must refuse, and whose term it must not adopt (rule V2).
    pub(super) is_barred: bool,
    /// Something that may restart its election timer (rule V8).
    pub(super) may_restart_timer: bool,
    /// A leader of Extended mode learns of a higher term (rule H5).
    pub(super) deposes_it: bool,
    /// It must be ready to run within so long (rule H2).
    pub(super) ready_within: Option<Duration>,
    /// Another leads in the term in which it leads itself (rule L5).
    pub(super) is_rivalry: bool,
    /// From someone who believes in another cluster size (rule L6).
    pub(super) has_other_size: bool,
    /// What sets a node free that is to leave (rule H3).
    pub(super) frees_it: bool,
}

/// The share of T_min that a lease may last, in percent: 1 - rho.
const LEASE_PERCENT: u64 = 90;

impl Life {
    pub(super) fn new(term: u64, setup: &NodeSetup, quarantine: Duration, now: Instant) -> Self {
        let quarantine = if term == 0 { Duration::ZERO } else { quarantine + setup.tick };
        let bound_until = now.saturating_add(quarantine);
        Self {
            term,
            state: State::Follower,
            deadline: Instant::FAR_FUTURE,
            mode: setup.mode,
            priority: setup.priority,
            times: setup.times,
            quarantine,
            tick: setup.tick,
            may_be_bound_until: bound_until,
            must_be_bound_until: bound_until,
            input: Input::default(),
            parting: Parting::default(),
            save_failed: false,
            led_since: now,
            echoes: Vec::new(),
            pre_votes: PreVotes::default(),
            answers: Vec::new(),
        }
    }

    pub(super) fn leads_by_lease(&self) -> bool {
        self.state == State::Leader && self.mode == Mode::Extended
    }

    /// The end of a promise made at `at` (rule V2).
    pub(super) fn bound_from(&self, at: Instant) -> Instant {
        at.saturating_add(self.times[0]).saturating_add(self.tick)
    }

    /// V2's exception: the leader that bound the node has given up its lease.
    pub(super) fn is_released_by(&self, request: &VoteRequest) -> bool {
        request.handover_from.is_some_and(|from| {
            from.get() >= self.term && !(self.state == State::Leader && from.get() == self.term)
        })
    }

    pub(super) fn changed_state(&mut self, state: State, now: Instant) {
        if state == State::Leader && self.state != State::Leader {
            self.led_since = now;
            self.echoes.clear();
        }
        if state != State::PreCandidate {
            self.pre_votes.end();
        }
        self.state = state;
    }

    /// A follower, whose claims are at `place`, answers a heartbeat (rules L2, L3).
    pub(super) fn hears_echo(&mut self, place: Place, response: &HeartbeatResponse, now: Instant) {
        let (Some(sent_at), Some(bound_for)) = (response.sent_at, response.bound_for) else {
            return;
        };
        let sent_at = Instant::from_micros(sent_at.get());
        if !self.leads_by_lease() || response.term != self.term || sent_at > now {
            return;
        }
        let until = sent_at.saturating_add(self.sure_for(bound_for.get()));
        match self.echoes.iter_mut().find(|(known, _)| *known == place) {
            Some((_, known)) => *known = until.max(*known),
            None => self.echoes.push((place, until)),
        }
    }

    /// When a leader must have stopped (rule L4, A3).
    pub(super) fn leads_until(&self, size: usize) -> Instant {
        let at_first = self.led_since.saturating_add(self.sure_for(u64::MAX));
        self.leased_until(size).map_or(at_first, |until| at_first.max(until))
    }

    /// Until when a quorum is bound to a leader of more than one voter; nothing, before one is (rule
    /// L3).
    pub(super) fn leased_until(&self, size: usize) -> Option<Instant> {
        let mut ends: Vec<Instant> = self.echoes.iter().map(|(_, until)| *until).collect();
        ends.sort_unstable();
        ends.iter().rev().nth(quorum(size).saturating_sub(2)).copied()
    }

    fn sure_for(&self, bound_for: u64) -> Duration {
        let promised = bound_for.min(self.times[0].as_micros() as u64);
        Duration::from_micros((promised * LEASE_PERCENT).div_ceil(100)).saturating_sub(self.tick)
    }

    /// It asks for votes: what was answered before is over.
    pub(super) fn begins_campaign(&mut self) {
        self.answers.clear();
    }

    /// A voter, whose claims are at `place`, answers its campaign. Of voters that aren't declared, the
    /// first count that answer, up to the cluster's size (rule V6).
    pub(super) fn hears_vote(&mut self, place: Place, response: &VoteResponse, size: usize) {
        if self.state != State::Candidate || response.term != self.term {
            return;
        }
        let known = self.answers.iter().position(|(known, _)| *known == place);
        match known {
            Some(known) => self.answers[known].1 |= response.granted,
            None if self.answers.len() + 1 < size => self.answers.push((place, response.granted)),
            None => {}
        }
    }

    /// How many voted for it as far as it may count them, itself included.
    pub(super) fn votes(&self) -> usize {
        self.answers.iter().filter(|(_, granted)| *granted).count() + 1
    }
}
