//! What must come of it once the faults have ended.

use std::cmp::Reverse;
use std::time::Duration;

use graft_election_core::{Mode, State};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Action, Plan, Simulation};
use crate::faults::{Faults, Kind, MESSAGE_TIME_MAX, SAVE_TIME_MAX, draw_span};
use crate::{Condition, Figures, Judged, Moment, NodeIndex, Setup, Step, Violation, World};

/// One in how many simulations may need longer than is allowed, by bad luck alone.
const BAD_LUCK: f64 = 1e-12;

/// The greatest position of an application.
pub(super) const POSITION_MAX: u16 = 8;

/// How far two clocks' rates differ, at most.
pub(super) const RHO: f64 = 0.1;

impl Simulation {
    /// A world after its faults, to see whether it comes to rest.
    pub fn after(world: World, setup: Setup, kind: Kind) -> Self {
        let rng = SmallRng::seed_from_u64(setup.seed);
        Self::with_world(world, setup, Faults::none(kind), rng)
    }

    /// Ends the faults: links are mended, and all nodes run that can. If they are a quorum, all follow
    /// one leader within a time that depends on T_max (A1, A5), and go on to follow it (A2).
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub fn recover(&mut self) -> Result<(), Violation> {
        if self.setup.judged == Judged::NodesAlone || self.is_crowded() || !self.has_quorum() {
            return Ok(());
        }
        self.end_faults();
        let healed_at = self.world.now();
        let limit = recovery_max(&self.world);
        // By then what was sent before has been heard, and so has the leader, if there is one: a
        // timer may have been about to run out.
        let [_, _, heartbeat] = times_max(&self.world);
        self.run_until(healed_at.plus(heartbeat.mul_f64(1.0 + RHO) + MESSAGE_TIME_MAX * 2))?;
        self.until_all_follow(healed_at)?;
        if self.world.has_rivals() {
            return Ok(());
        }
        self.figures.recovery = self.world.now().since(healed_at);
        self.figures.recovery_percent =
            (self.figures.recovery.as_micros() * 100 / limit.as_micros()) as u32;
        if self.has_newcomers() {
            // Their leader knew the ids that they had before, and counts no more: it may have to be
            // elected anew, once (rules V6, V9, L4).
            self.run_until(self.world.now().plus(times_max(&self.world)[1]))?;
            self.until_all_follow(self.world.now())?;
        }
        self.stay()?;
        self.drill()
    }

    /// Whether nodes came back under new ids, and no list tells who may.
    fn has_newcomers(&self) -> bool {
        let is_new = |node: NodeIndex| self.world.identity(node).incarnation > 1;
        !self.setup.declared && self.world.nodes().any(is_new)
    }

    /// Waits until all nodes follow one leader (A1), or two have led in one term: who has followed one
    /// of them never follows the other in that term (L2). Where disks get lost, and with them votes,
    /// that may happen without any further fault.
    pub(super) fn until_all_follow(&mut self, since: Moment) -> Result<(), Violation> {
        let limit = since.plus(recovery_max(&self.world));
        let is_settled = |this: &Self| this.leader().is_some() || this.world.has_rivals();
        self.until(is_settled, limit, "A1", "not all nodes have one leader")?;
        Ok(())
    }

    /// Waits until something is so. Returns how long that takes.
    ///
    /// # Errors
    ///
    /// The rule, if it isn't so by `limit`, and what is the case instead; or another rule that is
    /// broken.
    pub(super) fn until(
        &mut self,
        is_so: impl Fn(&Self) -> bool,
        limit: Moment,
        rule: &'static str,
        instead: &str,
    ) -> Result<Duration, Violation> {
        let since = self.world.now();
        while !is_so(self) {
            if self.world.now() > limit {
                let waited = limit.since(since);
                return Err(Violation { rule, what: format!("after {waited:?} {instead}") });
            }
            self.go_on();
            self.result()?;
        }
        Ok(self.world.now().since(since))
    }

    /// Without faults a leader stays for as long as a follower might wait for it.
    pub(super) fn stay(&mut self) -> Result<(), Violation> {
        let leader = self.leader();
        let Figures { elections, promotions, .. } = self.figures;
        let rest = times_max(&self.world)[1] * 2;
        self.run_until(self.world.now().plus(rest))?;
        let is_promoted = self.figures.promotions > promotions;
        if self.leader() == leader && self.figures.elections == elections || is_promoted {
            return Ok(());
        }
        let what = "a leader that all nodes follow is deposed without any fault".to_owned();
        Err(Violation { rule: "A2", what })
    }

    pub(super) fn run_until(&mut self, end: Moment) -> Result<(), Violation> {
        while self.world.now() < end {
            self.go_on();
            self.result()?;
        }
        Ok(())
    }

    /// More nodes live than the cluster has voters, and no list keeps them out: they may depose each
    /// other for ever.
    fn is_crowded(&self) -> bool {
        self.faults.kind == Kind::TooMany && !self.setup.declared
    }

    /// Whether enough disks are left for an election.
    fn has_quorum(&self) -> bool {
        let can_vote = |node: &NodeIndex| self.world.has_record(*node) && !self.is_stranger(*node);
        let voters: Vec<_> = self.world.nodes().filter(can_vote).collect();
        let can_lead = |node: &NodeIndex| self.setup.nodes[node.get()].priority > 0;
        voters.len() * 2 > self.setup.size && voters.iter().any(can_lead)
    }

    fn end_faults(&mut self) {
        self.faults = Faults::none(self.faults.kind);
        self.apply(&Step::Heal);
        self.hurry_messages();
        for node in self.world.nodes() {
            if self.is_stranger(node) {
                self.dismiss(node);
                continue;
            }
            match self.world.condition(node) {
                Condition::Paused => {
                    self.apply(&Step::Resume(node));
                    self.plan(node);
                }
                Condition::Waiting | Condition::Saving | Condition::Down => self.plan(node),
            }
        }
        self.calm_clocks();
        self.favour_candidates();
    }

    /// No clock is off by more than rho any more, and every node starts with the times that it has.
    fn calm_clocks(&mut self) {
        if self.faults.kind != Kind::WildClocks {
            return;
        }
        for node in self.world.nodes() {
            self.apply(&Step::Drift { node, millionths: 0 });
            self.plan(node);
        }
    }

    /// A witness can't lead, so it must not be ahead of all others for good (A5).
    fn favour_candidates(&mut self) {
        let has_witness = self.setup.nodes.iter().any(|node| node.priority == 0);
        for node in self.world.nodes().filter(|_| has_witness) {
            if self.setup.nodes[node.get()].priority > 0 {
                self.apply(&Step::Position { node, position: POSITION_MAX });
            }
        }
    }

    /// Whom a declared list keeps out is only a disturbance, and that ends too.
    fn is_stranger(&self, node: NodeIndex) -> bool {
        let is_declared =
            node.get() < self.setup.size && self.world.identity(node).incarnation == 1;
        self.setup.declared && !is_declared
    }

    fn dismiss(&mut self, node: NodeIndex) {
        if self.world.condition(node) != Condition::Down {
            self.apply(&Step::Crash { node, remains: crate::Remains::Old });
        }
        self.plans[node.get()] = Plan { at: Moment::NEVER, action: Action::Rest };
    }

    fn hurry_messages(&mut self) {
        let now = self.world.now();
        self.arrivals.clear();
        let mut keys = self.world.network().all();
        keys.sort_unstable();
        for key in keys {
            let at = now.plus(draw_span(&mut self.rng, MESSAGE_TIME_MAX));
            self.arrivals_planned += 1;
            self.arrivals.push(Reverse((at, self.arrivals_planned, key)));
        }
    }

    /// The leader of the highest term, with that term. In Extended mode it has a lease.
    pub(super) fn leader_now(&self) -> Option<(NodeIndex, u64)> {
        let leads = |node: NodeIndex| match self.world.view(node) {
            Some((State::Leader, term, _)) => Some((node, term)),
            _ => None,
        };
        let (leader, term) = self.world.nodes().filter_map(leads).max_by_key(|(_, term)| *term)?;
        let has_lease = self.setup.nodes[leader.get()].mode == Mode::Graft
            || self.world.leadership(leader).is_some();
        has_lease.then_some((leader, term))
    }

    /// The leader whom all nodes follow that run, and its term.
    pub(super) fn leader(&self) -> Option<(NodeIndex, u64)> {
        let (leader, term) = self.leader_now()?;
        let id = self.world.identity(leader);
        let follows = |node: NodeIndex| match self.world.view(node) {
            None => matches!(self.plans[node.get()].action, Action::Rest),
            Some((_, its_term, its_leader)) => its_term == term && its_leader == Some(id),
        };
        self.world.nodes().all(follows).then_some((leader, term))
    }
}

/// How soon after the last fault all nodes must follow one leader (A1).
///
/// A node that has just restarted waits for T_min (rule V3), and one whose last save failed for up to
/// T_max, then tries that again (rule C4). From then on the most up-to-date node campaigns once every
/// T_max at least, since only a vote or a leader restarts its timer (rule V8), and wins unless
/// another campaigns while its request is under way: for as long as a save and a message take, before
/// and after. How likely that is gives the number of rounds after which it has won but for a
/// negligible remainder. Clocks may be slow by rho.
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

pub(super) fn times_max(world: &World) -> [Duration; 3] {
    let max = |index: usize| world.all_times().map(|times| times[index]).max();
    [0, 1, 2].map(|index| max(index).unwrap_or_default())
}
