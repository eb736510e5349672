//! How leadership is given up: by whom, to whom, and what a leader then owes (rules H1, H3, H4,
//! L4).

use graft_election_core::{Handover, Instant, Reason, State};

use super::Checker;
use crate::Identity;
use crate::machine::CoreNode;

impl Checker {
    /// A node is about to be told to close.
    pub(crate) fn closes(&mut self, node: Identity, now: Instant) {
        if let Some(incarnation) = &mut self.history(node).incarnation
            && (incarnation.state == State::Leader || incarnation.awaits_successor())
            && !incarnation.must_stand_aside(now)
        {
            incarnation.parting.may_leave = incarnation.may_stand_aside(now);
            let stays_until = now.saturating_add(incarnation.heartbeat() * 2);
            incarnation.parting.stays_until.get_or_insert(stays_until);
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
        // It led in its last term before this input.
        let term = self.history(node).incarnation.as_ref().map_or(0, |it| it.led_in);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let stops = before == State::Leader && state != State::Leader;
        let hands_over = matches!(
            reason,
            Reason::LostQuorum
                | Reason::HandedOver
                | Reason::PriorityHandover
                | Reason::DuplicateId
                | Reason::OlderList
        );
        if stops && hands_over {
            incarnation.parting.owes_handover = Some(reason);
        }
        if state != State::Follower {
            incarnation.parting.handed_over = None;
        }
        let is_freed = incarnation.input.frees_it;
        if stops {
            incarnation.gave_up.push(term);
        }
        let leaves_at_once = incarnation.parting.stays_until.is_some_and(|until| {
            let ends =
                state == State::Closed && before != State::Closed && reason != Reason::DuplicateId;
            let may_leave = incarnation.parting.may_leave;
            ends && now < until && !may_leave && !(is_freed && before != State::Leader)
        });
        self.require("H3", !leaves_at_once, || {
            format!("{node} led, is closed, and leaves at once")
        });
    }

    /// A node says that it hands over.
    pub(super) fn hands_over(&mut self, node: Identity, handover: &Handover) {
        self.names_successor(node, handover);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let owed = incarnation.parting.owes_handover.take();
        let names_nobody =
            |reason| matches!(reason, Reason::LostQuorum | Reason::DuplicateId | Reason::OlderList);
        let expects_successor = owed.is_some_and(|reason| !names_nobody(reason));
        incarnation.parting.handed_over = expects_successor.then_some(handover.term);
        let target = handover.target.as_ref().and_then(Identity::of);
        let is_exceeded = incarnation.is_exceeded_by(target, incarnation.input.at);
        let gives_way = owed == Some(Reason::PriorityHandover);
        let names_one = owed.is_some_and(names_nobody) && handover.target.is_some();
        self.require("L4", !names_one, || {
            format!("{node} has lost its quorum, and names a node that is to lead")
        });
        self.require("H4", !gives_way || is_exceeded || self.judged.is_of_nodes_alone(), || {
            format!("{node} gives way to {target:?}, which offered no higher priority")
        });
    }

    /// A node gets an input. By then it must have said what it had to say.
    pub(super) fn has_handed_over(&mut self, node: Identity) {
        self.has_answered(node);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let owed = incarnation.parting.owes_handover.take();
        let rule = if owed == Some(Reason::LostQuorum) { "L4" } else { "H1" };
        self.require(rule, owed.is_none(), || {
            let why = owed.map(|reason| reason.to_string()).unwrap_or_default();
            format!("{node} {why}, and doesn't hand over")
        });
    }
}
