//! How leadership passes from hand to hand, and how a node takes its leave.

use core::num::NonZeroU64;

use rand_core::Rng;

use crate::output::Next;
use crate::role::Role;
use crate::{Handover, Instant, Message, Node, NodeId, Output, Reason, Report, StateMachine};

impl<R: Rng, S: StateMachine, const VOTERS: usize> Node<R, S, VOTERS> {
    /// Stops leading, and tells `to`, or else anyone, to take over (rule H1). A node that doesn't
    /// lead has nothing to hand over: [`Output::Idle`].
    pub fn hand_over(&mut self, now: Instant, to: Option<NodeId>) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        if !matches!(self.role, Role::Leader { .. }) {
            return Output::Idle;
        }
        let election_at = self.draw_election_timeout(now);
        self.enter(Role::Follower { leader: None, election_at }, Reason::HandedOver);
        let handover = self.handover(to);
        self.settle(handover)
    }

    /// Ends the node's part in the election; the vote record stays valid for its next start.
    ///
    /// A leader hands over first and goes on answering, at most for two heartbeat intervals, so
    /// that its successor can have its vote (rule H3): drive the node on until its
    /// [`state`](Self::state) is [`State::Closed`](crate::State::Closed). Any other node is closed at once.
    pub fn close(&mut self, now: Instant) -> Output<'_, R, S, VOTERS> {
        let now = self.begin_input(now);
        match self.role {
            Role::Leader { .. } => {
                let heartbeat = self.timing.heartbeat_interval;
                let closed_at = now.plus_micros(heartbeat).plus_micros(heartbeat);
                self.enter(Role::Closing { closed_at }, Reason::HandedOver);
                let handover = self.handover(None);
                self.settle(handover)
            }
            Role::Follower { .. } | Role::Candidate { .. } => {
                self.enter(Role::Closed, Reason::Closed);
                Output::Idle
            }
            Role::Closing { .. } | Role::Closed => Output::Idle,
        }
    }

    /// H2: the target campaigns at once; everyone else is free, and soon ready, to replace it.
    pub(crate) fn on_handover(&mut self, now: Instant, handover: &Handover) -> Next {
        if handover.term < self.record.term {
            return Next::Nothing;
        }
        self.adopt_if_higher(now, handover.term);
        if let Role::Leader { .. } = self.role {
            self.report = Some(Report::SecondLeader(handover.leader.clone()));
            return Next::Nothing;
        }
        self.bound_until = now;
        if let Role::Follower { leader, .. } = &mut self.role {
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

    /// C5: a node that fails to save does not campaign; neither does one that is closing.
    fn may_campaign(&self) -> bool {
        !self.save_failed && matches!(self.role, Role::Follower { .. } | Role::Candidate { .. })
    }

    fn handover(&self, target: Option<NodeId>) -> Next {
        let (term, leader) = (self.record.term, self.id.clone());
        Next::to_everyone(Message::Handover(Handover { term, leader, target }))
    }
}
