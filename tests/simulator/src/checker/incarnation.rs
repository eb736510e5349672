//! What the checker knows of a node's program from its start to its crash.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Instant, Message, Mode, State, VoteRequest,
    VoteResponse, quorum,
};

use super::parting::Parting;
use super::pre_votes::PreVotes;
use crate::{Identity, NodeSetup};

/// The share of T_min that a lease may last, in percent: 1 - rho.
const LEASE_PERCENT: u64 = 90;

/// What a program was when the checker last looked at it, and what it owes to what it heard and
/// said.
#[derive(Clone, Debug)]
pub(super) struct Incarnation {
    /// Never falls.
    pub(super) term: u64,
    pub(super) state: State,
    pub(super) deadline: Instant,
    pub(super) mode: Mode,
    pub(super) priority: u32,
    pub(super) times: [Duration; 3],
    /// How long it is in quarantine after its start (rule V3).
    pub(super) quarantine: Duration,
    tick: Duration,
    /// Until when, by its clock, it may refuse a vote without adopting the term (rules V2, V3).
    pub(super) may_be_bound_until: Instant,
    /// Until when it must do so, because it has promised to, or has just started.
    pub(super) must_be_bound_until: Instant,
    pub(super) input: Input,
    pub(super) parting: Parting,
    /// Its last save failed (rule C5).
    pub(super) save_failed: bool,
    led_since: Instant,
    /// Until when each follower is bound, on this leader's clock (rule L3).
    echoes: Vec<(Option<Identity>, Instant)>,
    pub(super) pre_votes: PreVotes,
    /// Who answered its campaign, and whether with a vote: as many as count (rule V6).
    answers: Vec<(Option<Identity>, bool)>,
}

/// The latest input, as far as it decides what the node may do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Input {
    pub(super) at: Instant,
    /// The last save before it failed (rule C5).
    pub(super) has_sick_disk: bool,
    /// The node leads, but no quorum is bound to it now (rule L4).
    pub(super) is_over: bool,
    /// A leader hands over to this node (rule H2).
    pub(super) names_it: bool,
    /// A request that the node must refuse, and whose term it must not adopt (rule V2).
    pub(super) is_barred: bool,
    /// Something that may restart its election timer (rule V8).
    pub(super) may_restart_timer: bool,
    /// A leader of Extended mode learns of a higher term (rule H5).
    pub(super) deposes_it: bool,
    /// The node must be ready to campaign within this time (rule H2).
    pub(super) ready_within: Option<Duration>,
    /// Another node leads in the term in which this one leads (rule L5).
    pub(super) is_of_second_leader: bool,
    /// From a node that is configured with another cluster size (rule L6).
    pub(super) has_other_size: bool,
    /// What allows a closing node to stop (rule H3).
    pub(super) frees_it: bool,
}

impl Incarnation {
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

    /// Whether it still leads though its lease is over (rule L4).
    fn outlives_lease(&self, size: usize, now: Instant) -> bool {
        self.leads_by_lease() && size > 1 && now >= self.leads_until(size)
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

    /// An input begins, of which nothing else is known yet.
    pub(super) fn begin_input(&mut self, now: Instant, size: usize) {
        self.input = Input {
            at: now,
            has_sick_disk: self.save_failed,
            is_over: self.outlives_lease(size, now),
            ..Input::default()
        };
    }

    /// It hears a request for a vote or a pre-vote. Returns the terms that it may have afterwards.
    pub(super) fn hears_request(
        &mut self,
        message: &Message,
        request: &VoteRequest,
        size: usize,
    ) -> RangeInclusive<u64> {
        let now = self.input.at;
        let is_bound = now < self.may_be_bound_until;
        let is_released = self.is_released_by(request);
        let is_barred = self.leads_by_lease() || now < self.must_be_bound_until;
        let input = &mut self.input;
        input.is_barred = !is_released && is_barred;
        input.has_other_size = is_other_size(request.size, size);
        input.may_restart_timer = !input.is_barred && matches!(message, Message::VoteRequest(_));
        input.frees_it = input.may_restart_timer;
        let must_stay = input.is_barred || !input.may_restart_timer;
        let must_adopt = !must_stay && (is_released || !is_bound);
        let highest = if must_stay { self.term } else { request.term.max(self.term) };
        let lowest = if must_adopt { highest } else { self.term };
        lowest..=highest
    }

    /// It hears a heartbeat, and may be bound from now on (rule L2).
    pub(super) fn hears_heartbeat(&mut self, heartbeat: &Heartbeat, size: usize) {
        let is_current = heartbeat.term >= self.term;
        self.input.may_restart_timer = is_current;
        self.input.has_other_size = is_other_size(heartbeat.size, size);
        self.input.is_of_second_leader = self.state == State::Leader && heartbeat.term == self.term;
        self.input.frees_it = heartbeat.term > self.term;
        if is_current {
            self.parting.hears_leader();
        }
        if heartbeat.sent_at.is_some() {
            let bound_until = self.bound_from(self.input.at);
            self.may_be_bound_until = self.may_be_bound_until.max(bound_until);
        }
    }

    /// It, `node`, hears that a leader hands over. Returns the terms that it may have afterwards.
    pub(super) fn hears_handover(
        &mut self,
        node: Identity,
        handover: &Handover,
    ) -> RangeInclusive<u64> {
        let leads_it = self.state == State::Leader && handover.term == self.term;
        if handover.term >= self.term && !leads_it {
            self.input.ready_within = self.ready_within(handover);
            self.input.names_it = handover.target.as_ref().and_then(Identity::of) == Some(node);
            self.may_be_bound_until = self.input.at;
            self.must_be_bound_until = self.input.at;
        }
        // The node that takes over campaigns in the next term.
        let term = handover.term.max(self.term);
        term..=term + 1
    }

    /// A follower answers a heartbeat (rules L2, L3).
    pub(super) fn hears_echo(
        &mut self,
        follower: Option<Identity>,
        response: &HeartbeatResponse,
        now: Instant,
    ) {
        let (Some(sent_at), Some(bound_for)) = (response.sent_at, response.bound_for) else {
            return;
        };
        let sent_at = Instant::from_micros(sent_at.get());
        if !self.leads_by_lease() || response.term != self.term || sent_at > now {
            return;
        }
        let until = sent_at.saturating_add(self.sure_for(bound_for.get()));
        match self.echoes.iter_mut().find(|(known, _)| *known == follower) {
            Some((_, known)) => *known = until.max(*known),
            None => self.echoes.push((follower, until)),
        }
    }

    /// A voter answers its campaign. Of voters that are not declared, the first ones that answer
    /// count, up to the cluster's size (rule V6).
    pub(super) fn hears_vote(
        &mut self,
        voter: Option<Identity>,
        response: &VoteResponse,
        size: usize,
    ) {
        if self.state != State::Candidate || response.term != self.term {
            return;
        }
        let known = self.answers.iter().position(|(known, _)| *known == voter);
        match known {
            Some(known) => self.answers[known].1 |= response.granted,
            None if self.answers.len() + 1 < size => self.answers.push((voter, response.granted)),
            None => {}
        }
    }

    /// It asks for votes: answers to an earlier campaign no longer count.
    pub(super) fn begins_campaign(&mut self) {
        self.answers.clear();
    }

    /// How many voted for it as far as it may count them, itself included.
    pub(super) fn votes(&self) -> usize {
        self.answers.iter().filter(|(_, granted)| *granted).count() + 1
    }

    /// The end of a promise made at `at` (rule V2).
    pub(super) fn bound_from(&self, at: Instant) -> Instant {
        at.saturating_add(self.times[0]).saturating_add(self.tick)
    }

    /// V2's exception: the leader that bound the node has given up its lease.
    fn is_released_by(&self, request: &VoteRequest) -> bool {
        request.handover_from.is_some_and(|from| {
            from.get() >= self.term && !(self.state == State::Leader && from.get() == self.term)
        })
    }

    /// When a leader must have stopped (rule L4, A3).
    pub(super) fn leads_until(&self, size: usize) -> Instant {
        let at_first = self.led_since.saturating_add(self.sure_for(u64::MAX));
        self.leased_until(size).map_or(at_first, |until| at_first.max(until))
    }

    /// Until when a quorum is bound to the leader of a cluster of more than one voter; `None`
    /// before a quorum is (rule L3).
    pub(super) fn leased_until(&self, size: usize) -> Option<Instant> {
        let mut ends: Vec<Instant> = self.echoes.iter().map(|(_, until)| *until).collect();
        ends.sort_unstable();
        ends.iter().rev().nth(quorum(size).saturating_sub(2)).copied()
    }

    fn sure_for(&self, bound_for: u64) -> Duration {
        let promised = bound_for.min(self.times[0].as_micros() as u64);
        Duration::from_micros((promised * LEASE_PERCENT).div_ceil(100)).saturating_sub(self.tick)
    }

    /// How soon it must be ready to campaign after a handover, which names a target or anyone (rule
    /// H2).
    fn ready_within(&self, handover: &Handover) -> Option<Duration> {
        let intervals = if handover.target.is_some() { 2 } else { 1 };
        let campaigns = self.priority > 0 && self.parting.stays_until.is_none();
        campaigns.then(|| self.heartbeat() * intervals)
    }

    /// Whether it has handed over, and knows of nobody who might have taken over (rule H3).
    pub(super) fn awaits_successor(&self) -> bool {
        self.parting.handed_over == Some(self.term)
    }

    pub(super) fn heartbeat(&self) -> Duration {
        self.times[2]
    }
}

/// Whether a node that says this is configured with another cluster size (rule L6).
fn is_other_size(said: Option<NonZeroU32>, size: usize) -> bool {
    said.is_some_and(|said| usize::try_from(said.get()) != Ok(size))
}
