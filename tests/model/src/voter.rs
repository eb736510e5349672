//! The core's nodes as the model runs them: made from what is stored, and given one input.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, anyhow};
use graft_election_core::{
    AlwaysGrant, Config, Instant, Message, Mode, Node, NodeId, Outgoing, Output, Position, State,
    VoteRecord, VoteRequest,
};

/// The most nodes that a model may have.
pub const NODES_MAX: usize = 4;

/// The names of the nodes.
const NAMES: [&str; NODES_MAX] = ["a", "b", "c", "d"];

/// The last instant but one: a node that starts then with a stored term is bound (rule V3).
const EARLY: Instant = Instant::from_micros(u64::MAX - 1);

/// The last instant: every timer is due, and no node is bound any more.
const LATE: Instant = Instant::FAR_FUTURE;

/// When a node may be given an input. Whoever is past the first instant stays there.
const INSTANTS: [Instant; 2] = [EARLY, LATE];

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

/// The clusters that are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many nodes there are: 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// The highest term; a campaign for a higher one is beyond the model.
    pub term_max: u8,
    /// Whether the nodes know the list of all voters (rule V6).
    pub declared: bool,
    /// Whether nodes are told to hand over and to close (rules H1 to H3).
    pub leaving: bool,
}

/// The clusters that are searched whenever everything is tested.
pub const CLUSTERS: &[Cluster] = &[
    Cluster { nodes: 2, term_max: 3, declared: true, leaving: true },
    Cluster { nodes: 3, term_max: 2, declared: true, leaving: true },
    Cluster { nodes: 3, term_max: 2, declared: false, leaving: false },
    Cluster { nodes: 3, term_max: 3, declared: true, leaving: false },
    Cluster { nodes: 4, term_max: 1, declared: true, leaving: true },
];

/// The clusters that are searched on demand: four nodes in more terms.
pub const LARGE_CLUSTERS: &[Cluster] =
    &[Cluster { nodes: 4, term_max: 2, declared: true, leaving: false }];

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let voters = if self.declared { "declared" } else { "undeclared" };
        write!(f, "{} {voters} nodes, terms 0 to {}", self.nodes, self.term_max)?;
        if self.leaving { f.write_str(", handing over and closing") } else { Ok(()) }
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
    Close,
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
    pub(crate) after: Voter,
    pub(crate) stores: Option<Disk>,
    pub(crate) says: Option<Outgoing>,
    /// Whether a crash kept a message from being said.
    pub(crate) is_silenced: bool,
}

impl Cluster {
    /// The numbers of the nodes.
    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.nodes
    }

    /// The node as it starts with what it has stored.
    pub(crate) fn start(&self, node: usize, disk: Disk) -> Result<Voter> {
        let ids: Vec<NodeId> = self.all().map(id).collect::<Result<_>>()?;
        let voters: &[NodeId] = if self.declared { &ids } else { &[] };
        let config = Config { voters, mode: Mode::Graft, ..Config::new("model", self.nodes) };
        let voted_for = disk.vote.and_then(|vote| ids.get(usize::from(vote))).cloned();
        let record = VoteRecord { term: disk.term.into(), voted_for };
        // Nothing binds a node that never stored a term; to start it late can only let it do more.
        let now = if disk.term == 0 { LATE } else { EARLY };
        Ok(Node::new(id(node)?, &config, record, AlwaysGrant, NoDice, now)?)
    }

    /// All that may come of one input, in a fixed order.
    ///
    /// # Errors
    ///
    /// The node panicked.
    pub(crate) fn react(&self, voter: &Voter, input: Given<'_>) -> Result<Vec<Reaction>> {
        let react = || -> Result<Vec<Reaction>> {
            let mut reactions = Vec::new();
            for now in INSTANTS {
                let saved = attempt(voter, now, input, true)?;
                let Some(disk) = saved.stores else {
                    reactions.push(saved);
                    continue;
                };
                let failed = attempt(voter, now, input, false)?;
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
                    after: self.start(number(voter.id())?, disk)?,
                    stores: Some(disk),
                    says: None,
                    is_silenced: saved.says.is_some(),
                });
                reactions.push(saved);
            }
            Ok(reactions)
        };
        catch_unwind(AssertUnwindSafe(react)).map_err(|_| {
            anyhow!("violated: I7: no input panics\n{voter:#?}\npanics on {input:?}")
        })?
    }
}

/// An input with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    Message(&'a Message),
    Timeout,
    HandOver(Option<usize>),
    Close,
}

/// Runs a copy of the node; the save succeeds or fails.
fn attempt(voter: &Voter, now: Instant, input: Given<'_>, succeeds: bool) -> Result<Reaction> {
    let mut after = voter.clone();
    let (fate, stores, says) = match give(&mut after, now, input)? {
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
    Ok(Reaction { fate, after, stores, says, is_silenced: false })
}

fn give<'v>(
    voter: &'v mut Voter,
    now: Instant,
    input: Given<'_>,
) -> Result<Output<'v, NoDice, AlwaysGrant, NODES_MAX>> {
    Ok(match input {
        Given::Message(message) => voter.handle_message(now, message.clone()),
        Given::Timeout => voter.handle_timeout(voter.deadline()),
        Given::HandOver(to) => voter.hand_over(now, to.map(id).transpose()?),
        Given::Close => voter.close(now),
    })
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

fn id(node: usize) -> Result<NodeId> {
    Ok(NodeId::new(name(node))?)
}

fn disk(record: &VoteRecord) -> Result<Disk> {
    let vote = record.voted_for.as_ref().map(number).transpose()?;
    Ok(Disk { term: u8::try_from(record.term)?, vote: vote.map(u8::try_from).transpose()? })
}
