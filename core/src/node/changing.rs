//! Changing the voters: a leader seals its list, and makes the next one once that is committed
//! (rules R5 to R8).

use rand_core::Rng;

use super::Node;
use super::output::Output;
use super::role::Role;
use super::saying::Saying;
use crate::followers::{Follower, Newcomer};
use crate::{Application, Change, ControlOutcome, Instant, ListId, Mode, NodeId, quorum};

/// What a leader does that is asked for other voters.
pub(super) enum Step {
    /// It seals its list first (rule R5).
    Seal(Saying),
    /// It makes the list that it was asked for, or hands over to somebody who can.
    Change(Saying),
}

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// Asks the leader to add or to remove one voter (rule R7). What comes of it is to be carried
    /// out like any output; then ask again, until the outcome is [`ControlOutcome::Done`]. It is
    /// [`NotCommitted`](ControlOutcome::NotCommitted) while the change is under way; every other
    /// outcome says why nothing was done.
    ///
    /// A leader that is to be removed hands over, and its successor has to be asked.
    pub fn change_voters(
        &mut self,
        now: Instant,
        change: &Change,
    ) -> (ControlOutcome, Output<'_, R, A, VOTERS>) {
        let now = self.begin_input(now);
        let (outcome, next) = match &self.role {
            // L1
            Role::Leader(leading) if leading.has_lost_quorum(now) => {
                (ControlOutcome::NotLeading, self.step_down(now))
            }
            _ => match self.change(now, change) {
                Ok(Step::Seal(next) | Step::Change(next)) => {
                    (ControlOutcome::NotCommitted, Some(next))
                }
                Err(outcome) => (outcome, None),
            },
        };
        (outcome, self.finish_input(next))
    }

    /// R6: whether no later leader can be elected by a list that is older than this node's, which
    /// leads.
    pub fn is_list_committed(&self) -> bool {
        let (Role::Leader(leading), Some(list)) = (&self.role, self.record.voter_list()) else {
            return false;
        };
        let size = list.voters().len();
        let followers = leading.followers.first(size).iter();
        let others = followers.filter(|follower| follower.has_named_list).count();
        let is_sealed = self.is_list_sealed() && !self.unsaved;
        let is_lease_whole = leading.has_lease && !leading.is_lease_carried;
        is_sealed && is_lease_whole && others.saturating_add(1) >= quorum(size)
    }

    /// R5: whether the node leads by a list that somebody knows a newer one than.
    pub(super) fn is_outdated_leader(&self, list: ListId) -> bool {
        let own = self.record.voter_list();
        let is_outdated = own.is_some_and(|own| own.id().is_older_than(list));
        is_outdated && matches!(self.role, Role::Leader(_)) && !self.is_list_sealed()
    }

    fn is_list_sealed(&self) -> bool {
        self.record.voter_list().is_some_and(|list| list.id().term == self.record.term)
    }

    /// R5: the list stays what it is, and is that of this leadership from now on.
    pub(super) fn seal_list(&mut self, now: Instant) -> Option<Saying> {
        let term = self.record.term;
        let list = self.record.voter_list_mut()?;
        let sealed_from = list.id();
        list.seal(term);
        self.unsaved = true;
        if let Role::Leader(leading) = &mut self.role {
            leading.sealed_from = Some(sealed_from);
            leading.followers.forget_named();
        }
        self.say_it_leads(now)
    }

    /// Does the next step of a change, or says why there is none.
    pub(super) fn change(&mut self, now: Instant, change: &Change) -> Result<Step, ControlOutcome> {
        let is_leading = matches!(self.role, Role::Leader(_));
        if !is_leading {
            return Err(ControlOutcome::NotLeading);
        }
        if self.mode == Mode::Graft {
            return Err(ControlOutcome::Refused);
        }
        self.check_list_named(change)?;
        let is_voter = self.electorate().find(&change.voter).is_some();
        if !change.adds && change.voter == self.id {
            return self.leave(now).map(Step::Change);
        }
        if change.adds && !is_voter {
            self.expect_newcomer(&change.voter);
        }
        if !self.is_list_sealed() {
            return self.seal_list(now).map(Step::Seal).ok_or(ControlOutcome::OtherList);
        }
        if !self.is_list_committed() {
            return Err(ControlOutcome::NotCommitted);
        }
        if is_voter == change.adds {
            return Err(ControlOutcome::Done);
        }
        self.check_followers(now, change)?;
        self.make_list(now, change).map(Step::Change)
    }

    /// R7: whether the list that is to be changed is the present one, or was until it was sealed.
    fn check_list_named(&self, change: &Change) -> Result<(), ControlOutcome> {
        let own = self.electorate().list().ok_or(ControlOutcome::OtherList)?;
        let sealed_from = match &self.role {
            Role::Leader(leading) => leading.sealed_from,
            _ => None,
        };
        let is_meant = change.list.is_none_or(|list| list == own || Some(list) == sealed_from);
        if is_meant { Ok(()) } else { Err(ControlOutcome::OtherList) }
    }

    /// R7, O2: a leader that is to be removed hands over to a voter that can remove it.
    fn leave(&mut self, now: Instant) -> Result<Saying, ControlOutcome> {
        let target = self.fit_successor(now, None).ok_or(ControlOutcome::WouldLose)?;
        self.give_way(now, Some(target)).ok_or(ControlOutcome::NotLeading)
    }

    /// R7: from now on the leader listens to a node that is to be added.
    fn expect_newcomer(&mut self, id: &NodeId) {
        if let Role::Leader(leading) = &mut self.role
            && leading.newcomer_called(id).is_none()
        {
            leading.newcomer = Some(Newcomer::new(id.clone()));
        }
    }

    /// R7: whether a quorum of the next list is there, and everyone knows the present one.
    fn check_followers(&self, now: Instant, change: &Change) -> Result<(), ControlOutcome> {
        let Role::Leader(leading) = &self.role else {
            return Err(ControlOutcome::NotLeading);
        };
        let size = self.electorate().size();
        let removed = if change.adds { None } else { self.electorate().find(&change.voter) };
        let newcomer = leading.newcomer.as_ref().filter(|_| change.adds).map(|it| &it.follower);
        if change.adds && !newcomer.is_some_and(|it| it.has_caught_up(now)) {
            return Err(ControlOutcome::NotHeard);
        }
        let others = leading.followers.first(size).iter().enumerate();
        let stay = others.filter(|(index, _)| Some(*index) != removed).map(|(_, it)| it);
        let mut there = stay.chain(newcomer).filter(|it| it.bound_until > now);
        if !there.clone().all(|it| it.has_named_list) {
            return Err(ControlOutcome::NotCommitted);
        }
        let next_size = if change.adds { size.saturating_add(1) } else { size.saturating_sub(1) };
        if there.clone().count().saturating_add(1) < quorum(next_size) {
            return Err(ControlOutcome::WouldLose);
        }
        let lacks_room = next_size > VOTERS || (change.adds && there.any(|it| it.is_full));
        if lacks_room { Err(ControlOutcome::NoRoom) } else { Ok(()) }
    }

    /// R7, R8: the list has one voter more, or one less.
    fn make_list(&mut self, now: Instant, change: &Change) -> Result<Saying, ControlOutcome> {
        let removed = self.electorate().find(&change.voter);
        let list = self.record.voter_list_mut().ok_or(ControlOutcome::OtherList)?;
        let version = list.id().version.checked_add(1).ok_or(ControlOutcome::NoRoom)?;
        let next = ListId { version, ..list.id() };
        match removed {
            None => list.add(next, change.voter.clone()).map_err(|_| ControlOutcome::NoRoom)?,
            Some(index) => list.remove(next, index),
        }
        let size = list.voters().len();
        self.unsaved = true;
        if let Role::Leader(leading) = &mut self.role {
            let lease_until = leading.lease_until().unwrap_or(Follower::NEVER);
            match (removed, leading.newcomer.take()) {
                // Nobody is left out but the voter: the one that was last has moved.
                (Some(index), _) => leading.followers.remove(index, size, lease_until),
                (None, Some(newcomer)) => {
                    leading.followers.add(size.saturating_sub(1), newcomer.follower, lease_until);
                }
                (None, None) => {}
            }
            leading.sealed_from = None;
            leading.followers.forget_named();
            leading.carry_lease(quorum(size).saturating_sub(1));
        }
        self.say_it_leads(now).ok_or(ControlOutcome::NotLeading)
    }

    /// A heartbeat at once, which names the new list.
    fn say_it_leads(&mut self, now: Instant) -> Option<Saying> {
        let own_lease = self.lease_by_itself(now);
        let Role::Leader(leading) = &mut self.role else {
            return None;
        };
        let round = leading.round;
        leading.note_heartbeat(now, self.timing.heartbeat_interval, own_lease);
        Some(Saying::Heartbeat { sent_at: now, round })
    }
}
