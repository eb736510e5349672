use core::num::{NonZeroU32, NonZeroU64};

use rand_core::Rng;

use crate::config::{Timing, clamped_micros};
use crate::handover::Promotions;
use crate::output::Next;
use crate::role::Role;
use crate::votes::{Electorate, Votes};
use crate::{
    Application, Config, ConfigError, Instant, Message, Mode, NodeId, Output, PreVoteResponse,
    Reason, Refusal, Report, TERM_END, VoteRecord, VoteRequest, VoteResponse, quorum,
};

/// One voter of a cluster of at most `VOTERS`.
///
/// Inputs are methods called `handle_*` and, for what its owner wants of it, [`Node::hand_over`] and
/// [`Node::close`]; each returns one [`Output`]. Everything else only looks.
///
/// `now` is read *after* the message was received, and the clock *before* a message is sent; a
/// `now` that goes backwards counts as the latest one seen.
///
/// A copy is for trying what would happen; two copies that both ran would break rule V1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node<R, S, const VOTERS: usize> {
    pub(crate) id: NodeId,
    pub(crate) mode: Mode,
    /// How gladly it would lead; 0: it never campaigns (rule H4).
    pub(crate) priority: u32,
    pub(crate) electorate: Electorate<VOTERS>,
    pub(crate) timing: Timing,
    pub(crate) record: VoteRecord,
    /// The record has changed since it was last stored.
    pub(crate) unsaved: bool,
    /// The last save failed: no campaign until one succeeds (rule C5).
    pub(crate) save_failed: bool,
    pub(crate) role: Role<VOTERS>,
    pub(crate) reason: Reason,
    pub(crate) report: Option<Report>,
    pub(crate) refusal: Option<Refusal>,
    /// Until then the node helps to elect no one, itself included (rules V2, V3).
    pub(crate) bound_until: Instant,
    /// Why it is bound: it has just started, and knows of no promise of its own (rule V3).
    pub(crate) is_quarantined: bool,
    pub(crate) promotions: Promotions,
    pub(crate) latest: Instant,
    pub(crate) rng: R,
    pub(crate) application: S,
}

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    /// A follower without a leader, with the `record` that was stored last: the default record if
    /// this id never stored one. A node that lost its record must come back under another id (rule
    /// V9).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what is wrong with `config`, or how it contradicts `id` or `record`.
    pub fn new(
        id: NodeId,
        config: &Config<'_>,
        record: VoteRecord,
        application: S,
        mut rng: R,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check(VOTERS)?;
        let electorate = Electorate::new(config.size, config.voters);
        if !electorate.admits(&id) {
            return Err(ConfigError::OwnIdMissing);
        }
        if record.term >= TERM_END {
            return Err(ConfigError::TermOutOfRange { term: record.term });
        }
        let timing = Timing::new(config);
        // V3: it may have acknowledged a heartbeat just before it stopped.
        let is_quarantined = record.term > 0;
        let quarantine = clamped_micros(config.quarantine).saturating_add(timing.clock_tick);
        let election_at = timing.draw_election_timeout(&mut rng, now);
        Ok(Self {
            id,
            mode: config.mode,
            priority: config.priority,
            electorate,
            timing,
            record,
            unsaved: false,
            save_failed: false,
            role: Role::Follower { leader: None, promoted: None, election_at },
            reason: Reason::Started,
            report: None,
            refusal: None,
            bound_until: if is_quarantined { now.plus_micros(quarantine) } else { now },
            is_quarantined,
            promotions: Promotions::default(),
            latest: now,
            rng,
            application,
        })
    }

    /// Takes in a message that was received before `now`.
    ///
    /// A leader whose lease is over by then steps down instead, and the message is lost (rule L1).
    /// A driver that wakes the node at its [`deadline`](Self::deadline) first loses none.
    pub fn handle_message(&mut self, now: Instant, message: Message) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        if self.has_lost_quorum(now) {
            let handover = self.give_up(now);
            return self.settle(handover);
        }
        if matches!(self.role, Role::Closed) || !self.is_plausible(&message) {
            return Output::Idle;
        }
        let next = match &message {
            Message::PreVoteRequest(request) => self.on_pre_vote_request(now, request),
            Message::PreVoteResponse(response) => self.on_pre_vote_response(now, response),
            Message::VoteRequest(request) => self.on_vote_request(now, request),
            Message::VoteResponse(response) => self.on_vote_response(now, response),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, heartbeat),
            Message::HeartbeatResponse(response) => self.on_heartbeat_response(now, response),
            Message::Handover(handover) => self.on_handover(now, handover),
        };
        self.settle(next)
    }

    /// Does what is due at the [`deadline`](Self::deadline). A call before it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        if now < self.deadline() {
            return Output::Idle;
        }
        let next = match self.role {
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                self.on_election_timeout(now)
            }
            Role::Leader { .. } => self.on_heartbeat_due(now),
            Role::Closing { .. } => {
                self.enter(Role::Closed, Reason::Closed);
                Next::Nothing
            }
            Role::Closed => Next::Nothing,
        };
        self.settle(next)
    }

    pub(crate) fn begin_input(&mut self, now: Instant) -> Instant {
        self.report = None;
        self.refusal = None;
        self.advance_clock(now)
    }

    pub(crate) fn advance_clock(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// No leader was heard, or no quorum: the node runs for leader, if it may.
    fn on_election_timeout(&mut self, now: Instant) -> Next {
        if self.save_failed || self.priority == PRIORITY_NEVER {
            // C4, C5: the same save is tried again instead. H4: a witness only waits.
            let election_at = self.draw_election_timeout(now);
            self.restart_timer(election_at);
            Next::Nothing
        } else if self.is_bound(now) {
            // V2: a bound node doesn't vote for itself either.
            let election_at = self.draw(self.bound_until, self.timing.heartbeat_interval);
            self.restart_timer(election_at);
            Next::Nothing
        } else if self.mode == Mode::Graft || self.electorate.size() == 1 {
            // C2
            self.campaign(now, Reason::ElectionTimeout, None)
        } else {
            self.ask_for_pre_votes(now, Reason::ElectionTimeout, None)
        }
    }

    /// Asks who would vote for this node in the next term (rule C1), again and again (rule C3).
    /// Nothing changes by that: neither its own term, nor anyone else's.
    ///
    /// The answers count together for T_min. One that was held back for longer may be of a voter that
    /// has heard a leader since, and the campaign that it helps to start would depose that leader.
    pub(crate) fn ask_for_pre_votes(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> Next {
        let Some(term) = self.next_term(now) else {
            return Next::Nothing;
        };
        let half = self.timing.heartbeat_interval / 2;
        let election_at = self.draw(now.plus_micros(half), half);
        let goes_on =
            matches!(self.role, Role::PreCandidate { round_until, .. } if now < round_until);
        if goes_on && !self.electorate.is_full() {
            // C1: what it has brought so far counts on, unless the dead take up the places (V6).
            self.restart_timer(election_at);
        } else {
            let handover_from = handover_from.or(self.role.pre_candidate_for());
            let leader = self.role.leader_of_term().cloned();
            let votes = self.begin_counting();
            let round = NonZeroU32::MIN | self.rng.next_u32();
            let round_until = now.plus_micros(self.timing.election_timeout_min);
            let role = Role::PreCandidate {
                votes,
                round,
                round_until,
                handover_from,
                leader,
                election_at,
            };
            self.enter(role, reason);
        }
        let request = self.request(term, self.role.handover_from());
        Next::to_everyone(Message::PreVoteRequest(request))
    }

    /// Counts a pre-vote; with a quorum of them the node campaigns (rule C2). Whatever binds a node
    /// makes it a follower, so that who asks for pre-votes is not bound.
    fn on_pre_vote_response(&mut self, now: Instant, response: &PreVoteResponse) -> Next {
        if response.term > self.record.term {
            return self.on_refusal_of_higher_term(now, response.term);
        }
        let is_answer = self.role.round().is_some_and(|round| response.round == Some(round))
            && self.record.term.checked_add(1) == Some(response.proposed_term);
        if !is_answer {
            return Next::Nothing;
        }
        let place = self.place(&response.voter);
        let Role::PreCandidate { votes, handover_from, .. } = &mut self.role else {
            return Next::Nothing;
        };
        if let (true, Some(place)) = (response.granted, place) {
            votes.insert(place);
        }
        let (has_quorum, handover_from) =
            (votes.count() >= quorum(self.electorate.size()), *handover_from);
        if !response.granted || !has_quorum || self.save_failed {
            return Next::Nothing;
        }
        self.campaign(now, Reason::WonPreVote, handover_from)
    }

    /// Starts a campaign in the next term with a vote for itself (rule C2). Both count from the
    /// save on: see [`record_saved`](Self::record_saved).
    pub(crate) fn campaign(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> Next {
        let Some(term) = self.next_term(now) else {
            return Next::Nothing;
        };
        let election_at = self.draw_election_timeout(now);
        self.set_record(VoteRecord { term, voted_for: Some(self.id.clone()) });
        self.enter(Role::Candidate { votes: Votes::none(), handover_from, election_at }, reason);
        Next::Campaign
    }

    /// The candidate's own vote is stored and counts; it asks for the others', unless it is a quorum
    /// by itself.
    pub(crate) fn ask_for_votes(&mut self, now: Instant) -> Next {
        let own_votes = self.begin_counting();
        let Role::Candidate { votes, handover_from, .. } = &mut self.role else {
            return Next::Nothing;
        };
        *votes = own_votes;
        let handover_from = *handover_from;
        if self.has_quorum_of_votes() {
            return self.begin_leading(now);
        }
        let request = self.request(self.record.term, handover_from);
        Next::to_everyone(Message::VoteRequest(request))
    }

    /// Counts a vote; with a quorum of them the node leads.
    fn on_vote_response(&mut self, now: Instant, response: &VoteResponse) -> Next {
        if response.term > self.record.term {
            return self.on_refusal_of_higher_term(now, response.term);
        }
        // A leader goes on looking at who answers: it may have been elected by too many voters.
        let has_asked = matches!(self.role, Role::Candidate { .. } | Role::Leader { .. });
        if !has_asked || response.term < self.record.term {
            return Next::Nothing;
        }
        let place = match &response.voter {
            Some(voter) => {
                let Some(place) = self.place(voter) else { return Next::Nothing };
                Some(place)
            }
            // A Go node doesn't say who it is, so its vote can't be told from another's. It counts
            // only where there may be Go nodes, and never against a declared list (rule V6).
            None if self.mode == Mode::Extended || self.electorate.is_declared() => {
                self.report = Some(Report::NamelessVote);
                return Next::Nothing;
            }
            None => None,
        };
        let Role::Candidate { votes, .. } = &mut self.role else {
            return Next::Nothing;
        };
        match place {
            _ if !response.granted => return Next::Nothing,
            Some(place) => votes.insert(place),
            None => votes.insert_nameless(),
        }
        if self.has_quorum_of_votes() { self.begin_leading(now) } else { Next::Nothing }
    }

    fn has_quorum_of_votes(&self) -> bool {
        let needed = quorum(self.electorate.size());
        matches!(&self.role, Role::Candidate { votes, .. } if votes.count() >= needed)
    }

    /// Rule T3: a higher term is adopted, whoever leads or campaigns.
    pub(crate) fn adopt_if_higher(&mut self, now: Instant, term: u64) {
        if term <= self.record.term {
            return;
        }
        self.set_record(VoteRecord { term, voted_for: None });
        match &mut self.role {
            Role::Follower { leader, .. } => *leader = None,
            Role::PreCandidate { .. } | Role::Candidate { .. } => {
                // T3: a candidate that is behind campaigns again promptly, with jitter.
                let election_at = self.draw(now, self.timing.heartbeat_interval);
                self.follow_no_one(election_at, Reason::HigherTerm);
            }
            Role::Leader { .. } => {
                let election_at = self.draw_election_timeout(now);
                self.follow_no_one(election_at, Reason::HigherTerm);
            }
            Role::Closing { .. } | Role::Closed => {}
        }
    }

    pub(crate) fn enter(&mut self, role: Role<VOTERS>, reason: Reason) {
        if let Role::Follower { promoted: Some(target), .. } = &self.role {
            self.promotions.end(role.leader_of_term() == Some(target));
        }
        self.role = role;
        self.reason = reason;
    }

    pub(crate) fn follow_no_one(&mut self, election_at: Instant, reason: Reason) {
        self.enter(Role::Follower { leader: None, promoted: None, election_at }, reason);
    }

    /// The term of the next campaign. Without one the node waits, for good (rule T4).
    fn next_term(&mut self, now: Instant) -> Option<u64> {
        let term = self.record.term.checked_add(1).filter(|term| *term < TERM_END);
        if term.is_none() {
            self.report = Some(Report::TermsExhausted);
            let election_at = self.draw_election_timeout(now);
            self.restart_timer(election_at);
        }
        term
    }

    /// The votes of a new count: this node's own.
    fn begin_counting(&mut self) -> Votes<VOTERS> {
        self.electorate.begin_campaign();
        let mut votes = Votes::none();
        if let Ok(place) = self.electorate.place(&self.id) {
            votes.insert(place);
        }
        votes
    }

    /// Asks for votes, or pre-votes, in `term`.
    fn request(&mut self, term: u64, handover_from: Option<NonZeroU64>) -> VoteRequest {
        VoteRequest {
            term,
            candidate: self.id.clone(),
            position: self.application.position(),
            handover_from,
            size: self.announced_size(),
            round: self.role.round(),
        }
    }

    pub(crate) fn announced_size(&self) -> Option<NonZeroU32> {
        u32::try_from(self.electorate.size()).ok().and_then(NonZeroU32::new)
    }
}

/// The priority of a node that must not win elections (rules H4, C5).
pub(crate) const PRIORITY_NEVER: u32 = 0;
