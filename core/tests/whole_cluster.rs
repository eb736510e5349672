//! Whole clusters on a network, on disks and among crashes that are all drawn from one seed.

use std::collections::BTreeMap;
use std::time::Duration;

use graft_election_core::{
    AlwaysGrant, Config, Instant, Message, Mode, Node, NodeId, Outgoing, Output, Recipient, State,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::common::{T_MAX, VoteRecord, assert_covered, assert_may_follow, node_id};

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const SEEDS: u64 = 300;

/// How long the faults last, and how soon after them there must be a leader (A1).
const FAULTS_LAST: Duration = Duration::from_secs(20);
const SETTLED_AFTER: Duration = T_MAX.saturating_mul(10);

const MODES: [Mode; 2] = [Mode::Graft, Mode::Extended];

#[test]
fn i1_to_i6_three_nodes_stay_honest_and_elect_a_leader_in_the_end() {
    MODES.into_iter().for_each(|mode| (0..SEEDS).for_each(|seed| live(mode, 3, seed)));
}

#[test]
fn i1_to_i6_five_nodes_stay_honest_and_elect_a_leader_in_the_end() {
    MODES.into_iter().for_each(|mode| (0..SEEDS).for_each(|seed| live(mode, 5, seed)));
}

#[test]
fn a1_without_faults_five_nodes_soon_have_a_leader() {
    for (mode, seed) in MODES.into_iter().flat_map(|mode| (0..SEEDS).map(move |seed| (mode, seed)))
    {
        let mut cluster = Cluster::new(mode, 5, seed);
        cluster.faulty = false;
        cluster.run_for(T_MAX * 4);
        cluster.assert_settled();
    }
}

/// A cluster from its first start on: faults, then recovery.
fn live(mode: Mode, size: usize, seed: u64) {
    println!("{mode:?} mode, {size} nodes, seed {seed}");
    let mut cluster = Cluster::new(mode, size, seed);
    for _ in 0..10 {
        cluster.cut_some_links();
        cluster.run_for(FAULTS_LAST / 10);
    }
    cluster.end_faults();
    cluster.run_for(SETTLED_AFTER);
    let leader = cluster.assert_settled();
    cluster.run_for(T_MAX * 5);
    assert_eq!(cluster.assert_settled(), leader, "a healthy leader stays");
}

type ClusterNode = Node<SmallRng, AlwaysGrant, 7>;

struct Member {
    id: NodeId,
    /// Absent while it is down.
    node: Option<ClusterNode>,
    restart_at: Instant,
    durable: VoteRecord,
}

struct Flight {
    to: usize,
    message: Message,
}

struct Cluster {
    mode: Mode,
    members: Vec<Member>,
    /// By arrival; the number tells apart those that arrive together.
    flights: BTreeMap<(Instant, u64), Flight>,
    flights_begun: u64,
    /// By sender and receiver: a link keeps the order of what it carries.
    last_arrival: [[Instant; 5]; 5],
    is_cut: [[bool; 5]; 5],
    faulty: bool,
    now: Instant,
    rng: SmallRng,
    leader_of: BTreeMap<u64, NodeId>,
    last_token: u64,
}

impl Cluster {
    fn new(mode: Mode, size: usize, seed: u64) -> Self {
        let now = Instant::from_micros(0);
        let member = |id: &&str| Member {
            id: node_id(id),
            node: None,
            restart_at: now,
            durable: VoteRecord::default(),
        };
        Self {
            mode,
            members: IDS.iter().take(size).map(member).collect(),
            flights: BTreeMap::new(),
            flights_begun: 0,
            last_arrival: [[now; 5]; 5],
            is_cut: [[false; 5]; 5],
            faulty: true,
            now,
            rng: SmallRng::seed_from_u64(seed),
            leader_of: BTreeMap::new(),
            last_token: 0,
        }
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now.saturating_add(span);
        loop {
            let arrival_at = self.flights.keys().next().map(|(at, _)| *at);
            let due = |member: &Member| match &member.node {
                Some(node) => node.deadline(),
                None => member.restart_at,
            };
            let dues = self.members.iter().map(due).enumerate();
            let (index, due_at) = dues.min_by_key(|(_, at)| *at).expect("there are members");
            let next_at = arrival_at.map_or(due_at, |at| at.min(due_at));
            if next_at > end {
                break;
            }
            self.now = self.now.max(next_at);
            if arrival_at == Some(next_at) {
                let (_, Flight { to, message }) = self.flights.pop_first().expect("it arrives");
                self.drive(to, |node, now| node.handle_message(now, message));
            } else {
                self.wake(index);
            }
        }
        self.now = end;
    }

    fn wake(&mut self, index: usize) {
        if self.members[index].node.is_none() {
            self.restart(index);
        } else if self.happens(0.02) {
            self.crash(index);
        } else if self.happens(0.02) {
            self.drive(index, |node, now| node.close(now));
        } else if self.happens(0.02) {
            let target = self.members[self.rng.random_range(0..self.members.len())].id.clone();
            self.drive(index, |node, now| node.hand_over(now, Some(target)));
        } else {
            self.drive(index, |node, now| node.handle_timeout(now));
        }
    }

    fn restart(&mut self, index: usize) {
        let rng = SmallRng::seed_from_u64(self.rng.random());
        let config = Config { mode: self.mode, ..Config::new("test", self.members.len()) };
        let member = &mut self.members[index];
        let (id, record) = (member.id.clone(), member.durable.clone());
        let node = Node::new(id, &config, record, AlwaysGrant, rng, self.now);
        member.node = Some(node.expect("the configuration is valid"));
    }

    fn crash(&mut self, index: usize) {
        let downtime = Duration::from_millis(self.rng.random_range(0..2_000));
        self.members[index].node = None;
        self.members[index].restart_at = self.now.saturating_add(downtime);
    }

    /// Gives the node one input, and does what it asks for.
    fn drive(
        &mut self,
        index: usize,
        input: impl FnOnce(&mut ClusterNode, Instant) -> Output<'_, SmallRng, AlwaysGrant, 7>,
    ) {
        // A node that crashes is not put back.
        let Some(mut node) = self.members[index].node.take() else {
            return;
        };
        let sent = match input(&mut node, self.now) {
            Output::Idle => None,
            Output::Send(outgoing) => Some(outgoing),
            Output::Save(_) if self.happens(0.05) => None,
            Output::Save(_) if self.happens(0.05) => return self.crash(index),
            Output::Save(unsaved) => {
                let durable = &mut self.members[index].durable;
                assert_may_follow(durable, unsaved.record());
                *durable = unsaved.record().clone();
                if self.happens(0.05) {
                    return self.crash(index);
                }
                unsaved.saved(self.now)
            }
        };
        if node.state() == State::Leader {
            let leader = self.leader_of.entry(node.term());
            let leader = leader.or_insert_with(|| node.id().clone());
            assert_eq!(leader, node.id(), "I1: two leaders in term {}", node.term());
        }
        self.assert_one_lease(&node);
        if let Some(outgoing) = sent {
            assert_covered(&self.members[index].durable, node.id(), &outgoing);
            self.send(index, &outgoing);
        }
        if node.state() == State::Closed {
            self.crash(index);
        } else {
            self.members[index].node = Some(node);
        }
    }

    /// I4, I5: fails if another node has a valid lease beside `node`, or this one's token is old.
    fn assert_one_lease(&mut self, node: &ClusterNode) {
        let Some(leadership) = node.leadership(self.now) else {
            return;
        };
        assert_eq!(leadership.token, node.term());
        assert!(leadership.token >= self.last_token, "I5: {leadership:?}");
        self.last_token = leadership.token;
        let others = self.members.iter().filter_map(|member| member.node.as_ref());
        for other in others {
            let lease = other.leadership(self.now);
            assert_eq!(lease, None, "I4: {} and {} lead", node.id(), other.id());
        }
    }

    fn send(&mut self, from: usize, outgoing: &Outgoing) {
        for to in 0..self.members.len() {
            // What is for everyone comes back to its sender too, as it does on NATS.
            let is_addressed = match &outgoing.to {
                Recipient::Everyone => true,
                Recipient::Node(id) => *id == self.members[to].id,
            };
            if !is_addressed || self.is_cut[from][to] || self.happens(0.1) {
                continue;
            }
            self.carry(from, to, &outgoing.message);
            if self.happens(0.1) {
                self.carry(from, to, &outgoing.message);
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize, message: &Message) {
        let delay_max = if self.happens(0.1) { 1_500_000 } else { 10_000 };
        let delay = Duration::from_micros(self.rng.random_range(100..delay_max));
        let last_arrival = &mut self.last_arrival[from][to];
        *last_arrival = self.now.saturating_add(delay).max(*last_arrival);
        let key = (*last_arrival, self.flights_begun);
        self.flights_begun += 1;
        let message = message.clone();
        self.flights.insert(key, Flight { to, message });
    }

    fn cut_some_links(&mut self) {
        let share = if self.rng.random_bool(0.5) { 0.4 } else { 0.0 };
        let links = self.is_cut.iter_mut().flatten();
        links.for_each(|is_cut| *is_cut = self.rng.random_bool(share));
    }

    fn end_faults(&mut self) {
        self.faulty = false;
        self.is_cut = [[false; 5]; 5];
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.faulty && self.rng.random_bool(probability)
    }

    /// The term and its leader, whom every node follows.
    #[track_caller]
    fn assert_settled(&self) -> (u64, NodeId) {
        let nodes = self.members.iter().filter_map(|member| member.node.as_ref());
        let followed: Vec<_> = nodes.map(|node| (node.term(), node.leader().cloned())).collect();
        assert_eq!(followed.len(), self.members.len(), "a node is down");
        let (term, leader) = followed[0].clone();
        assert!(followed.iter().all(|view| *view == followed[0]), "A1: {followed:?}");
        (term, leader.expect("A1: there is no leader"))
    }
}
