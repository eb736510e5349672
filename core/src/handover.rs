//! How leadership passes from hand to hand, and how a node takes its leave.

use core::num::NonZeroU64;

use rand_core::Rng;

use crate::lease::Follower;
use crate::node::PRIORITY_NEVER;
use crate::output::Next;
use crate::role::Role;
use crate::{Application, Handover, Instant, Message, Node, NodeId, Output, Reason, Report};

/// How many of the greatest election timeouts a follower must have been steady before the leader
/// gives way to it (rule H4).
const STEADY_TIMEOUTS: u32 = 10;

/// How often that time doubles at most.
const DOUBLINGS_MAX: u32 = 16;

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    /// Stops leading, and tells `to` to take over; without a name, the follower that is fit to lead
    /// and answered last, or else anyone (rule H1). A node that doesn't lead has nothing to hand
    /// over: [`Output::Idle`].
    pub fn hand_over(&mut self, now: Instant, to: Option<NodeId>) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        if !matches!(self.role, Role::Leader { .. }) {
            return Output::Idle;
        }
        let to = to.or_else(|| self.successor());
        let handover = self.hand_over_for(now, to, Reason::HandedOver);
        self.settle(handover)
    }

    /// Ends the node's part in the election; the vote record stays valid for its next start.
    ///
    /// A leader hands over first and goes on answering, at most for two heartbeat intervals, so
    /// that its successor can have its vote (rule H3): drive the node on until its
    /// [`state`](Self::state) is [`State::Closed`](crate::State::Closed). So does a node that has
    /// handed over, until a successor has shown itself. Any other node is closed at once.
    pub fn close(&mut self, now: Instant) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        let heartbeat = self.timing.heartbeat_interval;
        let closed_at = now.plus_micros(heartbeat).plus_micros(heartbeat);
        match self.role {
            Role::Leader { .. } => {
                let to = self.successor();
                self.enter(Role::Closing { closed_at }, Reason::HandedOver);
                let handover = self.handover(to);
                self.settle(handover)
            }
            Role::Follower { .. } if self.awaits_successor() => {
                self.enter(Role::Closing { closed_at }, self.reason);
                Output::Idle
            }
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. } => {
                self.enter(Role::Closed, Reason::Closed);
                Output::Idle
            }
            Role::Closing { .. } | Role::Closed => Output::Idle,
        }
    }

    /// H4: gives way to the follower of the highest priority, if it is higher than the leader's own
    /// and the follower has been steady for long enough.
    pub(crate) fn promote(&mut self, now: Instant) -> Option<Next> {
        let Role::Leader { followers, .. } = &self.role else {
            return None;
        };
        let wait = self.promotions.wait(self.timing.election_timeout_max());
        let is_ready = |follower: &Follower| {
            follower.may_lead()
                && follower.priority > self.priority
                && follower.bound_until > now
                && now.micros_since(follower.steady_since) >= wait
        };
        let best = followers.best_by(is_ready, |follower| follower.priority)?;
        let target = self.electorate.id(best)?.clone();
        let handover = self.hand_over_for(now, Some(target.clone()), Reason::PriorityHandover);
        if let Role::Follower { promoted, .. } = &mut self.role {
            *promoted = Some(target);
        }
        Some(handover)
    }

    /// H1: the follower that was the last to promise something, of those that may lead.
    fn successor(&self) -> Option<NodeId> {
        let Role::Leader { followers, .. } = &self.role else {
            return None;
        };
        let last = followers.best_by(Follower::may_lead, |follower| follower.bound_until)?;
        self.electorate.id(last).cloned()
    }

    /// H1: the leader stops, lease and all, before it says so.
    fn hand_over_for(&mut self, now: Instant, to: Option<NodeId>, reason: Reason) -> Next {
        let election_at = self.draw_election_timeout(now);
        self.follow_no_one(election_at, reason);
        self.handover(to)
    }

    /// H3: it has handed over, and nobody has asked for its vote or been elected since; either would
    /// have taken it to a term in which it didn't vote for itself.
    fn awaits_successor(&self) -> bool {
        matches!(self.reason, Reason::HandedOver | Reason::PriorityHandover)
            && self.record.voted_for.as_ref() == Some(&self.id)
    }

    pub(crate) fn handover(&self, target: Option<NodeId>) -> Next {
        let (term, leader) = (self.record.term, self.id.clone());
        Next::to_everyone(Message::Handover(Handover { term, leader, target }))
    }

    /// H2: the target campaigns at once; everyone else is free, and soon ready, to replace it. Only a
    /// leader of this cluster has a lease to give up, so that a stranger frees nobody (rule V6).
    pub(crate) fn on_handover(&mut self, now: Instant, handover: &Handover) -> Next {
        if handover.term < self.record.term {
            return Next::Nothing;
        }
        self.adopt_if_higher(now, handover.term);
        if !self.admits(&handover.leader) {
            return Next::Nothing;
        }
        if let Role::Leader { .. } = self.role {
            self.report = Some(Report::SecondLeader(handover.leader.clone()));
            return Next::Nothing;
        }
        self.bound_until = now;
        if let Role::Follower { leader, .. } | Role::PreCandidate { leader, .. } = &mut self.role {
            *leader = None;
        }
        let heartbeat = self.timing.heartbeat_interval;
        let wait_min = match &handover.target {
            Some(target) if *target == self.id && self.may_campaign() => {
                let from = NonZeroU64::new(handover.term);
                return self.campaign(now, Reason::HandoverReceived, from);
            }
            Some(_) => heartbeat,
            None => 0,
        };
        let election_at = self.draw(now.plus_micros(wait_min), heartbeat);
        self.restart_timer(self.deadline().min(election_at));
        Next::Nothing
    }

    /// C5, H4: neither a node that fails to save campaigns, nor a witness, nor one that is closing.
    pub(crate) fn may_campaign(&self) -> bool {
        let takes_part = matches!(
            self.role,
            Role::Follower { .. } | Role::PreCandidate { .. } | Role::Candidate { .. }
        );
        takes_part && !self.save_failed && self.priority != PRIORITY_NEVER
    }
}

/// How a leader's attempts to give way to a follower of higher priority went (rule H4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Promotions {
    /// How many in a row came to nothing.
    failures: u32,
}

impl Promotions {
    /// For how many microseconds a follower must have been steady. Each attempt that comes to nothing
    /// doubles it, so that a target that can't win doesn't cost the cluster its leader again and
    /// again.
    fn wait(self, election_timeout_max: u64) -> u64 {
        let timeouts = STEADY_TIMEOUTS << self.failures.min(DOUBLINGS_MAX);
        election_timeout_max.saturating_mul(timeouts.into())
    }

    /// The attempt is over: its target leads, or doesn't.
    pub(crate) fn end(&mut self, has_succeeded: bool) {
        self.failures = if has_succeeded { 0 } else { self.failures.saturating_add(1) };
    }
}
