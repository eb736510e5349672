//! A rival of a leader whose clock is slow: two leases would overlap here if any of the rules that
//! keep them apart were missing (I4).

use graft_election_core::Mode;
use rand::RngExt;

use super::Simulation;
use super::bounds::{POSITION_MAX, times_max};
use crate::faults::{Kind, MESSAGE_TIME_MAX};
use crate::judgement::Violation;
use crate::{Condition, NodeIndex, Remains, Step};

impl Simulation {
    /// One node no longer hears the leader, and asks all others to elect it. They then lose the
    /// leader too, whose clock is the slowest; or they restart, and would forget that they are
    /// bound to the leader if they didn't keep rule V3.
    pub(super) fn rival_the_leader(&mut self) -> Result<(), Violation> {
        let Some((leader, term)) = self.leader() else { return Ok(()) };
        if self.world.settings(leader).mode == Mode::Graft {
            return Ok(());
        }
        let others: Vec<_> = self.world.nodes().filter(|node| *node != leader).collect();
        let rival = others[self.rng.random_range(0..others.len())];
        self.set_clocks_apart(leader);
        for node in self.world.nodes() {
            self.apply(&Step::Position { node, position: POSITION_MAX });
        }
        // Fast messages favour a rival that nothing holds back.
        self.faults.message_time_max =
            MESSAGE_TIME_MAX / if self.rng.random_bool(0.5) { 10 } else { 1 };
        self.cut_both_ways(leader, rival);
        let asks_after = times_max(&self.world)[1].mul_f64(1.5 * (1.0 + self.rho()));
        self.run_until(self.world.now().plus(asks_after))?;

        let others_restart = self.rng.random_bool(0.5);
        for other in others.iter().copied().filter(|other| *other != rival) {
            if !others_restart {
                self.cut_both_ways(leader, other);
            } else if self.world.condition(other) == Condition::Waiting {
                self.apply(&Step::Crash { node: other, remains: Remains::Old });
                self.apply(&Step::Restart(other));
                self.plan(other);
            }
        }
        self.run_until(self.world.now().plus(times_max(&self.world)[1]))?;
        // N4: a voter that has restarted counts from the second heartbeat on that it answers, and
        // all others restart at once. The usual times have room for two heartbeats and an answer,
        // unless T_min is the shortest and the answer as late as can be, which no seed has shown.
        let has_room = self.has_usual_times() || self.leader_has(2);
        let must_stay = others_restart && self.all_extended() && has_room;
        if must_stay && self.leader_now() != Some((leader, term)) {
            let what =
                format!("{leader}, which led in term {term}, lost it to a node that was cut off");
            return Err(Violation { rule: "A2", what });
        }
        self.faults.message_time_max = MESSAGE_TIME_MAX;
        self.apply(&Step::Heal);
        self.until_all_follow(self.world.now())
    }

    /// As far as rho allows, the leader's clock is slow and all others are fast.
    fn set_clocks_apart(&mut self, leader: NodeIndex) {
        if self.faults.kind == Kind::WildClocks {
            return;
        }
        for node in self.world.nodes() {
            let max = self.drift_max();
            let millionths = if node == leader { -max } else { max };
            self.apply(&Step::Drift { node, millionths });
            if self.world.condition(node) == Condition::Waiting {
                self.plan(node);
            }
        }
    }

    pub(super) fn cut_both_ways(&mut self, one: NodeIndex, other: NodeIndex) {
        self.apply(&Step::Cut { from: one, to: other });
        self.apply(&Step::Cut { from: other, to: one });
    }
}
