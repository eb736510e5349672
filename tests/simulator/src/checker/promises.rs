//! What a node owes to what it hears, and to what it said before.

use std::ops::RangeInclusive;

use graft_election_core::{
    HeartbeatResponse, Instant, Message, Mode, PreVoteResponse, Reason, State, VoteRequest,
    VoteResponse, quorum,
};

use super::{Checker, TERM_END};
use crate::Identity;
use crate::machine::CoreNode;

impl Checker {
    /// A node is about to be given an input that is not a message.
    pub(crate) fn acts(&mut self, node: Identity, now: Instant) {
        self.has_handed_over(node);
        let size = self.size;
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.begin_input(now, size);
            // V8 is about messages.
            incarnation.input.may_restart_timer = true;
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
        // The inner one is absent for a forged id.
        let sender = message.sender().map(Identity::of);
        let is_counted = !(self.declared && self.is_voter(node))
            || sender.flatten().is_some_and(|sender| self.is_voter(sender));
        let size = self.size;
        let Some(incarnation) = &mut self.history(node).incarnation else { return 0..=u64::MAX };
        incarnation.begin_input(now, size);
        let (own_term, term) = (incarnation.term, message.term());
        if is_malformed(message, own_term) || sender == Some(Some(node)) {
            return own_term..=own_term;
        }
        match message {
            Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
                return incarnation.hears_request(message, request, size);
            }
            Message::Heartbeat(heartbeat) => incarnation.hears_heartbeat(heartbeat, size),
            // V6: a stranger gives up no lease of this cluster.
            Message::Handover(_) if !is_counted => {}
            Message::Handover(handover) => return incarnation.hears_handover(node, handover),
            Message::HeartbeatResponse(_)
            | Message::VoteResponse(_)
            | Message::PreVoteResponse(_) => {
                let leads = incarnation.leads_by_lease();
                let is_last = term >= TERM_END - 1;
                let deposes = leads && term > own_term && incarnation.priority > 0 && !is_last;
                incarnation.input.deposes_it = deposes;
                let voter = sender.filter(|_| is_counted);
                match (message, voter) {
                    (Message::HeartbeatResponse(response), Some(voter)) => {
                        incarnation.hears_echo(voter, response, now);
                    }
                    (Message::VoteResponse(response), Some(voter)) => {
                        incarnation.hears_vote(voter, response, size);
                    }
                    _ => {}
                }
                if deposes && size == 1 {
                    return term..=term + 1;
                }
                if let (Message::PreVoteResponse(response), Some(voter)) = (message, voter) {
                    incarnation.pre_votes.hear(voter, response);
                    // The last pre-vote that was missing makes it campaign.
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
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let (input, before) = (incarnation.input, incarnation.deadline);
        let waits = incarnation.state == State::Follower && state == State::Follower;
        // L1: a leader whose lease is over stops, and hears nothing.
        let gave_up = incarnation.leads_by_lease() && program.reason() == Reason::LostQuorum;
        let is_excused = gave_up || state == State::Closed;
        self.require("T3", term >= *terms.start() || is_excused, || {
            format!("{node} heard of term {} and stays in term {term}", terms.start())
        });
        self.require("T4", term <= *terms.end(), || {
            format!("{node} is in term {term} now, but no higher term than {} is due", terms.end())
        });
        self.require("L4", !(input.is_over && state == State::Leader), || {
            format!("{node} still leads in term {term}, without a quorum that is bound to it")
        });
        let runs_again = matches!(state, State::PreCandidate | State::Candidate) || is_excused;
        self.require("H5", !input.deposes_it || runs_again, || {
            format!("{node}, a leader deposed by a refusal, is a {state} and doesn't run again")
        });
        self.require("L5", !(input.is_of_second_leader && state == State::Leader), || {
            format!("{node} still leads in term {term}, and heard another leader of that term")
        });
        let is_ready = |within| deadline <= input.at.saturating_add(within);
        let takes_over = input.names_it && state == State::Candidate;
        let is_late = !is_excused && !takes_over && !input.ready_within.is_none_or(is_ready);
        self.require("H2", !is_late, || {
            format!("{node} heard of a handover, and would still be silent until {deadline:?}")
        });
        let restarts = waits && deadline > before;
        self.require("V8", !restarts || input.may_restart_timer, || {
            format!("{node} restarts its election timer without cause")
        });
    }

    /// A node's attempt to save is over.
    pub(crate) fn save_ended(&mut self, node: Identity, has_failed: bool) {
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.save_failed = has_failed;
        }
    }

    /// A node was `before`, and may have begun to campaign.
    pub(super) fn runs(&mut self, node: Identity, before: State, state: State) {
        let Some(incarnation) = &self.history(node).incarnation else { return };
        let has_sick_disk = incarnation.input.has_sick_disk;
        let runs = matches!(state, State::PreCandidate | State::Candidate) && state != before;
        self.require("C5", !(runs && has_sick_disk), || {
            format!("{node} is a {state}, and can't save")
        });
    }

    /// What a node says must fit what it said before, and what it was asked (rules V2, V3, L2, L6,
    /// C1, C2, C5, H1, H4).
    pub(super) fn keeps_promises(&mut self, node: Identity, message: &Message) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let input = incarnation.input;
        let leads = incarnation.state == State::Leader;
        match message {
            Message::HeartbeatResponse(response) if response.sent_at.is_some() => {
                self.acknowledges(node, response);
            }
            Message::VoteRequest(request) => self.asks_for_votes(node, request),
            Message::PreVoteRequest(request) => self.asks_for_pre_votes(node, request),
            Message::VoteResponse(VoteResponse { granted, .. })
            | Message::PreVoteResponse(PreVoteResponse { granted, .. }) => {
                self.require("V2", !(*granted && input.is_barred), || {
                    format!("{node} helps to elect a leader while it is bound, or leads")
                });
            }
            Message::Handover(handover) => {
                self.hands_over(node, handover);
                self.require("H1", !leads, || format!("{node} hands over, and still leads"));
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
            format!("{node} helps a node that is configured with another cluster size")
        });
    }

    /// An acknowledgement is a promise (rules V2, L2); a node that can't save may not offer to
    /// lead.
    fn acknowledges(&mut self, node: Identity, response: &HeartbeatResponse) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let input = incarnation.input;
        let t_min = incarnation.times[0].as_micros() as u64;
        let bound_until = incarnation.bound_from(input.at);
        incarnation.must_be_bound_until = incarnation.must_be_bound_until.max(bound_until);
        let promised = response.bound_for.map(u64::from);
        self.require("L2", promised == Some(t_min), || {
            format!("{node} acknowledges a heartbeat and promises {promised:?} µs")
        });
        let may_lead = response.priority > 0;
        self.require("C5", !(may_lead && input.has_sick_disk), || {
            format!("{node} says that it may lead, and can't save")
        });
    }

    fn asks_for_votes(&mut self, node: Identity, request: &VoteRequest) {
        let size = self.size;
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let input = incarnation.input;
        let is_bound = input.at < incarnation.must_be_bound_until;
        let elects_alone = size == 1 || incarnation.mode == Mode::Graft;
        let is_witness = incarnation.priority == 0;
        incarnation.begins_campaign();
        let pre_votes = incarnation.pre_votes.count(request.term);
        let may_run = input.names_it || elects_alone || pre_votes >= quorum(size);
        self.require("V2", !is_bound, || format!("{node} campaigns while it is bound"));
        self.require("H4", !is_witness, || format!("{node} campaigns, a witness"));
        self.require("C2", may_run, || {
            format!("{node} campaigns with {pre_votes} pre-votes of {size}")
        });
    }

    fn asks_for_pre_votes(&mut self, node: Identity, request: &VoteRequest) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let at = incarnation.input.at;
        let is_bound = at < incarnation.must_be_bound_until;
        let is_witness = incarnation.priority == 0;
        let is_in_time = incarnation.pre_votes.ask(request, at, incarnation.times[0]);
        self.require("C1", is_in_time, || {
            format!("{node} asks for pre-votes in a round that is over")
        });
        self.require("H4", !is_witness, || format!("{node} asks for pre-votes, a witness"));
        self.require("V2", !is_bound, || format!("{node} asks for pre-votes while it is bound"));
    }
}

/// Whether a node in `own_term` must ignore the message (rules T4, V2).
fn is_malformed(message: &Message, own_term: u64) -> bool {
    let term = message.term();
    let is_far = own_term != 0 && term > own_term.saturating_add(1 << 32);
    let hands_over_from_later = match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
            request.handover_from.is_some_and(|from| from.get() >= term)
        }
        _ => false,
    };
    term >= TERM_END || is_far || hands_over_from_later
}
