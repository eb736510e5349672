//! How a cluster must recover once the faults have ended.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use graft_election_core::{Mode, State};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::bounds::{POSITION_MAX, times_max};
use super::{Action, Plan, Simulation};
use crate::faults::{Faults, Kind, MESSAGE_TIME_MAX, draw_span};
use crate::judgement::{Judged, Violation};
use crate::{Condition, Figures, Identity, Moment, NodeIndex, Remains, Setup, Step, World};

impl Simulation {
    /// A world after its faults, to see whether it recovers.
    pub fn after(world: World, setup: Setup, kind: Kind) -> Self {
        let rng = SmallRng::seed_from_u64(setup.seed);
        Self::with_world(world, setup, Faults::none(kind), rng)
    }

    /// Ends the faults: links are mended, and all nodes run that can. If they are a quorum, all
    /// must follow one leader within a time that depends on T_max (A1, A5), and keep following it
    /// (A2). Returns whether they do: some worlds are not expected to.
    ///
    /// # Errors
    ///
    /// The first rule that was broken.
    pub(super) fn come_to_rest(&mut self) -> Result<bool, Violation> {
        if self.faults.kind == Kind::Doubles {
            return self.doubles_settle().map(|()| false);
        }
        if self.faults.kind == Kind::Changes {
            return self.changes_settle().map(|()| false);
        }
        if self.setup.judged == Judged::NodesAlone || self.is_crowded() || !self.has_quorum() {
            return Ok(false);
        }
        if let Some(node) = self.world.mislisted() {
            let what = format!("{node} started with a list that is not that of its record");
            return Err(Violation { rule: "V6", what });
        }
        if !self.can_settle() {
            return Ok(false);
        }
        self.end_faults();
        // One that is stopped amid a save may be paused again.
        self.await_go();
        let starts_again =
            self.world.nodes().any(|node| self.world.condition(node) == Condition::Down);
        if self.may_hide_term() {
            return Ok(false);
        }
        self.let_all_lead()?;
        self.resume_some()?;
        self.favour_candidates();
        if self.faults.kind == Kind::Lists {
            // Those that heard of an older list stand aside for so long.
            self.run_until(
                self.world.now().plus(times_max(&self.world)[1].mul_f64(2.0 + 3.0 * self.rho())),
            )?;
        }
        let healed_at = self.world.now();
        let limit = self.recovery_max();
        // By then the nodes have heard all that was sent before, and the leader if there is one. A
        // timer may have been about to run out.
        let [_, _, heartbeat] = times_max(&self.world);
        self.run_until(healed_at.plus(heartbeat.mul_f64(1.0 + self.rho()) + MESSAGE_TIME_MAX * 2))?;
        self.until_all_follow(healed_at)?;
        if self.world.saw_two_leaders() {
            return Ok(false);
        }
        self.figures.recovery = self.world.now().since(healed_at);
        self.figures.recovery_percent =
            (self.figures.recovery.as_micros() * 100 / limit.as_micros()) as u32;
        if starts_again {
            // The first acknowledgement of its new life doesn't count (rule N4), and the leader may
            // have waited for it.
            self.run_until(self.world.now().plus(self.interval_max() * 2))?;
            self.until_all_follow(self.world.now())?;
        }
        if self.has_newcomers() {
            // Their leader knew their former ids, and counts no others until it has been elected
            // once more (rules V6, V9, L4).
            self.run_until(self.world.now().plus(times_max(&self.world)[1]))?;
            self.until_all_follow(self.world.now())?;
        }
        let forges_names = matches!(self.faults.kind, Kind::Garbage | Kind::Handovers);
        if self.figures.suspicions > 0 || forges_names || self.setup.echo {
            // A voter that restarted twice in a row isn't counted for a while (rule N4), and one
            // that heard its own name, be it in a handover that it never said, stands aside (N3).
            // The leader may need it.
            self.run_until(self.world.now().plus(times_max(&self.world)[1] * 3))?;
            self.until_all_follow(self.world.now())?;
        }
        self.keeps_leader()?;
        if !self.paused_nodes().is_empty() {
            self.resume_all()?;
            self.until_all_follow(self.world.now())?;
            self.keeps_leader()?;
        }
        self.correct_all_answers();
        Ok(true)
    }

    /// N3, N5: once all hear each other, those that take part follow one leader, again and again: a
    /// double that is closed may be started anew. Where they always heard each other, only one
    /// process of each id takes part. Elsewhere the question of a double may have been lost at its
    /// start, and as long as it only follows, no other process of its id hears of it.
    fn doubles_settle(&mut self) -> Result<(), Violation> {
        let ids: BTreeSet<_> = self.world.nodes().map(|node| self.world.named(node)).collect();
        let can_vote = |id: &&Identity| {
            let mut nodes = self.world.nodes().filter(|node| self.world.named(*node) == **id);
            nodes.any(|node| self.world.has_record(node))
        };
        let has_quorum = ids.iter().filter(can_vote).count() * 2 > self.setup.size;
        // In Graft mode nobody stands aside, and neither a witness nor a paused node leads.
        let is_simple =
            self.all_extended() && self.world.nodes().all(|node| self.is_eligible(node));
        if !has_quorum || !is_simple || !self.can_settle() {
            return Ok(());
        }
        self.end_faults();
        let [_, t_max, heartbeat] = times_max(&self.world);
        // One that stands aside asks anew within 2 T_max, and takes part a T_min later.
        let patience = self.recovery_max() + (t_max * 4 + heartbeat * 2).mul_f64(1.0 + self.rho());
        for _ in 0..3 {
            self.run_until(self.world.now().plus(t_max))?;
            let limit = self.world.now().plus(patience);
            self.until(Self::is_settled, limit, "N5", "the processes have not settled")?;
        }
        Ok(())
    }

    /// Whether a node leads that all follow that take part, one of each id.
    fn is_settled(&self) -> bool {
        let Some((leader, term)) = self.leader_now() else { return false };
        let id = self.world.named(leader);
        let takes_part = |node: &NodeIndex| self.world.takes_part(*node);
        let parts: Vec<_> = self.world.nodes().filter(takes_part).collect();
        let ids: BTreeSet<_> = parts.iter().map(|node| self.world.named(*node)).collect();
        // L2: who has followed another leader of the term never follows this one in it.
        let is_second = self.world.saw_leaders_beside(term);
        let follows = |node: &NodeIndex| {
            let view = self.world.view(*node);
            is_second || view.is_some_and(|(_, its_term, its)| its_term == term && its == Some(id))
        };
        let is_unique =
            !matches!(self.setup.judged, Judged::Doubles { .. }) || ids.len() == parts.len();
        is_unique && parts.contains(&leader) && parts.iter().all(follows)
    }

    /// Whether nodes came back under new ids, and there is no list of voters to say who may.
    fn has_newcomers(&self) -> bool {
        let is_new = |node: NodeIndex| self.world.identity(node).generation > 1;
        !self.setup.declared && self.world.nodes().any(is_new)
    }

    /// Waits until all nodes follow one leader (A1), or two have led in one term: a node that has
    /// followed one of them never follows the other in that term (L2). Where disks are lost, and
    /// votes with them, that may happen without any further fault.
    pub(super) fn until_all_follow(&mut self, since: Moment) -> Result<(), Violation> {
        let limit = since.plus(self.recovery_max());
        let is_settled = |this: &Self| this.leader().is_some() || this.world.saw_two_leaders();
        let rule = match self.paused_nodes().is_empty() {
            false => "A6",
            true if self.has_refusers() => "A5",
            true => "A1",
        };
        self.until(is_settled, limit, rule, "not all nodes have one leader")?;
        Ok(())
    }

    /// Waits until a node can hear.
    pub(super) fn until_waiting(&mut self, node: NodeIndex) -> Result<(), Violation> {
        let [_, t_max, _] = times_max(&self.world);
        let is_waiting = |this: &Self| this.world.condition(node) == Condition::Waiting;
        self.until(is_waiting, self.world.now().plus(t_max), "I7", "a node still saves")?;
        Ok(())
    }

    /// Waits for a condition. Returns how long that takes.
    ///
    /// # Errors
    ///
    /// `rule`, with `instead`, if the condition doesn't hold by `limit`; or another rule that is
    /// broken.
    pub(super) fn until(
        &mut self,
        holds: impl Fn(&Self) -> bool,
        limit: Moment,
        rule: &'static str,
        instead: &str,
    ) -> Result<Duration, Violation> {
        let since = self.world.now();
        while !holds(self) {
            if self.world.now() > limit {
                let waited = limit.since(since);
                return Err(Violation { rule, what: format!("after {waited:?} {instead}") });
            }
            self.run_next();
            self.result()?;
        }
        Ok(self.world.now().since(since))
    }

    /// Without faults a leader must stay for as long as a follower might wait for it (A2).
    pub(super) fn keeps_leader(&mut self) -> Result<(), Violation> {
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
            self.run_next();
            self.result()?;
        }
        Ok(())
    }

    /// Whether more nodes live than the cluster has voters, with no list of voters to exclude any:
    /// they may depose each other for ever.
    fn is_crowded(&self) -> bool {
        self.faults.kind == Kind::TooMany && !self.setup.declared
    }

    /// Whether enough disks are left for an election, in each cluster.
    fn has_quorum(&self) -> bool {
        if self.faults.kind == Kind::Lists {
            return self.current_list().is_some_and(|(list, voters)| {
                let holders = self.nodes_of(list);
                let can_lead = |node: &NodeIndex| self.world.settings(*node).priority > 0;
                holders.len() * 2 > voters.len() && holders.iter().any(can_lead)
            });
        }
        (0..self.setup.clusters).all(|cluster| {
            let can_vote = |node: &NodeIndex| {
                self.world.cluster(*node) == cluster
                    && self.world.has_record(*node)
                    && !self.is_stranger(*node)
            };
            let voters: Vec<_> = self.world.nodes().filter(can_vote).collect();
            let can_lead = |node: &NodeIndex| self.world.settings(*node).priority > 0;
            voters.len() * 2 > self.setup.size && voters.iter().any(can_lead)
        })
    }

    /// G14: Go nodes learn a higher term from candidates and leaders alone, and a witness is never
    /// one of them (H4). Nor is a paused node (O3).
    fn may_hide_term(&self) -> bool {
        let is_witness = |node| !self.world.is_go(node) && !self.is_eligible(node);
        self.settings().any(|settings| settings.is_go) && self.world.nodes().any(is_witness)
    }

    /// Whether a node may lead: it is neither a witness nor paused (rules H4, O3).
    pub(super) fn is_eligible(&self, node: NodeIndex) -> bool {
        self.world.settings(node).priority > 0 && !self.world.is_paused(node)
    }

    pub(super) fn end_faults(&mut self) {
        let Faults { kind, shape, .. } = self.faults;
        self.faults = Faults { shape, ..Faults::none(kind) };
        self.apply(&Step::Heal);
        self.hurry_messages();
        for node in self.world.nodes() {
            if self.is_stranger(node) {
                self.stop_stranger(node);
                continue;
            }
            match self.world.condition(node) {
                Condition::Paused => {
                    self.apply(&Step::Resume(node));
                    self.plan(node);
                }
                Condition::Down if self.waits_to_start(node) => {}
                Condition::Waiting | Condition::Saving | Condition::Down => self.plan(node),
            }
        }
        self.correct_clocks();
        self.correct_most_answers();
    }

    /// From now on no clock is off by more than rho.
    fn correct_clocks(&mut self) {
        if self.faults.kind != Kind::WildClocks {
            return;
        }
        for node in self.world.nodes() {
            self.apply(&Step::Drift { node, millionths: 0 });
            self.plan(node);
        }
    }

    /// Neither a witness nor a paused node can lead, so none must stay ahead of all others (A5). A
    /// Go node that refuses a position doesn't adopt the term, and may do so again and again (G13).
    fn favour_candidates(&mut self) {
        let has_go = self.settings().any(|settings| settings.is_go);
        let has_witness = self.world.nodes().any(|node| !self.is_eligible(node));
        for node in self.world.nodes().filter(|_| has_go || has_witness) {
            if has_go || self.is_eligible(node) {
                self.apply(&Step::Position { node, position: POSITION_MAX });
            }
        }
    }

    /// A node that the list of voters excludes is only a disturbance, and that ends too.
    fn is_stranger(&self, node: NodeIndex) -> bool {
        if self.faults.kind == Kind::Lists {
            let current = self.current_list();
            return !current.is_some_and(|(list, _)| self.nodes_of(list).contains(&node));
        }
        if self.faults.kind == Kind::Changes {
            return false;
        }
        let identity = self.world.named(node);
        let is_declared = identity.index.get() < self.setup.size && identity.generation == 1;
        self.setup.declared && !is_declared
    }

    fn stop_stranger(&mut self, node: NodeIndex) {
        if self.world.condition(node) != Condition::Down {
            self.apply(&Step::Crash { node, remains: Remains::Old });
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

    /// The leader of the highest term, with that term. In Extended mode it has a lease. Of several
    /// clusters, that of the first.
    pub(super) fn leader_now(&self) -> Option<(NodeIndex, u64)> {
        self.leader_of(0)
    }

    fn leader_of(&self, cluster: usize) -> Option<(NodeIndex, u64)> {
        let leads = |node: NodeIndex| match self.world.view(node) {
            Some((State::Leader, term, _)) => Some((node, term)),
            _ => None,
        };
        let nodes = self.world.nodes().filter(|node| self.world.cluster(*node) == cluster);
        let (leader, term) = nodes.filter_map(leads).max_by_key(|(_, term)| *term)?;
        let has_lease = self.world.settings(leader).mode == Mode::Graft
            || self.world.leadership(leader).is_some();
        has_lease.then_some((leader, term))
    }

    /// The leader whom all running nodes follow, and its term; of several clusters, that of the
    /// first, if all have one.
    pub(super) fn leader(&self) -> Option<(NodeIndex, u64)> {
        let all_follow = |cluster: usize| {
            let (leader, term) = self.leader_of(cluster)?;
            let id = self.world.named(leader);
            let follows = |node: NodeIndex| match self.world.view(node) {
                None => matches!(self.plans[node.get()].action, Action::Rest),
                // G15: a Go node may name the leader of an earlier term.
                Some((State::Follower, its_term, _)) if self.world.is_go(node) => its_term == term,
                Some((_, its_term, its_leader)) => its_term == term && its_leader == Some(id),
            };
            let mut nodes = self.world.nodes().filter(|node| self.world.cluster(*node) == cluster);
            nodes.all(follows).then_some((leader, term))
        };
        (1..self.setup.clusters).try_for_each(|cluster| all_follow(cluster).map(|_| ()))?;
        all_follow(0)
    }
}
