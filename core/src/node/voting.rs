//! Voting: what binds a node, whom it may vote for, and the vote it casts (rules V1 to V8).

use rand_core::Rng;

use super::Node;
use super::role::Role;
use super::saying::{Answer, Saying};
use crate::{Application, Instant, Mode, Reason, Refusal, Report, VoteRequest};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    pub(super) fn handle_vote_request(
        &mut self,
        now: Instant,
        request: &VoteRequest,
    ) -> Option<Saying> {
        let verdict = match self.withheld(now, request) {
            // V2: without adopting the term.
            Some(refusal) => Err(refusal.into()),
            None => {
                // T3, V4: the term is adopted first, whatever becomes of the vote. R10: but for a
                // stranger's.
                if !self.is_foreign(&request.candidate, request.list) {
                    self.adopt_if_higher(now, request.term);
                }
                self.check_vote(request)
            }
        };
        let granted = verdict.is_ok();
        match verdict {
            Ok(()) => self.cast_vote(now, request),
            Err(objection) => self.keep(objection),
        }
        let answer = Answer::Vote { granted, round: request.round };
        Some(Saying::answer(request.candidate.clone(), answer))
    }

    /// C1: answering a pre-vote changes nothing but when the node itself asks (rule C1a).
    pub(super) fn handle_pre_vote_request(
        &mut self,
        now: Instant,
        request: &VoteRequest,
    ) -> Option<Saying> {
        let verdict = match self.withheld(now, request) {
            Some(refusal) => Err(refusal.into()),
            None if request.term <= self.record.term => Err(Refusal::StaleTerm.into()),
            None => self.check_candidate(request),
        };
        let granted = verdict.is_ok();
        match verdict {
            Ok(()) => self.stand_back(now, &request.candidate, request.round),
            Err(objection) => self.keep(objection),
        }
        let (proposed_term, round) = (request.term, request.round);
        let answer = Answer::PreVote { granted, proposed_term, round };
        Some(Saying::answer(request.candidate.clone(), answer))
    }

    /// V2: a bound node withholds its vote, and so does a leader that has a lease to lose, unless
    /// the leader that binds it has told the candidate to take over.
    fn withheld(&self, now: Instant, request: &VoteRequest) -> Option<Refusal> {
        let leads = matches!(self.role, Role::Leader(_));
        let is_released = request.handover_from.is_some_and(|from| {
            let leads_it = leads && from.get() == self.record.term;
            from.get() >= self.record.term && !leads_it
        });
        if is_released {
            None
        } else if leads && self.mode == Mode::Extended {
            Some(Refusal::Leading)
        } else if !self.is_bound(now) {
            None
        } else if self.is_quarantined || self.asks_until().is_some() {
            Some(Refusal::Quarantined)
        } else {
            Some(Refusal::Bound)
        }
    }

    /// V1, N2: whether the candidate may have this node's vote of the term. Another process of its
    /// id may not, and a restart forgets which of them had it.
    fn check_vote(&mut self, request: &VoteRequest) -> Result<(), Objection> {
        if request.term < self.record.term {
            return Err(Refusal::StaleTerm.into());
        }
        match &self.record.voted_for {
            None => self.check_candidate(request),
            Some(candidate) if *candidate != request.candidate => Err(Refusal::VoteSpent.into()),
            Some(candidate) => match self.vote_round {
                Some(round) if round == request.round => self.check_candidate(request),
                Some(_) => {
                    let report = Some(Report::TwoCampaigns(candidate.clone()));
                    Err(Objection { refusal: Refusal::VoteSpent, report })
                }
                None => Err(Refusal::VoteSpent.into()),
            },
        }
    }

    /// Whether both are this cluster's voters, by no older list than this node's (rules V6, R4,
    /// R11, L6), and the candidate is up to date (rule V4).
    fn check_candidate(&mut self, request: &VoteRequest) -> Result<(), Objection> {
        self.electorate().check_candidate(&request.candidate, request.size, request.list)?;
        if !self.is_voter() {
            return Err(Refusal::NoVoter.into());
        }
        if self.application.grants_vote(request.position.as_bytes()) {
            Ok(())
        } else {
            Err(Refusal::Position.into())
        }
    }

    /// Keeps the objection for the node's owner to see.
    fn keep(&mut self, Objection { refusal, report }: Objection) {
        (self.refusal, self.report) = (Some(refusal), report);
    }

    /// V1: the vote is part of the record, so it is stored before it is given. V8: only this and an
    /// accepted heartbeat restart the election timer. C2a: a vote that is given again changes
    /// nothing.
    fn cast_vote(&mut self, now: Instant, request: &VoteRequest) {
        if self.record.voted_for.is_some() {
            return;
        }
        self.set_record(self.record.term, Some(request.candidate.clone()));
        self.vote_round = Some(request.round);
        self.standing_back.forget();
        let election_at = self.draw_election_timeout(now);
        match self.role {
            Role::PreCandidate(_) => {
                let heard = self.role.heard_leader().cloned();
                self.enter(Role::waiting(election_at), Reason::GaveVote);
                // L2: no second leader of the term is accepted.
                self.role.remember_leader(heard);
            }
            // H3: the successor has this node's vote, so it is free to go.
            Role::Closing(_) => self.enter(Role::Closed, Reason::Closed),
            _ => self.role.restart_timer(election_at),
        }
    }
}

/// Why a candidate is not supported, and what is wrong with it, if anything is.
struct Objection {
    refusal: Refusal,
    report: Option<Report>,
}

impl From<Refusal> for Objection {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, report: None }
    }
}

impl From<Report> for Objection {
    /// A candidate that is not a voter of this cluster is both refused and reported (rules V6, L6).
    fn from(report: Report) -> Self {
        Self { refusal: Refusal::NotOneOfUs, report: Some(report) }
    }
}
