//! A cluster without faults of its own, for tests that decide what happens to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use graft_election_core::Mode;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Action, Plan, Simulation};
use crate::faults::{Faults, Kind, MESSAGE_TIME_MAX, Odds};
use crate::judgement::Violation;
use crate::{Condition, DiskMode, Moment, NodeIndex, Remains, Setup, Step, World};

/// How many things may happen at one moment.
const STEPS_AT_ONCE_MAX: u32 = 10_000;

/// A simulated cluster under a test's control. It runs by itself: timers run out, messages arrive,
/// saves end, each after a time drawn from a seed. What goes wrong is up to the test.
pub struct Cluster {
    simulation: Simulation,
    /// When nodes that are down come back. Nodes that aren't listed stay down.
    returns: BTreeMap<NodeIndex, Moment>,
    /// How many things have happened since time last passed.
    steps_at_once: u32,
}

/// What the links of a [`Cluster`] are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Links {
    /// How long a message is under way.
    pub delay: RangeInclusive<Duration>,
    /// How likely a message is to be lost, from 0 to 1.
    pub loss: f64,
}

impl Cluster {
    /// A cluster that begins as `setup` says, whose nodes have just started. `seed` decides
    /// everything that is drawn.
    pub fn new(mut setup: Setup, links: &Links, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        setup.seed = rng.random();
        for node in &mut setup.nodes {
            node.clock = Duration::from_micros(rng.random_range(0..10_000_000));
        }
        let mut faults = Faults::none(Kind::Faulty);
        faults.message_time_min = *links.delay.start();
        faults.message_time_max = links.delay.end().saturating_sub(*links.delay.start());
        faults.loss = Odds::new(links.loss);
        let world = World::new(setup.clone(), &mut ());
        let simulation = Simulation::with_world(world, setup, faults, rng);
        let mut cluster = Self { simulation, returns: BTreeMap::new(), steps_at_once: 0 };
        for node in cluster.world().nodes() {
            // Saves take time.
            cluster.simulation.apply(&Step::Disk { node, mode: DiskMode::Holds });
        }
        cluster
    }

    /// A cluster of `size` nodes of one mode that have never run.
    pub fn of_size(size: usize, mode: Mode, links: &Links, seed: u64) -> Self {
        let mut setup = Setup::new(size);
        setup.nodes.iter_mut().for_each(|node| node.mode = mode);
        Self::new(setup, links, seed)
    }

    /// The world as it is now.
    pub fn world(&self) -> &World {
        &self.simulation.world
    }

    /// A span of time within the range, evenly drawn.
    pub fn draw(&mut self, spans: RangeInclusive<Duration>) -> Duration {
        self.simulation.rng.random_range(spans)
    }

    /// Lets a step happen now, which must be possible.
    pub fn apply(&mut self, step: &Step) {
        let before = self.conditions();
        self.simulation.apply(step);
        for ((node, before), now) in self.world().nodes().zip(before).zip(self.conditions()) {
            // A node that was saving or paused keeps its plan.
            if now == Condition::Waiting || now != before {
                self.simulation.plan(node);
            }
        }
        self.keep_down();
    }

    /// From now on each save of the first `nodes` takes at least `span`.
    pub fn slow_disks(&mut self, nodes: usize, span: Duration) {
        let faults = &mut self.simulation.faults;
        (faults.save_time_min, faults.slow_disks) = (span, nodes);
    }

    /// From now on messages from one node to another take so much longer.
    pub fn lag(&mut self, from: NodeIndex, to: NodeIndex, span: Duration) {
        self.simulation.lags.insert((from, to), span);
    }

    /// Crashes a node, which restarts after `down_for`, or never.
    pub fn crash(&mut self, node: NodeIndex, down_for: Option<Duration>) {
        self.expect_return(node, down_for);
        self.apply(&Step::Crash { node, remains: Remains::Old });
    }

    /// Closes a node, which restarts after `down_for`, or never.
    pub fn close(&mut self, node: NodeIndex, down_for: Option<Duration>) {
        self.expect_return(node, down_for);
        self.apply(&Step::Close(node));
    }

    /// All nodes that run are told that no other process has their id.
    pub fn dispel_doubts(&mut self) {
        for node in self.world().nodes() {
            if self.world().condition(node) == Condition::Waiting {
                self.apply(&Step::NoDouble(node));
            }
        }
    }

    /// Pauses a node for a while.
    pub fn pause(&mut self, node: NodeIndex, span: Duration) {
        self.simulation.apply(&Step::Pause(node));
        let at = self.world().now().plus(span);
        self.simulation.plans[node.get()] = Plan { at, action: Action::Resume };
    }

    /// Cuts the link from one node to another, and leaves the link back.
    pub fn cut(&mut self, from: NodeIndex, to: NodeIndex) {
        self.apply(&Step::Cut { from, to });
    }

    /// Cuts the links between two nodes, both ways.
    pub fn part(&mut self, one: NodeIndex, other: NodeIndex) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Lets the next thing happen.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn run_next(&mut self) -> Result<(), Violation> {
        let before = self.world().now();
        self.simulation.run_next();
        self.keep_down();
        let stands_still = self.world().now() == before;
        self.steps_at_once = if stands_still { self.steps_at_once + 1 } else { 0 };
        if self.steps_at_once > STEPS_AT_ONCE_MAX {
            let what = format!("time stands still at {before}: some timer is always due");
            return Err(Violation { rule: "I7", what });
        }
        self.simulation.result()
    }

    /// Lets everything happen that happens within `span`.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        let end = self.world().now().plus(span);
        while self.next_at() <= end {
            self.run_next()?;
        }
        // Most things happen around heartbeats. Without this wait, the end would always be near
        // one.
        self.simulation.wait_until(end);
        Ok(())
    }

    /// Runs until `condition` holds. Returns how long that took; `None` if it took longer than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn run_until(
        &mut self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<Option<Duration>, Violation> {
        let began_at = self.world().now();
        while !condition(self) {
            if self.world().now().since(began_at) > limit {
                return Ok(None);
            }
            self.run_next()?;
        }
        Ok(Some(self.world().now().since(began_at)))
    }

    /// The node that leads in the highest term, if it may act as the leader now: in Extended mode
    /// it needs a lease.
    pub fn leader(&self) -> Option<NodeIndex> {
        self.simulation.leader_now().map(|(leader, _)| leader)
    }

    /// The leader whom all running nodes follow.
    pub fn undisputed_leader(&self) -> Option<NodeIndex> {
        self.simulation.leader().map(|(leader, _)| leader)
    }

    /// How many nodes have become leaders so far.
    pub fn elections(&self) -> u64 {
        self.simulation.figures.elections
    }

    fn conditions(&self) -> Vec<Condition> {
        self.world().nodes().map(|node| self.world().condition(node)).collect()
    }

    fn next_at(&self) -> Moment {
        let plans = self.simulation.plans.iter().map(|plan| plan.at);
        let arrival = self.simulation.arrivals.peek();
        plans.chain(arrival.map(|Reverse((at, ..))| *at)).min().unwrap_or(Moment::NEVER)
    }

    fn expect_return(&mut self, node: NodeIndex, down_for: Option<Duration>) {
        self.returns.remove(&node);
        let now = self.world().now();
        self.returns.extend(down_for.map(|span| (node, now.plus(span))));
    }

    /// Only the nodes that are expected come back.
    fn keep_down(&mut self) {
        for node in self.world().nodes() {
            if self.world().condition(node) != Condition::Down {
                continue;
            }
            self.simulation.plans[node.get()] = match self.returns.get(&node) {
                Some(at) => Plan { at: *at, action: Action::Restart },
                None => Plan { at: Moment::NEVER, action: Action::Rest },
            };
        }
    }
}

impl Links {
    /// Links that lose nothing, and on which a message takes at most ten milliseconds.
    pub fn healthy() -> Self {
        Self { delay: Duration::ZERO..=MESSAGE_TIME_MAX, loss: 0.0 }
    }

    /// The same, with this share of all messages lost.
    pub fn lossy(loss: f64) -> Self {
        Self { loss, ..Self::healthy() }
    }
}
