//! What the nodes do, by classes of their states: the table that the search looks up.

use std::collections::BTreeSet;

use anyhow::Result;
use graft_election_core::State;

use crate::classes::{Claim, Classes};
use crate::exploration::Exploration;
use crate::facts::{Facts, FactsLayout};
use crate::sights::Sights;
use crate::voter::{Disk, Input};

/// What a node does in one class of states.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    pub(crate) term: u8,
    /// What it may do.
    pub(crate) steps: Vec<Step>,
    /// What it does at once: say something without a change of its own.
    pub(crate) answers: Vec<Step>,
}

/// One kind of step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The message that must have been said.
    pub(crate) hears: Facts,
    pub(crate) stores: Option<Disk>,
    pub(crate) next: u16,
    /// The message that it says, and the term that it leads from then on.
    pub(crate) adds: Facts,
    pub(crate) claim: Option<Claim>,
    pub(crate) sights: Sights,
    /// An example of it in the exploration.
    pub(crate) example: u32,
}

/// What each node does in each class: the steps of the exploration, alike ones once.
pub(crate) fn tables(
    exploration: &Exploration,
    classes: &Classes,
    layout: &FactsLayout,
) -> Result<Vec<Vec<Class>>> {
    let mut tables: Vec<Vec<Class>> =
        classes.counts.iter().map(|count| vec![Class::default(); *count]).collect();
    for (node, voters) in exploration.voters.iter().enumerate() {
        for (state, voter) in voters.iter().enumerate() {
            tables[node][classes.states[node][state]].term = u8::try_from(voter.term())?;
        }
    }
    let mut known = BTreeSet::new();
    for (example, step) in exploration.steps.iter().enumerate() {
        let (class, next) =
            (classes.states[step.node][step.from], classes.states[step.node][step.to]);
        let hears = match step.input {
            Input::Message(message) => match classes.messages[message] {
                Some(message) => layout.message(message),
                // Nobody makes anything of it.
                None => continue,
            },
            _ => 0,
        };
        let said = step.says.and_then(|said| classes.messages[said]);
        let after = &exploration.voters[step.node][step.to];
        let mut adds = said.map_or(0, |message| layout.message(message));
        if after.state() == State::Leader {
            adds |= layout.leader(u8::try_from(after.term())?, step.node);
        }
        let claim = step.says.map(|said| Claim::of(&exploration.messages[said])).transpose()?;
        let claim = claim.flatten();
        if let Some((term, vote)) = claim.and_then(|claim| Some((claim.term, claim.vote?))) {
            adds |= layout.vote(term, step.node, usize::from(vote));
        }
        let key = (step.node, class, hears, step.stores, next, adds, claim, step.sights);
        let does_nothing =
            next == class && step.stores.is_none() && step.says.is_none() && step.sights.0 == 0;
        if does_nothing || !known.insert(key) {
            continue;
        }
        let taken = Step {
            hears,
            stores: step.stores,
            next: u16::try_from(next)?,
            adds,
            claim,
            sights: step.sights,
            example: u32::try_from(example)?,
        };
        let is_answer = next == class && step.stores.is_none();
        let table = &mut tables[step.node][class];
        if is_answer { &mut table.answers } else { &mut table.steps }.push(taken);
    }
    Ok(tables)
}
