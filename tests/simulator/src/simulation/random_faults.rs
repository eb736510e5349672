//! The faults that happen to nodes and links, drawn step by step.

use std::time::Duration;

use graft_election_core::{Handover, Message, Round, State};
use rand::{Rng, RngExt};

use super::{Action, Simulation};
use crate::faults::{Kind, draw_drift, draw_span};
use crate::forgery::{Hearer, draw_forgery, draw_garbage};
use crate::{Condition, NodeIndex, Remains, Step};

/// How far a clock leaps, at most.
const LEAP_MAX: Duration = Duration::from_secs(5);

impl Simulation {
    /// Lets a fault happen now and then, to `node` or to any other.
    pub(super) fn inject_fault(&mut self, node: NodeIndex) {
        let victim = if self.rng.random_bool(0.5) { node } else { self.any_node() };
        let condition = self.world.condition(victim);
        if self.faults.crash.happens(&mut self.rng) && condition != Condition::Down {
            let remains = self.draw_remains(victim);
            self.apply(&Step::Crash { node: victim, remains });
            self.plan(victim);
            return;
        }
        let can_pause = matches!(condition, Condition::Waiting | Condition::Saving);
        if self.faults.pause.happens(&mut self.rng) && can_pause {
            self.apply(&Step::Pause(victim));
            self.plan(victim);
            return;
        }
        if self.faults.leap.happens(&mut self.rng) {
            let by = draw_span(&mut self.rng, LEAP_MAX);
            self.apply(&Step::Leap { node: victim, by });
            if condition == Condition::Waiting {
                self.plan(victim);
            }
        }
        if self.faults.drift.happens(&mut self.rng) {
            let max = self.drift_max();
            let millionths = draw_drift(&mut self.rng, max);
            self.apply(&Step::Drift { node: victim, millionths });
            if condition == Condition::Waiting {
                self.plan(victim);
            }
        }
        if self.faults.times.happens(&mut self.rng) {
            let times = self.faults.shape.draw_times(&mut self.rng);
            self.apply(&Step::Times { node: victim, times });
        }
        if self.faults.progress.happens(&mut self.rng) {
            let position = self.rng.random_range(0..8);
            self.apply(&Step::Position { node: victim, position });
        }
        if self.faults.cut.happens(&mut self.rng) {
            self.change_links();
        }
        if self.faults.list.happens(&mut self.rng) {
            self.change_list();
            return;
        }
        if condition == Condition::Waiting && !self.world.is_go(victim) {
            self.inject_input(victim);
        }
    }

    /// Gives a waiting node an input now and then that doesn't come from the network.
    fn inject_input(&mut self, node: NodeIndex) {
        if self.faults.close.happens(&mut self.rng) {
            self.apply(&Step::Close(node));
        } else if self.faults.hand_over.happens(&mut self.rng) {
            let to = self.rng.random_bool(0.7).then(|| self.any_node());
            self.apply(&Step::HandOver { node, to });
        } else if self.faults.forgery.happens(&mut self.rng) {
            if self.faults.kind == Kind::Handovers {
                return self.spread_handover();
            }
            let hearer = Hearer {
                identity: self.world.identity(node),
                term: self.world.view(node).map_or(0, |(_, term, _)| term),
                now: self.world.local(node).as_micros(),
                round: self.rounds[node.get()],
                acknowledgement: self.acknowledgements[node.get()].clone(),
            };
            let message = if self.faults.kind == Kind::Hostile {
                draw_forgery(&mut self.rng, self.world.node_count(), hearer)
            } else {
                draw_garbage(&mut self.rng, hearer)
            };
            self.apply(&Step::Forge { message: Box::new(message), round_of: None, to: node });
        } else {
            return;
        }
        self.plan(node);
    }

    /// All nodes hear a handover that comes late, or that its leader never said. The leader may be
    /// deaf, so that its lease rests on what its followers promised before.
    fn spread_handover(&mut self) {
        let leads = |node: &NodeIndex| {
            self.world.view(*node).is_some_and(|(state, ..)| state == State::Leader)
        };
        let Some(leader) = self.world.nodes().find(leads) else { return };
        if self.rng.random_bool(0.7) {
            for other in self.world.nodes().filter(|other| *other != leader) {
                self.apply(&Step::Cut { from: other, to: leader });
            }
        }
        let message = Box::new(Message::Handover(self.draw_handover(leader)));
        for to in self.world.nodes() {
            if self.world.condition(to) == Condition::Waiting {
                self.apply(&Step::Forge { message: message.clone(), round_of: None, to });
                self.plan(to);
            }
        }
    }

    /// An old handover, or one in the leader's term that isn't the leader's: of another node, or of
    /// another round.
    fn draw_handover(&mut self, leader: NodeIndex) -> Handover {
        if !self.handovers.is_empty() && self.rng.random_bool(0.3) {
            return self.handovers[self.rng.random_range(0..self.handovers.len())].clone();
        }
        let (name, target) = (self.any_node(), self.any_node());
        let term = self.world.view(leader).map_or(0, |(_, term, _)| term);
        let ahead = if self.rng.random_bool(0.8) { 0 } else { self.rng.random_range(1..3) };
        // Anyone has heard the leader's round, and a forger may use it in another name.
        let is_known = name != leader && self.rng.random_bool(0.5);
        let round = if is_known {
            self.world.round(leader)
        } else if self.rng.random_bool(0.5) {
            Round::new(self.rng.next_u32())
        } else {
            None
        };
        Handover {
            term: term + ahead,
            leader: self.world.identity(name).id(),
            target: self.rng.random_bool(0.7).then(|| self.world.identity(target).id()),
            round,
        }
    }

    pub(super) fn draw_end_of_save(&mut self, node: NodeIndex) -> Action {
        if self.faults.save_failure.happens(&mut self.rng) {
            Action::FailSave { written: self.rng.random_bool(0.3) }
        } else if self.faults.save_crash.happens(&mut self.rng) {
            Action::Crash(self.draw_remains(node))
        } else {
            Action::Save
        }
    }

    fn draw_remains(&mut self, node: NodeIndex) -> Remains {
        match self.rng.random_range(0..4) {
            0 if self.faults.tears && self.can_spare(node) => Remains::Torn,
            0 | 1 => Remains::New,
            _ => Remains::Old,
        }
    }

    /// Whether a quorum of the cluster's first nodes is left without this one.
    pub(super) fn can_spare(&self, node: NodeIndex) -> bool {
        let is_lost = |other: NodeIndex| {
            other == node
                || !self.world.has_record(other)
                || self.world.identity(other).generation > 1
        };
        let cluster = self.world.cluster(node);
        let of_cluster = self.world.nodes().filter(|other| self.world.cluster(*other) == cluster);
        let voters = of_cluster.take(self.setup.size);
        voters.filter(|other| !is_lost(*other)).count() > self.setup.size / 2
    }

    pub(super) fn restart(&mut self, node: NodeIndex) {
        let loses_disk = (!self.setup.declared || self.can_spare(node))
            && self.world.identity(node).generation < u8::MAX
            && self.faults.lost_disk.happens(&mut self.rng);
        if self.faults.kind == Kind::Lists {
            self.edit_list(node);
        }
        self.move_over(node);
        if self.faults.change.happens(&mut self.rng) {
            let change = self.faults.draw_change(&mut self.rng);
            self.apply(&Step::Change { node, change });
        }
        if loses_disk {
            self.apply(&Step::Replace(node));
        } else {
            self.apply(&Step::Restart(node));
        }
        self.dispel_doubt(node);
    }

    /// Some media tell a node that starts whether another process has its id (rule N5).
    pub(super) fn dispel_doubt(&mut self, node: NodeIndex) {
        let is_fit =
            self.world.condition(node) == Condition::Waiting && !self.world.settings(node).is_go;
        if is_fit && self.faults.no_double.happens(&mut self.rng) {
            self.apply(&Step::NoDouble(node));
        }
    }

    fn change_links(&mut self) {
        match self.rng.random_range(0..7) {
            0 | 1 => self.apply(&Step::Heal),
            2 => {
                let mut groups = vec![Vec::new(), Vec::new()];
                for node in self.world.nodes() {
                    groups[usize::from(self.rng.random_bool(0.5))].push(node);
                }
                groups.retain(|group| !group.is_empty());
                self.apply(&Step::Partition(groups));
            }
            3 | 4 => self.cut_off_leader(),
            5 => {
                let (from, to) = (self.any_node(), self.any_node());
                self.apply(&Step::Cut { from, to });
            }
            _ => {
                for from in self.world.nodes() {
                    for to in self.world.nodes().filter(|to| *to != from) {
                        if self.rng.random_bool(0.3) {
                            self.apply(&Step::Cut { from, to });
                        }
                    }
                }
            }
        }
    }

    /// The leader is cut off from all others or from one, in one direction or both. Another may
    /// then be elected while the leader still has its lease.
    fn cut_off_leader(&mut self) {
        let leads = |node: &NodeIndex| {
            self.world.view(*node).is_some_and(|(state, ..)| state == State::Leader)
        };
        let Some(leader) = self.world.nodes().find(leads) else { return };
        let (is_mute, is_deaf) = (self.rng.random_bool(0.7), self.rng.random_bool(0.7));
        let one = self.rng.random_bool(0.5).then(|| self.any_node());
        let is_meant = |other: &NodeIndex| one.is_none_or(|one| one == *other);
        for other in self.world.nodes().filter(|other| *other != leader).filter(is_meant) {
            if is_mute {
                self.apply(&Step::Cut { from: leader, to: other });
            }
            if is_deaf {
                self.apply(&Step::Cut { from: other, to: leader });
            }
        }
    }

    pub(super) fn any_node(&mut self) -> NodeIndex {
        NodeIndex::new(self.rng.random_range(0..self.world.node_count()))
    }
}
