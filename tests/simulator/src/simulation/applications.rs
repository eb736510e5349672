//! Applications that say where they were, or refuse everyone, for a while or for good (rules V4,
//! A5), and that keep their own node from leading (rule O3).

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Simulation;
use crate::faults::{Faults, Kind, Odds};
use crate::judgement::Violation;
use crate::{Answers, Condition, NodeIndex, Step};

/// What sets the random numbers of a world's applications apart from those of its faults.
const SALT: u64 = 0x616e_7377_6572_7321;

/// What decides how applications answer.
pub(super) struct Applications {
    /// Their own, so that a world whose applications answer as they should is the same as if there
    /// were no others.
    rng: SmallRng,
}

impl Applications {
    /// Those of the world of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed ^ SALT) }
    }

    /// How often one of them begins to answer in another way.
    pub(super) fn draw_odds(&mut self) -> Odds {
        Faults::draw_answers(&mut self.rng)
    }
}

impl Simulation {
    /// Lets an application answer in another way now and then.
    pub(super) fn change_answers(&mut self) {
        if !self.faults.answers.happens(&mut self.applications.rng) {
            return;
        }
        let rng = &mut self.applications.rng;
        let node = NodeIndex::new(rng.random_range(0..self.world.node_count()));
        if self.faults.kind != Kind::Doubles && rng.random_bool(0.4) {
            let is_held_back = rng.random_bool(0.7);
            return self.hold_back(node, is_held_back);
        }
        let answers = match rng.random_range(0..10) {
            0..=3 => Answers::Current,
            4..=6 => Answers::Outdated,
            _ => Answers::RefusesAll,
        };
        self.apply(&Step::Answers { node, answers });
    }

    fn hold_back(&mut self, node: NodeIndex, is_held_back: bool) {
        if self.world.condition(node) == Condition::Waiting && !self.world.is_go(node) {
            self.apply(&Step::HoldBack { node, is_held_back });
            self.plan(node);
        }
    }

    /// No application keeps its node from leading any more (rule O3).
    pub(super) fn let_all_lead(&mut self) -> Result<(), Violation> {
        for node in self.world.nodes() {
            if self.world.is_held_back(node) {
                self.until_waiting(node)?;
                self.hold_back(node, false);
            }
        }
        Ok(())
    }

    /// After the faults, applications say where they are, and accept whoever is as far. Some that
    /// refuse everyone go on, in each cluster so few that the others are a quorum (A5).
    pub(super) fn correct_most_answers(&mut self) {
        let is_tolerant = !matches!(self.faults.kind, Kind::Doubles | Kind::GoVoters | Kind::Lists);
        for cluster in 0..self.setup.clusters {
            let is_meant = |node: &NodeIndex| self.world.cluster(*node) == cluster;
            let nodes: Vec<_> = self.world.nodes().filter(is_meant).collect();
            let votes = |node: &&NodeIndex| self.world.has_record(**node) && self.runs(**node);
            let voters: Vec<_> = nodes.iter().filter(votes).copied().collect();
            let mut accept = voters.len();
            for node in nodes {
                let goes_on = self.world.answers(node) == Answers::RefusesAll
                    && is_tolerant
                    && voters.contains(&node)
                    && accept * 2 > self.setup.size + 2
                    && self.applications.rng.random_bool(0.7);
                if goes_on {
                    accept -= 1;
                } else {
                    self.correct_answers(node);
                }
            }
        }
    }

    /// All applications answer as they should.
    pub(super) fn correct_all_answers(&mut self) {
        for node in self.world.nodes() {
            self.correct_answers(node);
        }
    }

    fn correct_answers(&mut self, node: NodeIndex) {
        if self.world.answers(node) != Answers::Current {
            self.apply(&Step::Answers { node, answers: Answers::Current });
        }
    }

    /// Whether an application refuses everyone.
    pub(super) fn has_refusers(&self) -> bool {
        self.world.nodes().any(|node| self.world.answers(node) == Answers::RefusesAll)
    }
}
