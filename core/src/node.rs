//! The node: its inputs, how it adopts terms (rules T1 to T4) and becomes silent until its vote is
//! stored, and what can be seen of it. Each other family of rules has a file of its own below.

mod campaigning;
mod changing;
mod following;
mod handover;
mod identity;
mod leading;
mod learning;
mod operators;
mod output;
mod patience;
mod priority_backoff;
mod role;
mod saying;
mod standing_back;
mod voting;

use rand_core::Rng;

use self::identity::{Inquiry, is_anothers};
pub use self::output::{Output, Unsaved};
use self::patience::Patience;
use self::priority_backoff::PriorityBackoff;
use self::role::Role;
use self::saying::{Answer, Saying};
use self::standing_back::StandingBack;
use crate::electorate::Electorate;
use crate::heard::Heard;
use crate::rounds::Rounds;
use crate::timing::Timing;
use crate::{
    Application, Config, ConfigError, Instant, ListId, Message, Mode, NodeId, Outgoing, Reason,
    RecordedList, Refusal, Report, Round, State, TERM_END, VoteRecord, VoterList,
};

/// One voter of a cluster of at most `VOTERS`.
///
/// Inputs are methods called `handle_*` and, for what its owner asks of it, [`Node::hand_over`],
/// [`Node::hold_back`] and [`Node::close`]; each returns one [`Output`]. All other methods only
/// look.
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
    /// Voters that the record doesn't have (rules V6, R9).
    heard: Heard<VOTERS>,
    /// Whether it takes its first list from others (rule R1).
    joins: bool,
    /// A list that can't be learned, and isn't asked for again (rule R3).
    unusable_list: Option<ListId>,
    timing: Timing,
    record: VoteRecord<VOTERS>,
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
    /// The round of the candidate that has this node's vote, if it voted since its start (rule
    /// N2).
    vote_round: Option<Option<Round>>,
    rounds: Rounds,
    /// Whether the id is its own alone, for as long as it can't be sure (rules N3, N5).
    inquiry: Option<Inquiry>,
    /// Until then the node stands aside, since a voter goes by an older list (rule V6).
    older_list_until: Instant,
    priority_backoff: PriorityBackoff,
    /// What it knows of slow disks (rule C3).
    patience: Patience,
    /// For whom it has stood back (rule C1a).
    standing_back: StandingBack<VOTERS>,
    /// Whether it does what operators ask (rule O1).
    obeys_operators: bool,
    /// Whether they may change the voters (rule R7).
    allows_changes: bool,
    /// The last request of an operator that it obeyed in this life (rule O4).
    obeyed: Option<Round>,
    /// Its program keeps it from leading (rule O3).
    is_held_back: bool,
    latest: Instant,
    rng: R,
    application: A,
}

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// A follower without a leader, with the `record` that was stored last.
    ///
    /// If this id never stored one, that is the default record, or [`VoteRecord::first`] for a
    /// declared voter. A node that lost its record must come back under another id (rules V9, N6).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what is wrong with `config`, or how it contradicts `id` or `record`.
    pub fn new(
        id: NodeId,
        config: &Config<'_>,
        mut record: VoteRecord<VOTERS>,
        application: A,
        mut rng: R,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check(VOTERS)?;
        if !config.voters.is_empty() && !config.voters.contains(&id) {
            return Err(ConfigError::OwnIdMissing);
        }
        if record.term >= TERM_END {
            return Err(ConfigError::TermOutOfRange { term: record.term });
        }
        let unsaved = declare_list(config, &mut record)?;
        let timing = Timing::new(config, &id);
        // V3: it may have acknowledged a heartbeat just before it stopped.
        let is_quarantined = record.may_have_promised();
        let quarantine = timing.election_timeout_min.max(record.bound_for);
        let bound_until = now.plus_micros(quarantine).plus_micros(timing.clock_tick);
        let rounds = Rounds::new(&mut rng, &id);
        let mut node = Self {
            id,
            mode: config.mode,
            priority: config.priority,
            heard: Heard::nobody(config.size),
            joins: config.joins,
            unusable_list: None,
            timing,
            record,
            unsaved,
            save_failed: false,
            role: Role::waiting(now),
            reason: Reason::Started,
            report: None,
            refusal: None,
            bound_until: if is_quarantined { bound_until } else { now },
            is_quarantined,
            vote_round: None,
            rounds,
            inquiry: None,
            older_list_until: now,
            priority_backoff: PriorityBackoff::default(),
            patience: Patience::default(),
            standing_back: StandingBack::default(),
            obeys_operators: config.obeys_operators,
            allows_changes: config.allows_changes,
            obeyed: None,
            is_held_back: config.is_held_back,
            latest: now,
            rng,
            application,
        };
        node.inquiry = Some(node.first_inquiry(now));
        node.start_timer(now);
        Ok(node)
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
        let header = message.header();
        let is_in_own_name = header.sender == Some(&self.id);
        if self.is_late_vote(&message, header.round) {
            self.patience.note_late_vote(header.round);
        }
        if let Err(dropped) = self.check_message(&message, &header, is_in_own_name) {
            self.report = dropped;
            return Output::Idle;
        }
        if is_in_own_name && is_anothers(&message) {
            let next = self.doubt(now);
            return self.finish_input(next);
        }
        if header.sender.is_some_and(|it| self.electorate().is_left_behind(it, header.list)) {
            let next = self.yield_to_older_list(now, &message);
            return self.finish_input(next);
        }
        let mut next = match &message {
            _ if self.is_answer_of_stranger(&message, &header) => None,
            Message::Who(question) => self.handle_who(question),
            Message::Here(answer) => self.handle_here(now, answer),
            Message::ControlRequest(request) => self.handle_control_request(now, request),
            // That is for operators.
            Message::ControlResponse(_) => None,
            Message::ListRequest(_) => None,
            Message::ListPart(part) => self.handle_list_part(part),
            Message::Heartbeat(heartbeat) => self.handle_heartbeat(now, heartbeat),
            _ if self.stands_aside() => None,
            Message::PreVoteRequest(request) => self.handle_pre_vote_request(now, request),
            Message::PreVoteResponse(response) => self.handle_pre_vote_response(now, response),
            Message::VoteRequest(request) => self.handle_vote_request(now, request),
            Message::VoteResponse(response) => self.handle_vote_response(now, response),
            Message::HeartbeatResponse(response) => self.handle_heartbeat_response(now, response),
            Message::Handover(handover) => self.handle_handover(now, handover),
        };
        self.exchange_lists(now, &message, &header, &mut next);
        self.finish_input(next)
    }

    /// Does what is due at the [`deadline`](Self::deadline). A call before it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Output<'_, R, A, VOTERS> {
        let now = self.begin_input(now);
        if now < self.deadline() {
            return Output::Idle;
        }
        if let Some(question) = self.pursue_inquiry(now) {
            return self.finish_input(Some(question));
        }
        if now < self.role.deadline() {
            return self.finish_input(None);
        }
        let own_lease = self.lease_by_itself(now);
        let electorate = Electorate::of(&self.record, &self.heard);
        let next = match &mut self.role {
            Role::Candidate(campaign) if now < campaign.election_at => self.repeat_request(now),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.handle_election_timeout(now)
            }
            Role::Leader(leading) if leading.has_lost_quorum(now) => self.step_down(now),
            Role::Leader(leading) => {
                let wait = self.priority_backoff.wait(self.timing.election_timeout_max());
                let superior = leading.superior(self.priority, now, wait);
                let target = superior.and_then(|index| electorate.id(index)).cloned();
                let round = leading.round;
                leading.note_heartbeat(now, self.timing.heartbeat_interval, own_lease);
                match target {
                    Some(target) => self.promote(now, round, target),
                    None => Some(Saying::Heartbeat { sent_at: now, round }),
                }
            }
            Role::Closing(_) => {
                self.enter(Role::Closed, Reason::Closed);
                None
            }
            Role::Closed => None,
        };
        self.finish_input(next)
    }

    /// Pretends that the node has asked so many questions: a model checker would never end if each
    /// were another state.
    #[cfg(feature = "test-clone")]
    pub fn set_rounds_drawn(&mut self, drawn: u32) {
        self.rounds.set_drawn(drawn);
    }

    /// Pretends that the node has asked whether its id is its own, and that nobody answered: for a
    /// model checker in whose clusters there is no other process of that id.
    #[cfg(feature = "test-clone")]
    pub fn end_inquiry(&mut self) {
        self.inquiry = None;
        self.start_timer(self.latest);
    }

    /// Pretends that the node has stood back as often as it may (rule C1a): to a model checker that
    /// comes to a timer that is late and to answers that are lost, and it takes all names for
    /// alike.
    #[cfg(feature = "test-clone")]
    pub fn exhaust_standing_back(&mut self) {
        self.standing_back.exhaust();
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

    /// T3: a higher term is adopted, whoever leads or campaigns.
    fn adopt_if_higher(&mut self, now: Instant, term: u64) {
        if term <= self.record.term {
            return;
        }
        self.set_record(term, None);
        match self.role {
            Role::Follower(_) => self.role.forget_leader(),
            Role::PreCandidate(_) | Role::Candidate(_) => {
                // T3: a candidate that is behind campaigns again promptly, with jitter; C3: with
                // more of it if disks are slow.
                let span = if self.patience.is_needed() {
                    self.patience.stretch(self.timing.election_timeout_span)
                } else {
                    self.timing.heartbeat_interval
                };
                let election_at = self.draw(now, span);
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
            let leader = role.heard_leader();
            self.priority_backoff.end(leader.is_some_and(|leader| leader.id == *target));
        }
        self.role = role;
        self.reason = reason;
    }

    /// Another term, or the vote in it. V3: a promise that may still hold stays with the record.
    fn set_record(&mut self, term: u64, voted_for: Option<NodeId>) {
        let is_old_promise = self.is_quarantined && self.latest < self.bound_until;
        let longest = if is_old_promise { u32::MAX } else { self.timing.election_timeout_min };
        let bound_for = self.record.bound_for.min(longest);
        (self.record.term, self.record.voted_for) = (term, voted_for);
        self.record.bound_for = bound_for;
        if self.mode == Mode::Extended {
            self.promise();
        }
        self.unsaved = true;
    }

    /// V3: the record says how long the promises last that the node makes from now on.
    fn promise(&mut self) {
        if self.record.bound_for < self.timing.election_timeout_min {
            self.record.bound_for = self.timing.election_timeout_min;
            self.unsaved = true;
        }
    }

    /// The one place through which outputs leave, so that nothing is said before it is stored (rule
    /// T1, invariant I6) and a save that failed is asked for again (rule C4).
    fn finish_input(&mut self, next: Option<Saying>) -> Output<'_, R, A, VOTERS> {
        // N5: a sick disk doesn't make room for a double. This depends on nothing stored.
        let is_here = matches!(next, Some(Saying::Answer { answer: Answer::Here { .. }, .. }));
        if self.unsaved && !is_here {
            return Output::Save(Unsaved::new(self, next));
        }
        match next {
            Some(saying) => Output::Send(self.compose(saying)),
            None => Output::Idle,
        }
    }

    /// The record has become durable: what waited for that may go out.
    fn finish_save(&mut self, now: Instant, next: Option<Saying>) -> Option<Outgoing> {
        // A slow save must not use up the time that others have to answer or to be heard.
        let asked_at = self.latest;
        let now = self.advance_clock(now);
        self.role.make_up_for(asked_at, now);
        if self.mode == Mode::Graft && matches!(self.role, Role::Candidate(_)) {
            // C3: the voters' disks may be as slow, and they may have two saves to make.
            self.role.make_up_for(asked_at, now);
            self.role.make_up_for(asked_at, now);
        }
        let micros = now.micros_since(asked_at);
        // C3: nobody gets in the way of the only voter.
        if self.electorate().size() > 1 {
            self.patience.note_save(micros, self.timing.election_timeout_min);
        }
        if self.report.is_none() && micros >= self.timing.election_timeout_min.into() {
            self.report = Some(Report::SlowSave { micros });
        }
        // The report stays: it is about the input that led to this save.
        self.unsaved = false;
        self.save_failed = false;
        let next = match &self.role {
            // C2: its own vote alone may be a quorum.
            Role::Candidate(campaign) if campaign.count.has_quorum(self.electorate().size()) => {
                self.begin_leading(now, campaign.count.round)
            }
            // L1: a list took too long to store.
            Role::Leader(leading) if leading.has_lost_quorum(now) => self.step_down(now),
            _ => next,
        };
        next.map(|saying| self.compose(saying))
    }

    /// The driver has let go of the record. If it is still not durable, the node stays silent and
    /// does not campaign (rules C4, C5).
    fn release_record(&mut self) {
        if !self.unsaved {
            return;
        }
        self.save_failed = true;
        self.ask_again();
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

    fn electorate(&self) -> Electorate<'_> {
        Electorate::of(&self.record, &self.heard)
    }

    /// V2, N5: whether the node may not help to elect anyone, itself included.
    fn is_bound(&self, now: Instant) -> bool {
        now < self.free_at()
    }

    /// From then on the node may help to elect someone (rules V2, N5).
    fn free_at(&self) -> Instant {
        self.asks_until().map_or(self.bound_until, |until| until.max(self.bound_until))
    }

    /// An instant drawn evenly from the `span` microseconds that follow `earliest`.
    fn draw(&mut self, earliest: Instant, span: u32) -> Instant {
        self.timing.draw(&mut self.rng, earliest, span)
    }

    /// C1: when a node asks for pre-votes that has just started. It follows nobody, so nobody else
    /// is known to be about to ask.
    fn start_timer(&mut self, now: Instant) {
        let election_at = match self.mode {
            Mode::Extended => self.draw_first_request(),
            Mode::Graft => self.draw_election_timeout(now),
        };
        self.role.restart_timer(election_at);
    }

    /// C1: as soon as the node is free it asks, but not at the same moment as all others.
    fn draw_first_request(&mut self) -> Instant {
        self.draw(self.free_at(), self.timing.heartbeat_interval / 2)
    }

    fn draw_election_timeout(&mut self, now: Instant) -> Instant {
        let span = self.patience.stretch(self.timing.election_timeout_span);
        self.timing.draw_election_timeout(&mut self.rng, now, span)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, unless another input comes
    /// first.
    pub fn deadline(&self) -> Instant {
        match (&self.role, &self.inquiry) {
            (Role::Closed, _) | (_, None) => self.role.deadline(),
            (role, Some(inquiry)) => role.deadline().min(inquiry.deadline()),
        }
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
            Role::Follower(following) => following.leader.as_ref().map(|leader| &leader.id),
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
    pub fn record(&self) -> &VoteRecord<VOTERS> {
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
    pub fn application(&self) -> &A {
        &self.application
    }

    /// The application, to be told something.
    pub fn application_mut(&mut self) -> &mut A {
        &mut self.application
    }
}

/// V6, N6: leaves the list in the record by which the node goes; whether the record has changed.
/// What is declared must be the list of the record, or that of which it has come (rule R1), and the
/// record must be there: only the command that changes a list changes it in a record.
fn declare_list<const VOTERS: usize>(
    config: &Config<'_>,
    record: &mut VoteRecord<VOTERS>,
) -> Result<bool, ConfigError> {
    if config.joins {
        return match &record.list {
            Some(RecordedList::Id(id)) => Err(ConfigError::ListMissing { recorded: *id }),
            Some(RecordedList::Whole(_)) | None => Ok(false),
        };
    }
    if config.voters.is_empty() {
        let Some(list) = &record.list else {
            return Ok(false);
        };
        let (id, is_whole) = (list.id(), record.voter_list().is_some());
        // A cluster on its way to Go nodes, which can't be declared.
        if config.mode == Mode::Extended || !list.is_root() {
            return Err(ConfigError::ListMissing { recorded: id });
        }
        record.list = Some(RecordedList::Id(id));
        return Ok(is_whole);
    }
    let declared = ListId::declared(config.voters);
    let term = match &record.list {
        Some(recorded) if !recorded.root().has_voters_of(declared) => {
            let recorded = recorded.root();
            return Err(ConfigError::ListChanged { recorded, declared });
        }
        Some(RecordedList::Whole(_)) => return Ok(false),
        Some(RecordedList::Id(id)) => id.term,
        None if *record == VoteRecord::default() => return Err(ConfigError::RecordMissing),
        // V6: the list that is declared for the first time stays with the record.
        None => 0,
    };
    let list = VoterList::replaced_in(term, config.voters)?;
    record.list = Some(RecordedList::Whole(list));
    Ok(true)
}
