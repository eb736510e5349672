//! The judge of every step.
//!
//! It knows what nodes say and what is on their disks, and draws its own conclusions: it shares no
//! reasoning with the core. What it keeps about a node outlives the node's program.

mod handovers;
mod history;
mod incarnation;
mod leases;
mod parting;
mod pre_votes;
mod promises;

use std::time::Duration;

use graft_election_core::{Instant, Message, NodeId, Outgoing, Recipient, State, VoteRecord};

use crate::judgement::{Judged, Violation};
use crate::machine::CoreNode;
use crate::{Identity, NodeIndex, NodeSetup, Setup};
use history::History;
use incarnation::Incarnation;
use leases::Leases;

/// The first number that is no term (rule T4).
const TERM_END: u64 = 1 << 63;

#[derive(Debug)]
pub(crate) struct Checker {
    judged: Judged,
    declared: bool,
    size: usize,
    /// What each node has said and stored, by `history_index`.
    histories: Vec<History>,
    /// Who led in which term, in the order in which it was seen.
    leaders: Vec<(u64, Identity)>,
    leases: Leases,
    /// Whether two nodes led in one term, judged or not.
    saw_two_leaders: bool,
    violation: Option<Violation>,
}

impl Checker {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            judged: setup.judged,
            declared: setup.declared,
            size: setup.size,
            histories: Vec::new(),
            leaders: Vec::new(),
            leases: Leases::default(),
            saw_two_leaders: false,
            violation: None,
        }
    }

    /// The first rule that was broken.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Whether two nodes led in one term, as may happen where I1 isn't judged.
    pub(crate) fn saw_two_leaders(&self) -> bool {
        self.saw_two_leaders
    }

    /// A node's program starts.
    pub(crate) fn started(
        &mut self,
        node: Identity,
        record: &VoteRecord,
        now: Instant,
        setup: &NodeSetup,
        quarantine: Duration,
    ) {
        let incarnation = Incarnation::new(record.term, setup, quarantine, now);
        let history = self.history(node);
        let floor = history.floor;
        history.incarnation = Some(incarnation);
        history.stored = record.clone();
        self.require("I3", record.term >= floor, || {
            format!("{node} starts in term {}, but it was in term {floor}", record.term)
        });
    }

    /// A node may have changed.
    pub(crate) fn looked_at(&mut self, node: Identity, program: &CoreNode, now: Instant) {
        let (term, state) = (program.term(), program.state());
        let size = self.size;
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let [t_min, t_max, heartbeat] = incarnation.times;
        let quarantine = incarnation.quarantine;
        let before = std::mem::replace(&mut incarnation.term, term);
        let was = incarnation.state;
        incarnation.changed_state(state, now);
        incarnation.deadline = program.deadline();
        let leads_until = if incarnation.leads_by_lease() && size > 1 {
            incarnation.leads_until(size)
        } else {
            Instant::FAR_FUTURE
        };
        self.parts(node, program, was, now);
        self.runs(node, was, state);
        self.require("A3", program.deadline() <= leads_until, || {
            format!("{node} leads in term {term}, and would not notice the loss of its quorum")
        });
        self.require("T1", term >= before, || format!("{node} fell from term {before} to {term}"));

        let wait_max = match state {
            State::Leader => heartbeat,
            State::Follower | State::PreCandidate | State::Candidate => {
                t_max.max(t_min.max(quarantine) + heartbeat) + heartbeat
            }
            State::Closed => Duration::MAX,
        };
        let wait = program.deadline().saturating_since(now);
        self.require("I7", wait <= wait_max, || {
            format!("{node}, a {state}, would sleep for {wait:?}")
        });

        if state == State::Leader {
            self.leads(node, term);
        } else if let Some(leader) = program.leader() {
            self.follows(node, leader, term);
        }
    }

    /// What a node would read on its next start may have changed.
    pub(crate) fn stored(&mut self, node: Identity, record: &VoteRecord) {
        let history = self.history(node);
        let before = std::mem::replace(&mut history.stored, record.clone());
        self.require("I3", record.term >= before.term, || {
            format!("{node} stores term {} over term {}", record.term, before.term)
        });
        let forgets = record.term == before.term
            && before.voted_for.is_some()
            && before.voted_for != record.voted_for;
        self.require("V1", !forgets, || {
            format!("{node} stores another vote over the one it gave in term {}", record.term)
        });
        if let Some(candidate) = &record.voted_for {
            self.voted(node, record.term, candidate);
        }
        let history = self.history(node);
        history.floor = history.floor.max(record.term);
    }

    /// A node sends a message while `durable` is what it knows to be on its disk.
    pub(crate) fn said(&mut self, node: Identity, durable: &VoteRecord, outgoing: &Outgoing) {
        let message = &outgoing.message;
        let vote = match message {
            Message::VoteRequest(request) => Some(&request.candidate),
            Message::Heartbeat(heartbeat) => Some(&heartbeat.leader),
            Message::Handover(handover) => Some(&handover.leader),
            Message::VoteResponse(response) if response.granted => match &outgoing.to {
                Recipient::Node(candidate) => Some(candidate),
                Recipient::Everyone => None,
            },
            _ => None,
        };
        // The term of a pre-vote request is only proposed: it is not yet the sender's.
        let term = match message {
            Message::PreVoteRequest(request) => request.term.saturating_sub(1),
            message => message.term(),
        };
        let is_durable = match vote {
            Some(vote) => durable.term == term && durable.voted_for.as_ref() == Some(vote),
            None => durable.term >= term,
        };
        self.keeps_promises(node, message);
        self.require("I6", is_durable, || {
            format!("{node} says {message:?} with no more than {durable:?} on its disk")
        });
        if let Some(candidate) = vote {
            self.voted(node, term, candidate);
        }
        let history = self.history(node);
        let floor = history.floor;
        history.floor = floor.max(term);
        self.require("I3", term >= floor, || {
            format!("{node} says {message:?} after it was in term {floor}")
        });
    }

    fn leads(&mut self, node: Identity, term: u64) {
        let mut leaders = self.leaders.iter().rev();
        if leaders.clone().any(|known| *known == (term, node)) {
            return;
        }
        let other = leaders.find(|(other, leader)| *other == term && self.is_voter(*leader));
        let other = other.map(|(_, leader)| *leader).filter(|_| self.is_voter(node));
        self.leaders.push((term, node));
        self.saw_two_leaders |= other.is_some();
        if matches!(self.judged, Judged::Everything | Judged::AllButI4) {
            self.require("I1", other.is_none(), || {
                let other = other.map(|other| other.to_string()).unwrap_or_default();
                format!("{node} leads in term {term}, as {other} does")
            });
        }
        if self.judged != Judged::NodesAlone {
            let (id, size) = (node.id(), self.size);
            let histories = self.histories.iter().enumerate();
            // Strangers may elect each other, but don't help to elect a voter.
            let is_stranger = !self.is_voter(node);
            let voters =
                histories.filter(|(index, _)| is_stranger || self.is_voter(identity_at(*index)));
            let given = voters.filter(|(_, history)| history.voted_for(term, &id)).count();
            let counted = self.history(node).incarnation.as_ref().map_or(0, Incarnation::votes);
            let votes = given.min(counted);
            self.require("V6", votes * 2 > size, || {
                format!("{node} leads in term {term} with {votes} votes of {size}")
            });
        }
    }

    fn follows(&mut self, node: Identity, leader: &NodeId, term: u64) {
        if self.judged == Judged::NodesAlone {
            return;
        }
        let leads = |known: &(u64, Identity)| {
            known.0 == term && Identity::of(leader).is_some_and(|leader| leader == known.1)
        };
        let is_true = self.leaders.iter().rev().any(leads);
        self.require("T2", is_true, || {
            format!("{node} believes that {leader} leads in term {term}, which never was so")
        });
    }

    fn voted(&mut self, node: Identity, term: u64, candidate: &NodeId) {
        let helps_stranger = self.declared
            && self.is_voter(node)
            && !Identity::of(candidate).is_some_and(|candidate| self.is_voter(candidate));
        self.require("V6", !helps_stranger, || {
            format!("{node} voted for {candidate}, who is not a declared voter")
        });
        if let Err(other) = self.history(node).vote(term, candidate) {
            self.require("I2", false, || {
                format!("{node} voted for {candidate} in term {term}, and for {other} before")
            });
        }
    }

    /// Whether the node is a voter of the cluster, as far as that is defined.
    fn is_voter(&self, node: Identity) -> bool {
        !self.declared || (node.generation == 1 && node.index.get() < self.size)
    }

    fn history(&mut self, node: Identity) -> &mut History {
        let index = history_index(node);
        if index >= self.histories.len() {
            self.histories.resize_with(index + 1, History::default);
        }
        &mut self.histories[index]
    }

    fn require(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }
}

/// Where a node's history is kept.
fn history_index(node: Identity) -> usize {
    (usize::from(node.generation) - 1) * NodeIndex::COUNT_MAX + node.index.get()
}

/// Whose history is kept there.
fn identity_at(index: usize) -> Identity {
    let generation = u8::try_from(index / NodeIndex::COUNT_MAX + 1).unwrap_or(u8::MAX);
    Identity { index: NodeIndex::new(index % NodeIndex::COUNT_MAX), generation }
}
