//! How far apart clocks may be, and how long a healthy cluster may take.

use std::time::Duration;

use crate::World;
use crate::faults::{MESSAGE_TIME_MAX, SAVE_TIME_MAX};

/// How far two clocks' rates differ, at most.
pub(super) const RHO: f64 = 0.1;

/// The greatest position of an application.
pub(super) const POSITION_MAX: u16 = 8;

/// How likely it may be that a simulation takes longer than it is allowed by bad luck alone.
const BAD_LUCK: f64 = 1e-12;

/// How soon after the last fault all nodes must follow one leader (A1).
///
/// A node that has just restarted waits for T_min (rule V3), and one whose last save failed waits
/// for up to T_max before it tries again (rule C4). From then on the most up-to-date node campaigns
/// at least once every T_max, since only a vote or a leader restarts its timer (rule V8). It wins
/// unless another node campaigns while its request is under way, which takes as long as a save and
/// a message, before and after. From how likely that is follows the number of rounds after which it
/// has almost certainly won. Clocks may be slow by rho.
pub(super) fn recovery_max(world: &World) -> Duration {
    let [_, t_max, _] = times_max(world);
    let spans = world.all_times().map(|[t_min, t_max, _]| t_max - t_min);
    let span = spans.min().unwrap_or(t_max);
    let window = (MESSAGE_TIME_MAX + SAVE_TIME_MAX) * 2;
    let alone = 1.0 - window.as_secs_f64() / span.as_secs_f64();
    let others = i32::try_from(world.node_count() - 1).unwrap_or(i32::MAX);
    let split = 1.0 - alone.powi(others);
    let rounds = if others == 0 { 1.0 } else { (BAD_LUCK.ln() / split.ln()).ceil() };
    t_max.mul_f64((1.0 + rounds) * (1.0 + RHO))
}

/// The greatest T_min, T_max and H that any node ever had.
pub(super) fn times_max(world: &World) -> [Duration; 3] {
    let max = |index: usize| world.all_times().map(|times| times[index]).max();
    [0, 1, 2].map(|index| max(index).unwrap_or_default())
}
