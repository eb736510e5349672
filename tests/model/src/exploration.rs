//! Every state that one node can get into, whatever it is given, by running the core's nodes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use anyhow::{Context, Result};
use graft_election_core::{Message, Outgoing, Recipient, State};

use crate::sights::{Sight, Sights};
use crate::voter::{
    Cluster, Disk, Fate, Given, Input, Reaction, Voter, describe, name, number, owes_a_save,
};

/// All states of each node, all messages they can say, and every step between them.
///
/// A node is given every message that any node has said in any state, so that all that happens in a
/// cluster is here, and more.
#[derive(Debug)]
pub(crate) struct Exploration {
    pub(crate) cluster: Cluster,
    /// The states of each node, in the order in which they were found.
    pub(crate) voters: Vec<Vec<Voter>>,
    /// The messages, in the order in which they were first said.
    pub(crate) messages: Vec<Outgoing>,
    /// The state in which each node starts with what it has stored.
    pub(crate) starts: Vec<BTreeMap<Disk, usize>>,
    /// The steps, in the order in which they were taken; those of one state and one input stand
    /// together.
    pub(crate) steps: Vec<LocalStep>,
    by_input: HashMap<(usize, usize, Input), Range<usize>>,
}

/// What a node does with one input in one state.
#[derive(Clone, Debug)]
pub(crate) struct LocalStep {
    pub(crate) node: usize,
    pub(crate) from: usize,
    pub(crate) input: Input,
    pub(crate) fate: Fate,
    pub(crate) to: usize,
    pub(crate) stores: Option<Disk>,
    /// The message it says.
    pub(crate) says: Option<usize>,
    pub(crate) sights: Sights,
}

impl Exploration {
    /// Runs the nodes of `cluster` until they do nothing new.
    ///
    /// # Errors
    ///
    /// A node panics (I7).
    pub(crate) fn new(cluster: Cluster) -> Result<Self> {
        let mut explorer = Explorer::new(cluster)?;
        while explorer.advance()? {}
        Ok(explorer.found)
    }

    /// The steps that follow one input in one state.
    pub(crate) fn steps_of(&self, node: usize, from: usize, input: Input) -> Option<&[LocalStep]> {
        self.steps.get(self.by_input.get(&(node, from, input))?.clone())
    }

    /// The step in words.
    pub(crate) fn narrate(&self, step: &LocalStep) -> String {
        let input = match step.input {
            Input::Message(message) => match self.messages.get(message) {
                Some(outgoing) => format!("hears {:?}", outgoing.message),
                None => "hears something".to_owned(),
            },
            Input::Timeout => "times out".to_owned(),
            Input::HandOver(None) => "is told to hand over".to_owned(),
            Input::HandOver(Some(to)) => format!("is told to hand over to {}", name(to)),
            Input::Close => "is told to close".to_owned(),
        };
        let mut words = format!("{} {input}", name(step.node));
        if let Some(disk) = step.stores {
            words += &format!(", stores {disk}");
        }
        words += match step.fate {
            Fate::Unsaved | Fate::Saved => "",
            Fate::SaveFailed => ", fails to save",
            Fate::StoredButFailed => ", but is told that the save failed",
            Fate::CrashedAfterSave => ", and crashes before it says anything",
        };
        if let Some(outgoing) = step.says.and_then(|message| self.messages.get(message)) {
            words += &format!(", says {:?} to {:?}", outgoing.message, outgoing.to);
        }
        if let Some(voter) = self.voters.get(step.node).and_then(|voters| voters.get(step.to)) {
            words += &format!("\n      and is {}", describe(voter));
        }
        words
    }
}

/// The exploration under way.
struct Explorer {
    found: Exploration,
    places: Vec<HashMap<Voter, usize>>,
    places_of_messages: HashMap<Outgoing, usize>,
    /// How many messages each state has been given; none if it was given nothing at all.
    heard: Vec<Vec<Option<usize>>>,
}

impl Explorer {
    fn new(cluster: Cluster) -> Result<Self> {
        let mut explorer = Self {
            found: Exploration {
                cluster,
                voters: vec![Vec::new(); cluster.nodes],
                messages: Vec::new(),
                starts: vec![BTreeMap::new(); cluster.nodes],
                steps: Vec::new(),
                by_input: HashMap::new(),
            },
            places: vec![HashMap::new(); cluster.nodes],
            places_of_messages: HashMap::new(),
            heard: vec![Vec::new(); cluster.nodes],
        };
        for node in cluster.all() {
            let start = cluster.start(node, Disk::default())?;
            let start = explorer.place(node, start);
            explorer.found.starts[node].insert(Disk::default(), start);
        }
        Ok(explorer)
    }

    /// Gives all nodes what they have not been given yet. Whether there was anything.
    fn advance(&mut self) -> Result<bool> {
        let cluster = self.found.cluster;
        let mut was_news = false;
        for node in cluster.all() {
            let mut state = 0;
            while state < self.found.voters[node].len() {
                let mut next = self.heard[node][state].unwrap_or(0);
                if self.heard[node][state].is_none() {
                    self.give_owners_wishes(node, state)?;
                    was_news = true;
                }
                while next < self.found.messages.len() {
                    let outgoing = self.found.messages[next].clone();
                    if is_for(node, &outgoing)? {
                        let given = Given::Message(&outgoing.message);
                        self.give(node, state, Input::Message(next), given)?;
                    }
                    next += 1;
                    was_news = true;
                }
                self.heard[node][state] = Some(next);
                state += 1;
            }
        }
        Ok(was_news)
    }

    /// Gives a node what doesn't come from other nodes.
    fn give_owners_wishes(&mut self, node: usize, state: usize) -> Result<()> {
        let cluster = self.found.cluster;
        self.give(node, state, Input::Timeout, Given::Timeout)?;
        if cluster.leaving {
            self.give(node, state, Input::Close, Given::Close)?;
            let others = cluster.all().filter(|other| *other != node).map(Some);
            for to in others.chain([None]) {
                self.give(node, state, Input::HandOver(to), Given::HandOver(to))?;
            }
        }
        Ok(())
    }

    fn give(&mut self, node: usize, from: usize, input: Input, given: Given<'_>) -> Result<()> {
        let cluster = self.found.cluster;
        let before = self.found.voters[node][from].clone();
        let first = self.found.steps.len();
        for reaction in cluster.react(&before, given)? {
            let term_max = u64::from(cluster.term_max);
            // Beyond the model, whether it is stored or not.
            let is_stored_beyond = reaction.stores.is_some_and(|disk| disk.term > cluster.term_max);
            if reaction.after.term() > term_max || is_stored_beyond {
                continue;
            }
            let sights = sights(&before, &reaction, given);
            let Reaction { fate, after, stores, says, .. } = reaction;
            let says = says.map(|outgoing| self.place_of_message(outgoing));
            let to = self.place(node, after);
            if let (Fate::CrashedAfterSave, Some(disk)) = (fate, stores) {
                self.found.starts[node].insert(disk, to);
            }
            let step = LocalStep { node, from, input, fate, to, stores, says, sights };
            self.found.steps.push(step);
        }
        self.found.by_input.insert((node, from, input), first..self.found.steps.len());
        Ok(())
    }

    fn place(&mut self, node: usize, voter: Voter) -> usize {
        let next = self.found.voters[node].len();
        let place = *self.places[node].entry(voter.clone()).or_insert(next);
        if place == next {
            self.found.voters[node].push(voter);
            self.heard[node].push(None);
        }
        place
    }

    fn place_of_message(&mut self, outgoing: Outgoing) -> usize {
        let next = self.found.messages.len();
        let place = *self.places_of_messages.entry(outgoing.clone()).or_insert(next);
        if place == next {
            self.found.messages.push(outgoing);
        }
        place
    }
}

/// Whether the node hears the message; everyone hears its own calls to everyone.
fn is_for(node: usize, outgoing: &Outgoing) -> Result<bool> {
    match &outgoing.to {
        Recipient::Everyone => Ok(true),
        Recipient::Node(id) => Ok(number(id).context("a message is for no node")? == node),
    }
}

fn sights(before: &Voter, reaction: &Reaction, given: Given<'_>) -> Sights {
    use State::{Candidate, Closed, Follower, Leader};
    let after = &reaction.after;
    let change = (before.state(), after.state());
    let ran_on = reaction.fate != Fate::CrashedAfterSave;
    let saved = matches!(reaction.fate, Fate::Unsaved | Fate::Saved);
    let rose = after.term() > before.term();
    let heard_heartbeat = matches!(given, Given::Message(Message::Heartbeat(_)));
    let heard_handover = matches!(given, Given::Message(Message::Handover(_)));
    let says_handover = |outgoing: &Outgoing| matches!(outgoing.message, Message::Handover(_));
    let mut sights = Sights::default();
    let mut see = |sight, is_seen: bool| {
        if is_seen {
            sights.insert(sight);
        }
    };
    if let (true, Leader, Ok(term)) = (change.0 != Leader, change.1, u8::try_from(after.term())) {
        see(Sight::Elected(term), true);
    }
    see(
        Sight::CandidateLoses,
        change == (Candidate, Follower) && saved && (rose || heard_heartbeat),
    );
    see(Sight::LeaderDeposed, change == (Leader, Follower) && rose && ran_on);
    see(Sight::SaveSucceedsLater, reaction.fate == Fate::Saved && owes_a_save(before));
    see(Sight::CrashBeforeSend, reaction.is_silenced);
    see(Sight::HandsOver, reaction.says.as_ref().is_some_and(says_handover));
    see(Sight::TakesOver, heard_handover && change.1 == Candidate && saved);
    let votes = reaction.says.as_ref().is_some_and(
        |outgoing| matches!(&outgoing.message, Message::VoteResponse(response) if response.granted),
    );
    see(Sight::SuccessorHasVote, change == (Follower, Closed) && votes);
    sights
}
