//! Someone who hears all that nodes say, and checks what must hold of it.

use std::collections::BTreeMap;

use async_nats::Subscriber;
use futures_util::StreamExt;
use graft_election_core::{Message, NodeId, Recipient};
use graft_election_proto::frame::{ClusterTag, FrameReader};
use graft_election_proto::seal::{Keys, Seals};
use graft_election_proto::{Kind, decode};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use crate::boards::BOARDS_CLUSTER;
use crate::bus::{Bus, Sent};
use crate::cluster::id;
use crate::nats_server::NatsServer;
use crate::trial::is_trial;

/// More nodes than any test has.
const SENDERS_MAX: usize = 16;

/// A witness of all that is said on a bus, and on a server if there is one.
///
/// It takes in nothing by itself: whoever waits for something has it hear meanwhile.
#[derive(Debug)]
pub struct Witness {
    traffic: Receiver<Sent>,
    readers: BTreeMap<String, FrameReader>,
    server: Option<Subscriber>,
    /// What opens the seals on the bus, if nothing else is to be believed there.
    seals: Option<Seals<SENDERS_MAX>>,
    heard: Heard,
}

/// What was heard so far. It adds up: whatever doesn't, ends the test.
#[derive(Debug, Default)]
pub struct Heard {
    /// Who leads, by term (I1).
    pub leaders: BTreeMap<u64, NodeId>,
    /// Whom a node voted for in a term (I2). A candidate votes for itself.
    pub votes: BTreeMap<(u64, NodeId), NodeId>,
    /// The term that each node has reached (I3).
    pub terms: BTreeMap<NodeId, u64>,
    /// How many messages came from someone other than who says so: a bridge.
    pub carried: u64,
}

impl Witness {
    /// Hears what is said on `bus` from now on.
    pub fn new(bus: &Bus) -> Self {
        let heard = Heard::default();
        let readers = BTreeMap::new();
        Self { traffic: bus.listen(), readers, server: None, seals: None, heard }
    }

    /// Believes from now on only what is sealed with one of these keys, and is said for the first
    /// time.
    pub fn believe(&mut self, keys: &Keys) {
        self.seals = Some(Seals::of_listener(BOARDS_CLUSTER, keys));
    }

    /// Hears what is said on `server` too, from now on.
    pub async fn listen_to(&mut self, server: &NatsServer) {
        let client = async_nats::connect(server.url()).await.expect("the server");
        self.server = Some(client.subscribe("graft.>").await.expect("a subscription"));
        client.flush().await.expect("the server");
    }

    /// What was heard so far.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Takes in what is said next.
    pub async fn hear(&mut self) {
        let on_server = async {
            match &mut self.server {
                Some(server) => server.next().await.expect("the connection lasts"),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            sent = self.traffic.recv() => self.hear_sent(&sent.expect("nothing was missed")),
            message = on_server => self.hear_message(&message),
        }
    }

    /// Takes in all that has been said on the bus.
    pub fn catch_up(&mut self) {
        loop {
            match self.traffic.try_recv() {
                Ok(sent) => self.hear_sent(&sent),
                Err(TryRecvError::Empty) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Hears until it can tell what is asked for.
    pub async fn hear_of<T>(&mut self, tell: impl Fn(&Heard) -> Option<T>) -> T {
        loop {
            if let Some(told) = tell(&self.heard) {
                return told;
            }
            self.hear().await;
        }
    }

    /// Hears until `event` is ready.
    pub async fn hear_until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = std::pin::pin!(event);
        loop {
            tokio::select! {
                happened = &mut event => return happened,
                () = self.hear() => {}
            }
        }
    }

    /// Forgets what a member of the bus has not finished saying: its power is gone.
    pub fn forget_half(&mut self, member: &str) {
        self.readers.remove(member);
    }

    /// The term that a node has reached by what it said, and whom it voted for in it.
    pub fn said_by(&self, node: &NodeId) -> (u64, Option<NodeId>) {
        let term = self.heard.terms.get(node).copied().unwrap_or_default();
        (term, self.heard.votes.get(&(term, node.clone())).cloned())
    }

    /// A node that had `said` this before has started with that `record`: it must know of all that
    /// it said (I2, I3, I6). By now it may have said more.
    pub fn hear_of_start(
        &mut self,
        node: &NodeId,
        said: (u64, Option<NodeId>),
        record: (u64, Option<NodeId>),
    ) {
        assert!(said.0 <= record.0, "I3: {node} said {said:?} and starts with {record:?}");
        if said.0 == record.0 && said.1.is_some() {
            assert_eq!(said, record, "I2: {node} forgot its vote");
        }
        if let (term, Some(candidate)) = record {
            self.heard.votes_for(node, term, &candidate);
        }
    }

    fn hear_sent(&mut self, sent: &Sent) {
        let reader = self
            .readers
            .entry(sent.from.to_string())
            .or_insert_with(|| FrameReader::new(ClusterTag::of(BOARDS_CLUSTER)));
        let mut bytes = &sent.bytes[..];
        while let Some(frame) = reader.read_any(&mut bytes) {
            if let Some(seals) = &mut self.seals
                && seals.open(&frame.message, &frame.to, frame.payload).is_err()
            {
                continue;
            }
            let is_carried = frame.sender.as_str() != &*sent.from;
            self.heard.hear(&frame.sender, &frame.to, &frame.message, is_carried);
        }
    }

    fn hear_message(&mut self, message: &async_nats::Message) {
        let tokens: Vec<_> = message.subject.split('.').collect();
        let [_, _, kind, sender, receiver @ ..] = &*tokens else {
            panic!("a subject of the Go original: {}", message.subject);
        };
        // What a node says to itself when it joins is no message of nodes.
        let Some(kind) = Kind::from_name(kind) else { return };
        if is_trial(message) {
            return;
        }
        let message_heard = decode(kind, &message.payload).expect("a sound message");
        let to = match receiver {
            [node] => Recipient::Node(id(node)),
            _ => Recipient::Everyone,
        };
        let sender = id(sender);
        let named = message_heard.sender();
        let is_operators = matches!(message_heard, Message::ControlRequest(_));
        assert!(is_operators || named == Some(&sender), "{named:?} on {}", message.subject);
        self.heard.hear(&sender, &to, &message_heard, message.headers.is_some());
    }
}

impl Heard {
    /// The highest term that any node has reached.
    pub fn term(&self) -> u64 {
        self.terms.values().copied().max().unwrap_or_default()
    }

    /// Who asked for votes in a term above `term`, in the first such term.
    pub fn candidate_after(&self, term: u64) -> Option<(u64, NodeId)> {
        let mut votes = self.votes.iter().filter(|((at, _), _)| *at > term);
        let voted_itself = votes.find(|((_, voter), candidate)| voter == *candidate);
        voted_itself.map(|((term, voter), _)| (*term, voter.clone()))
    }

    /// Takes in a message of `sender`. One that a bridge carries may come late.
    ///
    /// # Panics
    ///
    /// It contradicts what was heard before: I1, I2 or I3 is broken.
    pub fn hear(&mut self, sender: &NodeId, to: &Recipient, message: &Message, is_carried: bool) {
        // The questions of identity name no term (N5), and what an operator asks is no node's word
        // (O1).
        if let Message::Who(_) | Message::Here(_) | Message::ControlRequest(_) = message {
            return;
        }
        if is_carried {
            // It may come later than what its sender said since.
            self.carried += 1;
        } else {
            // A request for pre-votes only proposes its term, which is the next (C1).
            let proposes = matches!(message, Message::PreVoteRequest(_));
            self.reaches(sender, message.term() - u64::from(proposes));
        }
        match (message, to) {
            (Message::Heartbeat(heartbeat), _) => {
                let leader = self.leaders.entry(heartbeat.term).or_insert(sender.clone());
                assert_eq!(leader, sender, "I1: two leaders in term {}", heartbeat.term);
                self.votes_for(sender, heartbeat.term, sender);
            }
            (Message::VoteRequest(request), _) => self.votes_for(sender, request.term, sender),
            (Message::VoteResponse(response), Recipient::Node(candidate)) if response.granted => {
                self.votes_for(sender, response.term, candidate);
            }
            _ => {}
        }
    }

    fn votes_for(&mut self, voter: &NodeId, term: u64, candidate: &NodeId) {
        let vote = self.votes.entry((term, voter.clone())).or_insert(candidate.clone());
        assert_eq!(vote, candidate, "I2: {voter} votes twice in term {term}");
    }

    fn reaches(&mut self, node: &NodeId, term: u64) {
        let reached = self.terms.entry(node.clone()).or_insert(term);
        assert!(*reached <= term, "I3: {node} falls from term {reached} to {term}");
        *reached = term;
    }
}
