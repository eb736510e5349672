//! What the nodes do, by classes of their states: the table that the search looks up.

use std::collections::BTreeSet;

use anyhow::Result;
use graft_election_core::State;

use crate::classes::{Claim, Classes};
use crate::coverage::Coverage;
use crate::exploration::{Exploration, LocalStep};
use crate::facts::{Facts, FactsLayout};
use crate::reaction::{Input, Outcome};
use crate::voter::Disk;

/// What a node does in one class of states.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    pub(crate) term: u8,
    /// How often its clock must advance until its lease is over; 0 without a lease.
    pub(crate) lease: u8,
    /// The phase of its clock.
    pub(crate) phase: u8,
    /// Its class after a step of time, and whether its clock has advanced by then.
    pub(crate) next: u16,
    pub(crate) advances: bool,
    /// What it may do.
    pub(crate) steps: Vec<Step>,
    /// What it does at once: it says something without changing itself.
    pub(crate) answers: Vec<Step>,
}

/// One kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// The message that must have been said.
    pub(crate) hears: Facts,
    pub(crate) stores: Option<Disk>,
    pub(crate) next: u16,
    /// The message that it says, and the term that it leads from then on.
    pub(crate) adds: Facts,
    pub(crate) claim: Option<Claim>,
    pub(crate) covers: Coverage,
    /// The node crashes.
    pub(crate) crashes: bool,
    /// The node crashes, fails to save, or is told to leave.
    pub(crate) disturbs: bool,
    /// An example of it in the exploration.
    pub(crate) example: u32,
}

/// What each node does in each class: the steps of the exploration, of which equal ones are one.
pub(crate) fn tables(
    exploration: &Exploration,
    classes: &Classes,
    layout: &FactsLayout,
) -> Result<Vec<Vec<Class>>> {
    let mut tables = tables_without_steps(exploration, classes)?;
    let mut known = BTreeSet::new();
    for (example, local) in exploration.steps.iter().enumerate() {
        let class = classes.states[local.node][local.from];
        let table = &mut tables[local.node][class];
        if local.input == Input::Step {
            table.next = u16::try_from(classes.states[local.node][local.to])?;
            continue;
        }
        let Some(step) = step(exploration, classes, layout, local, example)? else { continue };
        let stays = usize::from(step.next) == class && step.stores.is_none();
        let does_nothing = stays && local.says.is_none() && step.covers == Coverage::default();
        if does_nothing || !known.insert((local.node, class, Step { example: 0, ..step })) {
            continue;
        }
        if stays { &mut table.answers } else { &mut table.steps }.push(step);
    }
    Ok(tables)
}

/// What each class is, before anything is known of what nodes do in it.
fn tables_without_steps(exploration: &Exploration, classes: &Classes) -> Result<Vec<Vec<Class>>> {
    let mut tables: Vec<Vec<Class>> =
        classes.counts.iter().map(|count| vec![Class::default(); *count]).collect();
    for (node, moments) in exploration.moments.iter().enumerate() {
        let clock = exploration.cluster.clock(node);
        for (moment, index) in moments.iter().zip(&classes.states[node]) {
            let class = &mut tables[node][*index];
            class.term = u8::try_from(moment.voter.term())?;
            class.lease = moment.lease(clock)?;
            (class.phase, class.advances) = (moment.phase, moment.advances(clock));
            class.next = u16::try_from(*index)?;
        }
    }
    Ok(tables)
}

/// A step of the exploration between classes; `None` if it hears a message that changes nothing.
fn step(
    exploration: &Exploration,
    classes: &Classes,
    layout: &FactsLayout,
    local: &LocalStep,
    example: usize,
) -> Result<Option<Step>> {
    let hears = match local.input {
        Input::Message(message) => match classes.messages[message] {
            Some(message) => layout.message(message),
            None => return Ok(None),
        },
        _ => Facts::ZERO,
    };
    let said = local.says.and_then(|said| classes.messages[said]);
    let after = &exploration.moments[local.node][local.to].voter;
    let mut adds = said.map_or(Facts::ZERO, |message| layout.message(message));
    if after.state() == State::Leader {
        adds |= layout.leader(u8::try_from(after.term())?, local.node);
    }
    let claim = local.says.map(|said| Claim::of(&exploration.messages[said])).transpose()?;
    let claim = claim.flatten();
    if let Some((term, vote)) = claim.and_then(|claim| Some((claim.term, claim.vote?))) {
        adds |= layout.vote(term, local.node, usize::from(vote));
    }
    let leaves = matches!(local.input, Input::HandOver(_) | Input::Close(_));
    Ok(Some(Step {
        hears,
        stores: local.stores,
        next: u16::try_from(classes.states[local.node][local.to])?,
        adds,
        claim,
        covers: local.covers,
        crashes: local.outcome == Outcome::CrashedAfterSave,
        disturbs: leaves || !matches!(local.outcome, Outcome::Unsaved | Outcome::Saved),
        example: u32::try_from(example)?,
    }))
}
