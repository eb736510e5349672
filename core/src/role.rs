use core::num::NonZeroU64;

use crate::votes::Votes;
use crate::{Instant, NodeId, State};

/// What a node is doing, with what belongs to that alone, its one deadline included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role<const VOTERS: usize> {
    Follower {
        leader: Option<NodeId>,
        election_at: Instant,
    },
    Candidate {
        votes: Votes<VOTERS>,
        handover_from: Option<NonZeroU64>,
        election_at: Instant,
    },
    Leader {
        heartbeat_at: Instant,
    },
    /// It has handed over and stays to answer its successor (rule H3).
    Closing {
        closed_at: Instant,
    },
    Closed,
}

impl<const VOTERS: usize> Role<VOTERS> {
    pub(crate) fn deadline(&self) -> Instant {
        match self {
            Self::Follower { election_at, .. } | Self::Candidate { election_at, .. } => {
                *election_at
            }
            Self::Leader { heartbeat_at } => *heartbeat_at,
            Self::Closing { closed_at } => *closed_at,
            Self::Closed => Instant::FAR_FUTURE,
        }
    }

    pub(crate) fn state(&self) -> State {
        match self {
            Self::Follower { .. } | Self::Closing { .. } => State::Follower,
            Self::Candidate { .. } => State::Candidate,
            Self::Leader { .. } => State::Leader,
            Self::Closed => State::Closed,
        }
    }
}
