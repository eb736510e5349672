use core::num::{NonZeroU32, NonZeroU64};

use rand_core::Rng;

use crate::config::{Timing, clamped_micros};
use crate::output::Next;
use crate::role::Role;
use crate::votes::{Electorate, Votes};
use crate::{
    Config, ConfigError, Heartbeat, Instant, Message, NodeId, Outgoing, Output, Reason, Report,
    State, StateMachine, TERM_END, Unsaved, VoteRecord, VoteRequest, quorum,
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
    pub(crate) electorate: Electorate<VOTERS>,
    pub(crate) timing: Timing,
    pub(crate) record: VoteRecord,
    /// The record has changed since it was last stored.
    unsaved: bool,
    /// The last save failed: no campaign until one succeeds (rule C5).
    pub(crate) save_failed: bool,
    pub(crate) role: Role<VOTERS>,
    reason: Reason,
    pub(crate) report: Option<Report>,
    /// Until then the node helps to elect no one, itself included (rules V2, V3).
    pub(crate) bound_until: Instant,
    latest: Instant,
    rng: R,
    pub(crate) state_machine: S,
}

impl<R: Rng, S: StateMachine, const VOTERS: usize> Node<R, S, VOTERS> {
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
        state_machine: S,
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
        // V3: it may have acknowledged a heartbeat just before it stopped.
        let quarantine = if record.term == 0 { 0 } else { clamped_micros(config.quarantine) };
        let timing = Timing::new(config);
        let election_at = timing.draw_election_timeout(&mut rng, now);
        Ok(Self {
            id,
            electorate,
            timing,
            record,
            unsaved: false,
            save_failed: false,
            role: Role::Follower { leader: None, election_at },
            reason: Reason::Started,
            report: None,
            bound_until: now.plus_micros(quarantine),
            latest: now,
            rng,
            state_machine,
        })
    }

    /// Takes in a message that was received before `now`.
    pub fn handle_message(&mut self, now: Instant, message: Message) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        if matches!(self.role, Role::Closed) || !self.is_plausible(&message) {
            return Output::Idle;
        }
        let next = match &message {
            Message::VoteRequest(request) => self.on_vote_request(now, request),
            Message::VoteResponse(response) => self.on_vote_response(now, response),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, heartbeat),
            Message::PreVoteRequest(request) => self.on_pre_vote_request(now, request),
            Message::Handover(handover) => self.on_handover(now, handover),
            Message::HeartbeatResponse(_) | Message::PreVoteResponse(_) => {
                self.adopt_if_higher(now, message.term());
                Next::Nothing
            }
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
            Role::Follower { .. } | Role::Candidate { .. } => self.on_election_timeout(now),
            // L1
            Role::Leader { .. } => self.lead(now),
            Role::Closing { .. } => {
                self.enter(Role::Closed, Reason::Closed);
                Next::Nothing
            }
            Role::Closed => Next::Nothing,
        };
        self.settle(next)
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
            Role::Follower { leader, .. } => leader.as_ref(),
            Role::Leader { .. } => Some(&self.id),
            Role::Candidate { .. } | Role::Closing { .. } | Role::Closed => None,
        }
    }

    /// Whom the node voted for in its term.
    pub fn vote(&self) -> Option<&NodeId> {
        self.record.voted_for.as_ref()
    }

    /// The vote record as it stands; stored or about to be.
    pub fn record(&self) -> &VoteRecord {
        &self.record
    }

    /// What was wrong with the latest input, if anything was. It stays until the next input; a save
    /// is none.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// The application's state machine.
    pub fn state_machine_mut(&mut self) -> &mut S {
        &mut self.state_machine
    }

    pub(crate) fn begin_input(&mut self, now: Instant) -> Instant {
        self.report = None;
        self.advance_clock(now)
    }

    fn advance_clock(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    fn on_election_timeout(&mut self, now: Instant) -> Next {
        if self.save_failed {
            // C4, C5: try the same save again instead of campaigning.
            let election_at = self.draw_election_timeout(now);
            self.restart_timer(election_at);
            Next::Nothing
        } else if self.is_bound(now) {
            // V2: a bound node doesn't vote for itself either.
            let election_at = self.draw(self.bound_until, self.timing.heartbeat_interval);
            self.restart_timer(election_at);
            Next::Nothing
        } else {
            self.campaign(now, Reason::ElectionTimeout, None)
        }
    }

    /// Starts a campaign in the next term with a vote for itself (rule C2). Both count from the
    /// save on: see [`record_saved`](Self::record_saved).
    pub(crate) fn campaign(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> Next {
        let election_at = self.draw_election_timeout(now);
        let Some(term) = self.record.term.checked_add(1).filter(|term| *term < TERM_END) else {
            self.report = Some(Report::TermsExhausted);
            self.restart_timer(election_at);
            return Next::Nothing;
        };
        self.set_record(VoteRecord { term, voted_for: Some(self.id.clone()) });
        self.electorate.begin_campaign();
        self.enter(Role::Candidate { votes: Votes::none(), handover_from, election_at }, reason);
        Next::Campaign
    }

    /// Counts the vote at `place` and, with a quorum, leads.
    pub(crate) fn count_vote(&mut self, now: Instant, place: Option<usize>) -> Next {
        let Role::Candidate { votes, .. } = &mut self.role else {
            return Next::Nothing;
        };
        match place {
            Some(place) => votes.insert(place),
            None => votes.insert_nameless(),
        }
        if votes.count() < quorum(self.electorate.size()) {
            return Next::Nothing;
        }
        self.reason = Reason::WonElection;
        self.lead(now)
    }

    /// A leader's heartbeat, and the time of the next one (rule L1).
    fn lead(&mut self, now: Instant) -> Next {
        self.role = Role::Leader { heartbeat_at: now.plus_micros(self.timing.heartbeat_interval) };
        Next::to_everyone(Message::Heartbeat(Heartbeat {
            term: self.record.term,
            leader: self.id.clone(),
            sent_at: None,
            size: self.announced_size(),
        }))
    }

    /// The record has become durable: a candidate's own vote counts, and what waited may go out.
    pub(crate) fn record_saved(&mut self, now: Instant, next: Next) -> Option<Outgoing> {
        // A slow save must not use up the time that others have to answer or to be heard.
        let asked_at = self.latest;
        let now = self.advance_clock(now);
        self.restart_timer(self.deadline().later_by(asked_at, now));
        // The report stays: it is about the input that led to this save.
        self.unsaved = false;
        self.save_failed = false;
        let next = if let Next::Campaign = next { self.ask_for_votes(now) } else { next };
        match next {
            Next::Send(outgoing) => Some(outgoing),
            Next::Nothing | Next::Campaign => None,
        }
    }

    fn ask_for_votes(&mut self, now: Instant) -> Next {
        let Role::Candidate { handover_from, .. } = self.role else {
            return Next::Nothing;
        };
        let own_place = self.electorate.place(&self.id).ok();
        if let Some(place) = own_place
            && let Next::Send(heartbeat) = self.count_vote(now, Some(place))
        {
            return Next::Send(heartbeat);
        }
        Next::to_everyone(Message::VoteRequest(VoteRequest {
            term: self.record.term,
            candidate: self.id.clone(),
            position: self.state_machine.position(),
            handover_from,
            size: self.announced_size(),
        }))
    }

    /// The driver has let go of the record. If it is still not durable, the node stays silent and
    /// does not campaign (rules C4, C5).
    pub(crate) fn record_released(&mut self) {
        if !self.unsaved {
            return;
        }
        self.save_failed = true;
        if let Role::Candidate { election_at, .. } = self.role {
            self.enter(Role::Follower { leader: None, election_at }, Reason::SaveFailed);
        }
    }

    /// The one place through which outputs leave, so that nothing is said before it is stored (rule
    /// T1, invariant I6) and a save that failed is asked for again (rule C4).
    pub(crate) fn settle(&mut self, next: Next) -> Output<'_, R, S, VOTERS> {
        if self.unsaved {
            return Output::Save(Unsaved::new(self, next));
        }
        match next {
            Next::Send(outgoing) => Output::Send(outgoing),
            // A campaign always raises the term, so it has something to save.
            Next::Nothing | Next::Campaign => Output::Idle,
        }
    }

    /// Rule T3: a higher term is adopted, whoever leads or campaigns.
    pub(crate) fn adopt_if_higher(&mut self, now: Instant, term: u64) {
        if term <= self.record.term {
            return;
        }
        self.set_record(VoteRecord { term, voted_for: None });
        match &mut self.role {
            Role::Follower { leader, .. } => *leader = None,
            Role::Candidate { .. } => {
                // T3: a candidate that is behind campaigns again promptly, with jitter.
                let election_at = self.draw(now, self.timing.heartbeat_interval);
                self.enter(Role::Follower { leader: None, election_at }, Reason::HigherTerm);
            }
            Role::Leader { .. } => {
                let election_at = self.draw_election_timeout(now);
                self.enter(Role::Follower { leader: None, election_at }, Reason::HigherTerm);
            }
            Role::Closing { .. } | Role::Closed => {}
        }
    }

    pub(crate) fn set_record(&mut self, record: VoteRecord) {
        self.record = record;
        self.unsaved = true;
    }

    pub(crate) fn enter(&mut self, role: Role<VOTERS>, reason: Reason) {
        self.role = role;
        self.reason = reason;
    }

    pub(crate) fn is_bound(&self, now: Instant) -> bool {
        now < self.bound_until
    }

    /// Sets the timer of a node that waits for a leader or for votes; other roles have none.
    pub(crate) fn restart_timer(&mut self, at: Instant) {
        match &mut self.role {
            Role::Follower { election_at, .. } | Role::Candidate { election_at, .. } => {
                *election_at = at;
            }
            Role::Leader { .. } | Role::Closing { .. } | Role::Closed => {}
        }
    }

    pub(crate) fn draw_election_timeout(&mut self, now: Instant) -> Instant {
        self.timing.draw_election_timeout(&mut self.rng, now)
    }

    /// An instant drawn evenly from the `span` microseconds that follow `earliest`.
    pub(crate) fn draw(&mut self, earliest: Instant, span: u32) -> Instant {
        earliest.plus_drawn(&mut self.rng, span)
    }

    fn announced_size(&self) -> Option<NonZeroU32> {
        u32::try_from(self.electorate.size()).ok().and_then(NonZeroU32::new)
    }
}
