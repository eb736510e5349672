//! Trouble that a calm cluster in Extended mode must stand.

use graft_election_core::{Handover, Message, Mode};
use rand::RngExt;

use super::Simulation;
use super::calm::{recovery_max, times_max};
use crate::{Condition, Moment, NodeIndex, Step, Violation};

impl Simulation {
    /// A node that is cut off comes back; then all links are cut but those of one node.
    pub(super) fn drill(&mut self) -> Result<(), Violation> {
        // A new id counts only from a leader's next campaign on (rules V6, V9).
        let runs = |node| {
            self.world.condition(node) != Condition::Down
                && self.world.identity(node).incarnation == 1
        };
        let is_whole = self.world.nodes().all(runs)
            && self.world.node_count() == self.setup.size
            && self.setup.nodes.iter().all(|node| node.mode == Mode::Extended);
        // Otherwise the leader may change without any trouble (rule H4).
        let first = self.setup.nodes[0].priority;
        let is_even = self.setup.nodes.iter().all(|node| node.priority == first);
        if !is_whole || !is_even || self.setup.size < 3 {
            return Ok(());
        }
        let raises_term = self.rng.random_bool(0.5);
        self.cut_off_and_return(raises_term)?;
        self.leave_one_center()
    }

    /// A2: a leader isn't deposed by a node that comes back; once, if that has raised its term (T2).
    fn cut_off_and_return(&mut self, raises_term: bool) -> Result<(), Violation> {
        let Some((leader, term)) = self.leader() else { return Ok(()) };
        let others: Vec<_> = self.world.nodes().filter(|node| *node != leader).collect();
        let away = others[self.rng.random_range(0..others.len())];
        for other in self.world.nodes().filter(|node| *node != away) {
            self.apply(&Step::Cut { from: away, to: other });
            self.apply(&Step::Cut { from: other, to: away });
        }
        if raises_term && self.world.condition(away) == Condition::Waiting {
            let (leader, target) =
                (self.world.identity(leader).id(), self.world.identity(away).id());
            let handover = Handover { term, leader, target: Some(target) };
            let message = Box::new(Message::Handover(handover));
            self.apply(&Step::Forge { message, to: away });
            self.plan(away);
        }
        let rest = times_max(&self.world)[1] * 4;
        self.run_until(self.world.now().plus(rest))?;
        let elections = self.figures.elections;
        self.apply(&Step::Heal);
        if raises_term {
            self.run_until(self.world.now().plus(rest))?;
            if self.figures.elections > elections + DEPOSED_MAX {
                let elections = self.figures.elections - elections;
                let what =
                    format!("a node that came back with a higher term made {elections} leaders");
                return Err(Violation { rule: "A2", what });
            }
            self.until_all_follow(self.world.now())?;
        }
        if !raises_term && self.leader_now() != Some((leader, term)) {
            let what =
                format!("{leader}, which led in term {term}, lost it to one who was cut off");
            return Err(Violation { rule: "A2", what });
        }
        self.until_all_follow(self.world.now())?;
        self.stay()
    }

    /// A4: one node reaches all others both ways, and they reach nobody else.
    fn leave_one_center(&mut self) -> Result<(), Violation> {
        let center = NodeIndex::new(self.rng.random_range(0..self.setup.size));
        let is_witness = self.setup.nodes[center.get()].priority == 0;
        if is_witness {
            return Ok(());
        }
        self.apply(&Step::Position { node: center, position: u16::from(u8::MAX) });
        for from in self.world.nodes().filter(|node| *node != center) {
            for to in self.world.nodes().filter(|node| *node != from && *node != center) {
                self.apply(&Step::Cut { from, to });
            }
        }
        let cut_at = self.world.now();
        // What was on its way arrives, and a leader that is cut off finds out.
        let rest = times_max(&self.world)[1];
        self.run_until(cut_at.plus(rest))?;
        let limit: Moment = cut_at.plus(rest + recovery_max(&self.world));
        while self.leader_now().is_none() {
            if self.world.now() > limit {
                let what = format!("{center} reaches all others, and nobody leads");
                return Err(Violation { rule: "A4", what });
            }
            self.go_on();
            self.result()?;
        }
        Ok(())
    }
}

/// How many elections a node may cause that comes back with a higher term: one, and one more if the
/// votes are split.
const DEPOSED_MAX: u64 = 2;
