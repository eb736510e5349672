//! What a leader does: heartbeats, the lease, the quorum check, and giving way to a better one.

use core::num::NonZeroU64;

use rand_core::Rng;

use crate::lease::{Acknowledgement, Followers};
use crate::output::Next;
use crate::role::Role;
use crate::{
    Application, Heartbeat, HeartbeatResponse, Instant, Leadership, Message, Mode, Node, Reason,
    Report, quorum,
};

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    /// The node's lease, if it is valid at `now` (rule L3).
    ///
    /// There is none before a quorum has acknowledged the first heartbeat, nor from the very instant
    /// at which it ends. In Graft mode there never is one: Go nodes promise nothing, so a leader
    /// can't know whether there is another.
    pub fn leadership(&self, now: Instant) -> Option<Leadership> {
        let Role::Leader { lease_until: Some(valid_until), .. } = self.role else {
            return None;
        };
        let is_valid = now.max(self.latest) < valid_until;
        is_valid.then_some(Leadership { token: self.record.term, valid_until })
    }

    /// The candidate has won: it says so at once (rule L1).
    pub(crate) fn begin_leading(&mut self, now: Instant) -> Next {
        let gives_up_at = match self.mode {
            Mode::Extended => now.plus_micros(self.timing.promise.lasts_at_most()),
            Mode::Graft => Instant::FAR_FUTURE,
        };
        let role = Role::Leader {
            heartbeat_at: now,
            followers: Followers::none(),
            lease_until: None,
            gives_up_at,
        };
        self.enter(role, Reason::WonElection);
        self.heartbeat(now)
    }

    /// What a leader does at its deadline.
    pub(crate) fn on_heartbeat_due(&mut self, now: Instant) -> Next {
        if self.has_lost_quorum(now) {
            self.give_up(now)
        } else if let Some(handover) = self.promote(now) {
            handover
        } else {
            self.heartbeat(now)
        }
    }

    /// A leader's heartbeat, and the time of the next one (rule L1).
    fn heartbeat(&mut self, now: Instant) -> Next {
        let asks = self.mode == Mode::Extended;
        self.renew_alone(now);
        if let Role::Leader { heartbeat_at, .. } = &mut self.role {
            *heartbeat_at = now.plus_micros(self.timing.heartbeat_interval);
        }
        Next::to_everyone(Message::Heartbeat(Heartbeat {
            term: self.record.term,
            leader: self.id.clone(),
            // No node leads at the very origin of its clock, so it is never 0.
            sent_at: NonZeroU64::new(now.as_micros()).filter(|_| asks),
            size: self.announced_size(),
        }))
    }

    /// L3: where the leader alone is a quorum, a heartbeat renews its lease.
    fn renew_alone(&mut self, now: Instant) {
        let renewed = now.plus_micros(self.timing.promise.lasts_at_most());
        if let Role::Leader { lease_until, gives_up_at, .. } = &mut self.role
            && self.mode == Mode::Extended
            && self.electorate.size() == 1
        {
            (*lease_until, *gives_up_at) = (Some(renewed), renewed);
        }
    }

    /// A follower's acknowledgement renews the lease (rule L3); a refusal from a higher term ends
    /// the leadership (rule T3).
    pub(crate) fn on_heartbeat_response(
        &mut self,
        now: Instant,
        response: &HeartbeatResponse,
    ) -> Next {
        if response.term > self.record.term {
            return self.on_refusal_of_higher_term(now, response.term);
        }
        let leads = self.mode == Mode::Extended && matches!(self.role, Role::Leader { .. });
        let (Some(sent_at), Some(bound_for)) = (response.sent_at, response.bound_for) else {
            return Next::Nothing;
        };
        let sent_at = Instant::from_micros(sent_at.get());
        // L2: an echo from another term, or from the future, promises nothing.
        if !leads || response.term < self.record.term || sent_at > now {
            return Next::Nothing;
        }
        let Some(place) = self.place(&response.follower) else {
            return Next::Nothing;
        };
        if bound_for.get() != u64::from(self.timing.election_timeout_min) && self.report.is_none() {
            self.report = Some(Report::PromiseMismatch { micros: bound_for.get() });
        }
        let acknowledgement = Acknowledgement {
            now,
            bound_until: sent_at.plus_micros(self.timing.promise.lasts(bound_for.get())),
            priority: response.priority,
            is_up_to_date: self.application.grants_vote(response.position.as_bytes()),
        };
        self.renew(place, acknowledgement);
        Next::Nothing
    }

    /// L3: the lease ends when a quorum, the leader included, is no longer sure to be bound.
    fn renew(&mut self, place: usize, acknowledgement: Acknowledgement) {
        let others_needed = quorum(self.electorate.size()).saturating_sub(1);
        if let Role::Leader { followers, lease_until, gives_up_at, .. } = &mut self.role {
            followers.acknowledge(place, acknowledgement);
            if let Some(until) = followers.bound_until(others_needed) {
                (*lease_until, *gives_up_at) = (Some(until), until);
            }
        }
    }

    /// L4: whether the lease is over, or was never had in good time. In Graft mode there is none to
    /// lose, not even at the end of the clock.
    pub(crate) fn has_lost_quorum(&self, now: Instant) -> bool {
        self.mode == Mode::Extended
            && matches!(self.role, Role::Leader { gives_up_at, .. } if gives_up_at <= now)
    }

    /// L4: the leader stops, and frees those that are still bound to it. It says nothing more.
    pub(crate) fn give_up(&mut self, now: Instant) -> Next {
        let election_at = self.draw_election_timeout(now);
        self.follow_no_one(election_at, Reason::LostQuorum);
        self.handover(None)
    }

    /// T3: a voter that knows a higher term ends this node's leadership or campaign. H5: a leader
    /// runs again at once, in place of the leader that it was, since it has no lease any more. Nor
    /// is it bound or unable to save, or it would not have led.
    pub(crate) fn on_refusal_of_higher_term(&mut self, now: Instant, term: u64) -> Next {
        let led = matches!(self.role, Role::Leader { .. });
        let own_term = NonZeroU64::new(self.record.term);
        self.adopt_if_higher(now, term);
        if !led || self.mode == Mode::Graft {
            Next::Nothing
        } else if self.electorate.size() == 1 {
            // C2
            self.campaign(now, Reason::HigherTerm, own_term)
        } else {
            self.ask_for_pre_votes(now, Reason::HigherTerm, own_term)
        }
    }
}
