//! Campaigning: from the election timeout to a won election (rules C1 to C5), and what a refusal of
//! a higher term makes of it (rules T3, H5).

use core::num::NonZeroU64;

use rand_core::Rng;

use super::Node;
use super::role::{Campaign, PreCampaign, Role};
use super::saying::{Request, Saying};
use crate::votes::{Answer, Count, TwoLives, Voter};
use crate::{
    Application, Config, Instant, Message, Mode, NodeId, PreVoteResponse, Reason, Report, Round,
    TERM_END, VoteResponse,
};

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// No leader was heard, or no quorum: the node runs for leader, if it may.
    pub(super) fn handle_election_timeout(&mut self, now: Instant) -> Option<Saying> {
        if !self.may_campaign() {
            // C4, C5: the same save is tried again instead. H4, O3: a witness only waits.
            let election_at = self.draw_election_timeout(now);
            self.role.restart_timer(election_at);
            None
        } else if self.is_bound(now) {
            // V2: a bound node doesn't vote for itself either.
            let election_at = match self.mode {
                Mode::Extended => self.draw_first_request(),
                Mode::Graft => self.draw(self.free_at(), self.timing.heartbeat_interval),
            };
            self.role.restart_timer(election_at);
            None
        } else if self.mode == Mode::Graft {
            // C2
            self.campaign(now, Reason::ElectionTimeout, None)
        } else {
            self.seek_leadership(now, Reason::ElectionTimeout, None)
        }
    }

    /// T3: a voter that knows a higher term ends this node's leadership or campaign. H5: a leader
    /// runs again at once, in place of the leader that it was, since it no longer has a lease. Nor
    /// is it bound, or it would not have led; but it may have failed to store a list.
    pub(super) fn handle_higher_term(&mut self, now: Instant, term: u64) -> Option<Saying> {
        let led = matches!(self.role, Role::Leader(_));
        let own_term = NonZeroU64::new(self.record.term);
        self.adopt_if_higher(now, term);
        if !led || self.mode == Mode::Graft || !self.may_campaign() {
            return None;
        }
        self.seek_leadership(now, Reason::HigherTerm, own_term)
    }

    /// C5, H4, N3, O3, R11: neither a node that fails to save campaigns, nor a witness, nor one
    /// that is no voter, stands aside or is kept back.
    pub(super) fn may_campaign(&self) -> bool {
        !self.save_failed
            && self.priority != Config::WITNESS
            && self.is_voter()
            && !self.stands_aside()
            && !self.is_kept_back()
    }

    /// C1: asks for pre-votes first. C2: but a cluster of one has nobody to ask.
    fn seek_leadership(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> Option<Saying> {
        if self.electorate().size() == 1 {
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
    ) -> Option<Saying> {
        let term = self.next_term(now)?;
        let election_at = self.draw_repetition(now);
        let is_full = self.electorate().is_full();
        let (round, handover_from) = match &mut self.role {
            // C1: what the round has brought still counts, unless ids that are gone leave no room
            // for others (V6).
            Role::PreCandidate(campaign) if now < campaign.round_until && !is_full => {
                campaign.election_at = election_at;
                (campaign.count.round, campaign.handover_from)
            }
            _ => self.begin_pre_campaign(now, reason, handover_from, election_at),
        };
        Some(Saying::PreVoteRequest(Request { term, handover_from, round }))
    }

    /// A new round of pre-votes. What the one before has learnt of the leader stays.
    fn begin_pre_campaign(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
        election_at: Instant,
    ) -> (Round, Option<NonZeroU64>) {
        let is_full = self.electorate().is_full();
        let (leader, handover_from, open_campaign) = match &mut self.role {
            Role::PreCandidate(campaign) => (
                campaign.leader.take(),
                handover_from.or(campaign.handover_from),
                campaign.open_campaign.take().filter(|_| !is_full),
            ),
            // C3: the votes of the node's own term may still come.
            Role::Candidate(campaign) => (None, handover_from, Some(campaign.count.clone())),
            role => (role.heard_leader().cloned(), handover_from, None),
        };
        let count = match open_campaign {
            // Its voters keep their places.
            Some(_) => self.count_own_vote(),
            None => self.start_count(),
        };
        let round = count.round;
        let round_until = now.plus_micros(self.timing.election_timeout_min);
        let campaign =
            PreCampaign { count, open_campaign, round_until, handover_from, leader, election_at };
        self.enter(Role::PreCandidate(campaign), reason);
        (round, handover_from)
    }

    /// Counts a pre-vote; with a quorum of them the node campaigns (rule C2). Whatever binds a node
    /// makes it a follower, so a pre-candidate is never bound.
    pub(super) fn handle_pre_vote_response(
        &mut self,
        now: Instant,
        response: &PreVoteResponse,
    ) -> Option<Saying> {
        if response.term > self.record.term {
            return self.handle_higher_term(now, response.term);
        }
        let size = self.electorate().size();
        let Role::PreCandidate(campaign) = &mut self.role else {
            return None;
        };
        if self.record.term.checked_add(1) != Some(response.proposed_term) {
            return None;
        }
        // V6: one too many is to be noticed, whatever it answers.
        let voter = match self.heard.enroll_answer(&self.record, &response.voter, response.list) {
            Ok(index) => Voter::Named(index),
            Err(report) => {
                self.report = self.unless_outsiders(report, response.list, response.wanted);
                return None;
            }
        };
        let answer = Answer { voter, life: response.life, granted: response.granted };
        if let Err(TwoLives) = campaign.count.note(answer) {
            self.report = Some(Report::TwoLives(response.voter.clone()));
        }
        if !campaign.count.has_quorum(size) || self.save_failed {
            return None;
        }
        let handover_from = campaign.handover_from;
        self.campaign(now, Reason::WonPreVote, handover_from)
    }

    /// Starts a campaign in the next term with a vote for itself (rule C2). Nobody hears of either
    /// before both are stored; if they can't be, the campaign is over.
    pub(super) fn campaign(
        &mut self,
        now: Instant,
        reason: Reason,
        handover_from: Option<NonZeroU64>,
    ) -> Option<Saying> {
        let term = self.next_term(now)?;
        let election_at = self.draw_election_timeout(now);
        let repeats_at = match self.mode {
            Mode::Extended => self.draw_repetition(now),
            Mode::Graft => Instant::FAR_FUTURE,
        };
        self.set_record(term, Some(self.id.clone()));
        let count = self.start_count();
        let (round, has_won) = (count.round, count.has_quorum(self.electorate().size()));
        let campaign = Campaign { count, handover_from, repeats_at, election_at };
        self.enter(Role::Candidate(campaign), reason);
        let request = Saying::VoteRequest(Request { term, handover_from, round });
        (!has_won).then_some(request)
    }

    /// C2a: the request, or the answer to it, may have been lost. Who has voted for this campaign
    /// says so again.
    pub(super) fn repeat_request(&mut self, now: Instant) -> Option<Saying> {
        let repeats_at = self.draw_repetition(now);
        let Role::Candidate(campaign) = &mut self.role else {
            return None;
        };
        campaign.repeats_at = repeats_at;
        let (round, handover_from) = (campaign.count.round, campaign.handover_from);
        let term = self.record.term;
        Some(Saying::VoteRequest(Request { term, handover_from, round }))
    }

    /// C2a, C3: when a request is repeated.
    fn draw_repetition(&mut self, now: Instant) -> Instant {
        let half = self.timing.heartbeat_interval / 2;
        self.draw(now.plus_micros(half), half)
    }

    /// C1a: the node has granted a pre-vote, and lets that candidate go first. Two that ask at the
    /// same time would both win their rounds, and then split the votes: so of those the one with
    /// the smaller id goes first. Who runs in a leader's place does not wait (rules H2, H5).
    pub(super) fn stand_back(&mut self, now: Instant, candidate: &NodeId, round: Option<Round>) {
        let is_first = match &self.role {
            Role::Follower(_) => false,
            Role::PreCandidate(own) => own.handover_from.is_some() || self.id < *candidate,
            Role::Candidate(own) => own.handover_from.is_some(),
            Role::Leader(_) | Role::Closing(_) | Role::Closed => true,
        };
        if self.mode == Mode::Graft || is_first || !self.standing_back.note(candidate, round) {
            return;
        }
        let heartbeat = self.timing.heartbeat_interval;
        let election_at = self.draw(now.plus_micros(heartbeat), heartbeat);
        self.role.put_timer_off(election_at);
        if let Role::PreCandidate(own) = &mut self.role {
            // Answers to the round that it asked in no longer count (N1); it asks in another.
            own.count = Count::new(self.rounds.draw());
            own.round_until = now;
        }
    }

    /// Counts a vote; with a quorum of them the node leads. It counts for as long as the term is
    /// the node's own, even if the node asks for pre-votes again by then (rule C3).
    pub(super) fn handle_vote_response(
        &mut self,
        now: Instant,
        response: &VoteResponse,
    ) -> Option<Saying> {
        if response.term > self.record.term {
            return self.handle_higher_term(now, response.term);
        }
        if response.term < self.record.term {
            return None;
        }
        let voter = match self.identify(response) {
            Ok(voter) => voter,
            Err(report) => {
                self.report = self.unless_outsiders(report, response.list, response.wanted);
                return None;
            }
        };
        let size = self.electorate().size();
        let count = match &mut self.role {
            Role::Candidate(campaign) => &mut campaign.count,
            Role::PreCandidate(PreCampaign { open_campaign: Some(count), .. }) => count,
            _ => return None,
        };
        let answer = Answer { voter, life: response.life, granted: response.granted };
        if let Err(TwoLives) = count.note(answer) {
            self.report = response.voter.clone().map(Report::TwoLives);
        }
        if !count.has_quorum(size) {
            return None;
        }
        let round = count.round;
        self.begin_leading(now, round)
    }

    /// C3: whether it answers a campaign of this node's that is over: the voter took too long.
    pub(super) fn is_late_vote(&self, message: &Message, round: Option<Round>) -> bool {
        matches!(message, Message::VoteResponse(_))
            && self.has_drawn(round)
            && self.role.awaited_round(message) != round
    }

    /// Which voter answered, whatever its answer: one too many is to be noticed before its vote is
    /// needed (rule V6).
    fn identify(&mut self, response: &VoteResponse) -> Result<Voter, Report> {
        match &response.voter {
            Some(voter) => {
                let index = self.heard.enroll_answer(&self.record, voter, response.list);
                index.map(Voter::Named)
            }
            // A Go node doesn't say who it is, so its vote can't be told from another's, and never
            // counts against a declared list (rule V6).
            None if self.electorate().is_declared() => Err(Report::NamelessVote),
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

    /// A new count, which forgets the voters that an earlier one heard of.
    fn start_count(&mut self) -> Count<VOTERS> {
        self.heard.forget();
        self.count_own_vote()
    }

    /// A new count, with this node's own vote.
    fn count_own_vote(&mut self) -> Count<VOTERS> {
        let mut count = Count::new(self.rounds.draw());
        if let Ok(index) = self.heard.enroll(&self.record, &self.id) {
            let (voter, life) = (Voter::Named(index), Some(self.rounds.life()));
            // A count that has just begun knows of no other life.
            let _ = count.note(Answer { voter, life, granted: true });
        }
        count
    }
}
