//! A world without faults of its own, for those who decide what happens in it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use graft_election_core::Mode;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Action, Plan, Simulation};
use crate::faults::{Faults, Kind, MESSAGE_TIME_MAX, Odds};
use crate::{Condition, DiskMode, Moment, NodeIndex, Setup, Step, Violation, World};

/// A cluster that lives by itself: timers run out, messages arrive, saves end. How long that takes
/// is drawn from a seed; what goes wrong is up to its user.
pub struct Stage {
    simulation: Simulation,
    /// When the nodes come back that are down; the others stay down.
    returns: BTreeMap<NodeIndex, Moment>,
    /// How much has happened since time last passed.
    steps_at_once: u32,
}

/// How much may happen at one moment.
const STEPS_AT_ONCE_MAX: u32 = 10_000;

/// What the links of a [`Stage`] are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Links {
    /// How long a message is under way.
    pub delay: RangeInclusive<Duration>,
    /// How likely it is that one is lost.
    pub loss: f64,
}

impl Stage {
    /// A cluster that begins as `setup` says; its nodes have just started. `seed` decides all that
    /// is drawn.
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
        let mut stage = Self { simulation, returns: BTreeMap::new(), steps_at_once: 0 };
        for node in stage.world().nodes() {
            // Saves take time.
            stage.simulation.apply(&Step::Disk { node, mode: DiskMode::Holds });
        }
        stage
    }

    /// A cluster of `size` nodes of one mode that have never run.
    pub fn cluster(size: usize, mode: Mode, links: &Links, seed: u64) -> Self {
        let mut setup = Setup::new(size);
        setup.nodes.iter_mut().for_each(|node| node.mode = mode);
        Self::new(setup, links, seed)
    }

    /// The world as it is now.
    pub fn world(&self) -> &World {
        &self.simulation.world
    }

    /// A span of time between the two, evenly drawn.
    pub fn draw(&mut self, spans: RangeInclusive<Duration>) -> Duration {
        self.simulation.rng.random_range(spans)
    }

    /// Lets something happen now; it must be possible.
    pub fn apply(&mut self, step: &Step) {
        let before = self.conditions();
        self.simulation.apply(step);
        for ((node, before), now) in self.world().nodes().zip(before).zip(self.conditions()) {
            // A node that saved or stood still before goes on when it was to.
            if now == Condition::Waiting || now != before {
                self.simulation.plan(node);
            }
        }
        self.keep_down();
    }

    /// Lets a node crash, and come back after a while; never, without one.
    pub fn crash(&mut self, node: NodeIndex, down_for: Option<Duration>) {
        self.expect_return(node, down_for);
        self.apply(&Step::Crash { node, remains: crate::Remains::Old });
    }

    /// Tells a node to take its leave, and to come back after a while; never, without one.
    pub fn close(&mut self, node: NodeIndex, down_for: Option<Duration>) {
        self.expect_return(node, down_for);
        self.apply(&Step::Close(node));
    }

    /// Lets a node stand still for a while.
    pub fn pause(&mut self, node: NodeIndex, span: Duration) {
        self.simulation.apply(&Step::Pause(node));
        let at = self.world().now().plus(span);
        self.simulation.plans[node.get()] = Plan { at, action: Action::Resume };
    }

    /// Cuts the link from the one to the other, and leaves the one that leads back.
    pub fn cut(&mut self, from: NodeIndex, to: NodeIndex) {
        self.apply(&Step::Cut { from, to });
    }

    /// Cuts the links between the two, both ways.
    pub fn part(&mut self, one: NodeIndex, other: NodeIndex) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Lets the next thing happen.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn go_on(&mut self) -> Result<(), Violation> {
        let before = self.world().now();
        self.simulation.go_on();
        self.keep_down();
        let stands_still = self.world().now() == before;
        self.steps_at_once = if stands_still { self.steps_at_once + 1 } else { 0 };
        if self.steps_at_once > STEPS_AT_ONCE_MAX {
            let what = format!("time stands still at {before}: some timer is always due");
            return Err(Violation { rule: "I7", what });
        }
        self.simulation.result()
    }

    /// Lets all happen that happens within `span`.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn go_on_for(&mut self, span: Duration) -> Result<(), Violation> {
        let end = self.world().now().plus(span);
        while self.next_at() <= end {
            self.go_on()?;
        }
        // Most happens around heartbeats: who stops at whatever comes next is always near one.
        self.simulation.wait_until(end);
        Ok(())
    }

    /// Goes on until `condition` holds: how long that took, or nothing if it took longer than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn go_on_until(
        &mut self,
        limit: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<Option<Duration>, Violation> {
        let began_at = self.world().now();
        while !condition(self) {
            if self.world().now().since(began_at) > limit {
                return Ok(None);
            }
            self.go_on()?;
        }
        Ok(Some(self.world().now().since(began_at)))
    }

    /// The node that leads in the highest term, if one may act as the leader now: in Extended mode
    /// it needs a lease.
    pub fn leader(&self) -> Option<NodeIndex> {
        self.simulation.leader_now().map(|(leader, _)| leader)
    }

    /// The leader whom all nodes follow that run.
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

    /// No node comes back but those that are expected.
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
    /// Links that lose nothing: a message takes ten milliseconds at most.
    pub fn healthy() -> Self {
        Self { delay: Duration::ZERO..=MESSAGE_TIME_MAX, loss: 0.0 }
    }

    /// The same, but with such a share of all messages lost.
    pub fn lossy(loss: f64) -> Self {
        Self { loss, ..Self::healthy() }
    }
}
