use core::num::{NonZeroU32, NonZeroU64};

use crate::lease::Followers;
use crate::votes::Votes;
use crate::{Instant, NodeId, State};

/// What a node is doing, with what belongs to that alone, its deadline included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role<const VOTERS: usize> {
    Follower {
        leader: Option<NodeId>,
        /// To whom it gave way, and who doesn't lead yet (rule H4).
        promoted: Option<NodeId>,
        election_at: Instant,
    },
    /// It asks who would vote for it (rule C1).
    PreCandidate {
        votes: Votes<VOTERS>,
        /// Tells answers to this count from those that were held back (rule C1).
        round: NonZeroU32,
        /// From then on the count begins anew: a voter may have changed its mind.
        round_until: Instant,
        handover_from: Option<NonZeroU64>,
        /// The leader of the term, which has fallen silent; no second one is accepted (rule L2).
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
        followers: Followers<VOTERS>,
        /// The end of the lease, once there is one (rule L3).
        lease_until: Option<Instant>,
        /// When it stops unless a quorum says otherwise (rule L4).
        gives_up_at: Instant,
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
            Self::Follower { election_at, .. }
            | Self::PreCandidate { election_at, .. }
            | Self::Candidate { election_at, .. } => *election_at,
            Self::Leader { heartbeat_at, gives_up_at, .. } => *heartbeat_at.min(gives_up_at),
            Self::Closing { closed_at } => *closed_at,
            Self::Closed => Instant::FAR_FUTURE,
        }
    }

    pub(crate) fn state(&self) -> State {
        match self {
            Self::Follower { .. } | Self::Closing { .. } => State::Follower,
            Self::PreCandidate { .. } => State::PreCandidate,
            Self::Candidate { .. } => State::Candidate,
            Self::Leader { .. } => State::Leader,
            Self::Closed => State::Closed,
        }
    }

    /// Another node that was heard to lead in this term, even if it has fallen silent since.
    pub(crate) fn leader_of_term(&self) -> Option<&NodeId> {
        match self {
            Self::Follower { leader, .. } | Self::PreCandidate { leader, .. } => leader.as_ref(),
            _ => None,
        }
    }

    /// The term of the leader in whose place it asks for pre-votes (rule H5).
    pub(crate) fn pre_candidate_for(&self) -> Option<NonZeroU64> {
        if let Self::PreCandidate { handover_from, .. } = self { *handover_from } else { None }
    }

    /// The round of pre-votes that it asks in, if any (rule C1).
    pub(crate) fn round(&self) -> Option<NonZeroU32> {
        if let Self::PreCandidate { round, .. } = self { Some(*round) } else { None }
    }

    /// The term of the leader in whose place it runs (rule H2).
    pub(crate) fn handover_from(&self) -> Option<NonZeroU64> {
        match self {
            Self::PreCandidate { handover_from, .. } | Self::Candidate { handover_from, .. } => {
                *handover_from
            }
            _ => None,
        }
    }
}
