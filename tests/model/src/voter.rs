//! One node of the core as the model has it: with a number for a name, and without chance.

use std::convert::Infallible;
use std::fmt;

use anyhow::{Context, Result};
use crc::{CRC_32_ISCSI, Crc};
use graft_election_core::{AlwaysGrant, Node, NodeId, State, VoteRecord};

/// The most nodes that a model may have.
pub const NODES_MAX: usize = 4;

/// The names of the nodes.
const NAMES: [&str; NODES_MAX] = ["a", "b", "c", "d"];

/// How many rounds each node seems to have drawn: more than there are terms.
pub(crate) const ROUNDS_MAX: u32 = 16;

/// How far the lives of two processes of one id are apart: further than rounds can count.
pub(crate) const LIVES_APART: u32 = 2 * ROUNDS_MAX;

/// A node of the core.
pub(crate) type Voter = Node<NoDice, AlwaysGrant, NODES_MAX>;

/// Random numbers that are small once a node has mixed its id in: each timer is the shortest that
/// it can be, and all nodes have one life and number their rounds alike, except the others of their
/// ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NoDice(u32);

impl NoDice {
    pub(crate) fn of(id: &NodeId, party: u8) -> Self {
        let bytes = [id.as_bytes(), &[0]].concat();
        let life = u32::from(party) * LIVES_APART;
        Self(Crc::<u32>::new(&CRC_32_ISCSI).checksum(&bytes) ^ life)
    }
}

/// Nodes that differ only by their names show themselves alike.
impl fmt::Debug for NoDice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoDice")
    }
}

impl rand_core::TryRng for NoDice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.into())
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

/// The name of the id of this number.
pub(crate) fn name(node: usize) -> &'static str {
    NAMES.get(node).copied().unwrap_or("?")
}

/// The number of this id.
pub(crate) fn number(id: &NodeId) -> Result<usize> {
    let number = NAMES.iter().position(|name| *name == id.as_str());
    number.with_context(|| format!("nobody has the id {id}"))
}

pub(crate) fn id(node: usize) -> Result<NodeId> {
    Ok(NodeId::new(name(node))?)
}

pub(crate) fn disk(record: &VoteRecord<NODES_MAX>) -> Result<Disk> {
    let vote = record.voted_for.as_ref().map(number).transpose()?;
    Ok(Disk { term: u8::try_from(record.term)?, vote: vote.map(u8::try_from).transpose()? })
}
