//! Lists of voters that change while the cluster runs (rules R1 to R12, I8 to I10, A7).
//!
//! What somebody could still be elected by is worked out from what is on the disks alone.

use std::collections::BTreeMap;

use graft_election_core::{Message, NodeId, Outgoing, RecordedList, State, VoterList, quorum};

use super::{Checker, identity_at};
use crate::Identity;
use crate::machine::CoreNode;
use crate::setup::{VOTERS_MAX, VoteRecord};

/// The rules that are judged where lists change. All others depend on who is a voter, which is not
/// known there but to the nodes themselves.
const JUDGED: [&str; 19] = [
    "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "A7", "V1", "V3", "T1",
    "N1", "N2", "C5", "C1",
];

/// The id of a list, in order.
type Id = (u64, u32);

/// What is known of the lists of a cluster.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// I8: what each id names.
    by_id: BTreeMap<Id, Vec<NodeId>>,
    /// R6: the latest list of which a leader said that it is committed, and its term.
    committed: Option<(Id, u64)>,
}

/// What a node has just heard, as far as lists decide whether it may be deposed (rule R10).
#[derive(Clone, Debug)]
pub(super) struct Hearsay {
    sender: Option<NodeId>,
    list: Option<Id>,
    /// It was the leader of this term.
    led_in: Option<u64>,
    is_heartbeat: bool,
}

impl Checker {
    /// Whether a rule is judged.
    pub(super) fn judges(&self, rule: &str) -> bool {
        !self.judged.lets_lists_change() || JUDGED.contains(&rule)
    }

    /// A record is on a node's disk that may have another list.
    pub(super) fn list_stored(&mut self, node: Identity, before: &VoteRecord, record: &VoteRecord) {
        if !self.judged.lets_lists_change() || before.list == record.list {
            return;
        }
        let (old, Some(list)) = (before.voter_list(), record.voter_list()) else {
            let forgets = before.list.is_some();
            return self.require("I9", !forgets, || format!("{node} stores no list any more"));
        };
        let known = self.lists.by_id.entry(id_of(list)).or_insert_with(|| sorted(list)).clone();
        self.require("I8", known == sorted(list), || {
            format!("{node} stores {list:?}, and that id named {known:?}")
        });
        let is_older = old.is_some_and(|old| id_of(list) < id_of(old));
        self.require("I9", !is_older, || format!("{node} stores {list:?} over {old:?}"));
        self.require("I9", record.term >= list.id().term, || {
            format!("{node} stores {list:?} in term {}", record.term)
        });
        self.lists_overlap();
    }

    /// I10: of any two lists by which somebody could still be elected, each quorum of the one has a
    /// voter of each quorum of the other.
    fn lists_overlap(&mut self) {
        let stored: Vec<(NodeId, &VoterList<VOTERS_MAX>)> = (self.histories.iter().enumerate())
            .filter_map(|(index, history)| {
                let list = history.stored.voter_list()?;
                Some((self.name(identity_at(index)).id(), list))
            })
            .collect();
        let electable: Vec<_> = stored
            .iter()
            .filter_map(|(holder, list)| {
                let helps = |(voter, own): &&(NodeId, &VoterList<VOTERS_MAX>)| {
                    let knows_both = own.voters().contains(holder) && own.voters().contains(voter);
                    list.voters().contains(voter) && knows_both && id_of(own) <= id_of(list)
                };
                let helpers: Vec<_> = stored.iter().filter(helps).map(|(id, _)| id).collect();
                let is_electable =
                    list.voters().contains(holder) && helpers.len() >= quorum(list.voters().len());
                is_electable.then_some((*list, helpers))
            })
            .collect();
        let parts =
            |(one, of_one): &(&VoterList<VOTERS_MAX>, Vec<&NodeId>),
             (other, of_other): &(&VoterList<VOTERS_MAX>, Vec<&NodeId>)| {
                let shared = of_one.iter().filter(|id| of_other.contains(id)).count();
                let lacks = |list: &VoterList<VOTERS_MAX>, helpers: &Vec<&NodeId>| {
                    quorum(list.voters().len()).saturating_sub(helpers.len() - shared)
                };
                lacks(one, of_one) + lacks(other, of_other) <= shared
            };
        let pairs = electable.iter().flat_map(|one| electable.iter().map(move |it| (one, it)));
        let split = pairs.filter(|(one, other)| one.0.id() != other.0.id());
        let split = split.into_iter().find(|(one, other)| parts(one, other));
        let what = split.map(|(one, other)| format!("{:?} and {:?} can both elect", one, other));
        self.require("I10", what.is_none(), || what.unwrap_or_default());
    }

    /// A node may have been elected, or know that its list is committed.
    pub(super) fn list_looked_at(&mut self, node: Identity, program: &CoreNode, was: State) {
        let Some(list) = program.record().voter_list() else { return };
        if !self.judged.lets_lists_change() || program.state() != State::Leader {
            return;
        }
        let (id, term) = (id_of(list), program.term());
        let is_listed = list.voters().contains(program.id());
        self.require("I9", is_listed, || format!("{node} leads, and is not on its {list:?}"));
        if was != State::Leader {
            let committed = self.lists.committed;
            let is_late = committed.is_some_and(|(known, its)| its < term && id < known);
            self.require("I10", !is_late, || {
                format!("{node} is elected in term {term} with {list:?}, after {committed:?}")
            });
        }
        if program.is_list_committed() && self.lists.committed.is_none_or(|(known, _)| known < id) {
            self.lists.committed = Some((id, term));
        }
    }

    /// A node is about to hear a message.
    pub(super) fn hears_of_strangers(&mut self, node: Identity, message: &Message) {
        if !self.judged.lets_lists_change() {
            return;
        }
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        incarnation.hearsay = Some(Hearsay {
            sender: message.sender().cloned(),
            list: message.list().map(|list| (list.term, list.version)),
            led_in: (incarnation.state == State::Leader).then_some(incarnation.term),
            is_heartbeat: matches!(message, Message::Heartbeat(_)),
        });
        if let Message::ControlRequest(request) = message
            && let Some(voter) = &request.target
        {
            incarnation.was_asked_for.push(voter.clone());
        }
    }

    /// A program is asked to add or to remove a voter.
    pub(crate) fn is_asked_for(&mut self, node: Identity, voter: &NodeId) {
        if let Some(incarnation) = &mut self.history(node).incarnation {
            incarnation.hearsay = None;
            incarnation.was_asked_for.push(voter.clone());
        }
    }

    /// A7: a node has heard a message, which must not have deposed it if a stranger said it.
    pub(super) fn minds_strangers(&mut self, node: Identity, program: &CoreNode) {
        let Some(incarnation) = &mut self.history(node).incarnation else { return };
        let Some(hearsay) = incarnation.hearsay.take() else { return };
        let (Some(sender), Some(led_in)) = (&hearsay.sender, hearsay.led_in) else { return };
        let Some(list) = program.record().voter_list() else { return };
        let is_stranger = !list.voters().contains(sender)
            && hearsay.list.is_none_or(|said| said <= id_of(list))
            && !incarnation.was_asked_for.contains(sender)
            && !hearsay.is_heartbeat;
        self.require("A7", !is_stranger || program.term() == led_in, || {
            format!("{node} led in term {led_in}, and a stranger deposed it: {hearsay:?}")
        });
    }

    /// A node says by which list it goes, which is on its disk (I6). A7: who knows that it is no
    /// voter asks for no votes.
    pub(super) fn names_its_list(
        &mut self,
        node: Identity,
        durable: &VoteRecord,
        outgoing: &Outgoing,
    ) {
        let (said, stored) = (outgoing.message.list(), durable.list.as_ref().map(RecordedList::id));
        self.require("I6", said.is_none() || said == stored, || {
            format!("{node} says that it goes by {said:?}, and {stored:?} is on its disk")
        });
        if !matches!(outgoing.message, Message::VoteRequest(_) | Message::PreVoteRequest(_)) {
            return;
        }
        let (name, list) = (self.name(node).id(), durable.voter_list());
        let is_voter = list.is_some_and(|list| list.voters().contains(&name));
        self.require("A7", is_voter || !self.judged.lets_lists_change(), || {
            format!("{node} asks for votes, and is not on {list:?}")
        });
    }
}

fn id_of(list: &VoterList<VOTERS_MAX>) -> Id {
    (list.id().term, list.id().version)
}

fn sorted(list: &VoterList<VOTERS_MAX>) -> Vec<NodeId> {
    let mut voters = list.voters().to_vec();
    voters.sort();
    voters
}
