//! What a node owes to operators: whether it may lead, and how it answers (rules O1 to O4).

use graft_election_core::{
    ControlAction, ControlOutcome, ControlRequest, ControlResponse, Handover, Instant, Mode,
    NodeId, Round, State,
};

use super::Checker;
use super::incarnation::Incarnation;
use crate::Identity;
use crate::machine::CoreNode;
use crate::setup::VoteRecord;

/// What operators have made of a node's program since its start.
#[derive(Clone, Debug, Default)]
pub(super) struct Obedience {
    /// O3: its record said so when it started, or it has been paused since.
    is_paused: bool,
    /// O3: its own program keeps it from leading.
    is_held_back: bool,
    /// O4: the round of the last request that it obeyed.
    last: Option<Round>,
    /// What it has just heard, and must obey or not.
    asked: Option<ControlRequest>,
    /// What it is to answer.
    owes: Option<Owed>,
    /// O2: to whom it must hand over.
    successor: Option<NodeId>,
}

/// An answer that a node is to give.
#[derive(Clone, Copy, Debug)]
struct Owed {
    outcome: ControlOutcome,
    round: Round,
}

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// This answer, and nothing else.
    Answer(ControlOutcome),
    /// It is obeyed. A leader hands over, and says nothing else.
    Obeyed,
}

impl Obedience {
    /// That of a program that starts with this record.
    pub(super) fn of(record: &VoteRecord) -> Self {
        Self { is_paused: record.is_paused, ..Self::default() }
    }

    /// O3: whether it may not lead.
    pub(super) fn is_kept_back(&self) -> bool {
        self.is_paused || self.is_held_back
    }

    /// Its save failed: what it was about to say is lost.
    pub(super) fn loses_answer(&mut self) {
        self.owes = None;
        self.successor = None;
    }
}

impl Incarnation {
    /// It is about to hear a request.
    pub(super) fn is_asked(&mut self, request: &ControlRequest, name: Identity) {
        let is_meant = Identity::of(&request.node) == Some(name);
        self.obedience.asked = is_meant.then(|| request.clone());
    }

    /// O4, O2: what must come of a request.
    fn due(&self, request: &ControlRequest, has_handed_over: bool) -> Due {
        let Obedience { last, .. } = self.obedience;
        // Nobody can name a life that was never said.
        let is_its_life = request.life.is_some() && request.life == self.life;
        match request.action {
            ControlAction::Ask => Due::Answer(ControlOutcome::Done),
            _ if !self.obeys_operators => Due::Answer(ControlOutcome::Refused),
            _ if !is_its_life => Due::Answer(ControlOutcome::Outdated),
            _ if last == Some(request.round) => Due::Answer(ControlOutcome::Done),
            _ if last != request.last => Due::Answer(ControlOutcome::Outdated),
            ControlAction::Pause | ControlAction::Resume => Due::Obeyed,
            // What comes of it is for the checker of lists.
            ControlAction::AddVoter | ControlAction::RemoveVoter => Due::Obeyed,
            ControlAction::HandOver => {
                let leads_in_it = self.state == State::Leader && request.term == self.term;
                if !leads_in_it {
                    Due::Answer(ControlOutcome::NotLeading)
                } else if self.is_fit(request.target.as_ref(), has_handed_over) {
                    Due::Obeyed
                } else {
                    Due::Answer(ControlOutcome::UnfitTarget)
                }
            }
        }
    }

    /// O2: whether a leader may, or must, take the target for fit, or any follower if none is
    /// named. That depends on which of its lives the leader counts (N4): if several have answered,
    /// the leader decides. In Graft mode it knows of nobody.
    fn is_fit(&self, target: Option<&NodeId>, leader_says_so: bool) -> bool {
        if target.is_none() && self.mode == Mode::Graft {
            return self.size > 1;
        }
        let known = self.followers.fitness_of(target.map(Identity::of), self.input.at);
        if leader_says_so { known.may_be } else { known.is_sure }
    }
}

impl Checker {
    /// A node has heard a message; if it was a request of an operator, it must have done that, or
    /// not. It `gave_up` if it found that its lease was over, and heard nothing.
    pub(super) fn obeys(&mut self, node: Identity, program: &CoreNode, gave_up: bool) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let Some(request) = incarnation.obedience.asked.take().filter(|_| !gave_up) else { return };
        let led = incarnation.state == State::Leader;
        let stopped = led && program.state() != State::Leader;
        let due = incarnation.due(&request, stopped);
        let obedience = &mut incarnation.obedience;
        let ControlRequest { action, round, .. } = request;
        let must_stop = due == Due::Obeyed && led && action != ControlAction::Resume;
        if due == Due::Obeyed {
            obedience.last = Some(round);
            obedience.is_paused = match action {
                ControlAction::Pause => true,
                ControlAction::Resume => false,
                ControlAction::Ask
                | ControlAction::HandOver
                | ControlAction::AddVoter
                | ControlAction::RemoveVoter => obedience.is_paused,
            };
        }
        let outcome = match due {
            Due::Answer(outcome) => outcome,
            Due::Obeyed => ControlOutcome::Done,
        };
        obedience.owes = (!must_stop).then_some(Owed { outcome, round });
        obedience.successor = request.target.clone().filter(|_| must_stop);
        if due == Due::Obeyed && action == ControlAction::Resume {
            self.history(node).is_told_paused = false;
        }
        self.require("O2", must_stop == stopped, || {
            let must = if must_stop { "must stop leading" } else { "must not stop leading" };
            format!("{node} {must} because of {request:?}")
        });
    }

    /// O3: its own program is about to hold a node back, or no longer does.
    pub(crate) fn is_held_back(&mut self, node: Identity, is_held_back: bool, now: Instant) {
        self.acts(node, now);
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.obedience.is_held_back = is_held_back;
        }
    }

    /// A node gets an input. By then it must have answered what it was asked.
    pub(super) fn has_answered(&mut self, node: Identity) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let owed = incarnation.obedience.owes.take();
        self.require("O1", owed.is_none(), || format!("{node} doesn't answer: {owed:?}"));
    }

    /// A node answers an operator.
    pub(super) fn answers_operator(
        &mut self,
        node: Identity,
        durable: &VoteRecord,
        response: &ControlResponse,
    ) {
        let name = self.name(node);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let owed = incarnation.obedience.owes.take();
        let life = *incarnation.life.get_or_insert(response.life);
        let Obedience { is_paused, last, .. } = incarnation.obedience;
        let term = incarnation.term;
        let is_asked = owed.is_some_and(|it| it.round == response.round);
        self.require("O1", is_asked && Identity::of(&response.node) == Some(name), || {
            format!("{node} says {response:?}, and {owed:?} is what it was asked")
        });
        self.require("O1", response.term == term, || {
            format!("{node} is in term {term}, and tells an operator {response:?}")
        });
        let is_right = owed.is_none_or(|it| it.outcome == response.outcome)
            && (response.last, response.life) == (last, life);
        self.require("O4", is_right, || {
            format!("{node} owes {owed:?} after {last:?} in {life:?}, and answers {response:?}")
        });
        self.require("O3", response.is_paused == is_paused, || {
            format!("{node} says {response:?}, and whether it is paused is {is_paused}")
        });
        self.require("I6", response.is_paused == durable.is_paused, || {
            format!("{node} says {response:?} with {durable:?} on its disk")
        });
        self.history(node).is_told_paused = response.is_paused;
    }

    /// O2: a leader hands over as it was told to. Returns whether it was told to whom.
    pub(super) fn names_successor(&mut self, node: Identity, handover: &Handover) -> bool {
        let Some(incarnation) = &mut self.history(node).incarnation else { return false };
        let operators = incarnation.obedience.successor.take();
        let successor = operators.or_else(|| incarnation.input.successor.clone());
        let is_named = successor.is_none() || handover.target == successor;
        self.require("O2", is_named, || {
            format!("{node} is to hand over to {successor:?}, and says {handover:?}")
        });
        successor.is_some()
    }

    /// O3: a node that may be kept back is now in this state.
    pub(super) fn keeps_back(&mut self, node: Identity, state: State) {
        let incarnation = self.history(node).incarnation.as_ref();
        let is_kept_back = incarnation.is_some_and(|it| it.obedience.is_kept_back());
        let seeks = matches!(state, State::Leader | State::PreCandidate | State::Candidate);
        self.require("O3", !(is_kept_back && seeks), || {
            format!("{node} is kept from leading, and a {state}")
        });
    }

    /// O3: a record with another word on whether the node is paused is on its disk.
    pub(super) fn pause_stored(&mut self, node: Identity, before: bool, record: &VoteRecord) {
        let incarnation = self.history(node).incarnation.as_ref();
        let is_paused = incarnation.is_some_and(|it| it.obedience.is_paused);
        let is_right = record.is_paused == before || record.is_paused == is_paused;
        self.require("O3", is_right, || {
            format!("{node} stores {record:?}, and whether it is paused is {is_paused}")
        });
    }
}
