//! The cluster as a stateright model: which steps a state has, and what must always hold.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use stateright::{Model, Property};

use crate::classes::Classes;
use crate::cluster::Cluster;
use crate::coverage::{Coverage, Milestone};
use crate::exploration::Exploration;
use crate::facts::{Facts, FactsLayout, Mapping};
use crate::invariant::{Invariant, broken_by_writing};
use crate::relevance::Relevance;
use crate::symmetry::{Renaming, rename_disk};
use crate::table::{Class, Step, tables};
use crate::voter::{Disk, NODES_MAX};

/// All that a search needs to know of a cluster's nodes.
#[derive(Debug)]
pub(crate) struct Election {
    pub(crate) exploration: Exploration,
    layout: FactsLayout,
    /// For each node, what it does in each class of states.
    nodes: Vec<Vec<Class>>,
    /// For each node, the class in which it starts with what it has stored, at each phase of its
    /// clock.
    starts: Vec<BTreeMap<(Disk, u8), u16>>,
    /// For each node, what its clock's advance makes of the facts.
    ages: Vec<Mapping>,
    relevance: Relevance,
    images: Vec<Image>,
    /// What the search has come across.
    covered: AtomicU32,
    /// How many states have been followed up.
    expanded: AtomicUsize,
}

/// A renaming of the nodes, made for speed.
#[derive(Debug)]
struct Image {
    nodes: Vec<usize>,
    classes: Vec<Vec<u16>>,
    facts: Mapping,
}

/// The state of a cluster.
///
/// Its hash, which distinguishes it from others, is that of the least of its images under all
/// renamings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterState {
    classes: [u16; NODES_MAX],
    disks: [Disk; NODES_MAX],
    /// The messages ever said, who ever led, and who ever voted for whom.
    facts: Facts,
    /// How much longer each lease lasts that a crash of its holder has not ended, on its clock.
    left_over: [u8; NODES_MAX],
    /// For each of two clusters, one less than the highest token of any lease so far. No lease may
    /// have this token or a lower one from now on.
    overtaken: [u8; 2],
    disturbances: u8,
    broken: Option<Invariant>,
    canonical: Canonical,
}

/// What is hashed of the nodes and the facts.
type Canonical = ([NodeKey; NODES_MAX], Facts);

/// All that is known of one node: its class, what it has stored, and what is left of its lease.
type NodeKey = (u16, Disk, u8);

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The node takes the step of this number in its class.
    Take { node: usize, step: usize },
    /// The node crashes and starts with what it has stored.
    Restart { node: usize },
    /// Time passes.
    Step,
}

impl Election {
    pub(crate) fn new(cluster: Cluster) -> Result<Self> {
        let exploration = Exploration::new(cluster)?;
        let classes = Classes::new(&exploration)?;
        let renamings = Renaming::all(&exploration, &classes)?;
        let layout = FactsLayout::new(cluster, classes.message_count)?;
        let limit = usize::from(u16::MAX);
        ensure!(classes.counts.iter().all(|count| *count <= limit), "a node has too many states");
        let images = renamings
            .iter()
            .map(|renaming| Image {
                nodes: renaming.nodes.clone(),
                classes: renaming
                    .states
                    .iter()
                    .map(|classes| classes.iter().map(|class| *class as u16).collect())
                    .collect(),
                facts: layout.renamed(renaming),
            })
            .collect();
        let starts = cluster.all().map(|node| {
            let starts = exploration.starts[node].iter();
            starts.map(|(start, state)| (*start, classes.states[node][*state] as u16)).collect()
        });
        let starts: Vec<BTreeMap<(Disk, u8), u16>> = starts.collect();
        let message_ages = classes.ages(&exploration);
        let ages: Vec<Mapping> =
            cluster.all().map(|node| layout.aged(&message_ages, node)).collect();
        let nodes = tables(&exploration, &classes, &layout)?;
        let relevance = Relevance::new(cluster, &layout, &nodes, &starts, &message_ages);
        let (covered, expanded) = (AtomicU32::new(0), AtomicUsize::new(0));
        Ok(Self { exploration, layout, nodes, starts, ages, relevance, images, covered, expanded })
    }

    /// What the search has come across so far.
    pub(crate) fn coverage(&self) -> Coverage {
        Coverage(self.covered.load(Ordering::Relaxed))
    }

    /// How many states the search has followed up: all that it found, unless it was cut short.
    pub(crate) fn expanded(&self) -> usize {
        self.expanded.load(Ordering::Relaxed)
    }

    fn cluster(&self) -> Cluster {
        self.exploration.cluster
    }

    /// The action in words.
    pub(crate) fn narrate(&self, state: &ClusterState, action: Action) -> String {
        match action {
            Action::Restart { node } => {
                let name = self.cluster().name(node);
                format!("{name} crashes and restarts with {}", state.disks[node])
            }
            Action::Take { node, step } => {
                let class = &self.nodes[node][usize::from(state.classes[node])];
                let example = class.steps[step].example as usize;
                self.exploration.narrate(&self.exploration.steps[example])
            }
            Action::Step => "a step of time passes".to_owned(),
        }
    }

    fn take(&self, state: &ClusterState, node: usize, step: usize) -> ClusterState {
        let before = &self.nodes[node][usize::from(state.classes[node])];
        let step = &before.steps[step];
        let mut next = state.clone();
        if step.crashes {
            self.crash(&mut next, node);
        }
        if self.cluster().disturbances_max.is_some() && step.disturbs {
            next.disturbances += 1;
        }
        next.classes[node] = step.next;
        if let Some(disk) = step.stores {
            next.broken = broken_by_writing(state.disks[node], disk);
            next.disks[node] = disk;
        }
        if self.class(&next, node).term < before.term.min(state.disks[node].term) {
            next.broken = Some(Invariant::TermsNeverFall);
        }
        self.say(&mut next, node, step);
        next
    }

    /// Adds what a step says, and judges it.
    fn say(&self, state: &mut ClusterState, node: usize, step: &Step) {
        if step.claim.is_some_and(|claim| !claim.is_true_of(state.disks[node])) {
            state.broken = Some(Invariant::NothingUndurableIsSaid);
        }
        state.facts |= step.adds;
        state.broken = self.layout.broken_by(state.facts).or(state.broken);
        self.cover(step.covers);
    }

    /// Lets all nodes say what they can say without changing themselves.
    fn answer(&self, state: &mut ClusterState) {
        loop {
            let before = state.facts;
            for node in self.cluster().all() {
                for answer in &self.class(state, node).answers {
                    if answer.hears & state.facts == answer.hears {
                        self.say(state, node, answer);
                    }
                }
            }
            if state.facts == before {
                return;
            }
        }
    }

    fn class(&self, state: &ClusterState, node: usize) -> &Class {
        &self.nodes[node][usize::from(state.classes[node])]
    }

    fn restart(&self, state: &ClusterState, node: usize) -> ClusterState {
        let mut next = state.clone();
        self.crash(&mut next, node);
        if self.cluster().disturbances_max.is_some() {
            next.disturbances += 1;
        }
        let phase = self.class(state, node).phase;
        if let Some(start) = self.starts[node].get(&(state.disks[node], phase)) {
            next.classes[node] = *start;
        }
        if self.nodes[node][usize::from(next.classes[node])].term < state.disks[node].term {
            next.broken = Some(Invariant::TermsNeverFall);
        }
        next
    }

    /// A crash, whenever it comes, doesn't end a lease: its holder may have acted on it just
    /// before.
    fn crash(&self, state: &mut ClusterState, node: usize) {
        state.left_over[node] = state.left_over[node].max(self.class(state, node).lease);
    }

    fn step(&self, state: &ClusterState) -> ClusterState {
        let mut next = state.clone();
        for node in self.cluster().all() {
            let class = self.class(state, node);
            next.classes[node] = class.next;
            if class.advances {
                next.left_over[node] = state.left_over[node].saturating_sub(1);
                next.facts = self.ages[node].apply(next.facts);
            }
        }
        next
    }

    /// Judges the leases that the nodes have.
    fn judge(&self, state: &mut ClusterState) {
        let mut holders = [0_u8; 2];
        for node in self.cluster().all() {
            let Class { term, lease, .. } = *self.class(state, node);
            let side = self.cluster().side(node);
            holders[side] += u8::from(lease.max(state.left_over[node]) > 0);
            if lease > 0 {
                let mut leased = Coverage::default();
                leased.insert(Milestone::Leased(term));
                self.cover(leased);
                if term <= state.overtaken[side] {
                    state.broken = Some(Invariant::TokensRise);
                }
                state.overtaken[side] = state.overtaken[side].max(term - 1);
            }
        }
        if holders.into_iter().any(|holders| holders > 1) {
            state.broken = Some(Invariant::OneLeaseAtATime);
        }
    }

    fn cover(&self, more: Coverage) {
        if self.covered.load(Ordering::Relaxed) & more.0 != more.0 {
            self.covered.fetch_or(more.0, Ordering::Relaxed);
        }
    }

    /// The least image of the state under all renamings.
    fn canonical(&self, state: &ClusterState) -> Canonical {
        let nodes = self.cluster().nodes;
        let mut least = [(u16::MAX, Disk::default(), 0); NODES_MAX];
        let mut facts = Facts::MAX;
        for image in &self.images {
            let mut keys = [(0, Disk::default(), 0); NODES_MAX];
            for node in 0..nodes {
                let class = image.classes[node][usize::from(state.classes[node])];
                let disk = rename_disk(state.disks[node], &image.nodes);
                keys[image.nodes[node]] = (class, disk, state.left_over[node]);
            }
            if keys < least {
                (least, facts) = (keys, image.facts.apply(state.facts));
            } else if keys == least {
                facts = facts.min(image.facts.apply(state.facts));
            }
        }
        (least, facts)
    }
}

impl Hash for ClusterState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.canonical, self.overtaken, self.disturbances, self.broken).hash(hasher);
    }
}

impl Model for Election {
    type State = ClusterState;
    type Action = Action;

    fn init_states(&self) -> Vec<ClusterState> {
        let mut state = ClusterState {
            classes: [0; NODES_MAX],
            disks: [Disk::default(); NODES_MAX],
            facts: Facts::ZERO,
            left_over: [0; NODES_MAX],
            overtaken: [0; 2],
            disturbances: 0,
            broken: None,
            canonical: Canonical::default(),
        };
        for node in self.cluster().all() {
            if let Some(start) = self.starts[node].get(&(Disk::default(), 0)) {
                state.classes[node] = *start;
            }
        }
        state.canonical = self.canonical(&state);
        vec![state]
    }

    fn actions(&self, state: &ClusterState, actions: &mut Vec<Action>) {
        self.expanded.fetch_add(1, Ordering::Relaxed);
        let may_fail = self.cluster().disturbances_max.is_none_or(|max| state.disturbances < max);
        for node in self.cluster().all() {
            for (step, taken) in self.class(state, node).steps.iter().enumerate() {
                let is_possible = may_fail || !taken.disturbs;
                if is_possible && taken.hears & state.facts == taken.hears {
                    actions.push(Action::Take { node, step });
                }
            }
            if may_fail {
                actions.push(Action::Restart { node });
            }
        }
        if self.cluster().is_timed() {
            actions.push(Action::Step);
        }
    }

    fn next_state(&self, state: &ClusterState, action: Action) -> Option<ClusterState> {
        let mut next = match action {
            Action::Take { node, step } => self.take(state, node, step),
            Action::Restart { node } => self.restart(state, node),
            Action::Step => self.step(state),
        };
        self.answer(&mut next);
        self.judge(&mut next);
        next.facts = self.relevance.filter(&next.classes, &next.disks, next.facts);
        if next == *state {
            return None;
        }
        next.canonical = self.canonical(&next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1: at most one leader per term", |_, state: &ClusterState| {
                state.broken != Some(Invariant::OneLeaderPerTerm)
            }),
            Property::always(
                "I2: at most one vote per node and term",
                |_, state: &ClusterState| state.broken != Some(Invariant::OneVotePerTerm),
            ),
            Property::always("I3: terms of a node never fall", |_, state: &ClusterState| {
                state.broken != Some(Invariant::TermsNeverFall)
            }),
            Property::always(
                "I4: at most one leadership is valid at a time",
                |_, state: &ClusterState| state.broken != Some(Invariant::OneLeaseAtATime),
            ),
            Property::always(
                "I5: successive leases have rising tokens",
                |_, state: &ClusterState| state.broken != Some(Invariant::TokensRise),
            ),
            Property::always("I6: nothing undurable is said", |_, state: &ClusterState| {
                state.broken != Some(Invariant::NothingUndurableIsSaid)
            }),
        ]
    }
}
