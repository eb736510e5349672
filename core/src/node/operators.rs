//! What a node does when it is asked from outside: it hands over, pauses and resumes (rules O1 to
//! O4), its own program holds it back (O3), and it knows what the leader says (L7).

use rand_core::Rng;

use super::Node;
use super::changing::Step;
use super::output::Output;
use super::role::Role;
use super::saying::Saying;
use crate::{
    Application, Change, ControlAction, ControlOutcome, ControlRequest, Instant, LeaderValue, Mode,
    NodeId, Reason,
};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// Keeps the node from leading, or no longer does: while its program is not fit to act as the
    /// leader, for example. One that leads hands over first. The node goes on voting. What an
    /// operator has asked is another matter (rule O3), and so is the next start: this isn't stored.
    pub fn hold_back(&mut self, now: Instant, is_held_back: bool) -> Output<'_, R, A, VOTERS> {
        let now = self.begin_input(now);
        self.is_held_back = is_held_back;
        let next = match &self.role {
            // L1: whatever its program says, the lease is over.
            Role::Leader(leading) if leading.has_lost_quorum(now) => self.step_down(now),
            _ => self.stop_if_kept_back(now),
        };
        self.finish_input(next)
    }

    /// Whether an operator has paused the node (rule O3).
    pub fn is_paused(&self) -> bool {
        self.record.is_paused
    }

    /// What the leader that the node follows says beside that it leads (rule L7); empty if it says
    /// nothing, or there is none. What this node says is for its [`Application`].
    pub fn leader_value(&self) -> &LeaderValue {
        match &self.role {
            Role::Follower(following) if following.leader.is_some() => &following.value,
            _ => LeaderValue::EMPTY_REF,
        }
    }

    /// O3: whether an operator or its own program keeps it from leading.
    pub(super) fn is_kept_back(&self) -> bool {
        self.record.is_paused || self.is_held_back
    }

    pub(super) fn handle_control_request(
        &mut self,
        now: Instant,
        request: &ControlRequest,
    ) -> Option<Saying> {
        if request.node != self.id {
            return None;
        }
        let next = match self.obey(now, request) {
            Ok(next) => next,
            Err(outcome) => return Self::answer_operator(request, outcome),
        };
        match next {
            None => Self::answer_operator(request, ControlOutcome::Done),
            // O4: the request will be repeated, and answered then.
            handover => handover,
        }
    }

    /// Does what is asked, unless it is done already, or should not or can't be.
    fn obey(
        &mut self,
        now: Instant,
        request: &ControlRequest,
    ) -> Result<Option<Saying>, ControlOutcome> {
        if request.action == ControlAction::Ask {
            // O5
            let part = |place| self.list_part(place, None);
            return request.wanted.and_then(part).map(Some).ok_or(ControlOutcome::Done);
        }
        if !self.obeys_operators {
            return Err(ControlOutcome::Refused);
        }
        self.check_order(request)?;
        let next = match request.action {
            ControlAction::Ask => None,
            ControlAction::HandOver => {
                let target = self.check_handover(now, request)?;
                self.give_way(now, target)
            }
            ControlAction::Pause => {
                self.set_paused(true);
                self.stop_if_kept_back(now)
            }
            ControlAction::Resume => {
                self.set_paused(false);
                None
            }
            ControlAction::AddVoter | ControlAction::RemoveVoter => {
                match self.change(now, &self.requested_change(request)?)? {
                    // O4: the list that was asked for has yet to be made.
                    Step::Seal(saying) => return Ok(Some(saying)),
                    Step::Change(saying) => Some(saying),
                }
            }
        };
        self.obeyed = Some(request.round);
        Ok(next)
    }

    /// O4: whether it is the next request. One that was obeyed already is answered again.
    fn check_order(&self, request: &ControlRequest) -> Result<(), ControlOutcome> {
        if request.life != Some(self.rounds.life()) {
            return Err(ControlOutcome::Outdated);
        }
        if self.obeyed == Some(request.round) {
            return Err(match request.action {
                ControlAction::AddVoter | ControlAction::RemoveVoter => self.change_outcome(),
                _ => ControlOutcome::Done,
            });
        }
        if request.last == self.obeyed { Ok(()) } else { Err(ControlOutcome::Outdated) }
    }

    /// R7: the change that is asked for, of the leader of that term.
    fn requested_change(&self, request: &ControlRequest) -> Result<Change, ControlOutcome> {
        if !self.allows_changes {
            return Err(ControlOutcome::Refused);
        }
        let adds = request.action == ControlAction::AddVoter;
        let voter = request.target.clone().ok_or(ControlOutcome::UnfitTarget)?;
        let is_its_term = request.term == self.record.term;
        let list = request.list;
        is_its_term.then_some(Change { adds, voter, list }).ok_or(ControlOutcome::NotLeading)
    }

    /// O4: how far a change is that this node has made.
    fn change_outcome(&self) -> ControlOutcome {
        match self.role {
            Role::Leader(_) if self.is_list_committed() => ControlOutcome::Done,
            Role::Leader(_) => ControlOutcome::NotCommitted,
            _ => ControlOutcome::NotLeading,
        }
    }

    /// O2: to whom the leader is to hand over, if it can.
    fn check_handover(
        &self,
        now: Instant,
        request: &ControlRequest,
    ) -> Result<Option<NodeId>, ControlOutcome> {
        let leads = matches!(self.role, Role::Leader(_));
        if !leads || request.term != self.record.term {
            return Err(ControlOutcome::NotLeading);
        }
        let target = self.fit_successor(now, request.target.as_ref());
        // In Graft mode followers don't say whether they are fit.
        let is_any =
            request.target.is_none() && self.mode == Mode::Graft && self.electorate().size() > 1;
        if target.is_some() || is_any { Ok(target) } else { Err(ControlOutcome::UnfitTarget) }
    }

    /// O3: the record keeps it.
    fn set_paused(&mut self, is_paused: bool) {
        if self.record.is_paused != is_paused {
            self.record.is_paused = is_paused;
            self.unsaved = true;
        }
    }

    /// O3: who may not lead doesn't, nor campaign.
    fn stop_if_kept_back(&mut self, now: Instant) -> Option<Saying> {
        match self.role {
            Role::Leader(_) if self.is_kept_back() => self.give_way(now, None),
            _ if self.is_kept_back() => self.stop_leading(now, Reason::KeptBack),
            _ => None,
        }
    }

    fn answer_operator(request: &ControlRequest, outcome: ControlOutcome) -> Option<Saying> {
        Some(Saying::ControlResponse { outcome, round: request.round })
    }
}
