//! The node: its inputs, how it adopts terms (rules T1 to T4) and becomes silent until its vote is
//! stored, and what can be seen of it. Each other family of rules has a file of its own below.

mod campaigning;
mod following;
mod handover;
mod leading;
mod output;
mod priority_backoff;
mod role;
mod voting;

use core::num::NonZeroU32;

use rand_core::Rng;

use self::output::AfterSave;
pub use self::output::{Output, Unsaved};
use self::priority_backoff::PriorityBackoff;
use self::role::Role;
use crate::time::clamped_micros;
use crate::timing::Timing;
use crate::votes::Electorate;
use crate::{
    Application, Config, ConfigError, Instant, Message, Mode, NodeId, Outgoing, Reason, Refusal,
    Report, State, TERM_END, VoteRecord,
};

/// One voter of a cluster of at most `VOTERS`.
///
/// Inputs are methods called `handle_*` and, for what its owner asks of it, [`Node::hand_over`] and
/// [`Node::close`]; each returns one [`Output`]. All other methods only look.
///
/// `now` is read *after* the message was received, and the clock *before* a message is sent; a
/// `now` that goes backwards counts as the latest one seen.
#[derive(Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "test-clone", derive(Clone))]
pub struct Node<R, A, const VOTERS: usize> {
    id: NodeId,
    mode: Mode,
    /// Its preference for leading (rule H4).
    priority: u32,
    electorate: Electorate<VOTERS>,
    timing: Timing,
    record: VoteRecord,
    /// The record has changed since it was last stored.
    unsaved: bool,
    /// The last save failed: no campaign until one succeeds (rule C5).
    save_failed: bool,
    role: Role<VOTERS>,
    reason: Reason,
    report: Option<Report>,
    refusal: Option<Refusal>,
    /// Until then the node helps to elect no one, itself included (rules V2, V3).
    bound_until: Instant,
    /// Why it is bound: it has just started, and knows of no promise of its own (rule V3).
    is_quarantined: bool,
    priority_backoff: PriorityBackoff,
    latest: Instant,
    rng: R,
    application: A,
}

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
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
        application: A,
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
            role: Role::waiting(election_at),
            reason: Reason::Started,
            report: None,
            refusal: None,
            bound_until: if is_quarantined { now.plus_micros(quarantine) } else { now },
            is_quarantined,
            priority_backoff: PriorityBackoff::default(),
            latest: now,
            rng,
            application,
        })
    }

    /// Takes in a message that was received before `now`.
    ///
    /// A leader whose lease is over by then steps down instead, and the message is lost (rule L1).
    /// A driver that wakes the node at its [`deadline`](Self::deadline) first loses none.
    pub fn handle_message(&mut self, now: Instant, message: Message) -> Output<'_, R, A, VOTERS> {
        let now = self.begin_input(now);
        if let Role::Leader(leading) = &self.role
            && leading.has_lost_quorum(now)
        {
            let next = self.step_down(now);
            return self.finish_input(next);
        }
        if matches!(self.role, Role::Closed) {
            return Output::Idle;
        }
        if let Err(dropped) = self.check_message(&message) {
            self.report = dropped;
            return Output::Idle;
        }
        let next = match &message {
            Message::PreVoteRequest(request) => self.handle_pre_vote_request(now, request),
            Message::PreVoteResponse(response) => self.handle_pre_vote_response(now, response),
            Message::VoteRequest(request) => self.handle_vote_request(now, request),
            Message::VoteResponse(response) => self.handle_vote_response(now, response),
            Message::Heartbeat(heartbeat) => self.handle_heartbeat(now, heartbeat),
            Message::HeartbeatResponse(response) => self.handle_heartbeat_response(now, response),
            Message::Handover(handover) => self.handle_handover(now, handover),
        };
        self.finish_input(next)
    }

    /// Does what is due at the [`deadline`](Self::deadline). A call before it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Output<'_, R, A, VOTERS> {
        let now = self.begin_input(now);
        if now < self.deadline() {
            return Output::Idle;
        }
        let next = match &self.role {
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.handle_election_timeout(now)
            }
            Role::Leader(leading) if leading.has_lost_quorum(now) => self.step_down(now),
            Role::Leader(leading) => match self.promotion(leading, now) {
                Some(target) => self.promote(now, target),
                None => self.heartbeat(now),
            },
            Role::Closing(_) => {
                self.enter(Role::Closed, Reason::Closed);
                AfterSave::Nothing
            }
            Role::Closed => AfterSave::Nothing,
        };
        self.finish_input(next)
    }

    fn begin_input(&mut self, now: Instant) -> Instant {
        self.report = None;
        self.refusal = None;
        self.advance_clock(now)
    }

    fn advance_clock(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Whether a message may be looked at, whatever its kind. If not, it is dropped, and reported
    /// if it could not have come about.
    fn check_message(&self, message: &Message) -> Result<(), Option<Report>> {
        let (own_term, term) = (self.record.term, message.term());
        // T4: one packet must not use up the number space.
        let leaps = own_term != 0 && term > own_term.saturating_add(1 << 32);
        if term >= TERM_END || leaps || hands_over_from_no_earlier_term(message) {
            return Err(Some(Report::TermOutOfRange { term }));
        }
        if message.sender() != Some(&self.id) {
            return Ok(());
        }
        // V5: its own messages come back.
        let reached = match message {
            // What it asked for was a pre-vote in the term after its own.
            Message::PreVoteRequest(_) => own_term.saturating_add(1),
            _ => own_term,
        };
        Err((term > reached).then_some(Report::DuplicateId { term }))
    }

    /// T3: a higher term is adopted, whoever leads or campaigns.
    fn adopt_if_higher(&mut self, now: Instant, term: u64) {
        if term <= self.record.term {
            return;
        }
        self.set_record(VoteRecord { term, voted_for: None });
        match self.role {
            Role::Follower(_) => self.role.forget_leader(),
            Role::PreCandidate(_) | Role::Candidate(_) => {
                // T3: a candidate that is behind campaigns again promptly, with jitter.
                let election_at = self.draw(now, self.timing.heartbeat_interval);
                self.enter(Role::waiting(election_at), Reason::HigherTerm);
            }
            Role::Leader(_) => self.await_leader(now, Reason::HigherTerm),
            Role::Closing(_) | Role::Closed => {}
        }
    }

    fn enter(&mut self, role: Role<VOTERS>, reason: Reason) {
        if let Role::Follower(following) = &self.role
            && let Some(target) = &following.promoted
        {
            self.priority_backoff.end(role.heard_leader() == Some(target));
        }
        self.role = role;
        self.reason = reason;
    }

    fn set_record(&mut self, record: VoteRecord) {
        self.record = record;
        self.unsaved = true;
    }

    /// The one place through which outputs leave, so that nothing is said before it is stored (rule
    /// T1, invariant I6) and a save that failed is asked for again (rule C4).
    fn finish_input(&mut self, next: AfterSave) -> Output<'_, R, A, VOTERS> {
        if self.unsaved {
            return Output::Save(Unsaved::new(self, next));
        }
        match next {
            AfterSave::Send(outgoing) => Output::Send(outgoing),
            // A campaign always raises the term, so it has something to save.
            AfterSave::Nothing | AfterSave::AskForVotes => Output::Idle,
        }
    }

    /// The record has become durable: a candidate's own vote counts, and what waited may go out.
    fn finish_save(&mut self, now: Instant, next: AfterSave) -> Option<Outgoing> {
        // A slow save must not use up the time that others have to answer or to be heard.
        let asked_at = self.latest;
        let now = self.advance_clock(now);
        self.role.restart_timer(self.deadline().later_by(asked_at, now));
        // The report stays: it is about the input that led to this save.
        self.unsaved = false;
        self.save_failed = false;
        let next = if let AfterSave::AskForVotes = next { self.ask_for_votes(now) } else { next };
        match next {
            AfterSave::Send(outgoing) => Some(outgoing),
            AfterSave::Nothing | AfterSave::AskForVotes => None,
        }
    }

    /// The driver has let go of the record. If it is still not durable, the node stays silent and
    /// does not campaign (rules C4, C5).
    fn release_record(&mut self) {
        if !self.unsaved {
            return;
        }
        self.save_failed = true;
        if let Role::Candidate(campaign) = &self.role {
            self.enter(Role::waiting(campaign.election_at), Reason::SaveFailed);
        }
    }

    /// The node follows no leader yet, and waits for one until its election timeout. If it led, its
    /// lease ends with that.
    fn await_leader(&mut self, now: Instant, reason: Reason) {
        let election_at = self.draw_election_timeout(now);
        self.enter(Role::waiting(election_at), reason);
    }

    /// V2: whether the node may not help to elect anyone, itself included.
    fn is_bound(&self, now: Instant) -> bool {
        now < self.bound_until
    }

    /// An instant drawn evenly from the `span` microseconds that follow `earliest`.
    fn draw(&mut self, earliest: Instant, span: u32) -> Instant {
        earliest.plus_drawn(&mut self.rng, span)
    }

    fn draw_election_timeout(&mut self, now: Instant) -> Instant {
        self.timing.draw_election_timeout(&mut self.rng, now)
    }

    fn announced_size(&self) -> Option<NonZeroU32> {
        u32::try_from(self.electorate.size()).ok().and_then(NonZeroU32::new)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, unless another input comes
    /// first.
    pub fn deadline(&self) -> Instant {
        self.role.deadline()
    }

    /// The node's own id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What the node is to its cluster. While it hands over in order to close, it is a follower.
    pub fn state(&self) -> State {
        self.role.state()
    }

    /// Why the node is in its [`state`](Self::state).
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The node's term: 0 before its first election.
    pub fn term(&self) -> u64 {
        self.record.term
    }

    /// The leader of the node's term, as far as it knows.
    pub fn leader(&self) -> Option<&NodeId> {
        match &self.role {
            Role::Follower(following) => following.leader.as_ref(),
            Role::Leader(_) => Some(&self.id),
            // A pre-candidate's has fallen silent.
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Closing(_) | Role::Closed => None,
        }
    }

    /// Whom the node voted for in its term.
    pub fn vote(&self) -> Option<&NodeId> {
        self.record.voted_for.as_ref()
    }

    /// The vote record as it is now: stored, or about to be.
    pub fn record(&self) -> &VoteRecord {
        &self.record
    }

    /// What was wrong with the latest input, if anything was. It stays until the next input; a save
    /// is not one.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Why the latest input was refused, if it was. It stays until the next input.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The application.
    pub fn application_mut(&mut self) -> &mut A {
        &mut self.application
    }
}

/// A leader hands over to a later term; anything else is malformed (rule V2).
fn hands_over_from_no_earlier_term(message: &Message) -> bool {
    match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
            request.handover_from.is_some_and(|from| from.get() >= request.term)
        }
        _ => false,
    }
}
