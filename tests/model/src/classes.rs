//! States of a node, and messages, that nothing can tell apart.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::{Result, ensure};
use graft_election_core::{Message, Outgoing, Recipient, State};

use crate::clock::Moment;
use crate::coverage::Coverage;
use crate::exploration::{Age, Exploration};
use crate::reaction::{Input, Outcome};
use crate::voter::{Disk, number};

/// Which states and which messages are alike.
///
/// Two states of a node are alike if they have the same term, both lead or neither does, and every
/// input makes them store and say the same and leads to states that are alike. Two messages are
/// alike if they have the same effect in every state. So a search needs only one of each class.
/// This is a bisimulation: classes are split until none has members that differ, without any
/// knowledge of what in a node matters.
#[derive(Debug)]
pub(crate) struct Classes {
    /// The class of each state of each node.
    pub(crate) states: Vec<Vec<usize>>,
    /// How many classes of states each node has.
    pub(crate) counts: Vec<usize>,
    /// The class of each message; `None` if it never changes anything in any node.
    pub(crate) messages: Vec<Option<usize>>,
    /// How many classes of messages there are.
    pub(crate) message_count: usize,
}

/// What a message says about the stored record of the node that says it (I6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    /// A term no higher than the stored one.
    pub(crate) term: u8,
    /// For whom the node voted in this very term.
    pub(crate) vote: Option<u8>,
}

/// All of a step that shows, except the message.
type Label = (Outcome, Option<Disk>, Option<Claim>, Coverage);

/// What follows an input: what shows, the class of what is said, the class of the next state.
type Effect = (Label, Option<usize>, usize);

impl Classes {
    pub(crate) fn new(exploration: &Exploration) -> Result<Self> {
        let claims: Vec<Option<Claim>> =
            exploration.messages.iter().map(Claim::of).collect::<Result<_>>()?;
        let mut classes = Self::first(exploration);
        loop {
            let next = classes.split(exploration, &claims);
            let has_settled = next.size() == classes.size();
            classes = next;
            if has_settled {
                classes.check_ages(exploration)?;
                return Ok(classes);
            }
        }
    }

    /// Checks that the oldest messages are alike with those one step younger, so that still older
    /// ones need not be distinguished.
    fn check_ages(&self, exploration: &Exploration) -> Result<()> {
        for (message, age) in exploration.ages.iter().enumerate() {
            let Some(Age { next, .. }) = *age else { continue };
            let is_last = exploration.ages[next].is_some_and(|age| age.next == next);
            let (class, older) = (self.messages[message], self.messages[next]);
            ensure!(!is_last || class == older, "age makes a difference to the oldest messages");
        }
        Ok(())
    }

    /// States differ if they look different; messages don't differ.
    fn first(exploration: &Exploration) -> Self {
        let look = exploration.moments.iter().enumerate().map(|(node, moments)| {
            let clock = exploration.cluster.clock(node);
            let looks = moments.iter().map(|moment| {
                let Moment { voter, phase, .. } = moment;
                (voter.term(), voter.state() == State::Leader, moment.lease(clock).ok(), *phase)
            });
            number_of_each(looks)
        });
        let (states, counts) = look.unzip();
        let messages = vec![Some(0); exploration.messages.len()];
        Self { states, counts, messages, message_count: 1 }
    }

    /// For each class of messages that tell the time: whose time, and the class that they have once
    /// that clock has advanced, unless they no longer change anything in any node.
    pub(crate) fn ages(&self, exploration: &Exploration) -> Vec<Option<(usize, Option<usize>)>> {
        let mut ages = vec![None; self.message_count];
        for (class, age) in self.messages.iter().zip(&exploration.ages) {
            if let (Some(class), Some(age)) = (class, age) {
                ages[*class] = Some((age.of, self.messages[age.next]));
            }
        }
        ages
    }

    /// How many classes there are, and how many messages change something in some node.
    fn size(&self) -> (usize, usize) {
        let heard = self.messages.iter().flatten().count();
        (self.counts.iter().sum::<usize>() + self.message_count, heard)
    }

    /// Splits the classes of which the current ones show that their members differ.
    fn split(&self, exploration: &Exploration, claims: &[Option<Claim>]) -> Self {
        let mut of_states: Vec<Vec<Vec<(Input, Effect)>>> =
            self.states.iter().map(|states| vec![Vec::new(); states.len()]).collect();
        let mut of_messages: Vec<Vec<(usize, usize, Effect)>> =
            vec![Vec::new(); exploration.messages.len()];
        for step in &exploration.steps {
            let class = self.states[step.node][step.from];
            let next = self.states[step.node][step.to];
            let claim = step.says.and_then(|said| claims[said]);
            let said = step.says.and_then(|said| self.messages[said]);
            let label = (step.outcome, step.stores, claim, step.covers);
            let is_idle = next == class && step.stores.is_none() && step.says.is_none();
            if is_idle && step.covers == Coverage::default() {
                continue;
            }
            let effect = (label, said, next);
            of_states[step.node][step.from].push((step.input, effect));
            if let Input::Message(message) = step.input {
                of_messages[message].push((step.node, class, effect));
            }
        }
        let refined = of_states.into_iter().zip(&self.states).map(|(effects, classes)| {
            number_of_each(
                effects.into_iter().zip(classes).map(|(effects, class)| (sorted(effects), *class)),
            )
        });
        let (states, counts) = refined.unzip();
        let becomes = |message: usize| {
            exploration.ages[message].map(|age| (age.of, age.next, self.messages[age.next]))
        };
        let matters: Vec<bool> = (0..of_messages.len())
            .map(|message| {
                let becomes_something = becomes(message)
                    .is_some_and(|(_, next, class)| next != message && class.is_some());
                becomes_something || !of_messages[message].is_empty()
            })
            .collect();
        let (numbers, message_count) =
            number_of_each(of_messages.into_iter().zip(&self.messages).enumerate().map(
                |(message, (effects, class))| {
                    let becomes = becomes(message).map(|(of, _, class)| (of, class));
                    (sorted(effects), becomes, *class)
                },
            ));
        let messages = numbers.into_iter().zip(matters);
        let messages = messages.map(|(class, matters)| matters.then_some(class)).collect();
        Self { states, counts, messages, message_count }
    }
}

impl Claim {
    /// Whether a node that has stored this may say so.
    pub(crate) fn is_true_of(self, disk: Disk) -> bool {
        match self.vote {
            Some(_) => disk.term == self.term && disk.vote == self.vote,
            None => disk.term >= self.term,
        }
    }

    /// What the message says about its speaker's record. A pre-vote request says nothing.
    pub(crate) fn of(outgoing: &Outgoing) -> Result<Option<Self>> {
        let vote = match (&outgoing.message, &outgoing.to) {
            (Message::PreVoteRequest(_), _) => return Ok(None),
            (Message::VoteRequest(request), _) => Some(&request.candidate),
            (Message::Heartbeat(heartbeat), _) => Some(&heartbeat.leader),
            (Message::VoteResponse(response), Recipient::Node(candidate)) if response.granted => {
                Some(candidate)
            }
            _ => None,
        };
        let vote = vote.map(number).transpose()?.map(u8::try_from).transpose()?;
        Ok(Some(Self { term: u8::try_from(outgoing.message.term())?, vote }))
    }
}

/// Numbers the items, equal ones alike, and says how many numbers there are.
fn number_of_each<T: Eq + Hash>(items: impl Iterator<Item = T>) -> (Vec<usize>, usize) {
    let mut numbers = HashMap::new();
    let numbered = items
        .map(|item| {
            let next = numbers.len();
            *numbers.entry(item).or_insert(next)
        })
        .collect();
    (numbered, numbers.len())
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}
