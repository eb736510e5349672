//! A voter that behaves as the Go original does: it says nothing of rounds, lives or lists, and
//! promises nothing. The defects of the original that concern a running voter are in it (section 6
//! of the protocol): G3, G5, G7, G9, G13 to G15.

use std::time::Duration;

use graft_election_core::{
    Heartbeat, Instant, LeaderValue, Message, NodeId, Outgoing, Position, Reason, Recipient, State,
    VoteRequest, VoteResponse, quorum,
};

use crate::setup::VoteRecord;
use rand::RngExt;
use rand::rngs::SmallRng;

/// What runs on the machine of a Go node.
#[derive(Debug)]
pub(crate) struct GoVoter {
    id: NodeId,
    size: usize,
    times: [Duration; 3],
    rng: SmallRng,
    /// Its term, and its vote in it.
    record: VoteRecord,
    state: State,
    reason: Reason,
    pub(crate) leader: Option<NodeId>,
    /// How many answers of its term were votes, its own included.
    votes: usize,
    /// The position of its application, which accepts candidates at this one or beyond.
    pub(crate) position: u16,
    /// When its election timer runs out, or the next heartbeat is due.
    pub(crate) deadline: Instant,
}

impl GoVoter {
    /// It starts with what is in its log, under a new id (G8).
    pub(crate) fn new(
        id: NodeId,
        size: usize,
        times: [Duration; 3],
        record: VoteRecord,
        rng: SmallRng,
        now: Instant,
    ) -> Self {
        let mut voter = Self {
            id,
            size,
            times,
            rng,
            record,
            state: State::Follower,
            reason: Reason::Started,
            leader: None,
            votes: 0,
            position: 0,
            deadline: now,
        };
        voter.restart_timer(now);
        voter
    }

    pub(crate) fn view(&self) -> (State, Reason, u64) {
        (self.state, self.reason, self.record.term)
    }

    /// What it has to have stored before it says anything.
    pub(crate) fn record(&self) -> &VoteRecord {
        &self.record
    }

    /// Its timer has run out. Returns what it says to everyone.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Outgoing> {
        if now < self.deadline {
            return None;
        }
        let message = if self.state == State::Leader {
            self.deadline = now.saturating_add(self.times[2]);
            Message::Heartbeat(self.heartbeat())
        } else {
            self.record.term += 1;
            self.record.voted_for = Some(self.id.clone());
            (self.leader, self.votes) = (None, 1);
            self.enter(State::Candidate, Reason::ElectionTimeout);
            self.restart_timer(now);
            let request = Message::VoteRequest(self.request());
            self.lead_if_elected(now);
            request
        };
        Some(Outgoing { to: Recipient::Everyone, message })
    }

    /// It hears a message. Returns its answer.
    pub(crate) fn handle_message(&mut self, now: Instant, message: &Message) -> Option<Outgoing> {
        match message {
            Message::VoteRequest(request) if request.candidate != self.id => {
                let (term, granted) = self.handle_request(now, request);
                Some(answer(&request.candidate, term, granted))
            }
            Message::Heartbeat(heartbeat) if heartbeat.leader != self.id => {
                self.handle_heartbeat(now, heartbeat);
                None
            }
            Message::VoteResponse(response) => {
                // G5: whoever answers. G14: a denial of a higher term teaches it nothing.
                let counts = response.granted && response.term == self.record.term;
                if self.state == State::Candidate && counts {
                    self.votes += 1;
                    self.lead_if_elected(now);
                }
                None
            }
            _ => None,
        }
    }

    /// Returns its term as it answers, and whether it gives its vote.
    fn handle_request(&mut self, now: Instant, request: &VoteRequest) -> (u64, bool) {
        let before = self.record.term;
        // G13: a position that it refuses keeps it from adopting the term.
        if request.term < before || request.position.as_bytes() < self.position().as_bytes() {
            return (before, false);
        }
        if request.term > before {
            self.record.term = request.term;
            self.record.voted_for = None;
            self.leader = None;
            if self.state != State::Follower {
                self.enter(State::Follower, Reason::HigherTerm);
            }
        }
        let is_spent = self.record.voted_for.as_ref().is_some_and(|to| *to != request.candidate);
        if self.state == State::Leader || is_spent {
            return (before, false);
        }
        self.record.voted_for = Some(request.candidate.clone());
        self.restart_timer(now);
        (request.term, true)
    }

    fn handle_heartbeat(&mut self, now: Instant, heartbeat: &Heartbeat) {
        if self.state == State::Follower && self.leader.is_none() {
            // G15: whatever its term.
            self.leader = Some(heartbeat.leader.clone());
        }
        if heartbeat.term < self.record.term {
            return;
        }
        let is_newer = heartbeat.term > self.record.term;
        if is_newer || self.state == State::Candidate {
            // G7: the vote of a candidate is cleared in its own term.
            self.record.term = heartbeat.term;
            self.record.voted_for = None;
            self.leader = Some(heartbeat.leader.clone());
            self.enter(State::Follower, Reason::LeaderHeard);
        }
        // G9: a leader hears another leader of its term, and goes on.
        if self.state != State::Leader {
            self.restart_timer(now);
        }
    }

    fn lead_if_elected(&mut self, now: Instant) {
        if self.votes >= quorum(self.size) {
            self.leader = Some(self.id.clone());
            self.enter(State::Leader, Reason::WonElection);
            self.deadline = now.saturating_add(self.times[2]);
        }
    }

    fn enter(&mut self, state: State, reason: Reason) {
        (self.state, self.reason) = (state, reason);
    }

    fn restart_timer(&mut self, now: Instant) {
        let [t_min, t_max, _] = self.times;
        self.deadline = now.saturating_add(self.rng.random_range(t_min..t_max));
    }

    fn position(&self) -> Position {
        let bytes = self.position.to_be_bytes();
        let position = if self.position == 0 { None } else { Position::new(&bytes).ok() };
        position.unwrap_or(Position::EMPTY)
    }

    fn request(&self) -> VoteRequest {
        VoteRequest {
            term: self.record.term,
            candidate: self.id.clone(),
            position: self.position(),
            handover_from: None,
            size: None,
            round: None,
            list: None,
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            term: self.record.term,
            leader: self.id.clone(),
            sent_at: None,
            size: None,
            round: None,
            list: None,
            value: LeaderValue::EMPTY,
        }
    }
}

fn answer(candidate: &NodeId, term: u64, granted: bool) -> Outgoing {
    let response = VoteResponse {
        term,
        granted,
        voter: None,
        round: None,
        list: None,
        life: None,
        wanted: None,
    };
    Outgoing { to: Recipient::Node(candidate.clone()), message: Message::VoteResponse(response) }
}
