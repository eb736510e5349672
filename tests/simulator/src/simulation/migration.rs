//! A cluster that is moved from Go's program to this one, from one mode to the other, and back,
//! node by node, as `docs/migrating.md` tells operators to.

use std::time::Duration;

use graft_election_core::Mode;

use super::bounds::{POSITION_MAX, times_max};
use super::{Action, Plan, Simulation};
use crate::judgement::Violation;
use crate::{Change, Condition, NodeIndex, Remains, Step};

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

    /// A node that is about to restart, among Go's, may do so as another program, or in another
    /// mode. It takes over the record that is there.
    pub(super) fn move_over(&mut self, node: NodeIndex) {
        if !self.faults.migration.happens(&mut self.rng) {
            return;
        }
        let change = match self.world.settings(node).mode {
            Mode::Graft if self.world.is_go(node) => Change::Program { is_go: false },
            Mode::Graft => Change::Mode(Mode::Extended),
            Mode::Extended => Change::Mode(Mode::Graft),
        };
        self.apply(&Step::Change { node, change });
    }

    /// A node that is about to restart in Graft mode, among Go's, may return to Go's program: then
    /// it stays down until no promise of its own holds any more, since Go keeps none (section 2 of
    /// the protocol).
    pub(super) fn returns_to_go(&mut self, node: NodeIndex) -> bool {
        let settings = self.world.settings(node);
        let is_meant = settings.mode == Mode::Graft && !settings.is_go;
        if !is_meant || !self.faults.migration.happens(&mut self.rng) {
            return false;
        }
        self.send_back_to_go(node);
        true
    }

    /// A node that is down starts as Go's, once it has been down for as long as it may have
    /// promised not to vote.
    fn send_back_to_go(&mut self, node: NodeIndex) {
        let [t_min, ..] = self.world.settings(node).times;
        let promised = self.world.record(node).map_or(0, |record| record.bound_for);
        let wait = t_min.max(Duration::from_micros(promised.into()));
        self.apply(&Step::Change { node, change: Change::Program { is_go: true } });
        let at = self.world.now().plus(wait);
        self.plans[node.get()] = Plan { at, action: Action::Start };
    }

    /// All nodes come to Extended mode. Then all except the leader go back to Go's program, those
    /// first that the leader can spare. They don't hear the leader and run against it, and nobody
    /// may vote for them while the lease lasts (I4).
    pub(super) fn return_beside_a_lease(&mut self) -> Result<(), Violation> {
        for node in self.world.nodes() {
            self.apply(&Step::Position { node, position: POSITION_MAX });
            self.stop(node);
            for change in [Change::Program { is_go: false }, Change::Mode(Mode::Extended)] {
                self.apply(&Step::Change { node, change });
            }
            self.plan(node);
        }
        self.run_until(self.world.now().plus(times_max(&self.world)[0]))?;
        self.until_all_follow(self.world.now())?;
        let Some((leader, _)) = self.leader() else { return Ok(()) };
        let others: Vec<_> = self.world.nodes().filter(|node| *node != leader).collect();
        let (spared, needed) = others.split_at((self.setup.size - 1) / 2);
        for nodes in [spared, needed] {
            for node in nodes.iter().copied() {
                self.stop(node);
                self.apply(&Step::Change { node, change: Change::Mode(Mode::Graft) });
                self.send_back_to_go(node);
            }
            self.run_until(self.world.now().plus(times_max(&self.world)[1] * 2))?;
        }
        Ok(())
    }

    fn stop(&mut self, node: NodeIndex) {
        if self.world.condition(node) != Condition::Down {
            self.apply(&Step::Crash { node, remains: Remains::Old });
        }
    }

    /// Whether a node that is down must stay so for a while.
    pub(super) fn waits_to_start(&self, node: NodeIndex) -> bool {
        matches!(self.plans[node.get()].action, Action::Start)
    }

    /// While there are Go nodes, all others must be in Graft mode: an Extended node counts no votes
    /// of Go's, and Go doesn't hear it.
    pub(super) fn await_go(&mut self) {
        if !self.settings().any(|settings| settings.is_go) {
            return;
        }
        for node in self.world.nodes() {
            if self.world.settings(node).mode == Mode::Graft {
                continue;
            }
            self.stop(node);
            self.apply(&Step::Change { node, change: Change::Mode(Mode::Graft) });
            self.plan(node);
        }
    }
}
