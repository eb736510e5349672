//! How a node answers each kind of message.

use core::num::{NonZeroU32, NonZeroU64};

use rand_core::Rng;

use crate::node::PRIORITY_NEVER;
use crate::output::Next;
use crate::role::Role;
use crate::votes::Ineligible;
use crate::{
    Application, Heartbeat, HeartbeatResponse, Instant, Message, Mode, Node, NodeId,
    PreVoteResponse, Reason, Refusal, Report, TERM_END, VoteRecord, VoteRequest, VoteResponse,
};

impl<R: Rng, S: Application, const VOTERS: usize> Node<R, S, VOTERS> {
    /// Checks what makes a message worth answering at all, whatever its kind.
    pub(crate) fn is_plausible(&mut self, message: &Message) -> bool {
        let (own_term, term) = (self.record.term, message.term());
        // T4: one packet must not use up the number space.
        let leap = own_term != 0 && term > own_term.saturating_add(1 << 32);
        if term >= TERM_END || leap || hands_over_from_no_earlier_term(message) {
            self.report = Some(Report::TermOutOfRange { term });
            return false;
        }
        // V5
        if message.sender() == Some(&self.id) {
            let reached = match message {
                // What it asked for was a pre-vote in the term after its own.
                Message::PreVoteRequest(_) => own_term.saturating_add(1),
                _ => own_term,
            };
            if term > reached {
                self.report = Some(Report::DuplicateId { term });
            }
            return false;
        }
        true
    }

    pub(crate) fn on_vote_request(&mut self, now: Instant, request: &VoteRequest) -> Next {
        self.refusal = self.refuses(now, request).or_else(|| self.refuses_vote(now, request));
        let granted = self.refusal.is_none();
        if granted {
            self.cast_vote(now, &request.candidate);
        }
        let (term, voter) = (self.record.term, Some(self.id.clone()));
        let response = VoteResponse { term, granted, voter };
        Next::to_node(&request.candidate, Message::VoteResponse(response))
    }

    /// Whether the candidate may have this node's vote; a higher term is adopted first (rules T3,
    /// V4).
    fn refuses_vote(&mut self, now: Instant, request: &VoteRequest) -> Option<Refusal> {
        self.adopt_if_higher(now, request.term);
        if request.term < self.record.term {
            return Some(Refusal::StaleTerm);
        }
        match &self.record.voted_for {
            Some(candidate) if *candidate != request.candidate => Some(Refusal::VoteSpent),
            _ => self.refuses_candidate(request),
        }
    }

    /// V1: the vote is part of the record, so it is stored before it is given. V8: only this and an
    /// accepted heartbeat restart the election timer.
    fn cast_vote(&mut self, now: Instant, candidate: &NodeId) {
        if self.record.voted_for.is_none() {
            let (term, voted_for) = (self.record.term, Some(candidate.clone()));
            self.set_record(VoteRecord { term, voted_for });
        }
        let election_at = self.draw_election_timeout(now);
        match self.role {
            Role::PreCandidate { .. } => {
                self.follow_no_one(election_at, Reason::GaveVote);
            }
            // H3: the successor has this node's vote, so it is free to go.
            Role::Closing { .. } => self.enter(Role::Closed, Reason::Closed),
            _ => self.restart_timer(election_at),
        }
    }

    /// V2: a bound node refuses without adopting the term, and so does a leader that has a lease to
    /// lose, unless the leader that binds it has told the candidate to take over.
    fn refuses(&self, now: Instant, request: &VoteRequest) -> Option<Refusal> {
        let leads = matches!(self.role, Role::Leader { .. });
        let is_released = request.handover_from.is_some_and(|from| {
            let leads_it = leads && from.get() == self.record.term;
            from.get() >= self.record.term && !leads_it
        });
        match () {
            () if is_released => None,
            () if leads && self.mode == Mode::Extended => Some(Refusal::Leading),
            () if !self.is_bound(now) => None,
            () if self.is_quarantined => Some(Refusal::Quarantined),
            () => Some(Refusal::Bound),
        }
    }

    /// Whether the candidate is one of this cluster's voters (rules V6, L6) and up to date (rule
    /// V4).
    fn refuses_candidate(&mut self, request: &VoteRequest) -> Option<Refusal> {
        if !self.is_one_of_us(&request.candidate, request.size) {
            return Some(Refusal::NotOneOfUs);
        }
        let is_acceptable = self.application.grants_vote(request.position.as_bytes());
        (!is_acceptable).then_some(Refusal::Position)
    }

    /// Whether a node may be elected or lead with this node's help. A leader that strangers elect,
    /// or that counts another quorum, is not the only one of its term.
    fn is_one_of_us(&mut self, node: &NodeId, size: Option<NonZeroU32>) -> bool {
        self.admits(node) && self.agrees_on_size(node, size)
    }

    /// V6: whether a node may be one of the voters.
    pub(crate) fn admits(&mut self, node: &NodeId) -> bool {
        let is_admitted = self.electorate.admits(node);
        if !is_admitted {
            self.report = Some(Report::Stranger(node.clone()));
        }
        is_admitted
    }

    /// L6: two sizes mean two quorums.
    fn agrees_on_size(&mut self, node: &NodeId, size: Option<NonZeroU32>) -> bool {
        let Some(size) = size.map(NonZeroU32::get) else {
            return true;
        };
        let agrees = usize::try_from(size) == Ok(self.electorate.size());
        if !agrees {
            self.report = Some(Report::SizeMismatch { node: node.clone(), size });
        }
        agrees
    }

    /// The place of a voter that answered, whatever its answer: one too many is to be noticed
    /// before its vote is needed (rule V6).
    pub(crate) fn place(&mut self, voter: &NodeId) -> Option<usize> {
        match self.electorate.place(voter) {
            Ok(place) => Some(place),
            Err(ineligible) => {
                self.report = Some(match ineligible {
                    Ineligible::Stranger => Report::Stranger(voter.clone()),
                    Ineligible::Surplus => Report::SurplusVoter(voter.clone()),
                });
                None
            }
        }
    }

    pub(crate) fn on_heartbeat(&mut self, now: Instant, heartbeat: &Heartbeat) -> Next {
        if heartbeat.term < self.record.term {
            // T2: the refusal carries our term, and promises nothing.
            self.refusal = Some(Refusal::StaleTerm);
            return self.heartbeat_response(&heartbeat.leader, None);
        }
        let is_successor = heartbeat.term > self.record.term;
        self.adopt_if_higher(now, heartbeat.term);
        // L2: one leader a term. A stranger may lead beside it, and doesn't count (rule V6).
        let is_second = self.role.leader_of_term().is_some_and(|known| {
            let admits = |leader| self.electorate.admits(leader);
            *known != heartbeat.leader && (admits(known) || !admits(&heartbeat.leader))
        });
        if is_second {
            self.report = Some(Report::SecondLeader(heartbeat.leader.clone()));
            return Next::Nothing;
        }
        let election_at = self.draw_election_timeout(now);
        let leader = Some(heartbeat.leader.clone());
        let follower = Role::Follower { leader, promoted: None, election_at };
        match &self.role {
            Role::Follower { .. } => self.enter(follower, self.reason),
            // V1: the candidate's vote for itself stays.
            Role::PreCandidate { .. } | Role::Candidate { .. } => {
                self.enter(follower, Reason::LeaderHeard);
            }
            // L5
            Role::Leader { .. } => {
                self.report = Some(Report::SecondLeader(heartbeat.leader.clone()));
                self.follow_no_one(election_at, Reason::SecondLeader);
                return Next::Nothing;
            }
            // H3
            Role::Closing { .. } if is_successor => {
                self.enter(Role::Closed, Reason::Closed);
                return Next::Nothing;
            }
            Role::Closing { .. } | Role::Closed => {
                self.report = Some(Report::SecondLeader(heartbeat.leader.clone()));
                return Next::Nothing;
            }
        }
        self.acknowledge(now, heartbeat)
    }

    /// L2: who acknowledges is bound first. In both modes: the leader may rely on it.
    fn acknowledge(&mut self, now: Instant, heartbeat: &Heartbeat) -> Next {
        let is_one_of_us = self.is_one_of_us(&heartbeat.leader, heartbeat.size);
        let Some(sent_at) = heartbeat.sent_at else { return Next::Nothing };
        // V3: a longer quarantine goes on.
        let bound_until =
            now.plus_micros(self.timing.election_timeout_min).plus_micros(self.timing.clock_tick);
        if bound_until >= self.bound_until {
            (self.bound_until, self.is_quarantined) = (bound_until, false);
        }
        if !is_one_of_us {
            return Next::Nothing;
        }
        self.heartbeat_response(&heartbeat.leader, Some(sent_at))
    }

    /// An acknowledgement if it echoes `sent_at`, else a refusal.
    fn heartbeat_response(&mut self, leader: &NodeId, sent_at: Option<NonZeroU64>) -> Next {
        let bound_for = NonZeroU64::new(u64::from(self.timing.election_timeout_min));
        let response = HeartbeatResponse {
            term: self.record.term,
            follower: self.id.clone(),
            position: self.application.position(),
            sent_at,
            // C5
            priority: if self.save_failed { PRIORITY_NEVER } else { self.priority },
            bound_for: sent_at.and(bound_for),
        };
        Next::to_node(leader, Message::HeartbeatResponse(response))
    }

    /// C1: answering a pre-vote changes nothing, whatever the answer.
    pub(crate) fn on_pre_vote_request(&mut self, now: Instant, request: &VoteRequest) -> Next {
        let is_stale = (request.term <= self.record.term).then_some(Refusal::StaleTerm);
        self.refusal =
            self.refuses(now, request).or(is_stale).or_else(|| self.refuses_candidate(request));
        let granted = self.refusal.is_none();
        let response = PreVoteResponse {
            term: self.record.term,
            granted,
            voter: self.id.clone(),
            proposed_term: request.term,
            round: request.round,
        };
        Next::to_node(&request.candidate, Message::PreVoteResponse(response))
    }
}

/// A leader hands over to a later term; anything else is malformed (rule V2).
fn hands_over_from_no_earlier_term(message: &Message) -> bool {
    match message {
        Message::VoteRequest(request) | Message::PreVoteRequest(request) => {
            request.handover_from.is_some_and(|from| from.get() >= request.term)
        }
        _ => false,
    }
}
