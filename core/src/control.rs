//! What an operator asks of a node, and how the node answers (rules O1 to O4).

use crate::{Life, NodeId, Round};

/// An operator's request. It is for one node, and nobody's promise depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ControlRequest {
    /// The term of the leadership that is to be handed over; 0 for any other action.
    pub term: u64,
    /// Who is to do it.
    pub node: NodeId,
    /// To whom leadership is to be handed over; absent, to whoever is fit.
    pub target: Option<NodeId>,
    /// What is asked.
    pub action: ControlAction,
    /// The operator's own number for this request, to be echoed unchanged.
    pub round: Round,
    /// The round of the last request that the node obeyed in this life, if it has obeyed any (rule
    /// O4).
    pub last: Option<Round>,
    /// Which process is to do it; absent from [`ControlAction::Ask`], which every process answers.
    pub life: Option<Life>,
}

/// What an operator may ask of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ControlAction {
    /// To tell how it is.
    Ask = 1,
    /// To hand its leadership over (rule O2).
    HandOver = 2,
    /// Not to lead, until it is told otherwise (rule O3).
    Pause = 3,
    /// To lead again, if it is elected.
    Resume = 4,
}

impl ControlAction {
    const ALL: [Self; 4] = [Self::Ask, Self::HandOver, Self::Pause, Self::Resume];

    /// The action with this number, as it came off the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.number() == number)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// A node's answer to a [`ControlRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ControlResponse {
    /// The node's term.
    pub term: u64,
    /// Who answers.
    pub node: NodeId,
    /// The leader of that term, as far as the node knows.
    pub leader: Option<NodeId>,
    /// What has come of the request.
    pub outcome: ControlOutcome,
    /// The request's own `round`.
    pub round: Round,
    /// The round of the last request that it obeyed in this life, if it has obeyed any.
    pub last: Option<Round>,
    /// Whether an operator has paused it (rule O3).
    pub is_paused: bool,
    /// Which process answers.
    pub life: Life,
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ControlOutcome {
    /// It is done.
    Done = 1,
    /// The node doesn't lead in that term (rule O2).
    NotLeading = 2,
    /// The target, or any follower if none is named, can't take over: it hasn't answered the
    /// leader, may not lead, or is not up to date (rule O2).
    UnfitTarget = 3,
    /// The request is not the next one for this process: another came first, or the node has
    /// restarted (rule O4).
    Outdated = 4,
    /// The node is set to refuse what operators ask (rule O1).
    Refused = 5,
}

impl ControlOutcome {
    const ALL: [Self; 5] =
        [Self::Done, Self::NotLeading, Self::UnfitTarget, Self::Outdated, Self::Refused];

    /// The outcome with this number, as it came off the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.number() == number)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}
