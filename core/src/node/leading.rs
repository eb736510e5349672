//! Leading: heartbeats, the lease, and the quorum check (rules L1, L3, L4).

use rand_core::Rng;

use super::Node;
use super::role::{Leading, Role};
use super::saying::Saying;
use crate::electorate::Electorate;
use crate::followers::{Acknowledgement, Followers, Recognition};
use crate::{
    Application, HeartbeatResponse, Instant, Leadership, Mode, Reason, Report, Round, quorum,
};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// The node's lease, if it is valid at `now` (rule L3).
    ///
    /// There is none before a quorum has acknowledged the first heartbeat, nor from the very
    /// instant at which it ends. In Graft mode there never is one: Go nodes promise nothing, so a
    /// leader can't know whether there is another.
    pub fn leadership(&self, now: Instant) -> Option<Leadership> {
        let Role::Leader(leading) = &self.role else {
            return None;
        };
        let valid_until = leading.lease_until()?;
        let is_valid = now.max(self.latest) < valid_until;
        is_valid.then_some(Leadership { token: self.record.term, valid_until })
    }

    /// The candidate has won the campaign of this round: it says so at once (rule L1).
    pub(super) fn begin_leading(&mut self, now: Instant, round: Round) -> Option<Saying> {
        self.patience.forget_late_votes();
        let gives_up_at = match self.mode {
            Mode::Extended => now.plus_micros(self.timing.lease_terms.longest()),
            Mode::Graft => Instant::FAR_FUTURE,
        };
        let followers = Followers::none();
        let mut leading = Leading {
            round,
            heartbeat_at: now,
            followers,
            gives_up_at,
            has_lease: false,
            is_lease_carried: false,
            sealed_from: None,
            newcomer: None,
        };
        leading.note_heartbeat(now, self.timing.heartbeat_interval, self.lease_by_itself(now));
        self.enter(Role::Leader(leading), Reason::WonElection);
        Some(Saying::Heartbeat { sent_at: now, round })
    }

    /// L3: the end of the lease that a heartbeat gives where the leader alone is a quorum.
    pub(super) fn lease_by_itself(&self, now: Instant) -> Option<Instant> {
        let is_quorum = self.mode == Mode::Extended && self.electorate().size() == 1;
        is_quorum.then(|| now.plus_micros(self.timing.lease_terms.longest()))
    }

    /// A follower's acknowledgement renews the lease (rule L3); a refusal from a higher term ends
    /// the leadership (rule T3).
    pub(super) fn handle_heartbeat_response(
        &mut self,
        now: Instant,
        response: &HeartbeatResponse,
    ) -> Option<Saying> {
        if response.term > self.record.term {
            return self.handle_higher_term(now, response.term);
        }
        let others_needed = quorum(self.electorate().size()).saturating_sub(1);
        let Role::Leader(leading) = &mut self.role else {
            return None;
        };
        let (Some(sent_at), Some(bound_for)) = (response.sent_at, response.bound_for) else {
            return None;
        };
        let sent_at = Instant::from_micros(sent_at.get());
        // L2: an echo from another term, or of a heartbeat yet to be sent, promises nothing.
        let is_early = sent_at.plus_micros(self.timing.heartbeat_interval) > leading.heartbeat_at;
        if self.mode == Mode::Graft || response.term < self.record.term || is_early {
            return None;
        }
        let electorate = Electorate::of(&self.record, &self.heard);
        let has_named_list = electorate.named(response.list) == electorate.list();
        let acknowledgement = Acknowledgement {
            now,
            bound_until: sent_at.plus_micros(self.timing.lease_terms.lasts(bound_for.get())),
            priority: response.priority,
            is_up_to_date: self.application.grants_vote(response.position.as_bytes()),
            has_named_list,
            is_full: response.is_full,
        };
        let timeout_max = self.timing.election_timeout_max();
        if let Some(newcomer) = leading.newcomer_called(&response.follower) {
            newcomer.acknowledge(response.life, sent_at, acknowledgement, timeout_max);
            return None;
        }
        let index = match self.heard.enroll_answer(&self.record, &response.follower, response.list)
        {
            Ok(index) => index,
            Err(report) => {
                self.report = self.unless_outsiders(report, response.list, response.wanted);
                return None;
            }
        };
        // N4
        match leading.followers.recognize(index, response.life, sent_at, now, timeout_max) {
            Recognition::Counts => {}
            Recognition::Late => return None,
            Recognition::TwoLives => {
                self.report = Some(Report::TwoLives(response.follower.clone()));
                return None;
            }
        }
        if bound_for.get() != u64::from(self.timing.election_timeout_min) {
            self.report = Some(Report::PromiseMismatch { micros: bound_for.get() });
        }
        leading.renew(index, acknowledgement, others_needed);
        None
    }

    /// L4: the leader stops, and frees those that are still bound to it. It says nothing more.
    pub(super) fn step_down(&mut self, now: Instant) -> Option<Saying> {
        self.stop_leading(now, Reason::LostQuorum)
    }
}
