//! How far apart clocks may be, and how long a healthy cluster may take.

use std::time::Duration;

use graft_election_core::Mode;

use super::Simulation;
use crate::faults::{Kind, MESSAGE_TIME_MAX, SAVE_TIME_MAX, WILD_DRIFT_MAX};
use crate::time_shape::{TimeShape, drift_max};
use crate::{NodeSetup, World};

/// The greatest position of an application.
pub(super) const POSITION_MAX: u16 = 8;

/// How likely it may be that a simulation takes longer than it is allowed by bad luck alone.
const BAD_LUCK: f64 = 1e-12;

/// How long a request and its answer take, at most: who saves hears what arrives afterwards.
pub(super) const ROUND_TRIP_MAX: Duration =
    Duration::from_micros(2 * (MESSAGE_TIME_MAX.as_micros() + SAVE_TIME_MAX.as_micros()) as u64);

impl Simulation {
    /// How far two clocks' rates differ, at most. No node believes in less.
    pub(super) fn rho(&self) -> f64 {
        f64::from(self.least_rho()) / 100.0
    }

    /// How far off a clock's rate may be, in millionths.
    pub(super) fn drift_max(&self) -> i32 {
        match self.faults.kind {
            Kind::WildClocks => WILD_DRIFT_MAX,
            _ => drift_max(self.least_rho()),
        }
    }

    fn least_rho(&self) -> u8 {
        self.setup.nodes.iter().map(|node| node.rho).min().unwrap_or_default()
    }

    /// What each node is started with.
    pub(super) fn settings(&self) -> impl Iterator<Item = &NodeSetup> {
        self.world.nodes().map(|node| self.world.settings(node))
    }

    pub(super) fn all_extended(&self) -> bool {
        self.settings().all(|settings| settings.mode == Mode::Extended)
    }

    /// The longest time between two heartbeats.
    pub(super) fn interval_max(&self) -> Duration {
        (times_max(&self.world)[2] + self.tick_max()).mul_f64(1.0 + self.rho())
    }

    fn tick_max(&self) -> Duration {
        self.settings().map(|settings| settings.tick).max().unwrap_or_default()
    }

    /// Whether a leader always has so many heartbeat intervals, and time for the answer to the last
    /// one, until its lease ends (rules L3, L4), or in Graft mode until a follower campaigns (C2).
    pub(super) fn leader_has(&self, intervals: u32) -> bool {
        let t_min = self.world.all_times().map(|[t_min, ..]| t_min).min().unwrap_or_default();
        // A lease ends early by its leader's rho, and by its leader's clock. A timer ends by the
        // follower's, which may be the faster one.
        let margin = |settings: &NodeSetup| match settings.mode {
            Mode::Extended => settings.rho,
            Mode::Graft => self.least_rho(),
        };
        let rho = self.settings().map(margin).max().unwrap_or_default();
        let lasts = t_min.mul_f64(1.0 - f64::from(rho) / 100.0).saturating_sub(self.tick_max());
        let [_, _, heartbeat] = times_max(&self.world);
        let asked = (heartbeat + self.tick_max()) * intervals;
        lasts > asked + ROUND_TRIP_MAX.mul_f64(1.0 + self.rho())
    }

    /// Whether the times are of the Go original's shape, and no node believes in another rho.
    pub(super) fn has_usual_times(&self) -> bool {
        let is_usual = |settings: &NodeSetup| settings.rho == TimeShape::USUAL.rho();
        self.faults.shape.is_usual() && self.settings().all(is_usual)
    }

    /// Whether the times promise a leader that stays. Nodes start with others too, and keep I1 to
    /// I6 with them, but:
    ///
    /// * a leader stops if its lease ends before the next answer is due (L4), and elections that
    ///   nothing but the times brings about never end;
    /// * nodes whose timeouts differ by less than two round trips are likelier to spoil each
    ///   other's campaigns than not, and C3 makes no promise of how often they do.
    ///
    /// Times of the usual shape promise it always.
    pub(super) fn can_settle(&self) -> bool {
        self.leader_has(1) && self.least_span() > ROUND_TRIP_MAX * 2
    }

    /// The least difference of T_max and T_min.
    pub(super) fn least_span(&self) -> Duration {
        self.world.all_times().map(|[t_min, t_max, _]| t_max - t_min).min().unwrap_or_default()
    }

    /// How soon after the last fault all nodes must follow one leader (A1).
    ///
    /// A node that has just restarted waits for T_min (rule V3), and one whose last save failed
    /// waits for up to T_max before it tries again (rule C4). From then on the most up-to-date node
    /// campaigns at least once every T_max, since only a vote or a leader restarts its timer (rule
    /// V8). It wins unless another node campaigns while its request is under way, which takes as
    /// long as a save and a message, before and after. (Those who ask at the same time stand back
    /// for one of them, for 2H and four times at most for each, C1a. That only saves rounds, and
    /// is never as long as those that are allowed here.) From how likely that is follows the number
    /// of rounds after which it has almost certainly won. Clocks may be slow by rho.
    pub(super) fn recovery_max(&self) -> Duration {
        let [_, t_max, _] = times_max(&self.world);
        let alone = 1.0 - ROUND_TRIP_MAX.as_secs_f64() / self.least_span().as_secs_f64();
        let others = i32::try_from(self.world.node_count() - 1).unwrap_or(i32::MAX);
        let split = 1.0 - alone.powi(others);
        let rounds = if others == 0 { 1.0 } else { (BAD_LUCK.ln() / split.ln()).ceil() };
        t_max.mul_f64(1.0 + rounds).mul_f64(1.0 + self.rho())
    }
}

/// The greatest T_min, T_max and H that any node ever had.
pub(super) fn times_max(world: &World) -> [Duration; 3] {
    let max = |index: usize| world.all_times().map(|times| times[index]).max();
    [0, 1, 2].map(|index| max(index).unwrap_or_default())
}
