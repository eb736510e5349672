//! Campaigning: from the election timeout to a won election (rules C1 to C5), and what a refusal of
//! a higher term makes of it (rules T3, H5).

use core::num::{NonZeroU32, NonZeroU64};

use rand_core::Rng;

use super::Node;
use super::output::AfterSave;
use super::role::{Campaign, PreCampaign, Role};
use crate::votes::{Voter, Votes};
use crate::{
    Application, Config, Instant, Message, Mode, NodeId, PreVoteResponse, Reason, Report, TERM_END,
    VoteRecord, VoteRequest, VoteResponse, quorum,
};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// No leader was heard, or no quorum: the node runs for leader, if it may.
    pub(super) fn handle_election_timeout(&mut self, now: Instant) -> AfterSave {
        if !self.may_campaign() {
            // C4, C5: the same save is tried again instead. H4: a witness only waits.
            let election_at = self.draw_election_timeout(now);
            self.role.restart_timer(election_at);
            AfterSave::Nothing
        } else if self.is_bound(now) {
            // V2: a bound node doesn't vote for itself either.
            let election_at = self.draw(self.bound_until, self.timing.heartbeat_interval);
            self.role.restart_timer(election_at);
            AfterSave::Nothing
        } else if self.mode == Mode::Graft {
            // C2
            self.campaign(now, Reason::ElectionTimeout, None)
        } else {
            self.seek_leadership(now, Reason::ElectionTimeout, None)
        }
    }

    /// T3: a voter that knows a higher term ends this node's leadership or campaign. H5: a leader
    /// runs again at once, in place of the leader that it was, since it no longer has a lease. Nor
    /// is it bound or unable to save, or it would not have led.
    pub(super) fn handle_higher_term(&mut self, now: Instant, term: u64) -> AfterSave {
        let led = matches!(self.role, Role::Leader(_));
        let own_term = NonZeroU64::new(self.record.term);
        self.adopt_if_higher(now, term);
        if !led || self.mode == Mode::Graft {
            return AfterSave::Nothing;
        }
        self.seek_leadership(now, Reason::HigherTerm, own_term)
    }

    /// C5, H4: neither a node that fails to save campaigns, nor a witness.
    pub(super) fn may_campaign(&self) -> bool {
        !self.save_failed && self.priority != Config::WITNESS
    }

    /// C1: asks for pre-votes first. C2: but a cluster of one has nobody to ask.
    fn seek_leadership(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> AfterSave {
        if self.electorate.size() == 1 {
            self.campaign(now, reason, handover_from)
        } else {
            self.ask_for_pre_votes(now, reason, handover_from)
        }
    }

    /// Asks who would vote for this node in the next term (rule C1), again and again (rule C3).
    /// Nothing changes by that: neither its own term, nor anyone else's.
    ///
    /// The answers count together for T_min. One that was held back for longer may be of a voter
    /// that has heard a leader since, and the campaign that it helps to start would depose that
    /// leader.
    fn ask_for_pre_votes(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> AfterSave {
        let Some(term) = self.next_term(now) else {
            return AfterSave::Nothing;
        };
        let half = self.timing.heartbeat_interval / 2;
        let election_at = self.draw(now.plus_micros(half), half);
        let (round, handover_from) = match &mut self.role {
            // C1: what the round has brought still counts, unless ids that are gone leave no room
            // for others (V6).
            Role::PreCandidate(campaign)
                if now < campaign.round_until && !self.electorate.is_full() =>
            {
                campaign.election_at = election_at;
                (campaign.round, campaign.handover_from)
            }
            role => {
                let (leader, handover_from) = match role {
                    Role::PreCandidate(campaign) => {
                        (campaign.leader.take(), handover_from.or(campaign.handover_from))
                    }
                    role => (role.heard_leader().cloned(), handover_from),
                };
                let votes = self.start_count();
                let round = NonZeroU32::MIN | self.rng.next_u32();
                let round_until = now.plus_micros(self.timing.election_timeout_min);
                let campaign =
                    PreCampaign { votes, round, round_until, handover_from, leader, election_at };
                self.enter(Role::PreCandidate(campaign), reason);
                (round, handover_from)
            }
        };
        let request = self.request(term, handover_from, Some(round));
        AfterSave::to_everyone(Message::PreVoteRequest(request))
    }

    /// Counts a pre-vote; with a quorum of them the node campaigns (rule C2). Whatever binds a node
    /// makes it a follower, so a pre-candidate is never bound.
    pub(super) fn handle_pre_vote_response(
        &mut self,
        now: Instant,
        response: &PreVoteResponse,
    ) -> AfterSave {
        if response.term > self.record.term {
            return self.handle_higher_term(now, response.term);
        }
        let Role::PreCandidate(campaign) = &mut self.role else {
            return AfterSave::Nothing;
        };
        let is_answer = response.round == Some(campaign.round)
            && self.record.term.checked_add(1) == Some(response.proposed_term);
        if !is_answer {
            return AfterSave::Nothing;
        }
        // V6: one too many is to be noticed, whatever it answers.
        let voter = match self.electorate.enroll(&response.voter) {
            Ok(index) => Voter::Named(index),
            Err(report) => {
                self.report = Some(report);
                return AfterSave::Nothing;
            }
        };
        if !response.granted {
            return AfterSave::Nothing;
        }
        campaign.votes.insert(voter);
        if campaign.votes.count() < quorum(self.electorate.size()) || self.save_failed {
            return AfterSave::Nothing;
        }
        let handover_from = campaign.handover_from;
        self.campaign(now, Reason::WonPreVote, handover_from)
    }

    /// Starts a campaign in the next term with a vote for itself (rule C2). Both count from the
    /// save on.
    pub(super) fn campaign(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> AfterSave {
        let Some(term) = self.next_term(now) else {
            return AfterSave::Nothing;
        };
        let election_at = self.draw_election_timeout(now);
        self.set_record(VoteRecord { term, voted_for: Some(self.id.clone()) });
        let campaign = Campaign { votes: Votes::none(), handover_from, election_at };
        self.enter(Role::Candidate(campaign), reason);
        AfterSave::AskForVotes
    }

    /// The candidate's own vote is stored and counts; it asks for the others', unless it is a
    /// quorum by itself.
    pub(super) fn ask_for_votes(&mut self, now: Instant) -> AfterSave {
        let votes = self.start_count();
        let Role::Candidate(campaign) = &mut self.role else {
            return AfterSave::Nothing;
        };
        campaign.votes = votes;
        if campaign.votes.count() >= quorum(self.electorate.size()) {
            return self.begin_leading(now);
        }
        let handover_from = campaign.handover_from;
        let request = self.request(self.record.term, handover_from, None);
        AfterSave::to_everyone(Message::VoteRequest(request))
    }

    /// Counts a vote; with a quorum of them the node leads.
    pub(super) fn handle_vote_response(
        &mut self,
        now: Instant,
        response: &VoteResponse,
    ) -> AfterSave {
        if response.term > self.record.term {
            return self.handle_higher_term(now, response.term);
        }
        // A leader goes on looking at who answers: it may have been elected by too many voters.
        let has_asked = matches!(self.role, Role::Candidate(_) | Role::Leader(_));
        if !has_asked || response.term < self.record.term {
            return AfterSave::Nothing;
        }
        let voter = match self.identify(response.voter.as_ref()) {
            Ok(voter) => voter,
            Err(report) => {
                self.report = Some(report);
                return AfterSave::Nothing;
            }
        };
        let Role::Candidate(campaign) = &mut self.role else {
            return AfterSave::Nothing;
        };
        if !response.granted {
            return AfterSave::Nothing;
        }
        campaign.votes.insert(voter);
        if campaign.votes.count() < quorum(self.electorate.size()) {
            return AfterSave::Nothing;
        }
        self.begin_leading(now)
    }

    /// Which voter answered, whatever its answer: one too many is to be noticed before its vote is
    /// needed (rule V6).
    fn identify(&mut self, voter: Option<&NodeId>) -> Result<Voter, Report> {
        match voter {
            Some(voter) => self.electorate.enroll(voter).map(Voter::Named),
            // A Go node doesn't say who it is, so its vote can't be told from another's. It counts
            // only where there may be Go nodes, and never against a declared list (rule V6).
            None if self.mode == Mode::Extended || self.electorate.is_declared() => {
                Err(Report::NamelessVote)
            }
            None => Ok(Voter::Nameless),
        }
    }

    /// The term of the next campaign. Without one the node waits, for good (rule T4).
    fn next_term(&mut self, now: Instant) -> Option<u64> {
        let term = self.record.term.checked_add(1).filter(|term| *term < TERM_END);
        if term.is_none() {
            self.report = Some(Report::TermsExhausted);
            let election_at = self.draw_election_timeout(now);
            self.role.restart_timer(election_at);
        }
        term
    }

    /// The votes of a new count: this node's own.
    fn start_count(&mut self) -> Votes<VOTERS> {
        self.electorate.forget_heard();
        let mut votes = Votes::none();
        if let Ok(index) = self.electorate.enroll(&self.id) {
            votes.insert(Voter::Named(index));
        }
        votes
    }

    /// Asks for votes, or pre-votes, in `term`.
    fn request(
        &mut self,
        term: u64,
        handover_from: Option<NonZeroU64>,
        round: Option<NonZeroU32>,
    ) -> VoteRequest {
        VoteRequest {
            term,
            candidate: self.id.clone(),
            position: self.application.position(),
            handover_from,
            size: self.announced_size(),
            round,
        }
    }
}
