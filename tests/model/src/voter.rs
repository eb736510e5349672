//! The core's nodes as the model runs them: made from what is stored, and given one input.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, anyhow};
use graft_election_core::{
    AlwaysGrant, Instant, Message, Node, NodeId, Outgoing, Output, Position, State, VoteRecord,
    VoteRequest,
};

use crate::clock::{EARLY, LATE, Moment};
use crate::cluster::{Cluster, NODES_MAX};

/// The names of the nodes.
const NAMES: [&str; NODES_MAX] = ["a", "b", "c", "d"];

/// A node of the core.
pub(crate) type Voter = Node<NoDice, AlwaysGrant, NODES_MAX>;

/// The random numbers of a node all of whose timers end with the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NoDice;

impl rand_core::TryRng for NoDice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }
}

/// What a node has stored, with nodes by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Disk {
    pub(crate) term: u8,
    pub(crate) vote: Option<u8>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vote = self.vote.map_or("nobody", |node| name(usize::from(node)));
        write!(f, "term {}, vote for {vote}", self.term)
    }
}

/// What a node may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Input {
    /// The message of this number.
    Message(usize),
    Timeout,
    HandOver(Option<usize>),
    /// A leader names its successor.
    Close(Option<usize>),
    /// Time passes: one step.
    Step,
}

/// What becomes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// The node has nothing to save.
    Unsaved,
    Saved,
    SaveFailed,
    /// The save is reported as failed, and yet the record is there.
    StoredButFailed,
    /// The record is stored, but the node stops before it says anything.
    CrashedAfterSave,
}

/// What a node has done with an input.
#[derive(Debug)]
pub(crate) struct Reaction {
    pub(crate) fate: Fate,
    pub(crate) after: Moment,
    pub(crate) stores: Option<Disk>,
    pub(crate) says: Option<Outgoing>,
    /// Whether a crash kept a message from being said.
    pub(crate) is_silenced: bool,
}

impl Cluster {
    /// All that may come of one input, in a fixed order.
    ///
    /// # Errors
    ///
    /// The node panicked.
    pub(crate) fn react(&self, before: &Moment, input: Given<'_>) -> Result<Vec<Reaction>> {
        let react = || -> Result<Vec<Reaction>> {
            let mut reactions = Vec::new();
            let instants: &[Instant] = if self.is_timed() { &[before.now] } else { &[EARLY, LATE] };
            for now in instants {
                let saved = self.attempt(before, *now, input, true)?;
                let Some(disk) = saved.stores else {
                    reactions.push(saved);
                    continue;
                };
                let failed = self.attempt(before, *now, input, false)?;
                reactions.push(Reaction {
                    fate: Fate::StoredButFailed,
                    after: failed.after.clone(),
                    stores: Some(disk),
                    says: None,
                    is_silenced: false,
                });
                reactions.push(failed);
                reactions.push(Reaction {
                    fate: Fate::CrashedAfterSave,
                    after: self.start(number(before.voter.id())?, disk, before.phase)?,
                    stores: Some(disk),
                    says: None,
                    is_silenced: saved.says.is_some(),
                });
                reactions.push(saved);
            }
            Ok(reactions)
        };
        catch_unwind(AssertUnwindSafe(react)).map_err(|_| {
            anyhow!("violated: I7: no input panics\n{before:#?}\npanics on {input:?}")
        })?
    }

    /// Runs a copy of the node; the save succeeds or fails.
    fn attempt(
        &self,
        before: &Moment,
        now: Instant,
        input: Given<'_>,
        succeeds: bool,
    ) -> Result<Reaction> {
        let node = number(before.voter.id())?;
        let clock = self.clock(node);
        let mut after = before.clone();
        if let Given::Step = input {
            after.pass(clock);
        }
        let voter = &mut after.voter;
        let (fate, stores, mut says) = match match input {
            Given::Message(message) => {
                voter.handle_message(now, before.undated(clock, message.clone()))
            }
            Given::Timeout => voter.handle_timeout(now),
            Given::HandOver(to) => voter.hand_over(now, to.map(id).transpose()?),
            Given::Close(_) => voter.close(now),
            Given::Step => Output::Idle,
        } {
            Output::Idle => (Fate::Unsaved, None, None),
            Output::Send(outgoing) => (Fate::Unsaved, None, Some(outgoing)),
            Output::Save(unsaved) if succeeds => {
                let disk = disk(unsaved.record())?;
                (Fate::Saved, Some(disk), unsaved.saved(now))
            }
            Output::Save(unsaved) => {
                drop(unsaved);
                (Fate::SaveFailed, None, None)
            }
        };
        if let (Given::HandOver(to) | Given::Close(to), Some(outgoing)) = (input, &mut says)
            && let Message::Handover(handover) = &mut outgoing.message
        {
            // To whom a leader hands over by itself depends on the order in which it was answered.
            // That it may name anyone allows more, and treats all alike.
            handover.target = to.map(id).transpose()?;
        }
        let says = says.map(|outgoing| before.dated(clock, outgoing));
        Ok(Reaction { fate, after, stores, says, is_silenced: false })
    }
}

/// An input with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    Message(&'a Message),
    Timeout,
    HandOver(Option<usize>),
    Close(Option<usize>),
    Step,
}

/// Whether the node still has to save what an earlier save failed to: a pre-vote changes nothing,
/// but the answer has to wait for the save.
pub(crate) fn owes_a_save(voter: &Voter) -> bool {
    let Ok(candidate) = NodeId::new("another") else { return false };
    let request = VoteRequest {
        term: 0,
        candidate,
        position: Position::EMPTY,
        handover_from: None,
        size: None,
        round: None,
    };
    let mut copy = voter.clone();
    matches!(copy.handle_message(EARLY, Message::PreVoteRequest(request)), Output::Save(_))
}

/// What the node looks like from outside.
pub(crate) fn describe(voter: &Voter) -> String {
    let state = voter.state();
    let vote = voter.vote().map_or("nobody", NodeId::as_str);
    let leader = match (state, voter.leader()) {
        (State::Follower, Some(leader)) => format!(" of {leader}"),
        _ => String::new(),
    };
    format!("{state}{leader} in term {}, vote for {vote}", voter.term())
}

/// The name of the node of this number.
pub(crate) fn name(node: usize) -> &'static str {
    NAMES.get(node).copied().unwrap_or("?")
}

/// The number of the node of this id.
pub(crate) fn number(id: &NodeId) -> Result<usize> {
    let number = NAMES.iter().position(|name| *name == id.as_str());
    number.with_context(|| format!("there is no node {id}"))
}

pub(crate) fn id(node: usize) -> Result<NodeId> {
    Ok(NodeId::new(name(node))?)
}

fn disk(record: &VoteRecord) -> Result<Disk> {
    let vote = record.voted_for.as_ref().map(number).transpose()?;
    Ok(Disk { term: u8::try_from(record.term)?, vote: vote.map(u8::try_from).transpose()? })
}
