//! Every state that one node can get into, whatever its inputs, found by running the core's nodes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use anyhow::{Result, ensure};
use graft_election_core::{Message, Outgoing};

use crate::clock::{Moment, age, aged};
use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::reaction::{Given, Input, Outcome, Reaction};
use crate::voter::{Disk, describe, name};

/// All states of each node, all messages they can say, and every step between them.
///
/// A node is given every message that any node has said in any state. So all that can happen in a
/// cluster is here, and more.
#[derive(Debug)]
pub(crate) struct Exploration {
    pub(crate) cluster: Cluster,
    /// The states of each node, in the order in which they were found.
    pub(crate) moments: Vec<Vec<Moment>>,
    /// The messages, in the order in which they were first said.
    pub(crate) messages: Vec<Outgoing>,
    /// What becomes of each message when the clock whose time it tells advances.
    pub(crate) ages: Vec<Option<Age>>,
    /// The state in which each node starts with what it has stored, at each phase of its clock.
    pub(crate) starts: Vec<BTreeMap<(Disk, u8), usize>>,
    /// The steps, in the order in which they were taken. Those of one state and one input are
    /// contiguous.
    pub(crate) steps: Vec<LocalStep>,
    by_input: HashMap<(usize, usize, Input), Range<usize>>,
}

/// What a node does with one input in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalStep {
    pub(crate) node: usize,
    pub(crate) from: usize,
    pub(crate) input: Input,
    pub(crate) outcome: Outcome,
    pub(crate) to: usize,
    pub(crate) stores: Option<Disk>,
    /// The message it says.
    pub(crate) says: Option<usize>,
    pub(crate) covers: Coverage,
}

/// How a message that tells the time ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// The node whose time it tells.
    pub(crate) of: usize,
    /// The same message when that node's clock has advanced.
    pub(crate) next: usize,
}

impl Exploration {
    /// Runs the nodes of `cluster` until they do nothing new.
    ///
    /// # Errors
    ///
    /// A node panics (I7), or states that differ were taken for one.
    pub(crate) fn new(cluster: Cluster) -> Result<Self> {
        let mut explorer = Explorer::new(cluster)?;
        while explorer.advance()? {}
        explorer.check_twins()?;
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
            Input::Close(_) => "is told to close".to_owned(),
            Input::Step => "sees time pass".to_owned(),
        };
        let mut words = format!("{} {input}", self.cluster.name(step.node));
        if let Some(disk) = step.stores {
            words += &format!(", stores {disk}");
        }
        words += match step.outcome {
            Outcome::Unsaved | Outcome::Saved => "",
            Outcome::SaveFailed => ", fails to save",
            Outcome::StoredButFailed => ", but the save is reported as failed",
            Outcome::CrashedAfterSave => ", and crashes before it says anything",
        };
        if let Some(outgoing) = step.says.and_then(|message| self.messages.get(message)) {
            words += &format!(", says {:?} to {:?}", outgoing.message, outgoing.to);
        }
        words + &format!("\n      and is {}", self.describe(step.node, step.to))
    }

    /// What a node is in some state.
    fn describe(&self, node: usize, state: usize) -> String {
        self.moments[node].get(state).map(|moment| describe(&moment.voter)).unwrap_or_default()
    }
}

/// The exploration under way.
struct Explorer {
    found: Exploration,
    /// The states by what distinguishes them.
    indexes: Vec<HashMap<String, usize>>,
    /// The states by everything in them, whether or not it matters.
    known: Vec<HashMap<Moment, usize>>,
    /// The further forms of states that came up in more than one.
    twins: Vec<Vec<(usize, Moment)>>,
    message_indexes: HashMap<Outgoing, usize>,
    /// How many messages each state has been given; `None` if it was given no input at all.
    heard: Vec<Vec<Option<usize>>>,
}

impl Explorer {
    fn new(cluster: Cluster) -> Result<Self> {
        let mut explorer = Self {
            found: Exploration {
                cluster,
                moments: vec![Vec::new(); cluster.nodes],
                messages: Vec::new(),
                ages: Vec::new(),
                starts: vec![BTreeMap::new(); cluster.nodes],
                steps: Vec::new(),
                by_input: HashMap::new(),
            },
            indexes: vec![HashMap::new(); cluster.nodes],
            known: vec![HashMap::new(); cluster.nodes],
            twins: vec![Vec::new(); cluster.nodes],
            message_indexes: HashMap::new(),
            heard: vec![Vec::new(); cluster.nodes],
        };
        for node in cluster.all() {
            explorer.start(node, Disk::default())?;
        }
        Ok(explorer)
    }

    /// Gives all nodes what they have not been given yet. Returns whether there was anything.
    fn advance(&mut self) -> Result<bool> {
        let cluster = self.found.cluster;
        let mut was_news = false;
        for node in cluster.all() {
            let mut state = 0;
            while state < self.found.moments[node].len() {
                let mut next = self.heard[node][state].unwrap_or(0);
                if self.heard[node][state].is_none() {
                    self.give_other_inputs(node, state)?;
                    was_news = true;
                }
                while next < self.found.messages.len() {
                    let outgoing = self.found.messages[next].clone();
                    if cluster.hears(node, &outgoing)? {
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

    fn give_other_inputs(&mut self, node: usize, state: usize) -> Result<()> {
        let cluster = self.found.cluster;
        self.give(node, state, Input::Timeout, Given::Timeout)?;
        if cluster.is_timed() {
            self.give(node, state, Input::Step, Given::Step)?;
        }
        if cluster.leaving {
            let others = cluster.all().filter(|other| *other != node).map(Some);
            for to in others.chain([None]) {
                self.give(node, state, Input::HandOver(to), Given::HandOver(to))?;
                if to.is_none() || cluster.is_timed() {
                    self.give(node, state, Input::Close(to), Given::Close(to))?;
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, node: usize, from: usize, input: Input, given: Given<'_>) -> Result<()> {
        let before = self.found.moments[node][from].clone();
        let steps = self.steps(node, from, &before, input, given)?;
        let first = self.found.steps.len();
        self.found.steps.extend(steps);
        self.found.by_input.insert((node, from, input), first..self.found.steps.len());
        Ok(())
    }

    /// What a node does with an input at a moment that is like all those of a state.
    fn steps(
        &mut self,
        node: usize,
        from: usize,
        before: &Moment,
        input: Input,
        given: Given<'_>,
    ) -> Result<Vec<LocalStep>> {
        let cluster = self.found.cluster;
        let mut steps = Vec::new();
        for reaction in cluster.react(before, given)? {
            if cluster.is_beyond(&reaction) {
                continue;
            }
            let covers = Coverage::of(before, &reaction, given);
            let Reaction { outcome, after, stores, says, .. } = reaction;
            let says = says.map(|outgoing| self.index_of_message(outgoing)).transpose()?;
            let to = self.index_of(node, after)?;
            if let (Outcome::CrashedAfterSave, Some(disk)) = (outcome, stores) {
                self.start(node, disk)?;
            }
            let is_idle = to == from && stores.is_none() && says.is_none();
            if !is_idle || covers != Coverage::default() {
                steps.push(LocalStep { node, from, input, outcome, to, stores, says, covers });
            }
        }
        Ok(steps)
    }

    /// Gives the further moments of each state what the first one was given.
    ///
    /// # Errors
    ///
    /// One does something else: what was left out of the state matters.
    fn check_twins(&mut self) -> Result<()> {
        let mut inputs: Vec<_> = self.found.by_input.keys().copied().collect();
        inputs.sort_unstable();
        for node in self.found.cluster.all() {
            for (state, twin) in self.twins[node].clone() {
                let first = inputs.partition_point(|(of, at, _)| (*of, *at) < (node, state));
                let given = inputs[first..].iter();
                for (_, _, input) in given.take_while(|(of, at, _)| (*of, *at) == (node, state)) {
                    self.check_twin(node, state, &twin, *input)?;
                }
            }
        }
        Ok(())
    }

    fn check_twin(&mut self, node: usize, state: usize, twin: &Moment, input: Input) -> Result<()> {
        let outgoing;
        let given = match input {
            Input::Message(message) => {
                outgoing = self.found.messages[message].clone();
                Given::Message(&outgoing.message)
            }
            Input::Timeout => Given::Timeout,
            Input::HandOver(to) => Given::HandOver(to),
            Input::Close(to) => Given::Close(to),
            Input::Step => Given::Step,
        };
        let steps = self.steps(node, state, twin, input, given)?;
        let known = self.found.steps_of(node, state, input);
        ensure!(
            known == Some(&steps[..]),
            "what was thought to make no difference does, on {input:?}:\n{:?}\n{twin:?}",
            self.found.moments[node][state],
        );
        Ok(())
    }

    /// Finds the states in which a node may start: at any phase of its clock, which keeps running
    /// while the node is down.
    fn start(&mut self, node: usize, disk: Disk) -> Result<()> {
        let cluster = self.found.cluster;
        for phase in 0..cluster.clock(node).steps {
            if !self.found.starts[node].contains_key(&(disk, phase)) {
                let index = self.index_of(node, cluster.start(node, disk, phase)?)?;
                self.found.starts[node].insert((disk, phase), index);
            }
        }
        Ok(())
    }

    fn index_of(&mut self, node: usize, moment: Moment) -> Result<usize> {
        if let Some(index) = self.known[node].get(&moment) {
            return Ok(*index);
        }
        let cluster = self.found.cluster;
        let key = moment.key(cluster.clock(node), cluster.age_max(node))?;
        let next = self.found.moments[node].len();
        let index = *self.indexes[node].entry(key).or_insert(next);
        self.known[node].insert(moment.clone(), index);
        if index < next {
            self.twins[node].push((index, moment.clone()));
        }
        if index == next {
            self.found.moments[node].push(moment);
            self.heard[node].push(None);
        }
        Ok(index)
    }

    /// Finds a message, and all that it becomes as it ages.
    fn index_of_message(&mut self, outgoing: Outgoing) -> Result<usize> {
        if let Some(index) = self.message_indexes.get(&outgoing) {
            return Ok(*index);
        }
        let index = self.found.messages.len();
        self.message_indexes.insert(outgoing.clone(), index);
        self.found.messages.push(outgoing.clone());
        self.found.ages.push(None);
        if let Some((of, age)) = age(self.found.cluster, &outgoing)? {
            let older = (age + 1).min(self.found.cluster.age_max(of));
            let next = self.index_of_message(aged(&outgoing, older))?;
            self.found.ages[index] = Some(Age { of, next });
        }
        Ok(index)
    }
}

impl Cluster {
    /// Whether the reaction leads beyond the highest term, stored or not.
    fn is_beyond(&self, reaction: &Reaction) -> bool {
        let term_max = u64::from(self.term_max);
        let asks_beyond = reaction.says.as_ref().is_some_and(|outgoing| {
            matches!(&outgoing.message, Message::PreVoteRequest(_))
                && outgoing.message.term() > term_max
        });
        let is_stored_beyond = reaction.stores.is_some_and(|disk| disk.term > self.term_max);
        reaction.after.voter.term() > term_max || is_stored_beyond || asks_beyond
    }
}
