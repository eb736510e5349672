//! A cluster as one sees it who only listens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use graft_election_core::{LeaderValue, ListId, Mode, NodeId};
use graft_election_proto::seal::SealFault;

/// A cluster at one instant, as somebody who listens knows it. What was not heard is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster: String,
    /// The highest term that a node has said it is in.
    pub term: u64,
    /// Whether somebody has listened for the longest of the least election timeouts, so that a
    /// leader would have been heard. Before that, and while the connection is interrupted, there
    /// may be one.
    pub has_listened: bool,
    /// Who leads, as far as it was heard.
    pub leader: Option<LeaderView>,
    /// All nodes that were heard in the last ten minutes, by id.
    pub nodes: Vec<NodeView>,
    /// What must not differ among the nodes, and does.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::all_words"))]
    pub disagreements: BTreeSet<Disagreement>,
    /// Whether nodes seal what they say with a key that isn't known here: then nobody has checked
    /// who says what this view is made of.
    pub is_unverified: bool,
    /// With a key, how many messages were dropped since the beginning for their seals (rule K3).
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::seal_faults"))]
    pub unauthentic: BTreeMap<SealFault, u64>,
}

/// The leader.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LeaderView {
    /// Who leads.
    pub id: NodeId,
    /// In which term; it is the fencing token.
    pub term: u64,
    /// What its last heartbeat said beside that it leads (rule L7): an address, for example.
    pub value: LeaderValue,
    /// For how long it has been heard to lead.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "led_for_seconds", serialize_with = "crate::serialize::seconds")
    )]
    pub led_for: Duration,
    /// Whether the beginning was heard. Otherwise it has led for longer.
    pub began_here: bool,
    /// How long its lease lasts if no more acknowledgements come: an estimate from those that were
    /// heard, which may be too long by as much as a message takes to get here. `None` if that can't
    /// be known: there is no lease in Graft mode, and a cluster of one needs no acknowledgement.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "lease_left_seconds", serialize_with = "crate::serialize::known_seconds")
    )]
    pub lease_left: Option<Duration>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeView {
    /// The node's id.
    pub id: NodeId,
    /// What it said last that tells its role.
    pub role: ObservedRole,
    /// The highest term that it has said it is in; `None` if it has said nothing that tells.
    pub term: Option<u64>,
    /// How long ago it was heard last.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "silent_for_seconds", serialize_with = "crate::serialize::seconds")
    )]
    pub silent_for: Duration,
    /// Whether that is so long ago that it is probably gone.
    pub is_silent: bool,
    /// How long after the leader's heartbeat its last acknowledgement was heard.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "acknowledged_in_seconds",
            serialize_with = "crate::serialize::known_seconds"
        )
    )]
    pub acknowledged_in: Option<Duration>,
    /// Its preference for leading; 0 is a witness. Only acknowledgements tell.
    pub priority: Option<u32>,
    /// How many voters it believes there are.
    pub size: Option<u32>,
    /// Its list of voters, if it has declared one.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::words"))]
    pub list: Option<ListId>,
    /// Its least election timeout.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "election_timeout_min_seconds",
            serialize_with = "crate::serialize::known_seconds"
        )
    )]
    pub election_timeout_min: Option<Duration>,
    /// Its mode. Only those who lead, or ask for pre-votes, let it be heard.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::mode"))]
    pub mode: Option<Mode>,
    /// Whether it speaks as Go nodes do.
    pub is_go: bool,
    /// Whether it is kept from leading: an operator has paused it, or its program holds it back.
    pub is_paused: bool,
}

/// What a node does, as far as one can hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObservedRole {
    /// It has only answered others.
    Unknown,
    /// It acknowledges a leader's heartbeats, or has handed over.
    Follower,
    /// It asks for pre-votes.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It says that it leads.
    Leader,
}

impl ObservedRole {
    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Follower => "follower",
            Self::PreCandidate => "pre_candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

impl fmt::Display for ObservedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PreCandidate => "pre-candidate",
            other => other.name(),
        })
    }
}

/// What must not differ among the nodes of a cluster, and does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Disagreement {
    /// These sizes are said.
    Sizes(BTreeSet<u32>),
    /// Some nodes have another list of voters than others, or none.
    Lists,
    /// These least election timeouts are said.
    ElectionTimeouts(BTreeSet<Duration>),
    /// Two nodes say that they lead in the same term: two clusters have one name, or two processes
    /// one id.
    Leaders(BTreeSet<NodeId>),
    /// Two processes have this id.
    DuplicateId(NodeId),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizes(sizes) => {
                write!(f, "the nodes differ in how many voters there are: {}", joined(sizes))
            }
            Self::Lists => f.write_str("the nodes go by different lists of voters"),
            Self::ElectionTimeouts(times) => {
                let times = times.iter().map(|time| format!("{time:?}"));
                let times = times.collect::<Vec<_>>().join(", ");
                write!(f, "the nodes have different least election timeouts: {times}")
            }
            Self::Leaders(ids) => write!(f, "several nodes lead in one term: {}", joined(ids)),
            Self::DuplicateId(id) => write!(f, "two processes have the id {id}"),
        }
    }
}

fn joined<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
