//! What the checker knows of a node's program from its start to its crash.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use graft_election_core::{
    Handover, Heartbeat, HeartbeatResponse, Instant, LeaderValue, Life, ListId, Message, Mode,
    NodeId, Round, State, VoteRequest, VoteResponse, quorum,
};

use super::Start;
use super::doubt::Doubt;
use super::followers::{Followers, Offer, Promotions};
use super::lists::Hearsay;
use super::operators::Obedience;
use super::parting::Parting;
use super::pre_votes::PreVotes;
use super::standing_back::{Asked, StandingBack};
use crate::Identity;
use crate::application::SimulatedApplication;
use crate::machine::CoreNode;

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
    /// O1
    pub(super) obeys_operators: bool,
    pub(super) times: [Duration; 3],
    /// How long it is in quarantine after its start (rule V3).
    pub(super) quarantine: Duration,
    /// By how many hundredths it believes that the rates of clocks differ.
    rho: u8,
    /// How many voters it believes there are.
    pub(super) size: usize,
    /// The list of voters by which it goes (rule V6).
    pub(super) list: Option<ListId>,
    /// A bit for each voter on it.
    listed: u16,
    tick: Duration,
    /// Until when, by its clock, it may refuse a vote without adopting the term (rules V2, V3).
    pub(super) may_be_bound_until: Instant,
    /// Until when it must do so, because it has promised to, or has just started.
    pub(super) must_be_bound_until: Instant,
    /// Whether it is sure to be the only process of its id (rules N3, N5).
    pub(super) doubt: Option<Doubt>,
    /// Until when it may stand aside because a voter goes by an older list (rule V6).
    may_be_aside_until: Instant,
    /// Until when it must do so.
    must_be_aside_until: Instant,
    /// The rounds that it has drawn and spoken of (rule N1).
    rounds: Vec<Round>,
    pub(super) life: Option<Life>,
    /// Its last campaign, and the term of it (rule N1).
    pub(super) campaign: Option<(u64, Round)>,
    /// The leader that it follows, and the term (rules L2, N2).
    pub(super) followed: Option<Followed>,
    /// What that leader said beside, if that is certain (rule L7).
    followed_value: Option<LeaderValue>,
    /// All leaders of its term whose heartbeats it may have accepted.
    heard_leaders: Vec<Followed>,
    pub(super) input: Input,
    /// What it has just heard (rule R10).
    pub(super) hearsay: Option<Hearsay>,
    /// Whom it was asked to add or to remove (rule R7).
    pub(super) was_asked_for: Vec<NodeId>,
    pub(super) parting: Parting,
    pub(super) obedience: Obedience,
    /// Its application, when it last heard something.
    pub(super) application: SimulatedApplication,
    /// Its last save failed (rule C5).
    pub(super) save_failed: bool,
    /// How long its slowest save took.
    pub(super) slowest_save: Duration,
    /// A vote came too late for its campaign since it heard a leader, or led (rule C3).
    pub(super) heard_late_vote: bool,
    led_since: Instant,
    /// The last term in which it led.
    pub(super) led_in: u64,
    /// The terms in which it led, and no longer does.
    pub(super) gave_up: Vec<u64>,
    /// The terms whose leader told it to take over (rule H2).
    pub(super) takes_over: Vec<u64>,
    /// Until when each follower is bound, on this leader's clock (rule L3).
    echoes: Vec<(Option<Identity>, Instant)>,
    /// The last heartbeat that it sent, by its clock (rule L2).
    heartbeat_sent_at: Instant,
    /// What its followers said of themselves (rules H1, H4).
    pub(super) followers: Followers,
    pub(super) promotions: Promotions,
    pub(super) pre_votes: PreVotes,
    pub(super) standing_back: StandingBack,
    /// Who answered its campaign, and whether with a vote: as many as count (rule V6).
    answers: Vec<(Option<Identity>, bool)>,
    /// How many Go nodes voted for it, which can't be told apart.
    nameless_votes: usize,
}

/// A leader that a node follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) term: u64,
    pub(super) leader: NodeId,
    pub(super) round: Option<Round>,
}

/// The latest input, as far as it decides what the node may do.
#[derive(Clone, Debug, Default)]
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
    /// A request of a candidate that its application refuses (rule V4).
    pub(super) is_unacceptable: bool,
    /// Something that may restart its election timer (rule V8).
    pub(super) may_restart_timer: bool,
    /// A request for pre-votes for which it may put its timer off (rule C1a).
    pub(super) asked: Option<Asked>,
    /// It asks for votes in the campaign in which it last did (rule C2a).
    pub(super) is_repeated: bool,
    /// A leader of Extended mode learns of a higher term (rule H5).
    pub(super) deposes_it: bool,
    /// The node must be ready to campaign within this time (rule H2).
    pub(super) ready_within: Option<Duration>,
    /// Another node leads in the term in which this one leads (rule L5).
    pub(super) is_of_second_leader: bool,
    /// From a node that is configured with another cluster size (rule L6).
    pub(super) has_other_size: bool,
    /// From a node that goes by another list of voters (rule V6).
    pub(super) has_other_list: bool,
    /// The round that an answer to it must echo (rule N1).
    pub(super) round: Option<Round>,
    /// A heartbeat of a second leader of the term (rule L2).
    pub(super) is_of_second: bool,
    /// The leader whose heartbeat it is.
    pub(super) heartbeat: Option<Followed>,
    /// What that leader says beside (rule L7).
    value: LeaderValue,
    /// It is another process's, in the node's own name (rule N3).
    pub(super) is_anothers: bool,
    /// It is of a voter that goes by an older list (rule V6), and whether it is read for certain.
    pub(super) is_of_older_list: Option<bool>,
    /// What allows a closing node to stop (rule H3).
    pub(super) frees_it: bool,
    /// It is told to hand over to this node.
    pub(super) successor: Option<NodeId>,
    /// It is told to close, and has no successor to wait for (rule H3).
    pub(super) must_close: bool,
}

impl Incarnation {
    pub(super) fn new(start: &Start<'_>) -> Self {
        let Start { record, setup, now, .. } = *start;
        let [t_min, ..] = setup.times;
        // V3
        let promised = t_min.max(Duration::from_micros(record.bound_for.into())) + setup.tick;
        let may_have_promised = record.term > 0 || record.bound_for > 0;
        let quarantine = if may_have_promised { promised } else { Duration::ZERO };
        let bound_until = now.saturating_add(quarantine);
        Self {
            term: record.term,
            state: State::Follower,
            deadline: Instant::FAR_FUTURE,
            mode: setup.mode,
            priority: setup.priority,
            obeys_operators: setup.obeys_operators,
            times: setup.times,
            quarantine,
            rho: setup.rho,
            size: start.size,
            list: start.list,
            listed: start.listed,
            tick: setup.tick,
            may_be_bound_until: bound_until,
            must_be_bound_until: bound_until,
            doubt: Some(Doubt::at_start()),
            may_be_aside_until: now,
            must_be_aside_until: now,
            rounds: Vec::new(),
            life: None,
            campaign: None,
            followed: None,
            followed_value: None,
            heard_leaders: Vec::new(),
            input: Input::default(),
            hearsay: None,
            was_asked_for: Vec::new(),
            parting: Parting::default(),
            obedience: Obedience::of(record),
            application: SimulatedApplication::default(),
            save_failed: false,
            slowest_save: Duration::ZERO,
            heard_late_vote: false,
            led_since: now,
            led_in: 0,
            gave_up: Vec::new(),
            takes_over: Vec::new(),
            echoes: Vec::new(),
            heartbeat_sent_at: Instant::from_micros(0),
            followers: Followers::default(),
            promotions: Promotions::default(),
            pre_votes: PreVotes::default(),
            standing_back: StandingBack::default(),
            answers: Vec::new(),
            nameless_votes: 0,
        }
    }

    /// Whether the id is on its list of voters, or it has none (rule V6).
    pub(super) fn admits(&self, id: Option<Identity>) -> bool {
        let is_listed = |id: Identity| id.generation == 1 && self.listed & 1 << id.index.get() != 0;
        self.listed == 0 || id.is_some_and(is_listed)
    }

    /// N5, V2, V3: whether it must not help to elect anyone at `now`.
    pub(super) fn must_be_bound(&self, now: Instant) -> bool {
        now < self.must_be_bound_until || self.doubt.as_ref().is_some_and(|doubt| doubt.binds(now))
    }

    /// Whether it may refuse its help for that reason.
    fn may_be_bound(&self, now: Instant) -> bool {
        now < self.may_be_bound_until || self.doubt.as_ref().is_some_and(Doubt::may_bind)
    }

    /// N3, N5, V6: whether it must stand aside at `now`.
    pub(super) fn must_stand_aside(&self, now: Instant) -> bool {
        let is_extended = self.mode == Mode::Extended;
        let is_silenced = |doubt: &Doubt| doubt.silences(now, is_extended);
        now < self.must_be_aside_until || self.doubt.as_ref().is_some_and(is_silenced)
    }

    pub(super) fn may_stand_aside(&self, now: Instant) -> bool {
        let is_extended = self.mode == Mode::Extended;
        let is_silenced = |doubt: &Doubt| doubt.may_silence(is_extended);
        now < self.may_be_aside_until || self.doubt.as_ref().is_some_and(is_silenced)
    }

    /// V6: whether it takes part, as far as lists go.
    pub(super) fn goes_by_latest_list(&self, now: Instant) -> bool {
        now >= self.may_be_aside_until
    }

    /// It hears a voter of its own list go by an older one (rule V6), or may do so.
    fn yields_to_older_list(&mut self, now: Instant, is_sure: bool) {
        self.may_be_aside_until = now.saturating_add(self.times[1] * 2);
        if is_sure {
            self.must_be_aside_until = self.may_be_aside_until;
        }
    }

    /// Whether the list in a message was replaced by the node's, on which the sender still is (rule
    /// V6).
    pub(super) fn is_left_behind(&self, sender: Option<Identity>, list: Option<ListId>) -> bool {
        let (Some(own), Some(list)) = (self.list, list) else { return false };
        let is_older = (list.term, list.version) < (own.term, own.version);
        own.term > 0 && is_older && sender.is_some() && self.admits(sender)
    }

    /// Whether this list is newer than the node's, if it has one.
    pub(super) fn is_outdated(&self, list: Option<ListId>) -> bool {
        self.list.zip(list).is_some_and(|(own, list)| is_older(own, list))
    }

    /// It hears a message of a node that may go by another list, which it may not help (rules V6,
    /// R4, L6).
    pub(super) fn hears_of_list(&mut self, message: &Message) {
        // L6: it may be of another size, unless it goes by another list.
        self.input.has_other_size = true;
        let Some((own, list)) = self.list.zip(message.list()).filter(|(own, list)| own != list)
        else {
            return;
        };
        self.input.has_other_size = false;
        let is_request = matches!(message, Message::VoteRequest(_) | Message::PreVoteRequest(_));
        let is_ordered = is_older(own, list) || is_older(list, own);
        self.input.has_other_list = !is_ordered || is_request && is_older(list, own);
    }

    /// It speaks of a round of its own.
    pub(super) fn speaks_of(&mut self, round: Round) {
        if self.rounds.last() != Some(&round) && !self.has_spoken_of(round) {
            self.rounds.push(round);
        }
    }

    /// N3: whether the round is of this process.
    pub(super) fn has_spoken_of(&self, round: Round) -> bool {
        self.rounds.iter().rev().any(|known| *known == round)
    }

    /// N1: the round of which an answer like this one is awaited, and whether that is certain.
    pub(super) fn awaited_round(&self, answer: &Message) -> Option<(Round, bool)> {
        let campaign = self.campaign.filter(|(term, _)| *term == self.term);
        let campaign = campaign.map(|(_, round)| round);
        match (answer, self.state) {
            (Message::PreVoteResponse(_), State::PreCandidate) => {
                self.pre_votes.awaited().map(|round| (round, true))
            }
            (Message::VoteResponse(_), State::PreCandidate) => campaign.map(|round| (round, false)),
            (Message::VoteResponse(_), State::Candidate | State::Leader)
            | (Message::HeartbeatResponse(_), State::Leader) => campaign.map(|round| (round, true)),
            _ => None,
        }
    }

    /// C3: whether it answers, or may answer, a campaign that is over.
    pub(super) fn is_late_vote(&self, message: &Message) -> bool {
        let is_awaited = |round| self.awaited_round(message) == Some((round, true));
        matches!(message, Message::VoteResponse(_))
            && message.round().is_some_and(|it| self.has_spoken_of(it) && !is_awaited(it))
    }

    /// C3: whether it may know of slow disks, its own or another's.
    pub(super) fn has_patience(&self) -> bool {
        let [t_min, ..] = self.times;
        self.heard_late_vote || self.slowest_save >= t_min
    }

    /// It has taken in an input, unless it is excused: its lease was over, or it is closed.
    pub(super) fn takes_in(&mut self, input: &Input, program: &CoreNode, is_excused: bool) {
        if is_excused {
            return;
        }
        let is_closing = self.parting.stays_until.is_some();
        if input.is_anothers && self.doubt.is_none() && !is_closing {
            self.doubt = Some(Doubt::of_own_name());
        }
        if let Some(is_sure) = input.is_of_older_list {
            self.yields_to_older_list(input.at, is_sure);
            self.followed_value = None;
        }
        if let Some(heartbeat) = &input.heartbeat {
            self.may_follow(heartbeat, &input.value, program);
        }
    }

    /// L7: whether it knows what the last heartbeat that it accepted said, and nothing once it has
    /// no leader.
    pub(super) fn knows_value(&self, program: &CoreNode) -> bool {
        let value = program.leader_value();
        match (program.state(), program.leader()) {
            (State::Follower, Some(_)) if self.is_sure_whom_it_follows() => {
                self.followed_value.as_ref().is_none_or(|known| known == value)
            }
            (State::Follower, Some(_)) => true,
            _ => value.is_empty(),
        }
    }

    /// It says a heartbeat.
    pub(super) fn beats(&mut self, heartbeat: &Heartbeat) {
        self.campaign = heartbeat.round.map(|round| (heartbeat.term, round));
        if let Some(sent_at) = heartbeat.sent_at {
            self.heartbeat_sent_at = Instant::from_micros(sent_at.get());
        }
    }

    /// It has heard this heartbeat, and may follow its leader.
    fn may_follow(&mut self, heartbeat: &Followed, value: &LeaderValue, program: &CoreNode) {
        let follows = program.term() == heartbeat.term
            && program.state() == State::Follower
            && program.leader() == Some(&heartbeat.leader);
        if follows && !self.heard_leaders.contains(heartbeat) {
            self.heard_leaders.retain(|known| known.term == heartbeat.term);
            self.heard_leaders.push(heartbeat.clone());
        }
        let is_same_id =
            self.followed.as_ref().is_some_and(|known| known.leader == heartbeat.leader);
        if follows && !(self.is_second(heartbeat) && is_same_id) {
            self.followed = Some(heartbeat.clone());
            self.followed_value = Some(value.clone());
            // C3: had it refused this as a second leader's, it would know of slow disks still.
            self.heard_late_vote &= !self.is_sure_whom_it_follows();
        }
    }

    /// Whether it can have accepted only one leader of its term: which of two it follows is decided
    /// by what it accepted first, and forgot since.
    fn is_sure_whom_it_follows(&self) -> bool {
        self.heard_leaders.len() < 2
    }

    /// L2: whether the node follows another leader of that term, which is not a stranger (V6).
    fn is_second(&self, heartbeat: &Followed) -> bool {
        let admits = |leader| self.admits(Identity::of(leader));
        self.followed.as_ref().is_some_and(|known| {
            known.term == heartbeat.term
                && known != heartbeat
                && (admits(&known.leader) || !admits(&heartbeat.leader))
        })
    }

    pub(super) fn leads_by_lease(&self) -> bool {
        self.state == State::Leader && self.mode == Mode::Extended
    }

    /// Whether it still leads though its lease is over (rule L4).
    fn outlives_lease(&self, now: Instant) -> bool {
        self.leads_by_lease() && self.size > 1 && now >= self.leads_until()
    }

    pub(super) fn changed_state(&mut self, state: State, now: Instant) {
        if state == State::Leader && self.state != State::Leader {
            self.heard_late_vote = false;
            self.led_since = now;
            self.led_in = self.term;
            self.echoes.clear();
            self.followers.clear();
        }
        if state != State::PreCandidate {
            self.pre_votes.end();
        }
        if state != State::Follower {
            self.followed_value = Some(LeaderValue::EMPTY);
        }
        self.state = state;
    }

    /// An input begins, of which nothing else is known yet.
    pub(super) fn begin_input(&mut self, now: Instant) {
        self.input = Input {
            at: now,
            has_sick_disk: self.save_failed,
            is_over: self.outlives_lease(now),
            ..Input::default()
        };
    }

    /// It hears a request for a vote or a pre-vote. Returns the terms that it may have afterwards.
    pub(super) fn hears_request(
        &mut self,
        message: &Message,
        request: &VoteRequest,
    ) -> RangeInclusive<u64> {
        let now = self.input.at;
        let is_released = self.is_released_by(request);
        let is_barred = self.leads_by_lease() || self.must_be_bound(now);
        let (must_be_aside, may_be_aside) = (self.must_stand_aside(now), self.may_stand_aside(now));
        let is_bound = self.may_be_bound(now);
        let input = &mut self.input;
        input.is_barred = !is_released && is_barred || must_be_aside;
        input.has_other_size &= is_other_size(request.size, self.size);
        input.is_unacceptable = !self.application.accepts(request.position.as_bytes());
        let may_vote = !input.is_barred && matches!(message, Message::VoteRequest(_));
        input.may_restart_timer = may_vote && !input.is_unacceptable;
        if input.may_restart_timer {
            self.standing_back.forget();
        }
        let is_pre_vote = matches!(message, Message::PreVoteRequest(_));
        if is_pre_vote && !input.is_barred && self.mode == Mode::Extended {
            let VoteRequest { candidate, round, .. } = request;
            input.asked = Some(Asked { candidate: candidate.clone(), round: *round });
        }
        input.frees_it = may_vote;
        let must_stay = input.is_barred || !may_vote;
        let must_adopt = !must_stay && !may_be_aside && (is_released || !is_bound);
        let highest = if must_stay { self.term } else { request.term.max(self.term) };
        let lowest = if must_adopt { highest } else { self.term };
        lowest..=highest
    }

    /// It hears a heartbeat, and may be bound from now on (rule L2).
    pub(super) fn hears_heartbeat(&mut self, heartbeat: &Heartbeat) {
        let is_current = heartbeat.term >= self.term;
        self.input.may_restart_timer = is_current;
        if is_current {
            self.standing_back.forget();
        }
        self.input.has_other_size &= is_other_size(heartbeat.size, self.size);
        self.input.is_of_second_leader = self.state == State::Leader && heartbeat.term == self.term;
        self.input.frees_it = heartbeat.term > self.term;
        let Heartbeat { term, leader, round, .. } = heartbeat;
        let heard = Followed { term: *term, leader: leader.clone(), round: *round };
        self.input.is_of_second = self.is_second(&heard);
        self.input.heartbeat = Some(heard);
        self.input.value = heartbeat.value.clone();
        if is_current {
            self.parting.hears_leader();
        }
        if heartbeat.sent_at.is_some() {
            let bound_until = self.bound_from(self.input.at);
            self.may_be_bound_until = self.may_be_bound_until.max(bound_until);
        }
    }

    /// It hears that a leader hands over; `names_it`, to this node. Returns the terms that it may
    /// have afterwards. Only who follows that very leader is freed (rule H2).
    pub(super) fn hears_handover(
        &mut self,
        handover: &Handover,
        names_it: bool,
    ) -> RangeInclusive<u64> {
        let now = self.input.at;
        let term = handover.term.max(self.term);
        if self.must_stand_aside(now) {
            return self.term..=self.term;
        }
        let lowest = if self.may_stand_aside(now) { self.term } else { term };
        let Handover { leader, round, .. } = handover;
        let heard = Followed { term: handover.term, leader: leader.clone(), round: *round };
        let may_free =
            round.is_some() && handover.term == self.term && self.heard_leaders.contains(&heard);
        if may_free {
            self.must_be_bound_until = now;
            self.input.names_it = names_it;
            if names_it {
                self.takes_over.push(handover.term);
            }
            let is_followed = self.followed.take().is_some_and(|followed| followed == heard);
            let is_sure = is_followed && self.is_sure_whom_it_follows();
            if is_sure && self.state == State::Follower && !self.may_stand_aside(now) {
                self.may_be_bound_until = now;
            }
        }
        let leads_it = self.state == State::Leader && handover.term == self.term;
        if handover.term >= self.term && !leads_it && !self.may_be_bound(now) {
            self.input.ready_within = self.ready_within(handover);
        }
        // The node that takes over campaigns in the next term.
        lowest..=term + u64::from(self.input.names_it)
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
        let is_early = sent_at > self.heartbeat_sent_at;
        if !self.leads_by_lease() || response.term != self.term || is_early {
            return;
        }
        let until = sent_at.saturating_add(self.sure_for(bound_for.get()));
        match self.echoes.iter_mut().find(|(known, _)| *known == follower) {
            Some((_, known)) => *known = until.max(*known),
            None => self.echoes.push((follower, until)),
        }
        let HeartbeatResponse { life, priority, .. } = *response;
        let is_fit = priority > 0 && self.application.accepts(response.position.as_bytes());
        let has_room = self.listed != 0;
        self.followers.hear(follower, Offer { life, priority, is_fit }, until, now, has_room);
    }

    /// For how long a follower must have been steady before the node gives way to it (rule H4).
    pub(super) fn steady_for(&self) -> Duration {
        self.promotions.wait(self.times[1])
    }

    /// A voter answers its campaign. Of voters that are not declared, the first ones that answer
    /// count, up to the cluster's size (rule V6).
    pub(super) fn hears_vote(&mut self, voter: Option<Identity>, response: &VoteResponse) {
        let size = self.size;
        let is_open = matches!(self.state, State::Candidate | State::PreCandidate);
        if !is_open || response.term != self.term {
            return;
        }
        let known = self.answers.iter().position(|(known, _)| *known == voter);
        match known {
            Some(known) => self.answers[known].1 |= response.granted,
            None if self.answers.len() + 1 < size => self.answers.push((voter, response.granted)),
            None => {}
        }
    }

    /// A Go node answers its campaign, and doesn't say who it is.
    pub(super) fn hears_nameless_vote(&mut self, response: &VoteResponse) {
        if self.state == State::Candidate && response.term == self.term && self.listed == 0 {
            self.nameless_votes += usize::from(response.granted);
        }
    }

    /// It asks for votes: answers to an earlier campaign no longer count.
    pub(super) fn begins_campaign(&mut self) {
        self.answers.clear();
        self.nameless_votes = 0;
    }

    /// How many voted for it as far as it may count them, itself included.
    pub(super) fn votes(&self) -> usize {
        let named = self.answers.iter().filter(|(_, granted)| *granted).count();
        named + self.nameless_votes + 1
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
    pub(super) fn leads_until(&self) -> Instant {
        let at_first = self.led_since.saturating_add(self.sure_for(u64::MAX));
        self.leased_until().map_or(at_first, |until| at_first.max(until))
    }

    /// Until when a quorum is bound to the leader of a cluster of more than one voter; `None`
    /// before a quorum is (rule L3).
    pub(super) fn leased_until(&self) -> Option<Instant> {
        let mut ends: Vec<Instant> = self.echoes.iter().map(|(_, until)| *until).collect();
        ends.sort_unstable();
        ends.iter().rev().nth(quorum(self.size).saturating_sub(2)).copied()
    }

    fn sure_for(&self, bound_for: u64) -> Duration {
        let promised = bound_for.min(self.times[0].as_micros() as u64);
        // L3: 1 - rho of it.
        let percent = u64::from(100 - self.rho);
        Duration::from_micros((promised * percent).div_ceil(100)).saturating_sub(self.tick)
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

/// Whether a list was replaced by the other one. Of those that clusters start with, none was.
fn is_older(list: ListId, other: ListId) -> bool {
    other.term > 0 && (list.term, list.version) < (other.term, other.version)
}

/// Whether a node that says this is configured with another cluster size (rule L6).
fn is_other_size(said: Option<NonZeroU32>, size: usize) -> bool {
    said.is_some_and(|said| usize::try_from(said.get()) != Ok(size))
}
