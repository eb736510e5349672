//! The judge of every step.
//!
//! It knows what nodes say and what is on their disks, and has its own idea of what follows: it
//! shares no reasoning with the core. All that it keeps about a node outlives the node's program.

mod claims;
mod handovers;
mod leases;
mod life;
mod pre_votes;
mod promises;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use graft_election_core::{Instant, Message, NodeId, Outgoing, Recipient, State, VoteRecord};

use crate::station::CoreNode;
use crate::{Identity, NodeIndex, NodeSetup, Setup};
use claims::Claims;
use leases::Leases;
use life::Life;

/// A rule of the protocol that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule of `docs/protocol.md`.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken: {}", self.rule, self.what)
    }
}

/// What a world is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judged {
    /// Everything.
    #[default]
    Everything,
    /// Everything but I1, I4 and I5: there are more voters than the cluster has places, or one lost
    /// its record, and no list of voters keeps it out (rules V6, V9).
    AllButI1,
    /// Everything but I4 and I5: the rates of clocks differ by more than rho, or clocks leap.
    AllButI4,
    /// What each node owes whatever it hears: I2, I3, I6, I7 and T3. Messages are forged, and there
    /// is nothing to tell them by.
    NodesAlone,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "everything",
            Self::AllButI1 => "all-but-i1",
            Self::AllButI4 => "all-but-i4",
            Self::NodesAlone => "nodes-alone",
        })
    }
}

impl FromStr for Judged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Everything, Self::AllButI1, Self::AllButI4, Self::NodesAlone];
        all.into_iter().find(|judged| judged.to_string() == text).ok_or_else(|| {
            format!("expected everything, all-but-i1, all-but-i4 or nodes-alone, not \"{text}\"")
        })
    }
}

#[derive(Debug)]
pub(crate) struct Checker {
    judged: Judged,
    declared: bool,
    size: usize,
    /// By incarnation and index.
    claims: Vec<Claims>,
    /// Who led in which term, in the order in which it was seen.
    leaders: Vec<(u64, Identity)>,
    leases: Leases,
    /// Whether two nodes led in one term, even if that isn't judged.
    has_rivals: bool,
    violation: Option<Violation>,
}

/// The first number that is no term (rule T4).
const TERM_END: u64 = 1 << 63;

impl Checker {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            judged: setup.judged,
            declared: setup.declared,
            size: setup.size,
            claims: Vec::new(),
            leaders: Vec::new(),
            leases: Leases::default(),
            has_rivals: false,
            violation: None,
        }
    }

    /// The first rule that was broken.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Whether two nodes led in one term, as may happen where I1 isn't judged.
    pub(crate) fn has_rivals(&self) -> bool {
        self.has_rivals
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
        let life = Life::new(record.term, setup, quarantine, now);
        let claims = self.claims(node);
        let floor = claims.floor;
        claims.life = Some(life);
        claims.stored = record.clone();
        self.require("I3", record.term >= floor, || {
            format!("{node} starts in term {}, but it was in term {floor}", record.term)
        });
    }

    /// A node may have changed.
    pub(crate) fn looked_at(&mut self, node: Identity, program: &CoreNode, now: Instant) {
        let (term, state) = (program.term(), program.state());
        let size = self.size;
        let Some(life) = &mut self.claims(node).life else { return };
        let [t_min, t_max, heartbeat] = life.times;
        let quarantine = life.quarantine;
        let before = std::mem::replace(&mut life.term, term);
        let was = life.state;
        life.changed_state(state, now);
        life.deadline = program.deadline();
        let leads_until = if life.leads_by_lease() && size > 1 {
            life.leads_until(size)
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
        let claims = self.claims(node);
        let before = std::mem::replace(&mut claims.stored, record.clone());
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
        let claims = self.claims(node);
        claims.floor = claims.floor.max(record.term);
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
        let claims = self.claims(node);
        let floor = claims.floor;
        claims.floor = floor.max(term);
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
        self.has_rivals |= other.is_some();
        if matches!(self.judged, Judged::Everything | Judged::AllButI4) {
            self.require("I1", other.is_none(), || {
                let other = other.map(|other| other.to_string()).unwrap_or_default();
                format!("{node} leads in term {term}, as {other} does")
            });
        }
        if self.judged != Judged::NodesAlone {
            let (id, size) = (node.id(), self.size);
            let claims = self.claims.iter().enumerate();
            // Strangers may elect each other, but have no say in who else leads.
            let is_stranger = !self.is_voter(node);
            let voters = claims.filter(|(place, _)| is_stranger || self.is_voter(at(*place)));
            let given = voters.filter(|(_, claims)| claims.voted_for(term, &id)).count();
            let counted = self.claims(node).life.as_ref().map_or(0, Life::votes);
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
        if let Err(other) = self.claims(node).vote(term, candidate) {
            self.require("I2", false, || {
                format!("{node} voted for {candidate} in term {term}, and for {other} before")
            });
        }
    }

    /// Whether the node has a place in the cluster, as far as that can be told.
    fn is_voter(&self, node: Identity) -> bool {
        !self.declared || (node.incarnation == 1 && node.index.get() < self.size)
    }

    fn claims(&mut self, node: Identity) -> &mut Claims {
        let place = place(node);
        if place >= self.claims.len() {
            self.claims.resize_with(place + 1, Claims::default);
        }
        &mut self.claims[place]
    }

    fn require(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }
}

/// The place of whoever is no node of this world.
const FORGED: usize = usize::MAX;

/// Where a node's claims are kept.
fn place(node: Identity) -> usize {
    (usize::from(node.incarnation) - 1) * NodeIndex::COUNT_MAX + node.index.get()
}

/// Whose claims are kept there.
fn at(place: usize) -> Identity {
    let incarnation = u8::try_from(place / NodeIndex::COUNT_MAX + 1).unwrap_or(u8::MAX);
    Identity { index: NodeIndex::new(place % NodeIndex::COUNT_MAX), incarnation }
}
