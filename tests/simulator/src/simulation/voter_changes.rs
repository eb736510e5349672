//! Operators who change the voters while the cluster runs, as often as they can and at any moment,
//! and what must come of it in the end (rules R1 to R12, A8).

use graft_election_core::{ControlOutcome, Mode, State};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Simulation;
use super::bounds::{POSITION_MAX, times_max};
use crate::faults::{Kind, Odds};
use crate::judgement::Violation;
use crate::{Condition, Identity, NodeIndex, Step};

/// What sets the random numbers of a world's changes apart from those of its faults.
const SALT: u64 = 0x766f_7465_7273_2e2e;

/// For how many T_max a change may take, once there are no faults any more (rule A8).
const PATIENCE_TIMEOUTS: u32 = 12;

/// Who wants which voters.
pub(super) struct VoterChanges {
    rng: SmallRng,
    odds: Odds,
    /// The change that somebody wants at present.
    wanted: Option<Wish>,
}

/// A node that is to be a voter, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    adds: bool,
    voter: NodeIndex,
}

impl VoterChanges {
    /// Those of the world of a seed.
    pub(super) fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ SALT);
        let odds = match kind {
            Kind::Changes => Odds::new(rng.random_range(0.02..0.3)),
            _ => Odds::NEVER,
        };
        Self { rng, odds, wanted: None }
    }
}

impl Simulation {
    /// Lets somebody ask for other voters now and then: whoever believes that it leads is asked.
    pub(super) fn change_voters(&mut self) {
        if !self.voter_changes.odds.happens(&mut self.voter_changes.rng) {
            return;
        }
        let nodes = self.world.node_count();
        let VoterChanges { rng, wanted, .. } = &mut self.voter_changes;
        if wanted.is_none() || rng.random_bool(0.1) {
            let voter = NodeIndex::new(rng.random_range(0..nodes));
            *wanted = Some(Wish { adds: rng.random_bool(0.5), voter });
        }
        let (Some(Wish { adds, voter }), choice) = (*wanted, rng.random_range(0..nodes)) else {
            return;
        };
        let leaders: Vec<_> = self.world.nodes().filter(|node| self.may_be_asked(*node)).collect();
        if let Some(node) = leaders.get(choice % leaders.len().max(1)).copied() {
            self.apply(&Step::ChangeVoters { node, adds, voter });
            self.plan(node);
        }
    }

    fn may_be_asked(&self, node: NodeIndex) -> bool {
        let leads = self.world.view(node).is_some_and(|(state, ..)| state == State::Leader);
        leads && self.world.condition(node) == Condition::Waiting
    }

    /// Without faults those on the list of a leader follow it, it goes on, and changes of the
    /// voters are made (A8).
    pub(super) fn changes_settle(&mut self) -> Result<(), Violation> {
        if !self.can_settle() {
            return Ok(());
        }
        self.end_faults();
        self.await_go();
        self.let_all_lead()?;
        self.resume_all()?;
        self.correct_all_answers();
        for node in self.world.nodes() {
            self.apply(&Step::Position { node, position: POSITION_MAX });
        }
        let patience = self.recovery_max() * 2;
        for _ in 0..3 {
            let limit = self.world.now().plus(patience);
            let what = "not all voters follow one leader";
            self.until(|this| this.leads_its_list().is_some(), limit, "A1", what)?;
            // Everyone may have to learn its list, and a candidate of a moment ago to give up.
            self.run_until(self.world.now().plus(times_max(&self.world)[1] * 4))?;
            self.until(|this| this.leads_its_list().is_some(), limit, "A1", what)?;
            self.change_at_rest()?;
        }
        Ok(())
    }

    /// A leader that is asked for other voters goes on, and by and by they are so.
    fn change_at_rest(&mut self) -> Result<(), Violation> {
        let Some((leader, term)) = self.leads_its_list() else { return Ok(()) };
        if self.world.settings(leader).mode == Mode::Graft {
            return Ok(());
        }
        let nodes: Vec<_> = self.world.nodes().filter(|node| *node != leader).collect();
        let rng = &mut self.voter_changes.rng;
        if nodes.is_empty() {
            return Ok(());
        }
        let voter = nodes[rng.random_range(0..nodes.len())];
        let adds = !self.is_on_list_of(leader, voter);
        // R11: who was removed, and isn't told to join, doesn't answer.
        if adds && !self.world.settings(voter).joins {
            return Ok(());
        }
        let [_, t_max, heartbeat] = times_max(&self.world);
        let limit = self.world.now().plus(t_max * PATIENCE_TIMEOUTS + self.recovery_max());
        let is_behind = self.world.view(voter).is_some_and(|(_, its_term, _)| its_term > term);
        while self.world.now() < limit {
            let is_its = |view: Option<(State, u64, _)>| {
                view.is_some_and(|(state, its, _)| state == State::Leader && its == term)
            };
            if !is_its(self.world.view(leader)) && is_behind {
                // R10: the leader adopts the term of one that it is asked to add.
                return Ok(());
            }
            if !is_its(self.world.view(leader)) {
                let what = format!("{leader} no longer leads in term {term} after a change");
                return Err(Violation { rule: "A8", what });
            }
            if self.world.condition(leader) == Condition::Waiting {
                self.apply(&Step::ChangeVoters { node: leader, adds, voter });
                self.plan(leader);
                if self.world.outcome(leader) == Some(ControlOutcome::Done) {
                    return Ok(());
                }
            }
            self.run_until(self.world.now().plus(heartbeat / 2))?;
        }
        let outcome = self.world.outcome(leader);
        let what = format!("{leader} doesn't change {voter} (add: {adds}): {outcome:?}");
        Err(Violation { rule: "A8", what })
    }

    fn is_on_list_of(&self, leader: NodeIndex, node: NodeIndex) -> bool {
        let id = self.world.named(node).id();
        let list = self.world.running_record(leader).and_then(|it| it.voter_list());
        list.is_some_and(|list| list.voters().contains(&id))
    }

    /// The leader whom all follow that are on its list, and its term.
    fn leads_its_list(&self) -> Option<(NodeIndex, u64)> {
        let (leader, term) = self.leader_now()?;
        let id: Option<Identity> = Some(self.world.named(leader));
        let follows = |node: &NodeIndex| {
            let view = self.world.view(*node);
            view.is_some_and(|(_, its_term, its_leader)| its_term == term && its_leader == id)
        };
        let mut voters = self.world.nodes().filter(|node| self.is_on_list_of(leader, *node));
        voters.all(|node| follows(&node)).then_some((leader, term))
    }
}
