//! What the nodes do, by classes of their states: the table that the search looks up.

use std::collections::BTreeSet;

use anyhow::Result;
use graft_election_core::State;

use crate::classes::{Claim, Classes};
use crate::exploration::Exploration;
use crate::facts::{Facts, FactsLayout};
use crate::sights::Sights;
use crate::voter::{Disk, Fate, Input};

/// What a node does in one class of states.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    pub(crate) term: u8,
    /// How often its clock must advance until its lease is over; 0: it has none.
    pub(crate) lease: u8,
    /// The phase of its clock.
    pub(crate) phase: u8,
    /// What it is after a step of time, and whether its clock has advanced by then.
    pub(crate) next: u16,
    pub(crate) advances: bool,
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
    /// The node crashes.
    pub(crate) crashes: bool,
    /// The node crashes, fails to save, or is told to leave.
    pub(crate) disturbs: bool,
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
    for (node, moments) in exploration.moments.iter().enumerate() {
        let clock = exploration.cluster.clock(node);
        for (moment, place) in moments.iter().zip(&classes.states[node]) {
            let class = &mut tables[node][*place];
            class.term = u8::try_from(moment.voter.term())?;
            class.lease = moment.lease(clock)?;
            (class.phase, class.advances) = (moment.phase, moment.advances(clock));
            class.next = u16::try_from(*place)?;
        }
    }
    let mut known = BTreeSet::new();
    for (example, step) in exploration.steps.iter().enumerate() {
        let (class, next) =
            (classes.states[step.node][step.from], classes.states[step.node][step.to]);
        let hears = match step.input {
            Input::Step => {
                tables[step.node][class].next = u16::try_from(next)?;
                continue;
            }
            Input::Message(message) => match classes.messages[message] {
                Some(message) => layout.message(message),
                // Nobody makes anything of it.
                None => continue,
            },
            _ => Facts::ZERO,
        };
        let said = step.says.and_then(|said| classes.messages[said]);
        let after = &exploration.moments[step.node][step.to].voter;
        let mut adds = said.map_or(Facts::ZERO, |message| layout.message(message));
        if after.state() == State::Leader {
            adds |= layout.leader(u8::try_from(after.term())?, step.node);
        }
        let claim = step.says.map(|said| Claim::of(&exploration.messages[said])).transpose()?;
        let claim = claim.flatten();
        if let Some((term, vote)) = claim.and_then(|claim| Some((claim.term, claim.vote?))) {
            adds |= layout.vote(term, step.node, usize::from(vote));
        }
        let crashes = step.fate == Fate::CrashedAfterSave;
        let leaves = matches!(step.input, Input::HandOver(_) | Input::Close(_));
        let disturbs = leaves || !matches!(step.fate, Fate::Unsaved | Fate::Saved);
        let key = (
            step.node,
            class,
            hears,
            step.stores,
            next,
            adds,
            claim,
            step.sights,
            disturbs,
            crashes,
        );
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
            crashes,
            disturbs,
            example: u32::try_from(example)?,
        };
        let is_answer = next == class && step.stores.is_none();
        let table = &mut tables[step.node][class];
        if is_answer { &mut table.answers } else { &mut table.steps }.push(taken);
    }
    Ok(tables)
}
