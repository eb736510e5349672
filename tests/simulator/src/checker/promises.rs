//! What a node owes to what it hears, and to what it said before.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use graft_election_core::{
    Instant, Message, Mode, PreVoteResponse, Reason, State, VoteResponse, quorum,
};

use super::life::Input;
use super::{Checker, FORGED, TERM_END, place};
use crate::Identity;
use crate::station::CoreNode;

impl Checker {
    /// A node is about to be given an input that is no message.
    pub(crate) fn acts(&mut self, node: Identity, now: Instant) {
        self.has_handed_over(node);
        let size = self.size;
        if let Some(life) = &mut self.claims(node).life {
            // V8 is about messages.
            let is_over = life.leads_by_lease() && size > 1 && now >= life.leads_until(size);
            let has_sick_disk = life.save_failed;
            life.input = Input {
                at: now,
                has_sick_disk,
                is_over,
                may_restart_timer: true,
                ..Input::default()
            };
        }
    }

    /// A node is about to hear a message. Returns the terms that it may have afterwards.
    pub(crate) fn hears(
        &mut self,
        node: Identity,
        now: Instant,
        message: &Message,
    ) -> RangeInclusive<u64> {
        self.has_handed_over(node);
        let sender = message.sender().map(Identity::of);
        let is_counted = !(self.declared && self.is_voter(node))
            || sender.flatten().is_some_and(|sender| self.is_voter(sender));
        let place = sender.map(|sender| sender.map_or(FORGED, place)).filter(|_| is_counted);
        let size = self.size;
        let Some(life) = &mut self.claims(node).life else { return 0..=u64::MAX };
        let is_over = life.leads_by_lease() && size > 1 && now >= life.leads_until(size);
        let has_sick_disk = life.save_failed;
        life.input = Input { at: now, has_sick_disk, is_over, ..Input::default() };
        let (own_term, term) = (life.term, message.term());
        // T4, V2, V5: what is no message to the node changes nothing.
        let is_far = own_term != 0 && term > own_term.saturating_add(1 << 32);
        let is_malformed = match message {
            Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
                request.handover_from.is_some_and(|from| from.get() >= term)
            }
            _ => false,
        };
        if term >= TERM_END || is_far || is_malformed || sender == Some(Some(node)) {
            return own_term..=own_term;
        }
        let is_bound = now < life.may_be_bound_until;
        let leads = life.leads_by_lease();
        match message {
            Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
                let is_released = life.is_released_by(request);
                life.input.is_barred = !is_released && (leads || now < life.must_be_bound_until);
                life.input.has_other_size = is_other_size(request.size, size);
                life.input.may_restart_timer =
                    !life.input.is_barred && matches!(message, Message::VoteRequest(_));
                life.input.frees_it = life.input.may_restart_timer;
                let must_stay = life.input.is_barred || !life.input.may_restart_timer;
                let must_adopt = !must_stay && (is_released || !is_bound);
                let highest = if must_stay { own_term } else { term.max(own_term) };
                let lowest = if must_adopt { highest } else { own_term };
                return lowest..=highest;
            }
            Message::Heartbeat(heartbeat) => {
                life.input.may_restart_timer = term >= own_term;
                life.input.has_other_size = is_other_size(heartbeat.size, size);
                life.input.is_rivalry = life.state == State::Leader && term == own_term;
                life.input.frees_it = term > own_term;
                if term >= own_term {
                    life.parting.hears_leader();
                }
                if heartbeat.sent_at.is_some() {
                    let bound_until = life.bound_from(now);
                    life.may_be_bound_until = life.may_be_bound_until.max(bound_until);
                }
            }
            // V6: a stranger gives up no lease of this cluster's.
            Message::Handover(_) if !is_counted => {}
            Message::Handover(handover) => {
                let leads_it = life.state == State::Leader && term == own_term;
                if term >= own_term && !leads_it {
                    life.input.ready_within = life.ready_within(handover);
                    life.input.names_it =
                        handover.target.as_ref().and_then(Identity::of) == Some(node);
                    life.may_be_bound_until = now;
                    life.must_be_bound_until = now;
                }
                // Who is told to take over campaigns in the next term.
                return term.max(own_term)..=term.max(own_term) + 1;
            }
            Message::HeartbeatResponse(_)
            | Message::VoteResponse(_)
            | Message::PreVoteResponse(_) => {
                let is_last = term >= TERM_END - 1;
                life.input.deposes_it = leads && term > own_term && life.priority > 0 && !is_last;
                if let (Message::HeartbeatResponse(response), Some(place)) = (message, place) {
                    life.hears_echo(place, response, now);
                }
                if let (Message::VoteResponse(response), Some(place)) = (message, place) {
                    life.hears_vote(place, response, size);
                }
                if life.input.deposes_it && size == 1 {
                    return term..=term + 1;
                }
                // The last pre-vote that was missing makes it campaign.
                if let (Message::PreVoteResponse(response), Some(place)) = (message, place) {
                    life.pre_votes.hear(place, response);
                    return term.max(own_term)..=term.max(own_term + 1);
                }
            }
        }
        term.max(own_term)..=term.max(own_term)
    }

    /// A node has heard a message, after which it must have one of these terms.
    pub(crate) fn heard(
        &mut self,
        node: Identity,
        program: &CoreNode,
        terms: &RangeInclusive<u64>,
    ) {
        let (term, state, deadline) = (program.term(), program.state(), program.deadline());
        let Some(life) = &mut self.claims(node).life else { return };
        let (input, before) = (life.input, life.deadline);
        let waits = life.state == State::Follower && state == State::Follower;
        // L1: a leader whose lease is over stops, and hears nothing.
        let gave_up = life.leads_by_lease() && program.reason() == Reason::LostQuorum;
        let is_excused = gave_up || state == State::Closed;
        self.require("T3", term >= *terms.start() || is_excused, || {
            format!("{node} heard of term {} and stays in term {term}", terms.start())
        });
        self.require("T4", term <= *terms.end(), || {
            format!("{node} is in term {term} now, but no higher term than {} is due", terms.end())
        });
        self.require("L4", !(input.is_over && state == State::Leader), || {
            format!("{node} leads on in term {term} without a quorum that is bound to it")
        });
        let runs_again = matches!(state, State::PreCandidate | State::Candidate) || is_excused;
        self.require("H5", !input.deposes_it || runs_again, || {
            format!("{node}, a leader deposed by a refusal, is a {state} and doesn't run again")
        });
        self.require("L5", !(input.is_rivalry && state == State::Leader), || {
            format!("{node} leads on in term {term}, and heard another who leads in it")
        });
        let is_ready = |within| deadline <= input.at.saturating_add(within);
        let takes_over = input.names_it && state == State::Candidate;
        let is_late = !is_excused && !takes_over && !input.ready_within.is_none_or(is_ready);
        self.require("H2", !is_late, || {
            format!("{node} heard of a handover, and would still be silent {deadline:?}")
        });
        let restarts = waits && deadline > before;
        self.require("V8", !restarts || input.may_restart_timer, || {
            format!("{node} restarts its election timer without cause")
        });
    }

    /// A node's attempt to save is over.
    pub(crate) fn save_ended(&mut self, node: Identity, has_failed: bool) {
        if let Some(life) = &mut self.claims(node).life {
            life.save_failed = has_failed;
        }
    }

    /// A node was `before`, and may have begun to run for leader.
    pub(super) fn runs(&mut self, node: Identity, before: State, state: State) {
        let Some(life) = &self.claims(node).life else { return };
        let has_sick_disk = life.input.has_sick_disk;
        let runs = matches!(state, State::PreCandidate | State::Candidate) && state != before;
        self.require("C5", !(runs && has_sick_disk), || {
            format!("{node} is a {state}, and can't save")
        });
    }

    /// What a node says must fit what it said before, and what it was asked (rules V2, V3, L2, L6,
    /// C1, C2, C5, H1, H4).
    pub(super) fn keeps_promises(&mut self, node: Identity, message: &Message) {
        let size = self.size;
        let Some(life) = &mut self.claims(node).life else { return };
        let input = life.input;
        let is_bound = input.at < life.must_be_bound_until;
        let (leads, elects_alone) =
            (life.state == State::Leader, size == 1 || life.mode == Mode::Graft);
        let is_witness = life.priority == 0;
        match message {
            Message::HeartbeatResponse(response) if response.sent_at.is_some() => {
                let t_min = life.times[0].as_micros() as u64;
                life.must_be_bound_until = life.must_be_bound_until.max(life.bound_from(input.at));
                let promised = response.bound_for.map(u64::from);
                self.require("L2", promised == Some(t_min), || {
                    format!("{node} acknowledges a heartbeat and promises {promised:?} µs")
                });
                let may_lead = response.priority > 0;
                self.require("C5", !(may_lead && input.has_sick_disk), || {
                    format!("{node} says that it may lead, and can't save")
                });
            }
            Message::VoteRequest(request) => {
                life.begins_campaign();
                let pre_votes = life.pre_votes.count(request.term);
                let may_run = input.names_it || elects_alone || pre_votes >= quorum(size);
                self.require("V2", !is_bound, || format!("{node} campaigns while it is bound"));
                self.require("H4", !is_witness, || format!("{node} campaigns, a witness"));
                self.require("C2", may_run, || {
                    format!("{node} campaigns with {pre_votes} pre-votes of {size}")
                });
            }
            Message::PreVoteRequest(request) => {
                let is_in_time = life.pre_votes.ask(request, input.at, life.times[0]);
                self.require("C1", is_in_time, || {
                    format!("{node} asks for pre-votes in a round that is over")
                });
                self.require("H4", !is_witness, || format!("{node} asks for pre-votes, a witness"));
                self.require("V2", !is_bound, || {
                    format!("{node} asks for pre-votes while it is bound")
                });
            }
            Message::VoteResponse(VoteResponse { granted, .. })
            | Message::PreVoteResponse(PreVoteResponse { granted, .. }) => {
                self.require("V2", !(*granted && input.is_barred), || {
                    format!("{node} helps to elect a leader while it is bound, or leads")
                });
            }
            Message::Handover(handover) => {
                self.hands_over(node, handover);
                self.require("H1", !leads, || format!("{node} hands over, and leads on"));
            }
            Message::Heartbeat(_) | Message::HeartbeatResponse(_) => {}
        }
        let helps = match message {
            Message::VoteResponse(response) => response.granted,
            Message::PreVoteResponse(response) => response.granted,
            Message::HeartbeatResponse(response) => response.sent_at.is_some(),
            _ => false,
        };
        self.require("L6", !(helps && input.has_other_size), || {
            format!("{node} helps a node that believes in another cluster size")
        });
    }
}

/// Whether a node that says so believes in another size of the cluster (rule L6).
fn is_other_size(said: Option<NonZeroU32>, size: usize) -> bool {
    said.is_some_and(|said| usize::try_from(said.get()) != Ok(size))
}
