//! How leadership is given up: by whom, to whom, and what those owe who hear of it (rules H1 to H4,
//! L4, L5).

use std::time::Duration;

use graft_election_core::{Handover, Instant, Reason, State};

use super::life::Life;
use super::{Checker, Judged};
use crate::Identity;
use crate::station::CoreNode;

/// What a node owes that stops leading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parting {
    /// Why it stopped, if it is yet to say that it hands over.
    owes_handover: Option<Reason>,
    /// The term that it has handed over from, while nobody is known to have taken over.
    handed_over: Option<u64>,
    /// Until when it goes on answering, unless its successor needs it no more (rule H3).
    stays_until: Option<Instant>,
}

impl Parting {
    /// Someone leads.
    pub(super) fn hears_leader(&mut self) {
        self.handed_over = None;
    }
}

impl Checker {
    /// A node is about to be told to take its leave.
    pub(crate) fn closes(&mut self, node: Identity, now: Instant) {
        if let Some(life) = &mut self.claims(node).life
            && (life.state == State::Leader || life.awaits_successor())
        {
            let stays_until = now.saturating_add(life.heartbeat() * 2);
            life.parting.stays_until.get_or_insert(stays_until);
        }
    }

    /// A node was `before`, and may have stopped leading.
    pub(super) fn parts(
        &mut self,
        node: Identity,
        program: &CoreNode,
        before: State,
        now: Instant,
    ) {
        let (state, reason) = (program.state(), program.reason());
        let Some(life) = &mut self.claims(node).life else { return };
        let stops = before == State::Leader && state != State::Leader;
        let hands_over =
            matches!(reason, Reason::LostQuorum | Reason::HandedOver | Reason::PriorityHandover);
        if stops && hands_over {
            life.parting.owes_handover = Some(reason);
        }
        if state != State::Follower {
            life.parting.handed_over = None;
        }
        let (priority, is_freed) = (life.priority, life.input.frees_it);
        let leaves_at_once = life.parting.stays_until.is_some_and(|until| {
            let ends = state == State::Closed && before != State::Closed;
            ends && now < until && !(is_freed && before != State::Leader)
        });
        self.require("H3", !leaves_at_once, || {
            format!("{node} led, is closed, and leaves at once")
        });
        if stops && reason == Reason::PriorityHandover && self.judged != Judged::NodesAlone {
            let mut lives = self.claims.iter().filter_map(|claims| claims.life.as_ref());
            let is_exceeded = lives.any(|life| life.priority > priority);
            self.require("H4", is_exceeded, || {
                format!("{node} gives way, and nobody has a higher priority than {priority}")
            });
        }
    }

    /// A node says that it hands over.
    pub(super) fn hands_over(&mut self, node: Identity, handover: &Handover) {
        let Some(life) = &mut self.claims(node).life else { return };
        let owed = life.parting.owes_handover.take();
        let expects_successor = owed.is_some_and(|reason| reason != Reason::LostQuorum);
        life.parting.handed_over = expects_successor.then_some(handover.term);
        let names_one = owed == Some(Reason::LostQuorum) && handover.target.is_some();
        self.require("L4", !names_one, || {
            format!("{node} has lost its quorum, and names one who is to lead")
        });
    }

    /// A node gets an input: what it had to say before is said.
    pub(super) fn has_handed_over(&mut self, node: Identity) {
        let Some(life) = &mut self.claims(node).life else { return };
        let owed = life.parting.owes_handover.take();
        let rule = if owed == Some(Reason::LostQuorum) { "L4" } else { "H1" };
        self.require(rule, owed.is_none(), || {
            let why = owed.map(|reason| reason.to_string()).unwrap_or_default();
            format!("{node} {why}, and doesn't hand over")
        });
    }
}

impl Life {
    /// How soon it must be ready to run after a handover that names another, or anyone (rule H2).
    pub(super) fn ready_within(&self, handover: &Handover) -> Option<Duration> {
        let intervals = if handover.target.is_some() { 2 } else { 1 };
        let runs = self.priority > 0 && self.parting.stays_until.is_none();
        runs.then(|| self.heartbeat() * intervals)
    }

    /// Whether it has handed over, and knows of nobody who might have taken over (rule H3).
    fn awaits_successor(&self) -> bool {
        self.parting.handed_over == Some(self.term)
    }

    fn heartbeat(&self) -> Duration {
        self.times[2]
    }
}
