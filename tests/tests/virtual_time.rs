//! The tokio driver in virtual time: the life of a cluster among faults, each drawn from one seed.
//!
//! Nodes talk over a network that loses, doubles and delays, their saves are slow or fail, and they
//! are closed at any moment. A witness hears every message and finds I1, I2, I3 and I6 broken; a
//! vote is compared with the store at the next start. Then the faults end, and a leader must be
//! found (A1).
//!
//! Saves run on real threads, so a seed decides what happens but not, to the last message, in which
//! order: it is printed to look at the faults, and may have to be tried more than once.

use std::time::Duration;

use graft_election::{Node, NodeId, State};
use graft_election_tests::cluster::{builder, id};
use graft_election_tests::faulty_network::{Faults, FaultyNetwork};
use graft_election_tests::votes::UnreliableVotes;
use graft_election_tests::witness::Heard;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::advance;

/// How far the clock goes at once.
const STEP: Duration = Duration::from_millis(5);

/// How long the faults last, and how long a cluster may take to recover: more than ten of the
/// greatest election timeouts.
const FAULTY_STEPS: u32 = 4_000;
const RECOVERY_STEPS: u32 = 2_400;

/// How often everyone has a turn within a step: more often than one message leads to another.
const TURNS: u32 = 20;

const SEEDS: u64 = 24;

/// A place for a node: its votes outlive it.
struct Place {
    id: NodeId,
    votes: UnreliableVotes,
    node: Option<Node>,
    /// The node's last moments.
    closing: Option<JoinHandle<()>>,
}

struct World {
    size: usize,
    random: StdRng,
    network: FaultyNetwork,
    heard: Heard,
    places: Vec<Place>,
    restarts: u32,
}

#[tokio::test(start_paused = true)]
async fn i1_i2_i3_i6_a1_clusters_of_three_live_through_faults_and_recover() {
    for seed in 0..SEEDS {
        live(seed, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn i1_i2_i3_i6_a1_clusters_of_five_live_through_faults_and_recover() {
    for seed in 0..SEEDS / 2 {
        live(seed, 5).await;
    }
}

async fn live(seed: u64, size: usize) {
    println!("seed {seed}, {size} nodes");
    let mut world = World::new(seed, size);
    for step in 0..FAULTY_STEPS {
        if step % 200 == 0 {
            world.change_faults();
        }
        world.disturb_a_node().await;
        world.step().await;
    }
    world.end_faults();
    for _ in 0..RECOVERY_STEPS {
        world.restart_those_that_are_gone().await;
        world.step().await;
        if world.agrees() {
            println!("  {} restarts, term {}", world.restarts, world.heard.term());
            return world.close().await;
        }
    }
    panic!("A1: seed {seed}: no leader: {:?}", world.statuses());
}

impl World {
    fn new(seed: u64, size: usize) -> Self {
        let place = |number| Place {
            id: id(&format!("n{number}")),
            votes: UnreliableVotes::default(),
            node: None,
            closing: None,
        };
        Self {
            size,
            random: StdRng::seed_from_u64(seed),
            network: FaultyNetwork::new(seed),
            heard: Heard::default(),
            places: (1..=size).map(place).collect(),
            restarts: 0,
        }
    }

    /// Draws again how the network and the stores behave, and who is cut off.
    fn change_faults(&mut self) {
        let random = &mut self.random;
        let delay_max = Duration::from_millis(if random.random_bool(0.3) { 1_500 } else { 20 });
        let loss = if random.random_bool(0.5) { 0.2 } else { 0.0 };
        self.network.set_faults(Faults { loss, doubling: 0.1, delay_max });
        let cut_off = self.places.iter().filter(|_| random.random_bool(0.15));
        self.network.cut_off(cut_off.map(|place| place.id.clone()).collect());
        for place in &self.places {
            place.votes.fail(random.random_bool(0.15));
            place.votes.hold(random.random_bool(0.15));
        }
    }

    fn end_faults(&mut self) {
        self.network.set_faults(Faults::default());
        self.network.cut_off(Vec::new());
        for place in &self.places {
            place.votes.fail(false);
            place.votes.hold(false);
        }
    }

    /// Starts, closes or hurries a node, now and then.
    async fn disturb_a_node(&mut self) {
        let index = self.random.random_range(0..self.size);
        let place = &mut self.places[index];
        if place.is_free() && self.random.random_bool(0.02) {
            self.start(index).await;
        } else if self.random.random_bool(0.002) {
            place.begin_to_close();
        }
    }

    async fn restart_those_that_are_gone(&mut self) {
        for index in 0..self.size {
            if self.places[index].is_free() {
                self.start(index).await;
            }
        }
    }

    /// I3, I6: what a node has stored covers all that it said before.
    async fn start(&mut self, index: usize) {
        let place = &mut self.places[index];
        let record = place.votes.record();
        let said = self.heard.terms.get(&place.id).copied().unwrap_or_default();
        assert!(said <= record.term, "I3: {} said {said} and has {record:?}", place.id);
        let vote = self.heard.votes.get(&(record.term, place.id.clone()));
        assert!(vote.is_none() || vote == record.voted_for.as_ref(), "I6: {vote:?} {record:?}");
        let seed = self.random.random();
        let starting = builder(place.id.as_str(), self.size)
            .seed(seed)
            .start(self.network.transport(), place.votes.clone());
        place.node = Some(starting.await.expect("the node starts"));
        self.restarts += 1;
    }

    /// Lets time pass, and everyone do what is due. A save that nothing holds up takes no time.
    async fn step(&mut self) {
        advance(STEP).await;
        for place in &self.places {
            place.votes.wait_for_saves().await;
        }
        for _ in 0..TURNS {
            yield_now().await;
        }
        self.network.tell(&mut self.heard);
    }

    fn statuses(&self) -> Vec<String> {
        let nodes = self.places.iter().filter_map(|place| place.node.as_ref());
        nodes.map(|node| format!("{:?}", node.status())).collect()
    }

    fn agrees(&self) -> bool {
        let statuses: Vec<_> = self
            .places
            .iter()
            .filter_map(|place| place.node.as_ref().map(|node| node.status()))
            .collect();
        let leader = statuses.iter().find(|status| status.state == State::Leader);
        leader.is_some_and(|leader| {
            statuses.len() == self.size
                && statuses.iter().all(|status| {
                    status.term == leader.term && status.leader.as_ref() == Some(&leader.id)
                })
        })
    }

    async fn close(mut self) {
        for place in &mut self.places {
            if let Some(node) = place.node.take() {
                node.close().await;
            }
        }
    }
}

impl Place {
    /// Whether no node is here, not even one that is about to leave.
    fn is_free(&self) -> bool {
        self.node.is_none() && self.closing.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn begin_to_close(&mut self) {
        if let Some(node) = self.node.take() {
            self.closing = Some(tokio::spawn(async move { node.close().await }));
        }
    }
}
