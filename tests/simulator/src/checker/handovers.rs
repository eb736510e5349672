//! How leadership is given up: by whom, to whom, and what a leader then owes (rules H1, H3, H4,
//! L4).

use graft_election_core::{Handover, Instant, NodeId, Reason, State};

use super::Checker;
use super::parting::names_nobody;
use crate::Identity;
use crate::machine::CoreNode;

impl Checker {
    /// A node is told to hand over, perhaps to a node that is named.
    pub(crate) fn is_told_to_hand_over(
        &mut self,
        node: Identity,
        to: Option<&NodeId>,
        now: Instant,
    ) {
        self.acts(node, now);
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.input.successor = to.cloned();
        }
    }

    /// A node is told to close.
    pub(crate) fn is_told_to_close(&mut self, node: Identity, now: Instant) {
        self.acts(node, now);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let is_due = incarnation.state == State::Leader || incarnation.awaits_successor();
        if is_due && !incarnation.must_stand_aside(now) {
            incarnation.parting.may_leave = incarnation.may_stand_aside(now);
            let stays_until = now.saturating_add(incarnation.heartbeat() * 2);
            incarnation.parting.stays_until.get_or_insert(stays_until);
        }
        let stays = incarnation.parting.stays_until.is_some();
        incarnation.input.must_close = !stays && incarnation.led_in != incarnation.term;
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

    /// A node that has no successor to wait for is closed at once (rule H3).
    pub(super) fn closes(&mut self, node: Identity, state: State) {
        let Some(incarnation) = &self.history(node).incarnation else { return };
        let (term, must_close) = (incarnation.term, incarnation.input.must_close);
        self.require("H3", !must_close || state == State::Closed, || {
            format!("{node} is closed, and stays though it never led in term {term}")
        });
    }

    /// A node says that it hands over.
    pub(super) fn hands_over(&mut self, node: Identity, handover: &Handover) {
        let is_told_whom = self.names_successor(node, handover);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let owed = incarnation.parting.hands_over(handover.term);
        let names_one = owed.is_some_and(names_nobody) && handover.target.is_some();
        self.require("L4", !names_one, || {
            format!("{node} has lost its quorum, and names a node that is to lead")
        });
        let target = handover.target.as_ref().map(Identity::of);
        match owed {
            Some(Reason::PriorityHandover) => self.gives_way(node, target.flatten()),
            Some(reason) if !names_nobody(reason) && !is_told_whom => self.chooses(node, target),
            _ => {}
        }
    }

    /// H4: a node gives way to a follower of higher priority that has been steady for a while.
    fn gives_way(&mut self, node: Identity, target: Option<Identity>) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let (priority, now) = (incarnation.priority, incarnation.input.at);
        let wait = incarnation.steady_for();
        let may_exceed = incarnation.followers.may_exceed(target, priority, now, wait);
        incarnation.promotions.begin(target);
        self.require("H4", may_exceed || self.judged.is_of_nodes_alone(), || {
            format!("{node} gives way to {target:?}, of no higher priority or not for {wait:?}")
        });
    }

    /// H1: a node hands over to whom it chooses: the fit follower that answered last.
    fn chooses(&mut self, node: Identity, target: Option<Option<Identity>>) {
        let Some(incarnation) = &self.history(node).incarnation else { return };
        let verdict = incarnation.followers.check_successor(target);
        self.require("H1", verdict.is_ok() || self.judged.is_of_nodes_alone(), || {
            let better = verdict.err().flatten();
            format!("{node} hands over to {target:?}, and the best that it knows is {better:?}")
        });
    }

    /// H4: a node says at `now` that it goes on leading.
    pub(super) fn goes_on(&mut self, node: Identity) {
        let Some(incarnation) = &self.history(node).incarnation else { return };
        let (priority, now) = (incarnation.priority, incarnation.input.at);
        let wait = incarnation.steady_for();
        let superior = incarnation.followers.surely_exceeds(priority, now, wait);
        self.require("H4", superior.is_none() || self.judged.is_of_nodes_alone(), || {
            format!("{node} goes on leading, and {superior:?} has waited for {wait:?}")
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
