use core::num::{NonZeroU32, NonZeroU64};

use crate::{ControlRequest, ControlResponse, LeaderValue, Life, ListId, NodeId, Position, Round};

/// A message between two nodes of a cluster, or an operator and a node (protocol, section 3).
///
/// Its fields can't hold a malformed id or an over-long position: such a message never becomes a
/// value of this type (rule V7). Terms are checked by the node that receives it (rule T4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Message {
    /// A candidate asks everyone for their vote.
    VoteRequest(VoteRequest),
    /// A voter answers the candidate.
    VoteResponse(VoteResponse),
    /// A leader tells everyone that it leads.
    Heartbeat(Heartbeat),
    /// A follower acknowledges a heartbeat, or refuses one from a lower term.
    HeartbeatResponse(HeartbeatResponse),
    /// A node asks everyone whether they *would* vote for it; the term is only proposed.
    PreVoteRequest(VoteRequest),
    /// A voter answers the node that asked.
    PreVoteResponse(PreVoteResponse),
    /// A leader has stopped leading and names who should campaign.
    Handover(Handover),
    /// A node asks whether another process uses its id.
    Who(Identity),
    /// A process answers that it does.
    Here(Identity),
    /// An operator asks something of a node.
    ControlRequest(ControlRequest),
    /// The node answers the operator.
    ControlResponse(ControlResponse),
    /// A node asks another for a part of its list of voters.
    ListRequest(ListRequest),
    /// A node tells a part of its list of voters.
    ListPart(ListPart),
}

impl Message {
    /// The term the message carries; for a pre-vote request the term it proposes, for a part of a
    /// list that of the list, and 0 for what carries none: a question of identity and its answer,
    /// and a request for a part of a list.
    pub fn term(&self) -> u64 {
        self.header().term
    }

    /// Who sent it, as far as it says so: the answers of Go nodes don't, and an operator is no
    /// node.
    pub fn sender(&self) -> Option<&NodeId> {
        self.header().sender
    }

    /// Which round it belongs to, or answers; the messages of Go nodes have none (rule N1).
    pub fn round(&self) -> Option<Round> {
        self.header().round
    }

    /// By which list of voters its sender goes, if it says so (rule V6). A part of a list is no
    /// word on that.
    pub fn list(&self) -> Option<ListId> {
        self.header().list
    }

    /// What messages of all kinds have, looked up once.
    pub(crate) fn header(&self) -> Header<'_> {
        let (term, sender, round, list) = match self {
            Self::VoteRequest(it) | Self::PreVoteRequest(it) => {
                (it.term, Some(&it.candidate), it.round, it.list)
            }
            Self::VoteResponse(it) => (it.term, it.voter.as_ref(), it.round, it.list),
            Self::Heartbeat(it) => (it.term, Some(&it.leader), it.round, it.list),
            Self::HeartbeatResponse(it) => (it.term, Some(&it.follower), it.round, it.list),
            Self::PreVoteResponse(it) => (it.term, Some(&it.voter), it.round, it.list),
            Self::Handover(it) => (it.term, Some(&it.leader), it.round, None),
            Self::Who(it) | Self::Here(it) => (0, Some(&it.node), Some(it.round), None),
            Self::ListRequest(it) => (0, Some(&it.node), None, None),
            Self::ListPart(it) => {
                let term = it.list.map_or(0, |list| list.term);
                // What was true when it was asked says nothing of how its sender is now.
                (term, Some(&it.sender), None, None)
            }
            Self::ControlRequest(it) => (it.term, None, Some(it.round), None),
            Self::ControlResponse(it) => (it.term, Some(&it.node), Some(it.round), None),
        };
        Header { term, sender, round, list }
    }
}

/// What a message says of itself, whatever its kind: see the methods of [`Message`].
#[derive(Clone, Copy)]
pub(crate) struct Header<'m> {
    pub(crate) term: u64,
    pub(crate) sender: Option<&'m NodeId>,
    pub(crate) round: Option<Round>,
    pub(crate) list: Option<ListId>,
}

/// A candidate's request for a vote, or for a pre-vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VoteRequest {
    /// The term the candidate campaigns in, or would campaign in.
    pub term: u64,
    /// Who asks.
    pub candidate: NodeId,
    /// How far the candidate's application has come, for the voter's application to judge.
    pub position: Position,
    /// The term of the leader that told this candidate to take over (rule H2).
    pub handover_from: Option<NonZeroU64>,
    /// How many voters the candidate believes there are; Go nodes don't say (rule L6).
    pub size: Option<NonZeroU32>,
    /// The round of pre-votes or the campaign that it belongs to, to be echoed unchanged (rule N1);
    /// Go nodes have none.
    pub round: Option<Round>,
    /// The candidate's list of voters, if it has declared one (rule V6).
    pub list: Option<ListId>,
}

/// The answer to a [`VoteRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VoteResponse {
    /// The voter's term.
    pub term: u64,
    /// Whether the candidate has the voter's vote in that term.
    pub granted: bool,
    /// Who answers; absent from a Go node.
    pub voter: Option<NodeId>,
    /// The request's own `round`.
    pub round: Option<Round>,
    /// The voter's list of voters, if it has declared one (rule V6).
    pub list: Option<ListId>,
    /// Which process answers (rule N4).
    pub life: Option<Life>,
    /// Which voter of the candidate's list it needs, from 1 on, if that list is newer than its own
    /// (rule R9).
    pub wanted: Option<NonZeroU32>,
}

/// A leader's sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Heartbeat {
    /// The term it leads in.
    pub term: u64,
    /// Who leads.
    pub leader: NodeId,
    /// The leader's own clock in microseconds, to be echoed unchanged; absent, it asks for no
    /// acknowledgement and no promise.
    pub sent_at: Option<NonZeroU64>,
    /// How many voters the leader believes there are; Go nodes don't say (rule L6).
    pub size: Option<NonZeroU32>,
    /// The campaign that it won, to be echoed unchanged (rule N1); Go nodes have none.
    pub round: Option<Round>,
    /// The leader's list of voters, if it has declared one (rule V6).
    pub list: Option<ListId>,
    /// What the leader wants known with its leadership (rule L7).
    pub value: LeaderValue,
}

/// The answer to a [`Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HeartbeatResponse {
    /// The follower's term.
    pub term: u64,
    /// Who answers.
    pub follower: NodeId,
    /// How far the follower's application has come.
    pub position: Position,
    /// The heartbeat's own `sent_at`; absent from a refusal.
    pub sent_at: Option<NonZeroU64>,
    /// The follower's preference for leading; a witness's is 0 (rule H4).
    pub priority: u32,
    /// The follower's promise: for this many microseconds after the heartbeat it helps to elect no
    /// one (rule V2). Absent, it promises nothing.
    pub bound_for: Option<NonZeroU64>,
    /// The heartbeat's own `round`.
    pub round: Option<Round>,
    /// The follower's list of voters, if it has declared one (rule V6).
    pub list: Option<ListId>,
    /// Which process answers (rule N4).
    pub life: Option<Life>,
    /// Which voter of the leader's list it needs, from 1 on, if that list is newer than its own
    /// (rule R9).
    pub wanted: Option<NonZeroU32>,
    /// It has no room for a list that is longer by one than its own (rule R7).
    pub is_full: bool,
    /// The follower is kept from leading: an operator has paused it, or its program holds it back
    /// (rule O3).
    pub is_paused: bool,
}

/// The answer to a pre-vote request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PreVoteResponse {
    /// The voter's term.
    pub term: u64,
    /// Whether the voter would vote for the one who asked.
    pub granted: bool,
    /// Who answers.
    pub voter: NodeId,
    /// The proposed term of the request that this answers.
    pub proposed_term: u64,
    /// The request's own `round`.
    pub round: Option<Round>,
    /// The voter's list of voters, if it has declared one (rule V6).
    pub list: Option<ListId>,
    /// Which process answers (rule N4).
    pub life: Option<Life>,
    /// Which voter of the candidate's list it needs, from 1 on, if that list is newer than its own
    /// (rule R9).
    pub wanted: Option<NonZeroU32>,
}

/// A node's request for a part of the list of another (rule R9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ListRequest {
    /// Who asks.
    pub node: NodeId,
    /// Which process asks.
    pub life: Life,
    /// Which voter of the list it needs, from 1 on.
    pub wanted: NonZeroU32,
}

/// One voter of the sender's list (rule R9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ListPart {
    /// Whose list it is.
    pub sender: NodeId,
    /// The voter.
    pub voter: NodeId,
    /// Its place on the list, from 1 on.
    pub place: NonZeroU32,
    /// How many voters the list has.
    pub count: NonZeroU32,
    /// The list. A part that doesn't say of which is of none.
    pub list: Option<ListId>,
    /// The process that asked for it; absent if an operator did.
    pub life: Option<Life>,
    /// The list that was set by hand and of which this one has come; absent if it was itself set
    /// by hand (rule R1).
    pub root: Option<ListId>,
}

/// A leader's word that it no longer leads (rules H1, L4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Handover {
    /// The term it led in.
    pub term: u64,
    /// Who led.
    pub leader: NodeId,
    /// Who is to campaign at once; absent, anyone.
    pub target: Option<NodeId>,
    /// The campaign that it had won: only who followed that leader is freed (rule H2).
    pub round: Option<Round>,
}

/// A question of identity, or the answer to one (rule N5). It names no term, and changes none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    /// The id that it is about: that of the process that asks, and of the one that answers.
    pub node: NodeId,
    /// The question; an answer echoes it unchanged.
    pub round: Round,
    /// Which process says this.
    pub life: Life,
}

/// A message to be sent, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outgoing {
    /// Who is to hear it.
    pub to: Recipient,
    /// What to send.
    pub message: Message,
}

/// Who is to hear a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Recipient {
    /// All nodes of the cluster.
    Everyone,
    /// One node alone.
    Node(NodeId),
}
