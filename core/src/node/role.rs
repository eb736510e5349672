//! What a node is to its cluster, with what belongs to that role alone: its deadline above all.

use core::num::NonZeroU64;

use crate::followers::{Acknowledgement, Follower, Followers, Newcomer};
use crate::votes::Count;
use crate::{Instant, LeaderValue, ListId, Message, NodeId, Round, State};

/// What a node is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role<const VOTERS: usize> {
    Follower(Following),
    PreCandidate(PreCampaign<VOTERS>),
    Candidate(Campaign<VOTERS>),
    Leader(Leading<VOTERS>),
    Closing(Closing),
    Closed,
}

/// It follows a leader, or waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Following {
    pub(super) leader: Option<HeardLeader>,
    /// What that leader's last heartbeat said beside (rule L7).
    pub(super) value: LeaderValue,
    /// To whom it gave way, and who doesn't lead yet (rule H4).
    pub(super) promoted: Option<NodeId>,
    pub(super) election_at: Instant,
}

/// A leader that was heard in the node's term. Two processes may lead under one id, so that its
/// round belongs to it (rule N2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeardLeader {
    pub(super) id: NodeId,
    pub(super) round: Option<Round>,
}

/// It asks who would vote for it (rule C1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PreCampaign<const VOTERS: usize> {
    pub(super) count: Count<VOTERS>,
    /// The campaign in the node's term that has come to nothing yet: its voters may be slow to
    /// store their votes (rule C3).
    pub(super) open_campaign: Option<Count<VOTERS>>,
    /// From then on the count starts over: a voter may have changed its mind.
    pub(super) round_until: Instant,
    /// The term of the leader in whose place it runs (rule H5).
    pub(super) handover_from: Option<NonZeroU64>,
    /// The leader of the term, which has fallen silent; no second one is accepted (rule L2).
    pub(super) leader: Option<HeardLeader>,
    pub(super) election_at: Instant,
}

/// It asks for votes (rule C2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Campaign<const VOTERS: usize> {
    pub(super) count: Count<VOTERS>,
    /// The term of the leader in whose place it runs (rule H2).
    pub(super) handover_from: Option<NonZeroU64>,
    /// When it asks again (rule C2a).
    pub(super) repeats_at: Instant,
    pub(super) election_at: Instant,
}

/// It leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading<const VOTERS: usize> {
    /// The campaign that it won (rule N1).
    pub(super) round: Round,
    pub(super) heartbeat_at: Instant,
    pub(super) followers: Followers<VOTERS>,
    /// When it stops unless a quorum says otherwise (rule L4): the end of its lease, once it has
    /// one. In Graft mode it never comes.
    pub(super) gives_up_at: Instant,
    /// A quorum has acknowledged it (rule L3).
    pub(super) has_lease: bool,
    /// The lease was given in the list before, and what the voters of the present one promised
    /// doesn't outlast it yet (rules R6, R8).
    pub(super) is_lease_carried: bool,
    /// The list that it sealed last, if it has not changed that since (rule R5).
    pub(super) sealed_from: Option<ListId>,
    /// Whom it was asked to add (rule R7).
    pub(super) newcomer: Option<Newcomer>,
}

/// It has handed over and stays to answer its successor (rule H3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Closing {
    pub(super) closed_at: Instant,
}

impl HeardLeader {
    /// Whether it is the leader of this id and round.
    pub(super) fn is(&self, id: &NodeId, round: Option<Round>) -> bool {
        self.round == round && self.id == *id
    }
}

impl<const VOTERS: usize> Role<VOTERS> {
    /// A follower that waits for any leader until `election_at`.
    pub(super) const fn waiting(election_at: Instant) -> Self {
        let value = LeaderValue::EMPTY;
        Self::Follower(Following { leader: None, value, promoted: None, election_at })
    }

    /// When the node has to be woken.
    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Follower(following) => following.election_at,
            Self::PreCandidate(campaign) => campaign.election_at,
            Self::Candidate(campaign) => campaign.election_at.min(campaign.repeats_at),
            Self::Leader(leading) => leading.heartbeat_at.min(leading.gives_up_at),
            Self::Closing(closing) => closing.closed_at,
            Self::Closed => Instant::FAR_FUTURE,
        }
    }

    /// The timer of a node that waits for a leader or for votes; other roles have none.
    fn election_at(&mut self) -> Option<&mut Instant> {
        match self {
            Self::Follower(following) => Some(&mut following.election_at),
            Self::PreCandidate(campaign) => Some(&mut campaign.election_at),
            Self::Candidate(campaign) => Some(&mut campaign.election_at),
            Self::Leader(_) | Self::Closing(_) | Self::Closed => None,
        }
    }

    /// Sets the timer of a node that waits for a leader or for votes.
    pub(super) fn restart_timer(&mut self, at: Instant) {
        if let Some(election_at) = self.election_at() {
            *election_at = at;
        }
    }

    /// Sets that timer to no later than `at`.
    pub(super) fn bring_timer_forward(&mut self, at: Instant) {
        if let Some(election_at) = self.election_at() {
            *election_at = at.min(*election_at);
        }
    }

    /// Sets that timer to no earlier than `at`.
    pub(super) fn put_timer_off(&mut self, at: Instant) {
        if let Some(election_at) = self.election_at() {
            *election_at = at.max(*election_at);
        }
    }

    /// The node was deaf and mute from one instant to another, so it waits for as much longer.
    pub(super) fn make_up_for(&mut self, from: Instant, to: Instant) {
        if let Some(election_at) = self.election_at() {
            *election_at = election_at.later_by(from, to);
        }
        if let Self::Candidate(campaign) = self {
            campaign.repeats_at = campaign.repeats_at.later_by(from, to);
        }
    }

    pub(super) fn state(&self) -> State {
        match self {
            Self::Follower(_) | Self::Closing(_) => State::Follower,
            Self::PreCandidate(_) => State::PreCandidate,
            Self::Candidate(_) => State::Candidate,
            Self::Leader(_) => State::Leader,
            Self::Closed => State::Closed,
        }
    }

    /// The round of which an answer like this one is awaited, if any is (rule N1).
    pub(super) fn awaited_round(&self, answer: &Message) -> Option<Round> {
        match (answer, self) {
            (Message::PreVoteResponse(_), Self::PreCandidate(campaign)) => {
                Some(campaign.count.round)
            }
            (Message::VoteResponse(_), Self::PreCandidate(campaign)) => {
                campaign.open_campaign.as_ref().map(|count| count.round)
            }
            (Message::VoteResponse(_), Self::Candidate(campaign)) => Some(campaign.count.round),
            // A leader goes on looking at who answers: it may have been elected by too many voters.
            (Message::VoteResponse(_) | Message::HeartbeatResponse(_), Self::Leader(leading)) => {
                Some(leading.round)
            }
            _ => None,
        }
    }

    /// Another node that was heard to lead in this term, even if it has fallen silent since.
    pub(super) fn heard_leader(&self) -> Option<&HeardLeader> {
        match self {
            Self::Follower(following) => following.leader.as_ref(),
            Self::PreCandidate(campaign) => campaign.leader.as_ref(),
            Self::Candidate(_) | Self::Leader(_) | Self::Closing(_) | Self::Closed => None,
        }
    }

    /// The leader of the term is this one, though it has fallen silent.
    pub(super) fn remember_leader(&mut self, heard: Option<HeardLeader>) {
        if let Self::Follower(following) = self {
            following.leader = heard;
        }
    }

    /// The leader that was heard has gone, or its term is over.
    pub(super) fn forget_leader(&mut self) {
        match self {
            Self::Follower(following) => following.leader = None,
            Self::PreCandidate(campaign) => campaign.leader = None,
            Self::Candidate(_) | Self::Leader(_) | Self::Closing(_) | Self::Closed => {}
        }
    }
}

impl<const VOTERS: usize> Leading<VOTERS> {
    /// The end of the lease, if it has one (rule L3).
    pub(super) fn lease_until(&self) -> Option<Instant> {
        self.has_lease.then_some(self.gives_up_at)
    }

    /// L3: takes note of an acknowledgement. The lease ends when a quorum, the leader included, is
    /// no longer sure to be bound; `others_needed` is how many followers that takes.
    pub(super) fn renew(
        &mut self,
        index: usize,
        acknowledgement: Acknowledgement,
        others_needed: usize,
    ) {
        let lease_until = self.lease_until().unwrap_or(Follower::NEVER);
        self.followers.acknowledge(index, acknowledgement, lease_until);
        if let Some(until) = self.followers.bound_beyond(lease_until, others_needed) {
            self.extend_lease(until);
        }
    }

    /// Whom it was asked to add, if that is this node (rule R7).
    pub(super) fn newcomer_called(&mut self, id: &NodeId) -> Option<&mut Newcomer> {
        self.newcomer.as_mut().filter(|newcomer| newcomer.id == *id)
    }

    /// R8: the lease given so far stays valid, and from now on the voters of another list are
    /// counted; `others_needed` is how many followers that takes.
    pub(super) fn carry_lease(&mut self, others_needed: usize) {
        self.is_lease_carried = true;
        while let Some(until) = self
            .followers
            .bound_beyond(self.lease_until().unwrap_or(Follower::NEVER), others_needed)
        {
            self.extend_lease(until);
        }
    }

    /// L1: a heartbeat goes out now. L3: where the leader alone is a quorum, it renews the lease.
    pub(super) fn note_heartbeat(
        &mut self,
        now: Instant,
        interval: u32,
        own_lease: Option<Instant>,
    ) {
        self.heartbeat_at = now.plus_micros(interval);
        if let Some(until) = own_lease {
            self.extend_lease(until);
        }
    }

    /// H4: the index of the follower of the highest priority, if that is above `priority`, the
    /// leader's own, and the follower has been steady for `wait` microseconds.
    pub(super) fn superior(&self, priority: u32, now: Instant, wait: u64) -> Option<usize> {
        let is_ready = |follower: &Follower| {
            follower.may_lead()
                && follower.priority > priority
                && follower.bound_until > now
                && now.micros_since(follower.steady_since) >= wait
        };
        self.followers.best_by(is_ready, |follower| follower.priority)
    }

    /// L3: a quorum is sure to be bound until then.
    pub(super) fn extend_lease(&mut self, until: Instant) {
        (self.gives_up_at, self.has_lease) = (until, true);
        self.is_lease_carried = false;
    }

    /// L4: the lease is over, or none was won in good time. In Graft mode there is none to lose,
    /// not even at the end of the clock.
    pub(super) fn has_lost_quorum(&self, now: Instant) -> bool {
        self.gives_up_at <= now && self.gives_up_at != Instant::FAR_FUTURE
    }
}
