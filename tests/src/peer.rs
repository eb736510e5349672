//! A peer that says what the test tells it to.

use std::collections::BTreeMap;

use graft_election::core::{
    Handover, Heartbeat, LeaderValue, Life, Message, NodeId, Outgoing, Position, PreVoteResponse,
    Recipient, Round, VoteRequest, VoteResponse,
};
use graft_election::{Arrival, MemoryNetwork, MemoryTransport, Transport};
use tokio::time::timeout;

use crate::cluster::{PATIENCE, id, member};

/// A heartbeat as a Go node sends it.
pub fn plain_heartbeat(leader: NodeId, term: u64) -> Heartbeat {
    let value = LeaderValue::EMPTY;
    Heartbeat { term, leader, sent_at: None, size: None, round: None, list: None, value }
}

/// A peer on a memory network, without a mind of its own.
#[derive(Debug)]
pub struct Peer {
    id: NodeId,
    transport: MemoryTransport,
    /// The latest campaign of each candidate that was heard.
    heard_rounds: BTreeMap<NodeId, Round>,
}

impl Peer {
    /// The peer `name` of the cluster called `c`.
    pub async fn join(network: &MemoryNetwork, name: &str) -> Self {
        let mut transport = network.transport();
        transport.join(&member("c", &id(name))).await.expect("the peer joins");
        Self { id: id(name), transport, heard_rounds: BTreeMap::new() }
    }

    /// The peer `name` that says it is `alias`.
    pub async fn pretend(network: &MemoryNetwork, name: &str, alias: &str) -> Self {
        Self { id: id(alias), ..Self::join(network, name).await }
    }

    /// Sends `message` to everyone, or to one.
    pub async fn send(&mut self, to: Recipient, message: Message) {
        self.transport.send(&Outgoing { to, message }).await.expect("the peer sends");
    }

    /// Asks everyone for a vote in `term`, as a Go node does.
    pub async fn request_vote(&mut self, term: u64) {
        self.request_vote_at(term, b"").await;
    }

    /// Asks everyone for a vote in `term` for a candidate at `position`.
    pub async fn request_vote_at(&mut self, term: u64, position: &[u8]) {
        let request = self.vote_request(term, position);
        self.send(Recipient::Everyone, Message::VoteRequest(request)).await;
    }

    /// Asks everyone for a pre-vote for `term`.
    pub async fn request_pre_vote(&mut self, term: u64) {
        let request = self.vote_request(term, b"");
        self.send(Recipient::Everyone, Message::PreVoteRequest(request)).await;
    }

    /// Hands the leadership of `term` over to `target`, which it [led](Self::lead).
    pub async fn hand_over(&mut self, term: u64, target: &NodeId) {
        let (leader, target) = (self.id.clone(), Some(target.clone()));
        let handover = Message::Handover(Handover { term, leader, target, round: round_of(term) });
        self.send(Recipient::Everyone, handover).await;
    }

    /// Gives `candidate` its vote in `term`, in answer to the request of it that was heard last
    /// (N1).
    pub async fn vote_for(&mut self, candidate: &NodeId, term: u64) {
        let voter = Some(self.id.clone());
        let round = self.heard_round(candidate);
        let response = VoteResponse {
            term,
            granted: true,
            voter,
            round,
            list: None,
            life: Life::new(1),
            wanted: None,
        };
        let to = Recipient::Node(candidate.clone());
        self.send(to, Message::VoteResponse(response)).await;
    }

    /// The campaign of `candidate` that was heard last.
    pub fn heard_round(&self, candidate: &NodeId) -> Option<Round> {
        self.heard_rounds.get(candidate).copied()
    }

    /// Claims to lead `term`, as a Go node does.
    pub async fn heartbeat(&mut self, term: u64) {
        let leader = self.id.clone();
        let heartbeat = plain_heartbeat(leader, term);
        self.send(Recipient::Everyone, Message::Heartbeat(heartbeat)).await;
    }

    /// Claims to lead `term`, as a node of this implementation does in Graft mode.
    pub async fn lead(&mut self, term: u64) {
        let leader = self.id.clone();
        let heartbeat = Heartbeat { round: round_of(term), ..plain_heartbeat(leader, term) };
        self.send(Recipient::Everyone, Message::Heartbeat(heartbeat)).await;
    }

    /// Waits for the next heartbeat.
    pub async fn hear_heartbeat(&mut self) -> Heartbeat {
        loop {
            if let Message::Heartbeat(heartbeat) = self.hear().await {
                return heartbeat;
            }
        }
    }

    /// Waits for the next message.
    pub async fn hear(&mut self) -> Message {
        match timeout(PATIENCE, self.transport.receive()).await {
            Ok(Arrival::Message(opened)) => {
                let message = opened.into_message();
                if let Message::VoteRequest(VoteRequest { candidate, round: Some(round), .. }) =
                    &message
                {
                    self.heard_rounds.insert(candidate.clone(), *round);
                }
                message
            }
            Ok(other) => panic!("{} heard {other:?}", self.id),
            Err(_) => panic!("{} heard nothing", self.id),
        }
    }

    /// Waits for the next request for a vote; returns the candidate and its term.
    pub async fn hear_vote_request(&mut self) -> VoteRequest {
        loop {
            if let Message::VoteRequest(request) = self.hear().await {
                return request;
            }
        }
    }

    /// Waits for the next answer to a request for a pre-vote.
    pub async fn hear_pre_vote_response(&mut self) -> PreVoteResponse {
        loop {
            if let Message::PreVoteResponse(response) = self.hear().await {
                return response;
            }
        }
    }

    /// Waits for the next answer to a request for a vote.
    pub async fn hear_vote_response(&mut self) -> VoteResponse {
        loop {
            if let Message::VoteResponse(response) = self.hear().await {
                return response;
            }
        }
    }

    fn vote_request(&self, term: u64, position: &[u8]) -> VoteRequest {
        VoteRequest {
            term,
            candidate: self.id.clone(),
            position: Position::new(position).expect("a position"),
            handover_from: None,
            size: None,
            round: None,
            list: None,
        }
    }
}

/// The campaign in which a peer won `term`.
fn round_of(term: u64) -> Option<Round> {
    Round::new(term as u32)
}
