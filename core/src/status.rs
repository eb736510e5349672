use core::fmt;

use crate::{ListId, NodeId};

/// The version of the Go original whose messages and vote file this crate shares.
pub const COMPATIBLE_VERSION: &str = "0.7";

/// The number of voters whose agreement elects a leader: more than half of `size`.
///
/// ```
/// # use graft_election_core::quorum;
/// assert_eq!([1, 2, 3, 4, 9, 12].map(quorum), [1, 2, 2, 3, 5, 7]);
/// ```
pub const fn quorum(size: usize) -> usize {
    size / 2 + 1
}

/// What a node is to its cluster. It is displayed with the words of the Go original, which has no
/// pre-candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// It follows a leader, or waits for one.
    #[default]
    Follower,
    /// It leads.
    Leader,
    /// It asks who would vote for it, and so far changes nothing by that (rule C1).
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It takes no further part.
    Closed,
}

impl State {
    /// Its name for programs. It stays the same from version to version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Leader => "leader",
            Self::PreCandidate => "pre_candidate",
            Self::Candidate => "candidate",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Follower => "Follower",
            Self::Leader => "Leader",
            Self::PreCandidate => "PreCandidate",
            Self::Candidate => "Candidate",
            Self::Closed => "Closed",
        })
    }
}

/// Why a node came to be in its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// It has just started.
    #[default]
    Started,
    /// It heard from no leader for an election timeout (rule C2).
    ElectionTimeout,
    /// The leader told it to take over (rule H2).
    HandoverReceived,
    /// A quorum would vote for it (rule C2).
    WonPreVote,
    /// A quorum voted for it (rule C2).
    WonElection,
    /// It voted for another node.
    GaveVote,
    /// No quorum acknowledged it for so long that another may be elected (rule L4).
    LostQuorum,
    /// A message carried a higher term (rule T3).
    HigherTerm,
    /// It heard the leader of its own term.
    LeaderHeard,
    /// It heard a second leader of its own term (rule L5).
    SecondLeader,
    /// It could not store its own vote (rules C4, C5).
    SaveFailed,
    /// Another process spoke in its name (rule N3).
    DuplicateId,
    /// A voter of its own list goes by an older one (rule V6).
    OlderList,
    /// It learned a newer list of voters (rule R3).
    ListLearned,
    /// It gave up its leadership: its program or an operator had it do so, or it is to lead no more
    /// (rules H1, H3, O2, O3).
    HandedOver,
    /// It gave up its leadership to a node of higher priority (rule H4).
    PriorityHandover,
    /// It stopped campaigning: an operator has paused it, or its program holds it back (rule O3).
    KeptBack,
    /// Its owner closed it.
    Closed,
}

impl Reason {
    /// Its name for programs. It stays the same from version to version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::ElectionTimeout => "election_timeout",
            Self::HandoverReceived => "handover_received",
            Self::WonPreVote => "won_pre_vote",
            Self::WonElection => "won_election",
            Self::GaveVote => "gave_vote",
            Self::LostQuorum => "lost_quorum",
            Self::HigherTerm => "higher_term",
            Self::LeaderHeard => "leader_heard",
            Self::SecondLeader => "second_leader",
            Self::SaveFailed => "save_failed",
            Self::DuplicateId => "duplicate_id",
            Self::OlderList => "older_list",
            Self::ListLearned => "list_learned",
            Self::HandedOver => "handed_over",
            Self::PriorityHandover => "priority_handover",
            Self::KeptBack => "kept_back",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Started => "started",
            Self::ElectionTimeout => "heard from no leader for an election timeout",
            Self::HandoverReceived => "was told by the leader to take over",
            Self::WonPreVote => "won the pre-vote",
            Self::WonElection => "won the election",
            Self::GaveVote => "voted for another",
            Self::LostQuorum => "lost its quorum",
            Self::HigherTerm => "saw a higher term",
            Self::LeaderHeard => "heard the leader of its term",
            Self::SecondLeader => "heard a second leader of its term",
            Self::SaveFailed => "could not store its vote",
            Self::DuplicateId => "heard another process in its own name",
            Self::OlderList => "heard a voter that goes by an older list of voters",
            Self::ListLearned => "learned a newer list of voters",
            Self::HandedOver => "handed its leadership over",
            Self::PriorityHandover => "gave way to a node of higher priority",
            Self::KeptBack => "is kept from leading",
            Self::Closed => "was closed",
        })
    }
}

/// Why a node refused a vote, a pre-vote or a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// The message is from a term that is over (rule T2).
    StaleTerm,
    /// The node has promised its leader to help to elect no one for a while (rule V2).
    Bound,
    /// The node has just started: it may have made such a promise before (rule V3), or another
    /// process may use its id (rule N5).
    Quarantined,
    /// The node leads (rule V2).
    Leading,
    /// The node has voted for another candidate in this term (rule V1).
    VoteSpent,
    /// The candidate is not a voter, or is configured with another list of voters or another
    /// cluster size (rules V6, L6).
    NotOneOfUs,
    /// This node is no voter itself (rule R11).
    NoVoter,
    /// The application does not accept a leader at the candidate's position (rule V4).
    Position,
}

impl Refusal {
    /// Its name for programs. It stays the same from version to version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StaleTerm => "stale_term",
            Self::Bound => "bound",
            Self::Quarantined => "quarantined",
            Self::Leading => "leading",
            Self::VoteSpent => "vote_spent",
            Self::NotOneOfUs => "not_one_of_us",
            Self::NoVoter => "no_voter",
            Self::Position => "position",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::StaleTerm => "its term is over",
            Self::Bound => "this node has promised its vote to its leader",
            Self::Quarantined => "this node has just started and may have promised its vote",
            Self::Leading => "this node leads",
            Self::VoteSpent => "this node has voted for another candidate in that term",
            Self::NotOneOfUs => {
                "it is not a voter of this cluster, or is configured with other voters"
            }
            Self::NoVoter => "this node is not a voter",
            Self::Position => "its position is not acceptable",
        })
    }
}

/// Something wrong that an input brought to light. The input was dropped, or answered with a
/// refusal; the election goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Report {
    /// The message's term is out of range, or further ahead than any election could have brought it
    /// (rule T4); or its `handover_from` is not below its term (rule V2). It was dropped.
    TermOutOfRange {
        /// The term it carried.
        term: u64,
    },
    /// Another process that lives uses this node's id: it answered when it was asked (rules N3,
    /// N5).
    DuplicateId,
    /// A candidate asked twice for this node's vote of one term, by two campaigns: two processes
    /// use its id (rule N2). The second had no vote.
    TwoCampaigns(NodeId),
    /// A voter answered as two processes, or as one that keeps restarting (rule N4). For a while
    /// its answers don't count.
    TwoLives(NodeId),
    /// A node that is not among the declared voters asked for a vote, answered such a request, or
    /// leads (rule V6). Neither it nor this node had any help from the other.
    Stranger(NodeId),
    /// An answer without a name, as Go nodes send it, where it can't be counted: against declared
    /// voters, or in Extended mode (rule V6).
    NamelessVote,
    /// More distinct nodes than the cluster's size answered one campaign; this one did not count
    /// (rule V6).
    SurplusVoter(NodeId),
    /// A node is configured with a different cluster size (rule L6).
    SizeMismatch {
        /// Which node.
        node: NodeId,
        /// The size it is configured with.
        size: u32,
    },
    /// A node goes by another list of voters (rule V6). Neither it nor this node had any help from
    /// the other.
    ListMismatch {
        /// Which node.
        node: NodeId,
        /// Its list.
        list: ListId,
    },
    /// A list of voters can't be learned from this node: it has more voters than there is room for,
    /// or isn't one (rule R3). It is not asked for again.
    UnusableList {
        /// Which node.
        node: NodeId,
        /// Its list.
        list: ListId,
    },
    /// A node that joins without a record is on the list already: it lost its record, and might
    /// vote twice in one term (rule R12). It takes no part.
    RecordLost {
        /// The list that it is on.
        list: ListId,
    },
    /// A follower's promise lasts longer or shorter than this node's own would (rule L6). That is
    /// safe, but such a cluster may fail to settle.
    PromiseMismatch {
        /// For how long, in microseconds.
        micros: u64,
    },
    /// There is a second leader in this node's term (rules L2, L5): records were lost, or more
    /// nodes vote than the cluster's size.
    SecondLeader(NodeId),
    /// The record took so long to store that others may have given this node up meanwhile: the
    /// disk is too slow for the election timeouts (rule C4).
    SlowSave {
        /// How long it took, in microseconds.
        micros: u64,
    },
    /// The next term would be [`TERM_END`](crate::TERM_END): the node can't campaign any more
    /// (rule T4).
    TermsExhausted,
}

impl Report {
    /// Its name for programs. It stays the same from version to version.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TermOutOfRange { .. } => "term_out_of_range",
            Self::DuplicateId => "duplicate_id",
            Self::TwoCampaigns(_) => "two_campaigns",
            Self::TwoLives(_) => "two_lives",
            Self::Stranger(_) => "stranger",
            Self::NamelessVote => "nameless_vote",
            Self::SurplusVoter(_) => "surplus_voter",
            Self::SizeMismatch { .. } => "size_mismatch",
            Self::ListMismatch { .. } => "list_mismatch",
            Self::UnusableList { .. } => "unusable_list",
            Self::RecordLost { .. } => "record_lost",
            Self::PromiseMismatch { .. } => "promise_mismatch",
            Self::SecondLeader(_) => "second_leader",
            Self::SlowSave { .. } => "slow_save",
            Self::TermsExhausted => "terms_exhausted",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TermOutOfRange { term } => {
                write!(f, "dropped a message whose term {term} is out of range")
            }
            Self::DuplicateId => {
                f.write_str("another process uses this node's id; each needs an id of its own")
            }
            Self::TwoCampaigns(node) => write!(
                f,
                "node {node} asked for the vote of one term in two campaigns: \
                 two processes use its id"
            ),
            Self::TwoLives(node) => write!(
                f,
                "node {node} answers as two processes, or as one that keeps restarting; \
                 it does not count"
            ),
            Self::Stranger(node) => write!(f, "node {node} is not among the declared voters"),
            Self::NamelessVote => {
                f.write_str("an answer without a name, as Go nodes send it, did not count")
            }
            Self::SurplusVoter(node) => {
                write!(f, "more nodes answered than the cluster has voters; {node} did not count")
            }
            Self::SizeMismatch { node, size } => {
                write!(f, "node {node} is configured for a cluster of {size} voters")
            }
            Self::ListMismatch { node, list } => {
                write!(f, "node {node} goes by another list of voters: {list}")
            }
            Self::UnusableList { node, list } => {
                write!(f, "there is no room here for list {list} of voters, which {node} goes by")
            }
            Self::RecordLost { list } => write!(
                f,
                "this node is among the voters of list {list} and has no vote record: it must come \
                 back with its record, or under another id"
            ),
            Self::PromiseMismatch { micros } => write!(
                f,
                "a follower's least election timeout differs from this node's: {micros} µs"
            ),
            Self::SecondLeader(node) => write!(f, "node {node} leads in the same term"),
            Self::SlowSave { micros } => write!(
                f,
                "storing the vote took {micros} µs, longer than the least election timeout"
            ),
            Self::TermsExhausted => f.write_str("there is no higher term to campaign in"),
        }
    }
}
