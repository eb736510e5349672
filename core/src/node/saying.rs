//! What a node says: the one place where messages are put together.

use core::num::{NonZeroU32, NonZeroU64};

use rand_core::Rng;

use super::Node;
use crate::{
    Application, ControlOutcome, ControlResponse, Handover, Heartbeat, HeartbeatResponse, Identity,
    Instant, Life, ListPart, ListRequest, Message, Mode, NodeId, Outgoing, PreVoteResponse,
    Recipient, Round, VoteRequest, VoteResponse,
};

/// What a node is about to say, as far as the input decides it. Who the node is and how it stands
/// is added once, when the message is put together.
#[derive(Debug)]
pub(super) enum Saying {
    /// It asks for pre-votes (rule C1).
    PreVoteRequest(Request),
    /// It asks for votes (rule C2).
    VoteRequest(Request),
    /// It leads (rule L1).
    Heartbeat { sent_at: Instant, round: Round },
    /// It leads no more (rules H1, L4).
    Handover { target: Option<NodeId>, round: Round },
    /// It asks whether another process uses its id (rule N5).
    Who { round: Round },
    /// It answers an operator (rules O1 to O4).
    ControlResponse { outcome: ControlOutcome, round: Round },
    /// It asks for a part of another's list (rule R9).
    ListRequest { to: NodeId, wanted: NonZeroU32 },
    /// It tells a part of its list (rule R9).
    ListPart { index: usize, life: Option<Life> },
    /// It says something to one node alone, and asks for a part of its list, if it needs one.
    Answer { to: NodeId, answer: Answer, wanted: Option<NonZeroU32> },
}

impl Saying {
    /// An answer to that node.
    pub(super) fn answer(to: NodeId, answer: Answer) -> Self {
        Self::Answer { to, answer, wanted: None }
    }
}

/// A request for votes, or for pre-votes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) term: u64,
    pub(super) handover_from: Option<NonZeroU64>,
    pub(super) round: Round,
}

/// What a node says to the node that asked.
#[derive(Debug)]
pub(super) enum Answer {
    PreVote {
        granted: bool,
        proposed_term: u64,
        round: Option<Round>,
    },
    Vote {
        granted: bool,
        round: Option<Round>,
    },
    /// An acknowledgement if it echoes `sent_at`, else a refusal (rule L2).
    Heartbeat {
        sent_at: Option<NonZeroU64>,
        round: Option<Round>,
        priority: u32,
        is_paused: bool,
    },
    /// Another process uses the id (rule N5).
    Here {
        round: Round,
    },
}

impl<R: Rng, A: Application, const VOTERS: usize> Node<R, A, VOTERS> {
    /// The message that says it, and for whom that is.
    pub(super) fn compose(&mut self, saying: Saying) -> Outgoing {
        let (term, list) = (self.record.term, self.electorate().list());
        let to_everyone = |message| Outgoing { to: Recipient::Everyone, message };
        match saying {
            Saying::PreVoteRequest(request) => {
                to_everyone(Message::PreVoteRequest(self.vote_request(&request)))
            }
            Saying::VoteRequest(request) => {
                to_everyone(Message::VoteRequest(self.vote_request(&request)))
            }
            Saying::Heartbeat { sent_at, round } => to_everyone(Message::Heartbeat(Heartbeat {
                term,
                leader: self.id.clone(),
                // No node leads at the very origin of its clock, so it is never 0.
                sent_at: NonZeroU64::new(sent_at.as_micros())
                    .filter(|_| self.mode == Mode::Extended),
                size: self.announced_size(),
                round: Some(round),
                list,
                value: self.application.leader_value(),
            })),
            Saying::Handover { target, round } => {
                let (leader, round) = (self.id.clone(), Some(round));
                to_everyone(Message::Handover(Handover { term, leader, target, round }))
            }
            Saying::Who { round } => to_everyone(Message::Who(self.identity(round))),
            Saying::ControlResponse { outcome, round } => {
                to_everyone(Message::ControlResponse(ControlResponse {
                    term,
                    node: self.id.clone(),
                    leader: self.leader().cloned(),
                    outcome,
                    round,
                    last: self.obeyed,
                    is_paused: self.record.is_paused,
                    list,
                    life: self.rounds.life(),
                    is_committed: self.is_list_committed(),
                }))
            }
            Saying::ListRequest { to, wanted } => {
                let (node, life) = (self.id.clone(), self.rounds.life());
                let message = Message::ListRequest(ListRequest { node, life, wanted });
                Outgoing { to: Recipient::Node(to), message }
            }
            // For everyone, since an operator may have asked (rule O5).
            Saying::ListPart { index, life } => {
                to_everyone(Message::ListPart(self.compose_part(index, life)))
            }
            Saying::Answer { to, answer, wanted } => {
                Outgoing { to: Recipient::Node(to), message: self.compose_answer(answer, wanted) }
            }
        }
    }

    fn compose_answer(&mut self, answer: Answer, wanted: Option<NonZeroU32>) -> Message {
        let (term, list, life) =
            (self.record.term, self.electorate().list(), Some(self.rounds.life()));
        match answer {
            Answer::PreVote { granted, proposed_term, round } => {
                let voter = self.id.clone();
                Message::PreVoteResponse(PreVoteResponse {
                    term,
                    granted,
                    voter,
                    proposed_term,
                    round,
                    list,
                    life,
                    wanted,
                })
            }
            Answer::Vote { granted, round } => {
                let voter = Some(self.id.clone());
                Message::VoteResponse(VoteResponse {
                    term,
                    granted,
                    voter,
                    round,
                    list,
                    life,
                    wanted,
                })
            }
            Answer::Heartbeat { sent_at, round, priority, is_paused } => {
                Message::HeartbeatResponse(HeartbeatResponse {
                    term,
                    follower: self.id.clone(),
                    position: self.application.position(),
                    sent_at,
                    priority,
                    bound_for: sent_at
                        .and(NonZeroU64::new(self.timing.election_timeout_min.into())),
                    round,
                    list,
                    life,
                    wanted,
                    is_full: self.is_full(),
                    is_paused,
                })
            }
            Answer::Here { round } => Message::Here(self.identity(round)),
        }
    }

    /// Asks for votes, or pre-votes, in a term.
    fn vote_request(&mut self, request: &Request) -> VoteRequest {
        VoteRequest {
            term: request.term,
            candidate: self.id.clone(),
            position: self.application.position(),
            handover_from: request.handover_from,
            size: self.announced_size(),
            round: Some(request.round),
            list: self.electorate().list(),
        }
    }

    /// The voter at this index of the list, which has so many.
    fn compose_part(&self, index: usize, life: Option<Life>) -> ListPart {
        let list = self.record.voter_list();
        let voter = self.electorate().id(index).unwrap_or(&self.id).clone();
        let place = u32::try_from(index).unwrap_or(0).saturating_add(1);
        let place = NonZeroU32::new(place).unwrap_or(NonZeroU32::MIN);
        let count = self.announced_size().unwrap_or(place);
        let root =
            list.map(|list| list.root()).filter(|root| self.electorate().list() != Some(*root));
        let (sender, list) = (self.id.clone(), self.electorate().list());
        ListPart { sender, voter, place, count, list, life, root }
    }

    fn identity(&self, round: Round) -> Identity {
        Identity { node: self.id.clone(), round, life: self.rounds.life() }
    }

    fn announced_size(&self) -> Option<NonZeroU32> {
        u32::try_from(self.electorate().size()).ok().and_then(NonZeroU32::new)
    }
}
