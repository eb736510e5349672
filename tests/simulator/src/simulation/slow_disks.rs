//! A cluster whose disks are slow, and which loses its leader: candidates must not get in each
//! other's way for ever (C3).

use std::time::Duration;

use rand::RngExt;

use super::Simulation;
use super::bounds::{ROUND_TRIP_MAX, times_max};
use crate::checker::STRETCH_MAX;
use crate::faults::draw_span;
use crate::judgement::Violation;
use crate::{Remains, Step};

/// How many attempts to be elected may fail. Of 8,500 clusters none took as long as three.
const ATTEMPTS_MAX: u32 = 10;

impl Simulation {
    /// Some disks, or all, take up to T_max for each save. The leader crashes, and another node
    /// must lead.
    pub(super) fn lead_with_slow_disks(&mut self) -> Result<(), Violation> {
        let Some((leader, term)) = self.leader() else { return Ok(()) };
        let [t_min, t_max, _] = times_max(&self.world);
        let longest = t_max.min(self.least_span() * STRETCH_MAX / 2);
        let save = draw_span(&mut self.rng, longest);
        self.faults.save_time_min = save;
        self.faults.slow_disks = self.rng.random_range(1..=self.world.node_count());
        self.apply(&Step::Crash { node: leader, remains: Remains::Old });
        self.plan(leader);
        // V3: the others wait for up to T_min, and it does from its start on.
        let limit = t_min + self.attempt_max(save) * ATTEMPTS_MAX;
        self.until_new_leader(term, limit.mul_f64(1.0 + self.rho()), "C3")?;
        (self.faults.save_time_min, self.faults.slow_disks) = (Duration::ZERO, 0);
        // Those that are under way take no longer either.
        for node in self.world.nodes() {
            self.plan(node);
        }
        self.until_all_follow(self.world.now())?;
        self.keeps_leader()
    }

    /// How long an attempt to be elected takes, at most: the longest timeout that patience allows,
    /// the candidate's save, and those of its voters, who may have had one to end before.
    fn attempt_max(&self, save: Duration) -> Duration {
        let spans = self.world.all_times().map(|[t_min, t_max, _]| t_max - t_min);
        let [t_min, ..] = times_max(&self.world);
        t_min + spans.max().unwrap_or_default() * STRETCH_MAX + save * 3 + ROUND_TRIP_MAX * 2
    }
}
