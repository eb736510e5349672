//! What a node of the core does with one input, with every outcome of its save.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow, ensure};
use graft_election_core::{Instant, Message, NodeId, Outgoing, Output, Position, VoteRequest};

use crate::clock::{EARLY, LATE, Moment};
use crate::cluster::{Cluster, Others};
use crate::identity::Doubt;
use crate::voter::{Disk, ROUNDS_MAX, Voter, disk, id};

/// What a node may be given, with messages by number.
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

/// What becomes of the save that an input asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Outcome {
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
    pub(crate) outcome: Outcome,
    pub(crate) after: Moment,
    pub(crate) stores: Option<Disk>,
    pub(crate) says: Option<Outgoing>,
    /// Whether a crash kept a message from being said.
    pub(crate) is_silenced: bool,
}

impl Cluster {
    /// All reactions to one input, in a fixed order.
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
                    outcome: Outcome::StoredButFailed,
                    after: failed.after.clone(),
                    stores: Some(disk),
                    says: None,
                    is_silenced: false,
                });
                reactions.push(failed);
                reactions.push(Reaction {
                    outcome: Outcome::CrashedAfterSave,
                    after: self.start(before.node, disk, before.phase)?,
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
        let node = before.node;
        let clock = self.clock(node);
        let mut after = before.clone();
        if let Given::Step = input {
            after.pass(clock);
        }
        let voter = &mut after.voter;
        let is_echo = matches!(input, Given::Message(it) if it.sender() == Some(voter.id()));
        if !is_echo {
            // A round has the number of the term in which it is drawn: one input draws one at most.
            // An echo draws none, and the node must know it by a round that it has drawn (N3).
            voter.set_rounds_drawn(u32::try_from(voter.term())?);
        }
        let (outcome, stores, mut says) = match match input {
            Given::Message(message) => {
                voter.handle_message(now, before.undated(clock, message.clone()))
            }
            Given::Timeout => voter.handle_timeout(now),
            Given::HandOver(to) => voter.hand_over(now, to.map(id).transpose()?),
            Given::Close(_) => voter.close(now),
            Given::Step => Output::Idle,
        } {
            Output::Idle => (Outcome::Unsaved, None, None),
            Output::Send(outgoing) => (Outcome::Unsaved, None, Some(outgoing)),
            Output::Save(unsaved) if succeeds => {
                let disk = disk(unsaved.record())?;
                (Outcome::Saved, Some(disk), unsaved.saved(now))
            }
            Output::Save(unsaved) => {
                drop(unsaved);
                (Outcome::SaveFailed, None, None)
            }
        };
        if let (Given::HandOver(to) | Given::Close(to), Some(outgoing)) = (input, &mut says)
            && let Message::Handover(handover) = &mut outgoing.message
        {
            // To whom a leader hands over by itself depends on the order in which it was answered.
            // Letting it name anyone allows more, and treats all nodes alike.
            handover.target = to.map(id).transpose()?;
        }
        ensure!(
            self.others != Others::Nobody
                || !says.as_ref().is_some_and(|it| matches!(it.message, Message::Who(_))),
            "a node asks whose its id is, though nobody else has it\n{before:#?}\non {input:?}"
        );
        after.voter.set_rounds_drawn(ROUNDS_MAX);
        after.voter.exhaust_standing_back();
        let says = says.map(|outgoing| before.dated(clock, outgoing));
        let mut reaction = Reaction { outcome, after, stores, says, is_silenced: false };
        reaction.after.doubt = Doubt::after(*self, before, input, &reaction);
        self.judge_identity(before, input, &reaction)?;
        Ok(reaction)
    }
}

/// What a node is given: an input with its message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    Message(&'a Message),
    Timeout,
    HandOver(Option<usize>),
    Close(Option<usize>),
    Step,
}

/// Whether the node still has to repeat a failed save. A request for a pre-vote shows that: it
/// changes nothing, but its answer has to wait for the save.
pub(crate) fn owes_a_save(voter: &Voter) -> bool {
    let Ok(candidate) = NodeId::new("another") else { return false };
    let request = VoteRequest {
        term: 0,
        candidate,
        position: Position::EMPTY,
        handover_from: None,
        size: None,
        round: None,
        list: None,
    };
    let mut copy = voter.clone();
    matches!(copy.handle_message(EARLY, Message::PreVoteRequest(request)), Output::Save(_))
}
