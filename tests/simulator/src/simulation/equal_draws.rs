//! Nodes that draw the same numbers at the same moments elect a leader all the same, because the id
//! goes into each draw.

use std::time::Duration;

use rand::Rng;

use super::Simulation;
use super::bounds::times_max;
use crate::faults::MESSAGE_TIME_MAX;
use crate::judgement::Violation;
use crate::{Change, Condition, Remains, Step};

impl Simulation {
    /// All nodes restart at one moment, with equal seeds and clocks that run alike. All messages
    /// take equally long, and longer than a save. As far as the nodes' times are equal too, nothing
    /// but their ids tells them apart.
    pub(super) fn elect_with_equal_draws(&mut self) -> Result<(), Violation> {
        let seed = self.rng.next_u64();
        (self.faults.message_time_min, self.faults.message_time_max) =
            (MESSAGE_TIME_MAX, Duration::ZERO);
        for node in self.world.nodes() {
            self.apply(&Step::Drift { node, millionths: 0 });
            if self.world.condition(node) != Condition::Down {
                self.apply(&Step::Crash { node, remains: Remains::Old });
            }
            self.apply(&Step::Change { node, change: Change::Draws(seed) });
        }
        // What is under way would tell them apart.
        let mut keys = self.world.network().all();
        keys.sort_unstable();
        for key in keys {
            if let Some((_, pick)) = self.pick(key) {
                self.apply(&Step::Drop(pick));
            }
        }
        for node in self.world.nodes() {
            self.apply(&Step::Restart(node));
            self.plan(node);
        }
        // V3, N5: nobody can be elected before.
        self.run_until(self.world.now().plus(times_max(&self.world)[0]))?;
        self.until_all_follow(self.world.now())?;
        (self.faults.message_time_min, self.faults.message_time_max) =
            (Duration::ZERO, MESSAGE_TIME_MAX);
        self.keeps_leader()
    }
}
