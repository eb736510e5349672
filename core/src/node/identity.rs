//! Identity: whether messages are this process's own or another's, and which answers answer what it
//! asked (rules N1, N3, N5, T4).

use rand_core::Rng;

use super::Node;
use super::role::Role;
use super::saying::{Answer, Saying};
use crate::message::Header;
use crate::{
    Application, Identity, Instant, Message, Mode, Reason, Report, Round, TERM_END, VoteResponse,
};

/// How far a term may lie ahead of the node's own (rule T4).
const LEAP_MAX: u64 = 1 << 32;

/// How far it may lie ahead of a node that knows of no term yet (rule T4).
const FIRST_LEAP_MAX: u64 = 1 << 48;

/// A node's doubt whether it is the only process of its id, until it has asked (rule N5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inquiry {
    cause: Cause,
    phase: Phase,
    /// Another process has answered.
    is_answered: bool,
    /// It had answered the question before.
    was_answered: bool,
}

/// Why a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cause {
    /// It starts. A predecessor that closes may still answer, but no longer than until then (rule
    /// H3).
    Start { gives_up_at: Instant },
    /// It heard a message in its own name that it didn't send (rule N3).
    OwnName,
}

/// How far an inquiry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The next question is due then.
    Due { at: Instant },
    /// Answers to this question count until then.
    Open { until: Instant, round: Round },
}

impl Inquiry {
    /// The question with which a node starts.
    pub(super) fn at_start(now: Instant, gives_up_at: Instant) -> Self {
        let cause = Cause::Start { gives_up_at };
        Self { cause, phase: Phase::Due { at: now }, is_answered: false, was_answered: false }
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Due { at } => at,
            Phase::Open { until, .. } => until,
        }
    }

    fn is_at_start(&self) -> bool {
        matches!(self.cause, Cause::Start { .. })
    }
}

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// Says that the node's messages reach others from now on, where it started without a link: the
    /// question that it asked then was heard by nobody, so it asks again (rule N5).
    pub fn handle_link_up(&mut self, now: Instant) {
        let now = self.begin_input(now);
        if !matches!(self.role, Role::Closed) {
            self.inquiry = Some(self.first_inquiry(now));
        }
    }

    /// Says that no other process has the node's id, as its transport was told, or as is certain of
    /// an id that was just drawn at random: the node no longer waits for an answer to the question
    /// with which it starts (rule N5).
    ///
    /// It has no effect once another process has answered, nor on a node that has run before: that
    /// one is bound for as long in any case (rule V3), and its question keeps it from taking what
    /// it said in its earlier life for another process's (rule N3).
    pub fn handle_no_double(&mut self, now: Instant) {
        let now = self.begin_input(now);
        let has_run = self.record.may_have_promised();
        let waits = |it: &mut Inquiry| it.is_at_start() && !it.is_answered;
        if has_run || self.inquiry.take_if(waits).is_none() {
            return;
        }
        // C1: it may ask that much sooner, unless it has heard of others.
        let has_heard = self.leader().is_some() || self.vote_round.is_some();
        if matches!(self.role, Role::Follower(_)) && self.reason == Reason::Started && !has_heard {
            self.start_timer(now);
        }
    }

    pub(super) fn first_inquiry(&self, now: Instant) -> Inquiry {
        let (heartbeat, timeout) =
            (self.timing.heartbeat_interval, self.timing.election_timeout_max());
        let closed_at = now.plus_micros(heartbeat).plus_micros(heartbeat);
        Inquiry::at_start(now, closed_at.plus_micros(timeout))
    }

    /// Whether a message may be looked at, whatever its kind. If not, it is dropped, and reported
    /// if it could not have come about.
    pub(super) fn check_message(
        &self,
        message: &Message,
        header: &Header<'_>,
        is_in_own_name: bool,
    ) -> Result<(), Option<Report>> {
        if is_answer(message) {
            self.check_answer(message, header.round, is_in_own_name)?;
        }
        self.check_term(message, header.term)?;
        // V5: its own messages come back. (Another process's answer has a round of this one, too.)
        let is_echo = match message {
            Message::Here(_) => false,
            // Those have no round, and one of an earlier life may name an older list.
            Message::ListRequest(_) | Message::ListPart(_) => is_in_own_name,
            _ => is_in_own_name && self.has_drawn(header.round),
        };
        if is_echo { Err(None) } else { Ok(()) }
    }

    /// N1: an answer that doesn't answer what the node asks at present is not even read for its
    /// term. What Go nodes answer names no round.
    fn check_answer(
        &self,
        message: &Message,
        round: Option<Round>,
        is_in_own_name: bool,
    ) -> Result<(), Option<Report>> {
        let Some(awaited) = self.role.awaited_round(message) else {
            return Err(None);
        };
        if is_from_go(message) {
            let is_vote = matches!(message, Message::VoteResponse(_));
            return match self.mode {
                Mode::Graft => Ok(()),
                Mode::Extended => Err(is_vote.then_some(Report::NamelessVote)),
            };
        }
        let counts = round == Some(awaited) && !is_in_own_name;
        if counts { Ok(()) } else { Err(None) }
    }

    /// T4: one packet must not use up the number space.
    fn check_term(&self, message: &Message, term: u64) -> Result<(), Report> {
        let own_term = self.record.term;
        let leaps = match own_term {
            // A node that asks may have to learn how far the others are.
            0 => !is_answer(message) && term > FIRST_LEAP_MAX,
            _ => term > own_term.saturating_add(LEAP_MAX),
        };
        if term >= TERM_END || leaps || hands_over_from_no_earlier_term(message) {
            return Err(Report::TermOutOfRange { term });
        }
        Ok(())
    }

    pub(super) fn has_drawn(&self, round: Option<Round>) -> bool {
        round.is_some_and(|round| self.rounds.has_drawn(round))
    }

    /// N3: it may be a message of the node's earlier life, or another process lives. Only a
    /// question tells, since the dead don't answer; until then the node stands aside.
    pub(super) fn doubt(&mut self, now: Instant) -> Option<Saying> {
        if self.inquiry.is_some() || matches!(self.role, Role::Closing(_)) {
            return None;
        }
        let at = self.draw(now, self.timing.heartbeat_interval);
        let phase = Phase::Due { at };
        let cause = Cause::OwnName;
        self.inquiry = Some(Inquiry { cause, phase, is_answered: false, was_answered: false });
        // In Graft mode the node asks, and goes on.
        match self.mode {
            Mode::Extended => self.stop_leading(now, Reason::DuplicateId),
            Mode::Graft => None,
        }
    }

    /// V6: a voter of the node's own list goes by one that was replaced: whoever elects that
    /// voter may not know of the new list. The node stands aside for as long as it hears of it.
    pub(super) fn yield_to_older_list(
        &mut self,
        now: Instant,
        message: &Message,
    ) -> Option<Saying> {
        let span = self.timing.election_timeout_max();
        self.older_list_until = now.plus_micros(span).plus_micros(span);
        if let (Some(node), Some(list)) = (message.sender().cloned(), message.list()) {
            self.report = Some(Report::ListMismatch { node, list });
        }
        match message {
            Message::Heartbeat(heartbeat) if matches!(self.role, Role::Follower(_)) => {
                self.handle_heartbeat(now, heartbeat)
            }
            _ => self.stop_leading(now, Reason::OlderList),
        }
    }

    /// Stops leading or campaigning. A leader frees those that are bound to it (rule L4).
    pub(super) fn stop_leading(&mut self, now: Instant, reason: Reason) -> Option<Saying> {
        match &self.role {
            Role::Leader(leading) => {
                let round = leading.round;
                self.await_leader(now, reason);
                Some(Saying::Handover { target: None, round })
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {
                let heard = self.role.heard_leader().cloned();
                self.await_leader(now, reason);
                // L2: no second leader of the term is accepted.
                self.role.remember_leader(heard);
                None
            }
            Role::Follower(_) | Role::Closing(_) | Role::Closed => None,
        }
    }

    /// N3, N5, V6: whether the node follows, and does nothing else: no campaign, no vote, no
    /// acknowledgement and no refusal.
    pub(super) fn stands_aside(&self) -> bool {
        self.doubts_itself() || self.latest < self.older_list_until
    }

    /// N3, N5: another process may use its id, and be the one that goes on.
    fn doubts_itself(&self) -> bool {
        self.inquiry.as_ref().is_some_and(|inquiry| match inquiry.cause {
            Cause::Start { .. } => inquiry.is_answered || inquiry.was_answered,
            Cause::OwnName => self.mode == Mode::Extended,
        })
    }

    /// N5: until when a node that has just started helps to elect no one.
    pub(super) fn asks_until(&self) -> Option<Instant> {
        let inquiry = self.inquiry.as_ref().filter(|inquiry| inquiry.is_at_start())?;
        Some(match inquiry.phase {
            // It can't have been answered yet, however late its driver wakes it.
            Phase::Due { at } => at.max(self.latest).plus_micros(self.timing.election_timeout_min),
            Phase::Open { until, .. } => until,
        })
    }

    /// The question that is due, if one is. The inquiry ends once a question went unanswered (rules
    /// N3, N5).
    pub(super) fn pursue_inquiry(&mut self, now: Instant) -> Option<Saying> {
        let mut inquiry = self.inquiry.take_if(|inquiry| inquiry.deadline() <= now)?;
        if let Phase::Open { .. } = inquiry.phase {
            if inquiry.is_answered {
                let span = self.timing.election_timeout_max();
                let at = self.draw(now.plus_micros(span), span);
                inquiry.phase = Phase::Due { at };
                self.inquiry = Some(inquiry);
            }
            return None;
        }
        let round = self.rounds.draw();
        let until = now.plus_micros(self.timing.election_timeout_min);
        inquiry.phase = Phase::Open { until, round };
        (inquiry.was_answered, inquiry.is_answered) = (inquiry.is_answered, false);
        self.inquiry = Some(inquiry);
        Some(Saying::Who { round })
    }

    /// The record could not be stored, and the question that waited for it, if one did, is lost.
    pub(super) fn ask_again(&mut self) {
        let at = self.latest.plus_micros(self.timing.heartbeat_interval);
        if let Some(inquiry) = &mut self.inquiry
            && let Phase::Open { .. } = inquiry.phase
        {
            inquiry.phase = Phase::Due { at };
            // What was known before the question still is.
            inquiry.is_answered |= inquiry.was_answered;
        }
    }

    /// N5: answers a question in the node's name that it didn't ask. It is for one of the two to go
    /// on: of those that stand aside, or have just started, the one with the higher life.
    pub(super) fn handle_who(&mut self, question: &Identity) -> Option<Saying> {
        let is_doubles = question.node == self.id && !self.rounds.has_drawn(question.round);
        let gives_way = self.doubts_itself() || self.asks_until().is_some();
        let is_lower = self.rounds.life() < question.life;
        if !is_doubles {
            return None;
        }
        if gives_way && is_lower {
            self.ask_who_is_higher();
            return None;
        }
        let answer = Answer::Here { round: question.round };
        Some(Saying::answer(self.id.clone(), answer))
    }

    /// N5: a node that has just started gives way to a process which may not have been there when
    /// the node asked. It asks again, or neither of the two would ever be answered.
    fn ask_who_is_higher(&mut self) {
        let now = self.latest;
        if let Some(inquiry) = self.inquiry.as_mut().filter(|inquiry| inquiry.is_at_start()) {
            inquiry.phase = Phase::Due { at: inquiry.deadline().min(now) };
        }
    }

    /// N5: another process lives. A node that has just started asks again for as long as its
    /// predecessor may take to close, and then gives up.
    pub(super) fn handle_here(&mut self, now: Instant, answer: &Identity) -> Option<Saying> {
        let heartbeat = self.timing.heartbeat_interval;
        let own_life = self.rounds.life();
        let Some(inquiry) = &mut self.inquiry else {
            return None;
        };
        let Phase::Open { round, .. } = inquiry.phase else {
            return None;
        };
        if answer.node != self.id || answer.round != round || answer.life == own_life {
            return None;
        }
        inquiry.is_answered = true;
        self.report = Some(Report::DuplicateId);
        let Cause::Start { gives_up_at } = inquiry.cause else {
            return None;
        };
        inquiry.phase = Phase::Due { at: now.plus_micros(heartbeat) };
        // It leads already if its link came up later.
        let next = self.stop_leading(now, Reason::DuplicateId);
        if now >= gives_up_at {
            self.enter(Role::Closed, Reason::DuplicateId);
        }
        next
    }
}

/// N3: whether a message in this node's name, which has been checked, is another process's.
pub(super) fn is_anothers(message: &Message) -> bool {
    !matches!(
        message,
        Message::Who(_)
            | Message::Here(_)
            | Message::ControlResponse(_)
            | Message::ListRequest(_)
            | Message::ListPart(_)
    )
}

pub(super) fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::VoteResponse(_) | Message::PreVoteResponse(_) | Message::HeartbeatResponse(_)
    )
}

/// Whether an answer has no field that only this implementation sends.
fn is_from_go(answer: &Message) -> bool {
    match answer {
        Message::VoteResponse(response) => {
            let VoteResponse { term: _, granted: _, voter, round, list, life, wanted } = response;
            let has_told_list = list.is_some() || wanted.is_some();
            voter.is_none() && round.is_none() && life.is_none() && !has_told_list
        }
        Message::HeartbeatResponse(response) => {
            response.round.is_none()
                && response.list.is_none()
                && response.life.is_none()
                && response.sent_at.is_none()
                && response.bound_for.is_none()
                && response.priority == 0
                && !response.is_paused
                && response.wanted.is_none()
                && !response.is_full
        }
        _ => false,
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
