//! Following: which heartbeats a node accepts, and what it promises for them (rules L2, L5, L6).

use core::num::NonZeroU64;

use rand_core::Rng;

use super::Node;
use super::role::{HeardLeader, Role};
use super::saying::{Answer, Saying};
use crate::{Application, Config, Heartbeat, Instant, Mode, NodeId, Reason, Refusal, Report};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    pub(super) fn handle_heartbeat(
        &mut self,
        now: Instant,
        heartbeat: &Heartbeat,
    ) -> Option<Saying> {
        if heartbeat.term < self.record.term {
            // T2: the refusal carries our term, and promises nothing.
            self.refusal = Some(Refusal::StaleTerm);
            return self.answer_heartbeat(heartbeat, None);
        }
        let is_successor = heartbeat.term > self.record.term;
        self.adopt_if_higher(now, heartbeat.term);
        let Heartbeat { leader, round, .. } = heartbeat;
        let is_known = self.role.heard_leader().is_some_and(|it| it.is(leader, *round));
        if !is_known && self.is_second(leader) {
            return self.refuse_second(heartbeat);
        }
        match &self.role {
            Role::Follower(_) => {}
            // V1: the candidate's vote for itself stays.
            Role::PreCandidate(_) | Role::Candidate(_) => {
                self.enter(Role::waiting(now), Reason::LeaderHeard);
            }
            Role::Leader(_) => {
                // L5
                self.await_leader(now, Reason::SecondLeader);
                return self.refuse_second(heartbeat);
            }
            // H3
            Role::Closing(_) if is_successor => {
                self.enter(Role::Closed, Reason::Closed);
                return None;
            }
            Role::Closing(_) | Role::Closed => return self.refuse_second(heartbeat),
        }
        self.patience.forget_late_votes();
        self.standing_back.forget();
        let election_at = self.draw_election_timeout(now);
        self.follow(heartbeat, is_known, election_at);
        self.acknowledge(now, heartbeat)
    }

    /// L2: whether a leader that the node doesn't know is the second of the term: another was
    /// heard, or another process of its id (rule N2). A stranger may lead beside a voter, and
    /// doesn't count (rule V6).
    fn is_second(&self, leader: &NodeId) -> bool {
        let admits = |leader| self.electorate().admits(leader);
        self.role.heard_leader().is_some_and(|heard| admits(&heard.id) || !admits(leader))
    }

    /// A follower follows the leader that it hears, which it may know already.
    fn follow(&mut self, heartbeat: &Heartbeat, is_known: bool, election_at: Instant) {
        let Role::Follower(following) = &mut self.role else {
            return;
        };
        let Heartbeat { leader, round, value, .. } = heartbeat;
        if let Some(target) = following.promoted.take() {
            self.priority_backoff.end(target == *leader);
        }
        if !is_known || following.leader.is_none() {
            following.leader = Some(HeardLeader { id: leader.clone(), round: *round });
        }
        following.value.clone_from(value);
        following.election_at = election_at;
    }

    /// L2, L5: a second leader is reported and not answered.
    fn refuse_second(&mut self, heartbeat: &Heartbeat) -> Option<Saying> {
        self.report = Some(Report::SecondLeader(heartbeat.leader.clone()));
        None
    }

    /// L2: a node that acknowledges is bound first. In both modes: the leader may rely on it.
    fn acknowledge(&mut self, now: Instant, heartbeat: &Heartbeat) -> Option<Saying> {
        let Heartbeat { leader, size, list, .. } = heartbeat;
        self.report = self.electorate().check_leader(leader, *size, *list).err();
        let Some(sent_at) = heartbeat.sent_at else {
            return self.tell_newer_list(heartbeat);
        };
        self.bind(now);
        self.await_promise_end();
        if self.report.is_some() {
            // V6, L6: the heartbeat is followed, and its sender gets no help.
            return None;
        }
        self.answer_heartbeat(heartbeat, Some(sent_at))
    }

    /// R5: a leader in Graft mode asks for no answer, and has to hear of a newer list all the same.
    fn tell_newer_list(&mut self, heartbeat: &Heartbeat) -> Option<Saying> {
        let own = self.electorate().list();
        let is_older = heartbeat.list.zip(own).is_some_and(|(list, own)| list.is_older_than(own));
        if is_older { self.answer_heartbeat(heartbeat, None) } else { None }
    }

    /// V2: binds the node for its T_min and one tick of its clock. V3: a longer quarantine goes on.
    fn bind(&mut self, now: Instant) {
        let bound_until =
            now.plus_micros(self.timing.election_timeout_min).plus_micros(self.timing.clock_tick);
        if bound_until >= self.bound_until {
            (self.bound_until, self.is_quarantined) = (bound_until, false);
        }
        self.promise();
    }

    /// C1: a follower asks for pre-votes soon after its promise has ended: a little later, so that
    /// those who heard the heartbeat later are free too, and not all at the same moment. Where
    /// disks are slow it leaves others more time (rule C3).
    fn await_promise_end(&mut self) {
        if self.mode == Mode::Graft || self.patience.is_needed() {
            return;
        }
        let heartbeat = self.timing.heartbeat_interval;
        let margin = (heartbeat / 20).max(self.timing.clock_tick);
        let election_at = self.draw(self.bound_until.plus_micros(margin), heartbeat / 4);
        self.role.restart_timer(election_at);
    }

    /// R11, R12: whether it answers a leader: as a voter, or as one that joins, unless its first
    /// list is of no use to it.
    fn may_acknowledge(&self) -> bool {
        let lacks_list = self.record.list.is_none() && self.unusable_list.is_some();
        self.is_voter() || self.joins && !lacks_list
    }

    /// C5, N5, O3, R11: whether it may campaign as soon as it is told to.
    fn may_take_over(&self) -> bool {
        let is_ready = !self.save_failed && self.asks_until().is_none() && !self.is_kept_back();
        // One that is to be added will be a voter by the time that it is told.
        is_ready && self.may_acknowledge()
    }

    /// An acknowledgement if it echoes `sent_at`, else a refusal.
    fn answer_heartbeat(
        &mut self,
        heartbeat: &Heartbeat,
        sent_at: Option<NonZeroU64>,
    ) -> Option<Saying> {
        // R11
        if self.stands_aside() || !self.may_acknowledge() {
            return None;
        }
        // C5, N5, O3, R11: it couldn't take over.
        let priority = if self.may_take_over() { self.priority } else { Config::WITNESS };
        let (round, is_paused) = (heartbeat.round, self.is_kept_back());
        let answer = Answer::Heartbeat { sent_at, round, priority, is_paused };
        Some(Saying::answer(heartbeat.leader.clone(), answer))
    }
}
