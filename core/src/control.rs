//! What an operator asks of a node, and how the node answers (rules O1 to O4).

use core::fmt;
use core::num::NonZeroU32;

use crate::{Life, ListId, NodeId, Round};

/// An operator's request. It is for one node, and nobody's promise depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ControlRequest {
    /// The term of the leadership that is to be handed over, or is to change the voters; 0 for any
    /// other action.
    pub term: u64,
    /// Who is to do it.
    pub node: NodeId,
    /// To whom leadership is to be handed over; absent, to whoever is fit. The voter that is to be
    /// added or removed.
    pub target: Option<NodeId>,
    /// What is asked.
    pub action: ControlAction,
    /// The operator's own number for this request, to be echoed unchanged.
    pub round: Round,
    /// The round of the last request that the node obeyed in this life, if it has obeyed any (rule
    /// O4).
    pub last: Option<Round>,
    /// The list that is to be changed; absent, whichever is the present one (rule R7).
    pub list: Option<ListId>,
    /// Which process is to do it; absent from [`ControlAction::Ask`], which every process answers.
    pub life: Option<Life>,
    /// Asked with [`ControlAction::Ask`], the node answers with this voter of its list, from 1 on,
    /// if it has so many (rule O5).
    pub wanted: Option<NonZeroU32>,
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
    /// To add a voter to the list (rule R7).
    AddVoter = 5,
    /// To remove a voter from the list (rule R7).
    RemoveVoter = 6,
}

impl ControlAction {
    const ALL: [Self; 6] =
        [Self::Ask, Self::HandOver, Self::Pause, Self::Resume, Self::AddVoter, Self::RemoveVoter];

    /// The action with this number, as it came off the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.number() == number)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// One voter more, or one less (rule R7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Change {
    /// Whether it is added, or removed.
    pub adds: bool,
    /// The voter.
    pub voter: NodeId,
    /// The list that is to be changed; absent, whichever is the present one.
    pub list: Option<ListId>,
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
    /// Its list of voters, if it has one.
    pub list: Option<ListId>,
    /// Which process answers.
    pub life: Life,
    /// It leads, and its list is committed (rule R6).
    pub is_committed: bool,
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
    /// The present list isn't committed yet, or some voter has yet to learn it: the change is under
    /// way, or has to wait (rule R7).
    NotCommitted = 6,
    /// The voter that is to be added has not been heard, or has yet to learn the present list (rule
    /// R7).
    NotHeard = 7,
    /// Without that voter there would be no quorum, or nobody to lead (rule R7).
    WouldLose = 8,
    /// Some voter has no room for one more (rule R7).
    NoRoom = 9,
    /// The present list is not the one that was to be changed, or there is none (rule R7).
    OtherList = 10,
}

impl ControlOutcome {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::NotLeading,
        Self::UnfitTarget,
        Self::Outdated,
        Self::Refused,
        Self::NotCommitted,
        Self::NotHeard,
        Self::WouldLose,
        Self::NoRoom,
        Self::OtherList,
    ];

    /// The outcome with this number, as it came off the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.number() == number)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// Why a change of the voters has not been made, for people.
impl fmt::Display for ControlOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "it is done",
            Self::NotLeading => "the node does not lead any more",
            Self::UnfitTarget => "nobody is named who could take over",
            Self::Outdated => "another request came first",
            Self::Refused => "the node refuses it",
            Self::NotCommitted => "the present list is not known to all voters yet",
            Self::NotHeard => {
                "the voter to be added has not been heard, or is yet to learn the list"
            }
            Self::WouldLose => "there would be no quorum, or nobody to lead",
            Self::NoRoom => "a voter has no room for one more",
            Self::OtherList => "the list of voters is another, or there is none",
        })
    }
}
