//! A leader that nothing hits stays, however long, while its followers fail one by one (A2).

use std::time::Duration;

use graft_election_core::State;
use rand::RngExt;

use super::Simulation;
use super::bounds::times_max;
use crate::faults::draw_span;
use crate::judgement::Violation;
use crate::{Condition, Moment, NodeIndex, Remains, Step};

/// For how long a leader must stay.
const STEADY_TIME: Duration = Duration::from_secs(20);

/// The longest time between two faults, and for which a follower is away.
const REST_MAX: Duration = Duration::from_secs(3);

impl Simulation {
    /// Now and then a follower crashes, is paused, or is cut off. The leader keeps its lease all
    /// the time.
    pub(super) fn lead_steadily(&mut self) -> Result<(), Violation> {
        let Some((leader, term)) = self.leader() else { return Ok(()) };
        let others: Vec<_> = self.world.nodes().filter(|node| *node != leader).collect();
        let end = self.world.now().plus(STEADY_TIME);
        self.faults.absence_max = REST_MAX;
        // The one that was away last may not count yet: it stands aside for a while (N3), and its
        // new life is only learnt (N4).
        let rest = times_max(&self.world)[1] * 2;
        while self.world.now() < end {
            let pause = rest + draw_span(&mut self.rng, REST_MAX);
            self.run_led(self.world.now().plus(pause), leader, term)?;
            let victim = others[self.rng.random_range(0..others.len())];
            self.disturb(victim);
            self.run_led(self.world.now().plus(REST_MAX), leader, term)?;
            self.apply(&Step::Heal);
        }
        self.faults.absence_max = Duration::ZERO;
        self.until_all_follow(self.world.now())?;
        self.keeps_leader()
    }

    fn disturb(&mut self, victim: NodeIndex) {
        match self.rng.random_range(0..3) {
            0 if self.world.condition(victim) != Condition::Down => {
                self.apply(&Step::Crash { node: victim, remains: Remains::Old });
            }
            1 if self.world.condition(victim) == Condition::Waiting => {
                self.apply(&Step::Pause(victim));
            }
            _ => {
                for other in self.world.nodes().filter(|other| *other != victim) {
                    self.cut_both_ways(victim, other);
                }
                return;
            }
        }
        self.plan(victim);
    }

    /// Goes on until `end`, while this node leads and has a lease.
    fn run_led(&mut self, end: Moment, leader: NodeIndex, term: u64) -> Result<(), Violation> {
        while self.world.now() < end {
            self.run_next();
            self.result()?;
            let view = self.world.view(leader);
            let leads = matches!(view, Some((State::Leader, its, _)) if its == term);
            if !leads || self.world.leadership(leader).is_none() {
                let what =
                    format!("{leader} led in term {term}, and lost it to a follower's fault");
                return Err(Violation { rule: "A2", what });
            }
        }
        Ok(())
    }
}
