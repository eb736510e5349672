//! A cluster that is moved from one mode to the other and back, node by node, as
//! `docs/migrating.md` tells operators to.

use graft_election_core::Mode;

use super::Simulation;
use super::bounds::times_max;
use crate::judgement::Violation;
use crate::{Change, NodeIndex, Step};

impl Simulation {
    /// All nodes come to Extended mode, and then to Graft mode. Whenever one of them has been
    /// restarted, all must soon follow one leader (A1).
    pub(super) fn migrate(&mut self) -> Result<(), Violation> {
        for mode in [Mode::Extended, Mode::Graft] {
            for node in self.world.nodes() {
                if self.world.settings(node).mode != mode {
                    self.restart_in(node, mode)?;
                }
            }
            self.keeps_leader()?;
        }
        Ok(())
    }

    /// The node is closed, and started in another mode. The next one follows when a leader has
    /// counted this one for a while (N4).
    fn restart_in(&mut self, node: NodeIndex, mode: Mode) -> Result<(), Violation> {
        let [_, t_max, heartbeat] = times_max(&self.world);
        self.until_waiting(node)?;
        self.apply(&Step::Change { node, change: Change::Mode(mode) });
        self.apply(&Step::Close(node));
        self.plan(node);
        // H3: it goes on answering for a while if it led.
        let closed_at = self.world.now().plus((heartbeat * 2).mul_f64(1.0 + self.rho()));
        self.until_all_follow(closed_at)?;
        self.run_until(self.world.now().plus(t_max * 2))?;
        self.until_all_follow(self.world.now())
    }
}
