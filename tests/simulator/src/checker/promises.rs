//! What a node owes to what it hears, and to what it said before.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use graft_election_core::{
    HeartbeatResponse, Instant, Message, Mode, PreVoteResponse, Reason, State, VoteRequest,
    VoteResponse, quorum,
};

use super::doubt::Doubt;
use super::{Checker, TERM_END};
use crate::application::SimulatedApplication;
use crate::judgement::Judged;
use crate::machine::CoreNode;
use crate::setup::VoteRecord;
use crate::{Identity, Moment};

impl Checker {
    /// A node is about to be given an input that is not a message.
    pub(crate) fn acts(&mut self, node: Identity, now: Instant) {
        self.has_handed_over(node);
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.begin_input(now);
            // V8 is about messages.
            incarnation.input.may_restart_timer = true;
        }
    }

    /// A node is about to be told that no other process has its id (rule N5).
    pub(crate) fn has_no_double(&mut self, node: Identity) {
        if let Some(incarnation) = &mut self.history(node).incarnation
            && incarnation.term == 0
            && incarnation.quarantine.is_zero()
            && incarnation.doubt.as_ref().is_some_and(Doubt::may_be_dispelled)
        {
            incarnation.doubt = None;
        }
    }

    /// A node's timer is about to wake it.
    pub(crate) fn wakes(&mut self, node: Identity, now: Instant) {
        self.acts(node, now);
        if let Some(incarnation) = &mut self.history(node).incarnation
            && !incarnation.doubt.as_mut().is_some_and(|doubt| doubt.wakes(now))
        {
            incarnation.doubt = None;
        }
    }

    /// A node with this application is about to hear a message. Returns the terms that the node may
    /// have afterwards.
    pub(crate) fn hears(
        &mut self,
        node: Identity,
        now: Instant,
        message: &Message,
        application: SimulatedApplication,
    ) -> RangeInclusive<u64> {
        self.has_handed_over(node);
        self.hears_of_strangers(node, message);
        let name = self.name(node);
        let Some(incarnation) = &mut self.history(node).incarnation else { return 0..=u64::MAX };
        incarnation.begin_input(now);
        incarnation.application = application;
        incarnation.input.round = message.round();
        let own_term = incarnation.term;
        // The inner one is absent for a forged id.
        let sender = message.sender().map(Identity::of);
        let is_in_own_name = sender == Some(Some(name));
        let awaited = incarnation.awaited_round(message);
        if incarnation.is_late_vote(message) {
            incarnation.heard_late_vote = true;
        }
        // N1: an answer to nothing that was asked is not even read.
        let is_answered = match awaited {
            _ if !is_answer(message) => true,
            Some(_) if is_from_go(message) => incarnation.mode == Mode::Graft,
            Some((round, _)) => message.round() == Some(round) && !is_in_own_name,
            None => false,
        };
        if !is_answered || is_malformed(message, own_term) {
            return own_term..=own_term;
        }
        match message {
            Message::Who(question) => {
                let is_lower = incarnation.life.is_some_and(|own| own < question.life);
                if let Some(doubt) = incarnation.doubt.as_mut()
                    && is_in_own_name
                    && is_lower
                {
                    doubt.gives_way();
                }
                return own_term..=own_term;
            }
            Message::Here(answer) => {
                let life = incarnation.life;
                if let Some(doubt) = incarnation.doubt.as_mut().filter(|_| is_in_own_name) {
                    doubt.hears_here(answer, life);
                    incarnation.input.may_restart_timer = true;
                }
                return own_term..=own_term;
            }
            // O1: an operator's word has no term to adopt.
            Message::ControlRequest(request) => {
                incarnation.is_asked(request, name);
                return own_term..=own_term;
            }
            Message::ControlResponse(_) | Message::ListRequest(_) | Message::ListPart(_) => {
                return own_term..=own_term;
            }
            _ if is_in_own_name => {
                // V5, N3
                let is_own = message.round().is_some_and(|round| incarnation.has_spoken_of(round));
                incarnation.input.is_anothers = !is_own;
                incarnation.input.may_restart_timer = !is_own;
                return own_term..=own_term;
            }
            _ => {}
        }
        if incarnation.is_left_behind(sender.flatten(), message.list()) {
            let is_sure = awaited.is_none_or(|(_, is_sure)| is_sure);
            incarnation.input.is_of_older_list = Some(is_sure);
            incarnation.input.may_restart_timer = true;
            return own_term..=own_term.max(message.term());
        }
        incarnation.hears_of_list(message);
        self.hears_another(node, message, awaited.is_none_or(|(_, is_sure)| is_sure))
    }

    /// A node is about to hear what another node says, and asks it to look at. An answer may be one
    /// that is no longer awaited unless `is_awaited`.
    fn hears_another(
        &mut self,
        node: Identity,
        message: &Message,
        is_awaited: bool,
    ) -> RangeInclusive<u64> {
        let name = self.name(node);
        let Some(incarnation) = &mut self.history(node).incarnation else { return 0..=u64::MAX };
        let (own_term, term) = (incarnation.term, message.term());
        let sender = message.sender().map(Identity::of);
        let is_counted = incarnation.admits(sender.flatten());
        let is_foreign =
            sender.is_some() && !is_counted && !incarnation.is_outdated(message.list());
        let highest = term.max(own_term);
        match message {
            Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
                let terms = incarnation.hears_request(message, request);
                return if is_foreign { own_term..=own_term } else { terms };
            }
            Message::Heartbeat(heartbeat) => incarnation.hears_heartbeat(heartbeat),
            // V6, R10: a stranger gives up no lease of this cluster.
            Message::Handover(_) if !is_counted => return own_term..=own_term,
            Message::Handover(handover) => {
                let names_it = handover.target.as_ref().and_then(Identity::of) == Some(name);
                let terms = incarnation.hears_handover(handover, names_it);
                let is_free = incarnation.must_be_bound_until <= incarnation.input.at;
                // H2: of what it promised to earlier leaders, too. Their leases had run out.
                let history = self.history(node);
                history.promised_until = history.promised_until.filter(|_| !is_free);
                return terms;
            }
            // R10
            _ if is_foreign && term > own_term => return own_term..=own_term,
            _ => {
                let leads = incarnation.leads_by_lease();
                let is_last = term >= TERM_END - 1;
                let deposes = leads && term > own_term && incarnation.priority > 0 && !is_last;
                incarnation.input.deposes_it = deposes;
                let is_of_list = is_counted && !incarnation.input.has_other_list;
                let voter = sender.filter(|_| is_of_list);
                match (message, voter) {
                    (Message::HeartbeatResponse(response), Some(voter)) => {
                        incarnation.hears_echo(voter, response, incarnation.input.at);
                    }
                    (Message::VoteResponse(response), Some(voter)) => {
                        incarnation.hears_vote(voter, response);
                    }
                    (Message::VoteResponse(response), None) if sender.is_none() => {
                        incarnation.hears_nameless_vote(response);
                    }
                    _ => {}
                }
                if deposes && incarnation.size == 1 {
                    return term..=term + 1;
                }
                if let (Message::PreVoteResponse(response), Some(voter)) = (message, voter) {
                    incarnation.pre_votes.hear(voter, response);
                    // The last pre-vote that was missing makes it campaign.
                    return highest..=term.max(own_term + 1);
                }
                if !is_awaited {
                    return own_term..=highest;
                }
            }
        }
        highest..=highest
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
        let (input, before) = (incarnation.input.clone(), incarnation.deadline);
        let waits = incarnation.state == State::Follower && state == State::Follower;
        let asks = incarnation.state == State::PreCandidate && state == State::PreCandidate;
        let (heartbeat, mode) = (incarnation.heartbeat(), incarnation.mode);
        // L1: a leader whose lease is over stops, and hears nothing.
        let gave_up = incarnation.leads_by_lease() && program.reason() == Reason::LostQuorum;
        let is_excused = gave_up || state == State::Closed;
        self.obeys(node, program, gave_up);
        self.minds_strangers(node, program);
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        // A node that is about to close has other things to do, and one that has asked waits.
        let must_ask = input.is_anothers
            && incarnation.doubt.is_none()
            && incarnation.parting.stays_until.is_none();
        incarnation.takes_in(&input, program, is_excused);
        let knows_value = incarnation.knows_value(program);
        self.require("L7", knows_value, || {
            format!("{node} believes that {:?} says {:?}", program.leader(), program.leader_value())
        });
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
        let is_seeking = matches!(state, State::Leader | State::PreCandidate | State::Candidate);
        let is_extended = mode == Mode::Extended;
        self.require("N3", !(input.is_anothers && is_seeking && is_extended), || {
            format!("{node} heard another process in its own name, and goes on as a {state}")
        });
        let asks_in_time = deadline <= input.at.saturating_add(heartbeat) || is_excused;
        self.require("N3", !must_ask || asks_in_time, || {
            format!("{node} heard another process in its own name, and doesn't ask in time")
        });
        let restarts = (waits || asks && input.asked.is_some()) && deadline > before;
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let may_restart = match &input.asked {
            Some(asked) if restarts => {
                incarnation.pre_votes.end();
                deadline <= input.at.saturating_add(heartbeat * 2)
                    && incarnation.standing_back.stands_back(asked)
            }
            _ => input.may_restart_timer,
        };
        self.require("V8", !restarts || may_restart, || {
            format!("{node} restarts its election timer without cause")
        });
    }

    /// A node's attempt to save is over.
    pub(crate) fn save_ended(&mut self, node: Identity, has_failed: bool) {
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.save_failed = has_failed;
            if has_failed {
                if incarnation.parting.owes_handover.is_some() {
                    incarnation.parting.hands_over(incarnation.term);
                }
                incarnation.obedience.loses_answer();
            }
            if let (true, Some(doubt)) = (has_failed, &mut incarnation.doubt) {
                doubt.loses_question();
            }
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
    pub(super) fn keeps_promises(
        &mut self,
        node: Identity,
        durable: &VoteRecord,
        message: &Message,
    ) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let input = incarnation.input.clone();
        let leads = incarnation.state == State::Leader;
        let is_silent = incarnation.must_stand_aside(input.at);
        let may_speak = matches!(
            message,
            Message::Who(_)
                | Message::Here(_)
                | Message::ControlResponse(_)
                | Message::ListRequest(_)
                | Message::ListPart(_)
                | Message::Handover(_)
        );
        self.require("N3", !is_silent || may_speak, || {
            format!("{node} stands aside, and says {message:?}")
        });
        let is_echoed = message.round() == input.round;
        self.require("N1", !is_answer(message) || is_echoed, || {
            format!("{node} answers {:?} with another round: {message:?}", input.round)
        });
        match message {
            Message::HeartbeatResponse(response) => self.answers_leader(node, durable, response),
            Message::ControlResponse(response) => self.answers_operator(node, durable, response),
            Message::VoteRequest(request) => self.asks_for_votes(node, request),
            Message::PreVoteRequest(request) => self.asks_for_pre_votes(node, request),
            Message::VoteResponse(VoteResponse { granted, .. })
            | Message::PreVoteResponse(PreVoteResponse { granted, .. }) => {
                self.require("V2", !(*granted && input.is_barred), || {
                    format!("{node} helps to elect a leader while it is bound, or leads")
                });
                self.require("V4", !(*granted && input.is_unacceptable), || {
                    format!("{node} helps a candidate that its application refuses")
                });
            }
            Message::Handover(handover) => {
                self.hands_over(node, handover);
                self.require("H1", !leads, || format!("{node} hands over, and still leads"));
            }
            Message::Heartbeat(_) => self.goes_on(node),
            Message::Who(_)
            | Message::Here(_)
            | Message::ControlRequest(_)
            | Message::ListRequest(_)
            | Message::ListPart(_) => {}
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
        self.require("V6", !(helps && input.has_other_list), || {
            format!("{node} helps a node that goes by another list of voters")
        });
    }

    /// A node that is kept back says that it is, and doesn't offer to lead (rule O3).
    fn answers_leader(
        &mut self,
        node: Identity,
        durable: &VoteRecord,
        response: &HeartbeatResponse,
    ) {
        let Some(incarnation) = &self.history(node).incarnation else { return };
        let is_kept_back = incarnation.obedience.is_kept_back();
        let offers = is_kept_back && response.priority > 0;
        self.require("O3", response.is_paused == is_kept_back && !offers, || {
            format!("{node} says {response:?}, and whether it may not lead is {is_kept_back}")
        });
        if response.sent_at.is_some() {
            self.acknowledges(node, durable, response);
        }
    }

    /// An acknowledgement is a promise (rules V2, L2), which the record knows of (V3); a node that
    /// can't save may not offer to lead.
    fn acknowledges(&mut self, node: Identity, durable: &VoteRecord, response: &HeartbeatResponse) {
        let history = self.history(node);
        let Some(incarnation) = &mut history.incarnation else { return };
        let input = incarnation.input.clone();
        let t_min = incarnation.times[0].as_micros() as u64;
        let bound_until = incarnation.bound_from(input.at);
        let until = incarnation.must_be_bound_until.max(bound_until);
        incarnation.must_be_bound_until = until;
        history.promised_until = Some(until);
        let promised = response.bound_for.map(u64::from);
        self.require("L2", promised == Some(t_min), || {
            format!("{node} acknowledges a heartbeat and promises {promised:?} µs")
        });
        // A node that follows a forged leader may vote in that term, and forgets it.
        self.require("L2", !input.is_of_second || self.judged.is_of_nodes_alone(), || {
            format!("{node} acknowledges a second leader of its term, {:?}", input.heartbeat)
        });
        self.require("V3", u64::from(durable.bound_for) >= t_min, || {
            format!("{node} promises {t_min} µs, and its record knows of {durable:?}")
        });
        let may_lead = response.priority > 0;
        self.require("C5", !(may_lead && input.has_sick_disk), || {
            format!("{node} says that it may lead, and can't save")
        });
    }

    /// A node says something to everyone: it is of a round of its own.
    pub(super) fn speaks_for_itself(&mut self, node: Identity, message: &Message, now: Moment) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let is_operators = matches!(message, Message::ControlResponse(_));
        let is_new = message.round().is_some_and(|round| !incarnation.has_spoken_of(round));
        if let Some(round) = message.round().filter(|_| !is_operators) {
            incarnation.speaks_of(round);
        }
        match message {
            Message::VoteRequest(request) => {
                let campaign = request.round.map(|round| (request.term, round));
                incarnation.input.is_repeated = incarnation.campaign == campaign;
                incarnation.campaign = campaign;
            }
            Message::Heartbeat(heartbeat) => {
                incarnation.beats(heartbeat);
            }
            Message::Who(question) => {
                let until = incarnation.input.at.saturating_add(incarnation.times[0]);
                incarnation.life = Some(question.life);
                if let Some(doubt) = &mut incarnation.doubt {
                    doubt.asks(question.round, until);
                }
            }
            Message::Handover(handover) => self.handed_over.push(handover.term),
            _ => {}
        }
        let is_question = matches!(message, Message::Who(_));
        self.require("N5", !is_question || is_new, || {
            format!("{node} asks twice in one round: {message:?}")
        });
        self.judge_flag(node, message, now);
    }

    /// V2, H2, H5: a node may say that it runs in place of a leader only if it was that leader, and
    /// no longer leads, or if that leader told it to take over.
    fn judge_flag(&mut self, node: Identity, message: &Message, now: Moment) {
        let (Message::VoteRequest(request) | Message::PreVoteRequest(request)) = message else {
            return;
        };
        let Some(from) = request.handover_from.map(NonZeroU64::get) else { return };
        let Some(incarnation) = &self.history(node).incarnation else { return };
        let is_true = incarnation.gave_up.contains(&from) || incarnation.takes_over.contains(&from);
        self.require("H2", is_true, || {
            format!("{node} runs in place of the leader of term {from}, which never told it to")
        });
        // A forged handover may be told from a real one by nobody.
        let is_said = self.handed_over.contains(&from);
        if self.judged != Judged::Everything || !is_said || !self.is_voter(node) {
            return;
        }
        let holder = self.leases.holder_in(from, now);
        self.require("H2", holder.is_none(), || {
            let holder = holder.map(|holder| holder.to_string()).unwrap_or_default();
            format!("{node} runs in place of {holder}, which has a lease in term {from}")
        });
    }

    fn asks_for_votes(&mut self, node: Identity, request: &VoteRequest) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let input = incarnation.input.clone();
        let size = incarnation.size;
        let is_bound = incarnation.must_be_bound(input.at);
        let elects_alone = size == 1 || incarnation.mode == Mode::Graft;
        let is_witness = incarnation.priority == 0;
        let is_kept_back = incarnation.obedience.is_kept_back();
        let is_candidate = incarnation.state == State::Candidate;
        if !input.is_repeated {
            incarnation.begins_campaign();
        }
        let pre_votes = incarnation.pre_votes.count(request.term);
        let may_begin = input.names_it || elects_alone || pre_votes >= quorum(size);
        let may_run = if input.is_repeated { is_candidate } else { may_begin };
        self.require("V2", !is_bound, || format!("{node} campaigns while it is bound"));
        self.require("H4", !is_witness, || format!("{node} campaigns, a witness"));
        self.require("O3", !is_kept_back, || format!("{node} campaigns, and may not lead"));
        self.require("C2", may_run, || {
            format!("{node} campaigns with {pre_votes} pre-votes of {size}")
        });
    }

    fn asks_for_pre_votes(&mut self, node: Identity, request: &VoteRequest) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let at = incarnation.input.at;
        let is_bound = incarnation.must_be_bound(at);
        let is_witness = incarnation.priority == 0;
        let is_kept_back = incarnation.obedience.is_kept_back();
        let is_in_time = incarnation.pre_votes.ask(request, at, incarnation.times[0]);
        self.require("C1", is_in_time, || {
            format!("{node} asks for pre-votes in a round that is over")
        });
        self.require("H4", !is_witness, || format!("{node} asks for pre-votes, a witness"));
        self.require("O3", !is_kept_back, || {
            format!("{node} asks for pre-votes, and may not lead")
        });
        self.require("V2", !is_bound, || format!("{node} asks for pre-votes while it is bound"));
    }
}

/// Whether a node in `own_term` must ignore the message (rules T4, V2).
fn is_malformed(message: &Message, own_term: u64) -> bool {
    let term = message.term();
    let is_far = match own_term {
        0 => term > 1 << 48 && !is_answer(message),
        _ => term > own_term.saturating_add(1 << 32),
    };
    let hands_over_from_later = match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
            request.handover_from.is_some_and(|from| from.get() >= term)
        }
        _ => false,
    };
    term >= TERM_END || is_far || hands_over_from_later
}

fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::VoteResponse(_) | Message::PreVoteResponse(_) | Message::HeartbeatResponse(_)
    )
}

/// Whether an answer has nothing that only this implementation says (rule N1).
fn is_from_go(message: &Message) -> bool {
    let is_anonymous = message.round().is_none() && message.list().is_none();
    is_anonymous
        && match message {
            Message::VoteResponse(response) => response.voter.is_none() && response.life.is_none(),
            Message::HeartbeatResponse(response) => {
                let HeartbeatResponse { sent_at, priority, bound_for, life, .. } = response;
                sent_at.is_none() && *priority == 0 && bound_for.is_none() && life.is_none()
            }
            _ => false,
        }
}
