//! Handing over: how leadership passes from one node to another, and how a node closes (rules H1 to
//! H4).

use core::num::NonZeroU64;

use rand_core::Rng;

use super::Node;
use super::output::Output;
use super::role::{Closing, Following, Leading, Role};
use super::saying::Saying;
use crate::followers::Follower;
use crate::{Application, Handover, Instant, LeaderValue, NodeId, Reason, Report, Round};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// Stops leading, and tells `to` to take over; without a name, the follower that is fit to lead
    /// and answered last, or else anyone (rule H1). A node that doesn't lead has nothing to hand
    /// over: [`Output::Idle`].
    pub fn hand_over(&mut self, now: Instant, to: Option<NodeId>) -> Output<'_, R, A, VOTERS> {
        let now = self.begin_input(now);
        if !matches!(self.role, Role::Leader(_)) {
            return Output::Idle;
        }
        let next = self.give_way(now, to);
        self.finish_input(next)
    }

    /// H1: a leader stops leading, lease and all, before it says so.
    pub(super) fn give_way(&mut self, now: Instant, to: Option<NodeId>) -> Option<Saying> {
        let Role::Leader(leading) = &self.role else {
            return None;
        };
        let (round, target) = (leading.round, to.or_else(|| self.successor(leading)));
        self.await_leader(now, Reason::HandedOver);
        Some(Saying::Handover { target, round })
    }

    /// Ends the node's part in the election; the vote record stays valid for its next start.
    ///
    /// A leader hands over first and goes on answering, at most for two heartbeat intervals, so
    /// that its successor can have its vote (rule H3): drive the node on until its
    /// [`state`](Self::state) is [`State::Closed`](crate::State::Closed). So does a node that has
    /// handed over, until a successor has shown itself. Any other node is closed at once.
    pub fn close(&mut self, now: Instant) -> Output<'_, R, A, VOTERS> {
        let now = self.begin_input(now);
        let awaits_successor = self.awaits_successor();
        self.inquiry = None;
        let heartbeat = self.timing.heartbeat_interval;
        let closed_at = now.plus_micros(heartbeat).plus_micros(heartbeat);
        let closing = Role::Closing(Closing { closed_at });
        match &self.role {
            Role::Leader(leading) => {
                let (round, target) = (leading.round, self.successor(leading));
                self.enter(closing, Reason::HandedOver);
                let next = Some(Saying::Handover { target, round });
                self.finish_input(next)
            }
            Role::Follower(_) if awaits_successor => {
                self.enter(closing, self.reason);
                Output::Idle
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.enter(Role::Closed, Reason::Closed);
                Output::Idle
            }
            Role::Closing(_) | Role::Closed => Output::Idle,
        }
    }

    /// H4: gives way to a follower of higher priority.
    pub(super) fn promote(&mut self, now: Instant, round: Round, target: NodeId) -> Option<Saying> {
        let election_at = self.draw_election_timeout(now);
        let promoted = Some(target.clone());
        let value = LeaderValue::EMPTY;
        let following = Following { leader: None, value, promoted, election_at };
        self.enter(Role::Follower(following), Reason::PriorityHandover);
        Some(Saying::Handover { target: Some(target), round })
    }

    /// H1: the follower that was the last to promise something, of those that may lead.
    pub(super) fn successor(&self, leading: &Leading<VOTERS>) -> Option<NodeId> {
        let last =
            leading.followers.best_by(Follower::may_lead, |follower| follower.bound_until)?;
        self.electorate().id(last).cloned()
    }

    /// O2, R7: the follower that is named, or else the successor, if it is fit to lead and still
    /// bound to this leader.
    pub(super) fn fit_successor(&self, now: Instant, target: Option<&NodeId>) -> Option<NodeId> {
        let Role::Leader(leading) = &self.role else {
            return None;
        };
        let target = target.cloned().or_else(|| self.successor(leading))?;
        let index = self.electorate().find(&target)?;
        let follower = leading.followers.get(index)?;
        let is_fit = follower.may_lead() && follower.bound_until > now;
        is_fit.then_some(target)
    }

    /// H3: it has handed over, and nobody has asked for its vote or been elected since; either
    /// would have taken it to a term in which it didn't vote for itself. One that stands aside
    /// could answer nobody.
    fn awaits_successor(&self) -> bool {
        matches!(self.reason, Reason::HandedOver | Reason::PriorityHandover)
            && self.record.voted_for.as_ref() == Some(&self.id)
            && !self.stands_aside()
    }

    /// H2: those who follow this very leader are free: the target campaigns at once, and everyone
    /// else is soon ready to replace it. For all others it frees nobody, since anyone may say it,
    /// but who is free anyway gets ready. A stranger's changes nothing (rule V6).
    pub(super) fn handle_handover(&mut self, now: Instant, handover: &Handover) -> Option<Saying> {
        if handover.term < self.record.term {
            return None;
        }
        let leader = self.role.heard_leader();
        let is_followers = handover.term == self.record.term
            && handover.round.is_some()
            && leader.is_some_and(|it| it.is(&handover.leader, handover.round));
        // R10: not even a stranger's term counts.
        if !self.electorate().admits(&handover.leader) {
            self.report = Some(Report::Stranger(handover.leader.clone()));
            return None;
        }
        self.adopt_if_higher(now, handover.term);
        if let Role::Leader(_) = self.role {
            self.report = Some(Report::SecondLeader(handover.leader.clone()));
            return None;
        }
        if is_followers {
            self.bound_until = now;
            self.role.forget_leader();
        }
        if self.is_bound(now) {
            return None;
        }
        let is_target = handover.target.as_ref() == Some(&self.id);
        if is_followers && is_target && self.may_campaign() {
            return self.campaign(now, Reason::HandoverReceived, NonZeroU64::new(handover.term));
        }
        let heartbeat = self.timing.heartbeat_interval;
        let wait_min = if handover.target.is_some() { heartbeat } else { 0 };
        let election_at = self.draw(now.plus_micros(wait_min), heartbeat);
        self.role.bring_timer_forward(election_at);
        None
    }
}
