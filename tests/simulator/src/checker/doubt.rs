//! Whether a node may be one of two processes of its id, and what it must not do while it can't
//! know (rules N3, N5, V6).

use graft_election_core::{Identity, Instant, Life, Round};

/// What a node knows of other processes of its id.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    cause: Cause,
    /// The question that was asked last, and until when answers are awaited.
    asked: Option<(Round, Instant)>,
    /// It was answered, and no question since has remained without an answer.
    is_answered: bool,
    /// The question before was answered.
    was_answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It has started.
    Start,
    /// It heard a message in its own name that it didn't send.
    OwnName,
}

impl Doubt {
    /// It starts, and has to ask.
    pub(super) fn at_start() -> Self {
        Self { cause: Cause::Start, asked: None, is_answered: false, was_answered: false }
    }

    /// It heard another process in its own name, and has to ask.
    pub(super) fn of_own_name() -> Self {
        Self { cause: Cause::OwnName, asked: None, is_answered: false, was_answered: false }
    }

    /// It asks.
    pub(super) fn asks(&mut self, round: Round, until: Instant) {
        self.asked = Some((round, until));
        (self.was_answered, self.is_answered) = (self.is_answered, false);
    }

    /// It can't store what it may have to before it asks, so it asks once more, and knows what it
    /// knew before.
    pub(super) fn loses_question(&mut self) {
        if self.asked.take().is_some() {
            self.is_answered |= self.was_answered;
        }
    }

    /// It hears the question of a process with a higher life, which may not have been there to hear
    /// its own: at its start it asks again.
    pub(super) fn gives_way(&mut self) {
        if self.cause == Cause::Start {
            self.asked = None;
        }
    }

    /// It is answered by another process of its id.
    pub(super) fn hears_here(&mut self, answer: &Identity, own_life: Option<Life>) {
        let is_question = self.asked.is_some_and(|(round, _)| round == answer.round);
        if !is_question || Some(answer.life) == own_life {
            return;
        }
        self.is_answered = true;
        if self.cause == Cause::Start {
            self.asked = None;
        }
    }

    /// Its timer wakes it. Returns whether the doubt goes on.
    pub(super) fn wakes(&mut self, now: Instant) -> bool {
        let is_over = self.asked.is_some_and(|(_, until)| until <= now);
        if is_over && self.is_answered {
            self.asked = None;
        }
        !is_over || self.is_answered
    }

    /// Whether its question may be as good as unanswered (rule N5).
    pub(super) fn may_be_dispelled(&self) -> bool {
        self.cause == Cause::Start && !self.is_answered
    }

    /// Whether it must not help to elect anyone, since it has just started (rule N5).
    pub(super) fn binds(&self, now: Instant) -> bool {
        self.cause == Cause::Start && self.is_unsure(now)
    }

    /// Whether it may refuse to help for that reason.
    pub(super) fn may_bind(&self) -> bool {
        self.cause == Cause::Start
    }

    /// Whether it must stand aside (rules N3, N5).
    pub(super) fn silences(&self, now: Instant, is_extended: bool) -> bool {
        match self.cause {
            Cause::Start => self.is_answered || self.was_answered && self.is_unsure(now),
            Cause::OwnName => is_extended && self.is_unsure(now),
        }
    }

    /// Whether it may stand aside.
    pub(super) fn may_silence(&self, is_extended: bool) -> bool {
        match self.cause {
            Cause::Start => self.is_answered || self.was_answered,
            Cause::OwnName => is_extended,
        }
    }

    fn is_unsure(&self, now: Instant) -> bool {
        self.is_answered || self.asked.is_none_or(|(_, until)| now < until)
    }
}
