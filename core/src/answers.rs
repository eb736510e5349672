//! How a node answers each kind of message.

use core::num::{NonZeroU32, NonZeroU64};

use rand_core::Rng;

use crate::output::Next;
use crate::role::Role;
use crate::votes::Ineligible;
use crate::{
    Heartbeat, HeartbeatResponse, Instant, Message, Node, NodeId, PreVoteResponse, Reason, Report,
    StateMachine, TERM_END, VoteRecord, VoteRequest, VoteResponse,
};

/// The priority of a node that may campaign (rule H4).
const PRIORITY_DEFAULT: u32 = 1;

/// The priority of a node that must not win elections (rules H4, C5).
const PRIORITY_NEVER: u32 = 0;

impl<R: Rng, S: StateMachine, const VOTERS: usize> Node<R, S, VOTERS> {
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
            if term > own_term {
                self.report = Some(Report::DuplicateId { term });
            }
            return false;
        }
        true
    }

    pub(crate) fn on_vote_request(&mut self, now: Instant, request: &VoteRequest) -> Next {
        let granted = !self.is_bound_against(now, request) && self.judge(now, request);
        if granted {
            self.cast_vote(now, &request.candidate);
        }
        let (term, voter) = (self.record.term, Some(self.id.clone()));
        let response = VoteResponse { term, granted, voter };
        Next::to_node(&request.candidate, Message::VoteResponse(response))
    }

    /// Whether the candidate may have this node's vote; a higher term is adopted first (rules T3,
    /// V4).
    fn judge(&mut self, now: Instant, request: &VoteRequest) -> bool {
        self.adopt_if_higher(now, request.term);
        // T2, V1
        let is_free = match &self.record.voted_for {
            Some(candidate) => *candidate == request.candidate,
            None => true,
        };
        request.term == self.record.term && is_free && self.accepts_candidate(request)
    }

    /// V1: the vote is part of the record, so it is stored before it is given. V8: only this and an
    /// accepted heartbeat restart the election timer.
    fn cast_vote(&mut self, now: Instant, candidate: &NodeId) {
        if self.record.voted_for.is_none() {
            let (term, voted_for) = (self.record.term, Some(candidate.clone()));
            self.set_record(VoteRecord { term, voted_for });
        }
        let election_at = self.draw_election_timeout(now);
        self.restart_timer(election_at);
        if matches!(self.role, Role::Closing { .. }) {
            // H3: the successor has this node's vote, so it is free to go.
            self.enter(Role::Closed, Reason::Closed);
        }
    }

    /// V2: a bound node refuses without adopting the term, unless the leader it is bound to has
    /// told the candidate to take over.
    fn is_bound_against(&self, now: Instant, request: &VoteRequest) -> bool {
        let is_released = request.handover_from.is_some_and(|from| {
            let leads_it =
                matches!(self.role, Role::Leader { .. }) && from.get() == self.record.term;
            from.get() >= self.record.term && !leads_it
        });
        self.is_bound(now) && !is_released
    }

    /// Whether the candidate is one of this cluster's voters (rules V6, L6) and up to date (rule
    /// V4).
    fn accepts_candidate(&mut self, request: &VoteRequest) -> bool {
        self.is_one_of_us(&request.candidate, request.size)
            && self.state_machine.grants_vote(request.position.as_bytes())
    }

    /// Whether a node may be elected or lead with this node's help. A leader that strangers elect,
    /// or that counts another quorum, is not the only one of its term.
    fn is_one_of_us(&mut self, node: &NodeId, size: Option<NonZeroU32>) -> bool {
        let is_admitted = self.electorate.admits(node);
        if !is_admitted {
            self.report = Some(Report::Stranger(node.clone()));
        }
        is_admitted && self.agrees_on_size(node, size)
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

    pub(crate) fn on_vote_response(&mut self, now: Instant, response: &VoteResponse) -> Next {
        self.adopt_if_higher(now, response.term);
        // A leader goes on looking at who answers: it may have been elected by too many voters.
        let has_asked = matches!(self.role, Role::Candidate { .. } | Role::Leader { .. });
        if !has_asked || response.term < self.record.term {
            return Next::Nothing;
        }
        let place = match &response.voter {
            Some(voter) => {
                let Some(place) = self.place(voter) else { return Next::Nothing };
                Some(place)
            }
            // A Go node doesn't say who it is, so its vote can't be told from another's; against a
            // declared list of voters it can't be checked at all (rule V6).
            None if self.electorate.is_declared() => {
                self.report = Some(Report::NamelessVote);
                return Next::Nothing;
            }
            None => None,
        };
        if response.granted { self.count_vote(now, place) } else { Next::Nothing }
    }

    /// The place of a voter that answered, whatever its answer: one too many is to be noticed
    /// before its vote is needed (rule V6).
    fn place(&mut self, voter: &NodeId) -> Option<usize> {
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
            return self.heartbeat_response(&heartbeat.leader, None);
        }
        let is_successor = heartbeat.term > self.record.term;
        self.adopt_if_higher(now, heartbeat.term);
        let election_at = self.draw_election_timeout(now);
        let leader = Some(heartbeat.leader.clone());
        match &self.role {
            // L2: one leader a term.
            Role::Follower { leader: Some(known), .. } if *known != heartbeat.leader => {
                self.report = Some(Report::SecondLeader(heartbeat.leader.clone()));
                return Next::Nothing;
            }
            Role::Follower { .. } => self.role = Role::Follower { leader, election_at },
            // V1: the candidate's vote for itself stays.
            Role::Candidate { .. } => {
                self.enter(Role::Follower { leader, election_at }, Reason::LeaderHeard);
            }
            // L5
            Role::Leader { .. } => {
                self.report = Some(Report::SecondLeader(heartbeat.leader.clone()));
                self.enter(Role::Follower { leader: None, election_at }, Reason::SecondLeader);
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
        let bound_until = now.plus_micros(self.timing.election_timeout_min);
        self.bound_until = self.bound_until.max(bound_until);
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
            position: self.state_machine.position(),
            sent_at,
            // C5
            priority: if self.save_failed { PRIORITY_NEVER } else { PRIORITY_DEFAULT },
            bound_for: sent_at.and(bound_for),
        };
        Next::to_node(leader, Message::HeartbeatResponse(response))
    }

    /// C1: answering a pre-vote changes nothing, whatever the answer.
    pub(crate) fn on_pre_vote_request(&mut self, now: Instant, request: &VoteRequest) -> Next {
        let granted = !self.is_bound_against(now, request)
            && request.term > self.record.term
            && self.accepts_candidate(request);
        let response = PreVoteResponse {
            term: self.record.term,
            granted,
            voter: self.id.clone(),
            proposed_term: request.term,
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
