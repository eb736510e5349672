//! A cluster of core nodes in memory, whose messages all arrive, at once and in order.

use std::collections::VecDeque;
use std::time::Duration;

use graft_election_core::{
    AlwaysGrant, Config, Instant, Message, Mode, Node, NodeId, Outgoing, Output, Recipient,
    VoteRecord, VoterList,
};
use graft_election_proto::seal::{Key, Keys, SEALED_MAX, Seals};
use graft_election_proto::{Kind, decode, encode};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// How long a message takes.
const DELIVERY: Duration = Duration::from_micros(10);

/// The cluster's name.
const NAME: &str = "costs";

/// What a cluster pays for, each with all that the one before it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Safety {
    /// The plain election of Raft (Graft mode).
    Plain,
    /// Pre-votes, acknowledged heartbeats and the lease (Extended mode).
    Lease,
    /// A declared list of voters, whose id is in each message.
    List,
    /// A cluster's key, which seals each message.
    Key,
}

/// How messages get from node to node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// As values.
    Values,
    /// As bytes: encoded once, and decoded by each that receives them.
    Bytes,
}

/// What went over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often a node said something: a message for everyone is one.
    pub said: usize,
    /// How often a node heard something: a message for everyone is one for each other node.
    pub heard: usize,
    /// How many bytes were said. They are counted only where they are made.
    pub bytes: usize,
}

/// A node with room for so many voters.
type Voter<const VOTERS: usize> = Node<SmallRng, AlwaysGrant, VOTERS>;

/// A cluster, which does nothing by itself.
pub struct Cluster<const VOTERS: usize> {
    members: Vec<Member<VOTERS>>,
    safety: Safety,
    wire: Wire,
    now: Instant,
    /// What was said and not yet heard, with who said it.
    said: VecDeque<(usize, Outgoing)>,
    traffic: Traffic,
}

struct Member<const VOTERS: usize> {
    node: Voter<VOTERS>,
    /// Present if the cluster has a key.
    seals: Option<Box<Seals<VOTERS>>>,
}

impl<const VOTERS: usize> Cluster<VOTERS> {
    /// A cluster of `size` nodes that have just started, and know that their ids are their own.
    /// `seed` decides who is the first to ask.
    pub fn new(size: usize, safety: Safety, wire: Wire, seed: u64) -> Self {
        let ids: Vec<NodeId> = (0..size).map(id).collect();
        let voters = if safety >= Safety::List { &ids[..] } else { &[] };
        let record = VoterList::declared(voters).map(VoteRecord::first).unwrap_or_default();
        let mode = if safety == Safety::Plain { Mode::Graft } else { Mode::Extended };
        let config = Config { mode, voters, ..Config::new(NAME, size) };
        let now = Instant::from_micros(1_000_000);
        let member = |(index, id): (u64, &NodeId)| {
            let rng = SmallRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(index));
            let node = Node::new(id.clone(), &config, record.clone(), AlwaysGrant, rng, now);
            let mut node = node.expect("the settings are sound");
            node.handle_no_double(now);
            let seals = (safety == Safety::Key).then(|| Box::new(seals(id)));
            Member { node, seals }
        };
        let said = VecDeque::with_capacity(4 * size);
        let members = (0..).zip(&ids).map(member).collect();
        Self { members, safety, wire, now, said, traffic: Traffic::default() }
    }

    /// Lets the node whose time is up first do what is due, and delivers what comes of it until all
    /// is said. Returns which node it was.
    ///
    /// In a cluster without a leader that is an election, and else a round of heartbeats.
    pub fn run_round(&mut self) -> usize {
        let due_at = |index: &usize| self.members[*index].node.deadline();
        let first = (0..self.members.len()).min_by_key(due_at).expect("there are nodes");
        self.now = self.now.max(self.members[first].node.deadline());
        let output = self.members[first].node.handle_timeout(self.now);
        self.said.extend(outgoing(output, self.now).map(|outgoing| (first, outgoing)));
        self.deliver_all();
        first
    }

    /// Whether this node leads: in Extended mode it must have a lease.
    pub fn is_led_by(&self, index: usize) -> bool {
        let node = &self.members[index].node;
        match self.safety {
            Safety::Plain => node.leader() == Some(node.id()),
            _ => node.leadership(self.now).is_some(),
        }
    }

    /// The node at this place, and the time, for scenes that talk to it themselves.
    pub fn node(&mut self, index: usize) -> (&mut Voter<VOTERS>, Instant) {
        (&mut self.members[index].node, self.now)
    }

    /// What has been said and heard since the cluster began.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn deliver_all(&mut self) {
        while let Some((from, outgoing)) = self.said.pop_front() {
            self.now = self.now.saturating_add(DELIVERY);
            self.traffic.said += 1;
            match self.wire {
                Wire::Values => self.deliver_value(from, &outgoing),
                Wire::Bytes => self.deliver_bytes(from, &outgoing),
            }
        }
    }

    fn deliver_value(&mut self, from: usize, outgoing: &Outgoing) {
        for to in 0..self.members.len() {
            if to != from && self.is_for(to, &outgoing.to) {
                self.hear(to, outgoing.message.clone());
            }
        }
    }

    fn deliver_bytes(&mut self, from: usize, outgoing: &Outgoing) {
        let mut buffer = [0; SEALED_MAX];
        let payload = match &mut self.members[from].seals {
            Some(seals) => seals.encode(outgoing, &mut buffer).expect("the buffer has room"),
            None => encode(&outgoing.message, &mut buffer).expect("the buffer has room"),
        };
        self.traffic.bytes += payload.len();
        let kind = Kind::of(&outgoing.message);
        for to in 0..self.members.len() {
            if to == from || !self.is_for(to, &outgoing.to) {
                continue;
            }
            let message = decode(kind, payload).expect("it was encoded");
            if let Some(seals) = &mut self.members[to].seals {
                seals.open(&message, &outgoing.to, payload).expect("it was sealed");
            }
            self.hear(to, message);
        }
    }

    fn hear(&mut self, to: usize, message: Message) {
        self.traffic.heard += 1;
        let output = self.members[to].node.handle_message(self.now, message);
        self.said.extend(outgoing(output, self.now).map(|outgoing| (to, outgoing)));
    }

    fn is_for(&self, index: usize, recipient: &Recipient) -> bool {
        match recipient {
            Recipient::Everyone => true,
            Recipient::Node(id) => self.members[index].node.id() == id,
        }
    }
}

/// What a node says. Its record is stored in no time.
pub fn outgoing<const VOTERS: usize>(
    output: Output<'_, SmallRng, AlwaysGrant, VOTERS>,
    now: Instant,
) -> Option<Outgoing> {
    match output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing),
        Output::Save(unsaved) => unsaved.saved(now),
    }
}

fn id(index: usize) -> NodeId {
    NodeId::new(&format!("n{index}")).expect("it is a token")
}

fn seals<const VOTERS: usize>(id: &NodeId) -> Seals<VOTERS> {
    let keys = Keys { current: Key::new([7; Key::LEN]), other: None };
    Seals::of_node(NAME, &keys, id.clone(), 1)
}
