//! The judge of every step.
//!
//! It knows what nodes say and what is on their disks, and draws its own conclusions: it shares no
//! reasoning with the core. What it keeps about a node outlives the node's program.

mod doubt;
mod followers;
mod handovers;
mod history;
mod incarnation;
mod leases;
mod lists;
mod operators;
mod parting;
mod pre_votes;
mod promises;
mod standing_back;

use std::time::Duration;

use graft_election_core::{
    Instant, ListId, Message, Mode, NodeId, Outgoing, Recipient, RecordedList, Round, State,
};

use crate::judgement::{Judged, Violation};
use crate::machine::{CoreNode, Machine};
use crate::setup::VoteRecord;
use crate::{Identity, Moment, NodeIndex, NodeSetup, Setup};
use history::{History, Spent};
use incarnation::Incarnation;
use leases::Leases;
use lists::Lists;

/// The first number that is no term (rule T4).
const TERM_END: u64 = 1 << 63;

/// How many times as long the span of a timeout gets where disks are slow, at most (rule C3).
pub(crate) const STRETCH_MAX: u32 = 8;

#[derive(Debug)]
pub(crate) struct Checker {
    judged: Judged,
    declared: bool,
    /// A bit for each node that is on some node's list of voters.
    listed: u16,
    /// Whose id each node has: that of another if it is its double.
    named: [Identity; NodeIndex::COUNT_MAX],
    /// A node that started with another list than that of its record.
    mislisted: Option<Identity>,
    /// What each node has said and stored, by `history_index`.
    histories: Vec<History>,
    /// Who led in which term, in the order in which it was seen.
    leaders: Vec<(u64, Identity)>,
    leases: Leases,
    lists: Lists,
    /// The terms whose leaders said that they hand over.
    handed_over: Vec<u64>,
    /// Whether two nodes led in one term, judged or not.
    saw_two_leaders: bool,
    violation: Option<Violation>,
}

impl Checker {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            judged: setup.judged,
            declared: !setup.judged.lets_lists_change() && setup.declared
                || setup.nodes.iter().any(|node| node.voters.is_some()),
            listed: 0,
            named: std::array::from_fn(|index| {
                let original = setup.nodes.get(index).and_then(|node| node.double_of);
                Identity::first(original.unwrap_or(NodeIndex::new(index)))
            }),
            mislisted: None,
            histories: Vec::new(),
            leaders: Vec::new(),
            leases: Leases::default(),
            lists: Lists::default(),
            handed_over: Vec::new(),
            saw_two_leaders: false,
            violation: None,
        }
    }

    /// The first rule that was broken.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// A node that started with another list than that of its record (rule V6). It is judged late:
    /// two leaders show first what may come of it.
    pub(crate) fn mislisted(&self) -> Option<Identity> {
        self.mislisted
    }

    /// Whether two nodes led in one term, as may happen where I1 isn't judged.
    pub(crate) fn saw_two_leaders(&self) -> bool {
        self.saw_two_leaders
    }

    /// Whether several nodes led in this term.
    pub(crate) fn saw_leaders_beside(&self, term: u64) -> bool {
        self.leaders.iter().filter(|(known, _)| *known == term).count() > 1
    }

    /// A node's program starts.
    pub(crate) fn started(&mut self, node: Identity, start: Start<'_>) {
        let mut incarnation = Incarnation::new(&start);
        self.listed |= start.listed;
        if start.is_mislisted {
            self.mislisted = Some(node);
        }
        let history = self.history(node);
        // V3: what it promised before binds it, whatever its record says.
        let promised_until = history.promised_until.unwrap_or(start.now);
        incarnation.must_be_bound_until = incarnation.must_be_bound_until.max(promised_until);
        incarnation.may_be_bound_until = incarnation.may_be_bound_until.max(promised_until);
        let floor = history.floor;
        let is_told_paused = history.is_told_paused;
        history.incarnation = Some(incarnation);
        history.stored = start.record.clone();
        let term = start.record.term;
        self.require("I3", term >= floor, || {
            format!("{node} starts in term {term}, but it was in term {floor}")
        });
        self.require("O3", !is_told_paused || start.record.is_paused, || {
            format!("{node} starts, and is no longer paused")
        });
    }

    /// A node may have changed.
    pub(crate) fn looked_at(&mut self, node: Identity, program: &CoreNode, now: Instant) {
        let (term, state) = (program.term(), program.state());
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let [t_min, t_max, heartbeat] = incarnation.times;
        let (quarantine, mode) = (incarnation.quarantine, incarnation.mode);
        // What is looked at after the input itself is the end of the save that it led to.
        let save = now.saturating_since(incarnation.input.at);
        incarnation.slowest_save = incarnation.slowest_save.max(save);
        let slowest_save = incarnation.slowest_save;
        let is_patient = incarnation.has_patience() && incarnation.size > 1;
        let stretch = if is_patient { STRETCH_MAX } else { 1 };
        let before = std::mem::replace(&mut incarnation.term, term);
        let was = incarnation.state;
        incarnation.changed_state(state, now);
        incarnation.deadline = program.deadline();
        let leads_until = if incarnation.leads_by_lease() && incarnation.size > 1 {
            incarnation.leads_until()
        } else {
            Instant::FAR_FUTURE
        };
        let leader = program.leader().filter(|_| state == State::Follower).map(Identity::of);
        incarnation.promotions.look(leader, state != State::Follower);
        self.parts(node, program, was, now);
        self.closes(node, state);
        self.list_looked_at(node, program, was);
        self.runs(node, was, state);
        self.keeps_back(node, state);
        self.require("A3", program.deadline() <= leads_until, || {
            format!("{node} leads in term {term}, and would not notice the loss of its quorum")
        });
        self.require("T1", term >= before, || format!("{node} fell from term {before} to {term}"));

        // C3: longer where disks are slow. V2, V3: a bound node asks soon after it is free.
        let timeout_max = t_min + (t_max - t_min) * stretch;
        let timeout_max = timeout_max.max(t_min.max(quarantine) + heartbeat);
        let wait_max = match state {
            State::Leader => heartbeat,
            // C3: a campaign of Graft mode waits after a slow save, even one that failed.
            State::Follower | State::Candidate if mode == Mode::Graft => {
                timeout_max + heartbeat + slowest_save * 2
            }
            State::Follower | State::PreCandidate | State::Candidate => timeout_max + heartbeat,
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

    /// A Go node may have changed, and says something. It breaks rules, as is known (section 6 of
    /// the protocol), and no more is judged of it than that it doesn't lead beside another (I1).
    pub(crate) fn is_go(
        &mut self,
        node: Identity,
        state: State,
        term: u64,
        said: Option<&Outgoing>,
    ) {
        if let Some(Outgoing { to: Recipient::Node(candidate), message }) = said
            && matches!(message, Message::VoteResponse(response) if response.granted)
        {
            // G7: perhaps it gave another one before, and cleared it.
            let _ = self.history(node).vote(term, candidate, None);
        }
        if state == State::Leader {
            self.leads(node, term);
        }
    }

    /// What a node would read on its next start may have changed.
    pub(crate) fn stored(&mut self, node: Identity, record: &VoteRecord) {
        let history = self.history(node);
        let before = std::mem::replace(&mut history.stored, record.clone());
        self.pause_stored(node, before.is_paused, record);
        self.list_stored(node, &before, record);
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
            self.voted(node, record.term, candidate, None);
        }
        let history = self.history(node);
        history.floor = history.floor.max(record.term);
    }

    /// At `now` a node sends a message while `durable` is what it knows to be on its disk.
    pub(crate) fn said(
        &mut self,
        node: Identity,
        durable: &VoteRecord,
        outgoing: &Outgoing,
        now: Moment,
    ) {
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
        if outgoing.to == Recipient::Everyone {
            self.speaks_for_itself(node, message, now);
        }
        self.names_its_list(node, durable, outgoing);
        self.keeps_promises(node, durable, message);
        self.require("I6", is_durable, || {
            format!("{node} says {message:?} with no more than {durable:?} on its disk")
        });
        if let Some(candidate) = vote {
            self.voted(node, term, candidate, Some(message.round()));
        }
        // These have no term of their own.
        if matches!(
            message,
            Message::Who(_) | Message::Here(_) | Message::ListRequest(_) | Message::ListPart(_)
        ) {
            return;
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
        if matches!(self.judged, Judged::Everything | Judged::AllButI4 | Judged::Changing) {
            self.require("I1", other.is_none(), || {
                let other = other.map(|other| other.to_string()).unwrap_or_default();
                format!("{node} leads in term {term}, as {other} does")
            });
        }
        if !self.judged.is_of_nodes_alone() {
            let id = self.name(node).id();
            let Some(incarnation) = &self.history(node).incarnation else { return };
            let (size, counted) = (incarnation.size, incarnation.votes());
            let round = incarnation.campaign.map(|(_, round)| round);
            let histories = self.histories.iter().enumerate();
            // Strangers may elect each other, but don't help to elect a voter.
            let is_stranger = !self.is_voter(node);
            let voters =
                histories.filter(|(index, _)| is_stranger || self.is_voter(identity_at(*index)));
            let given = voters.filter(|(_, history)| history.voted_for(term, &id, round)).count();
            let votes = given.min(counted);
            self.require("V6", votes * 2 > size, || {
                format!("{node} leads in term {term} with {votes} votes of {size}")
            });
        }
    }

    fn follows(&mut self, node: Identity, leader: &NodeId, term: u64) {
        if self.judged.is_of_nodes_alone() {
            return;
        }
        let leads = |known: &(u64, Identity)| {
            known.0 == term && Identity::of(leader) == Some(self.name(known.1))
        };
        let is_true = self.leaders.iter().rev().any(leads);
        self.require("T2", is_true, || {
            format!("{node} believes that {leader} leads in term {term}, which never was so")
        });
    }

    /// A node voted for a candidate, and has given its vote if its campaign is named.
    fn voted(
        &mut self,
        node: Identity,
        term: u64,
        candidate: &NodeId,
        given_in: Option<Option<Round>>,
    ) {
        let incarnation = self.history(node).incarnation.as_ref();
        let helps_stranger = incarnation.is_some_and(|it| !it.admits(Identity::of(candidate)));
        self.require("V6", !helps_stranger, || {
            format!("{node} voted for {candidate}, who is not a declared voter")
        });
        match self.history(node).vote(term, candidate, given_in) {
            Ok(()) => {}
            Err(Spent::On(other)) => self.require("I2", false, || {
                format!("{node} voted for {candidate} in term {term}, and for {other} before")
            }),
            Err(Spent::OnAnotherRound) => self.require("N2", false, || {
                format!("{node} voted for {candidate} in term {term}, in two of its campaigns")
            }),
        }
    }

    /// Whether a node that runs takes part: it doubts neither its id nor its list (rules N3, N5,
    /// V6).
    pub(crate) fn takes_part(&self, node: Identity, now: Instant) -> bool {
        let history = self.histories.get(history_index(node));
        let incarnation = history.and_then(|history| history.incarnation.as_ref());
        incarnation.is_some_and(|it| it.doubt.is_none() && it.goes_by_latest_list(now))
    }

    /// Whether T_min is the same for all that have started.
    fn has_one_t_min(&self) -> bool {
        let started = self.histories.iter().filter_map(|history| history.incarnation.as_ref());
        let mut t_mins = started.map(|incarnation| incarnation.times[0]);
        let first = t_mins.next();
        t_mins.all(|t_min| Some(t_min) == first)
    }

    /// Whether every leader so far was the first process of its id.
    fn only_firsts_led(&self) -> bool {
        self.leaders.iter().all(|(_, leader)| self.named[leader.index.get()].index == leader.index)
    }

    /// Whether the node is a voter of the cluster, as far as that is defined.
    fn is_voter(&self, node: Identity) -> bool {
        let bit = 1 << self.name(node).index.get();
        !self.declared || (node.generation == 1 && self.listed & bit != 0)
    }

    /// Who the node says it is.
    fn name(&self, node: Identity) -> Identity {
        let named = self.named[node.index.get()];
        if named.index == node.index { node } else { named }
    }

    fn history(&mut self, node: Identity) -> &mut History {
        let index = history_index(node);
        if index >= self.histories.len() {
            self.histories.resize_with(index + 1, History::default);
        }
        &mut self.histories[index]
    }

    fn require(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        let holds = holds || !self.judges(rule);
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }
}

/// What a node's program starts with.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    setup: &'a NodeSetup,
    record: &'a VoteRecord,
    now: Instant,
    size: usize,
    list: Option<ListId>,
    /// A bit for each declared voter.
    listed: u16,
    /// Its record was made for other voters.
    is_mislisted: bool,
}

impl<'a> Start<'a> {
    /// The start of the machine's program at `now`.
    pub(crate) fn of(
        machine: &'a Machine,
        setup: &Setup,
        record: &'a VoteRecord,
        now: Instant,
    ) -> Self {
        let voters =
            if setup.judged.lets_lists_change() { Vec::new() } else { machine.voters(setup) };
        let bits = voters.iter().filter_map(Identity::of).map(|voter| 1 << voter.index.get());
        let has_own = machine.setup.voters.is_some();
        let recorded = record.list.as_ref().map(RecordedList::id);
        Self {
            setup: &machine.setup,
            record,
            now,
            size: match () {
                // As many as may be.
                () if setup.judged.lets_lists_change() => setup.nodes.len(),
                () if has_own => voters.len(),
                () => setup.size,
            },
            list: (!voters.is_empty())
                .then(|| recorded.unwrap_or_else(|| ListId::declared(&voters))),
            listed: bits.fold(0, |all, bit: u16| all | bit),
            is_mislisted: has_own && machine.setup.voters != machine.listed,
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
