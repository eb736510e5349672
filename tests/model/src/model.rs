//! The cluster as a stateright model: which steps there are in a state, and what must always hold.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use stateright::{Model, Property};

use crate::classes::Classes;
use crate::exploration::Exploration;
use crate::facts::{Facts, FactsLayout};
use crate::relevance::Relevance;
use crate::sights::Sights;
use crate::symmetry::{Renaming, rename_disk};
use crate::table::{Class, Step, tables};
use crate::voter::{Cluster, Disk, NODES_MAX, name};

/// All that a search needs to know of a cluster's nodes.
#[derive(Debug)]
pub(crate) struct Election {
    pub(crate) exploration: Exploration,
    layout: FactsLayout,
    /// For each node, what it does in each class of states.
    nodes: Vec<Vec<Class>>,
    /// For each node, the class in which it starts with what it has stored.
    starts: Vec<BTreeMap<Disk, u16>>,
    relevance: Relevance,
    images: Vec<Image>,
    /// What the search has come across.
    seen: AtomicU32,
    /// How many states have been followed up.
    expanded: AtomicUsize,
}

/// A renaming of the nodes, made for speed.
#[derive(Debug)]
struct Image {
    nodes: Vec<usize>,
    classes: Vec<Vec<u16>>,
    facts: Vec<[Facts; 256]>,
}

/// The state of a cluster.
///
/// It is hashed, and so told from others, by the least of its images under all renamings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterState {
    classes: [u16; NODES_MAX],
    disks: [Disk; NODES_MAX],
    /// The messages ever said, who ever led, and who ever voted for whom.
    facts: Facts,
    broken: Option<Invariant>,
    canonical: Canonical,
}

/// What is hashed.
type Canonical = ([(u16, Disk); NODES_MAX], Facts);

/// What must always hold (protocol, section 5). I7 is checked by the exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Invariant {
    OneLeaderPerTerm,
    OneVotePerTerm,
    TermsNeverFall,
    NothingUndurableIsSaid,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The node takes the step of this number in its class.
    Take { node: usize, step: usize },
    /// The node crashes and starts with what it has stored.
    Restart { node: usize },
}

impl Election {
    pub(crate) fn new(cluster: Cluster) -> Result<Self> {
        let exploration = Exploration::new(cluster)?;
        let classes = Classes::new(&exploration)?;
        let renamings = Renaming::all(&exploration, &classes)?;
        let layout = FactsLayout::new(cluster, classes.message_count)?;
        let limit = usize::from(u16::MAX);
        ensure!(classes.counts.iter().all(|count| *count <= limit), "a node has too many states");
        let images = renamings.iter().map(|renaming| Image::new(renaming, &layout)).collect();
        let starts = cluster.all().map(|node| {
            let starts = exploration.starts[node].iter();
            starts.map(|(disk, state)| (*disk, classes.states[node][*state] as u16)).collect()
        });
        let starts: Vec<BTreeMap<Disk, u16>> = starts.collect();
        let nodes = tables(&exploration, &classes, &layout)?;
        let relevance = Relevance::new(cluster, &layout, &nodes, &starts);
        let (seen, expanded) = (AtomicU32::new(0), AtomicUsize::new(0));
        Ok(Self { exploration, layout, nodes, starts, relevance, images, seen, expanded })
    }

    pub(crate) fn seen(&self) -> Sights {
        Sights(self.seen.load(Ordering::Relaxed))
    }

    /// How many states the search has followed up: all it found, unless it was cut short.
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
                format!("{} crashes and restarts with {}", name(node), state.disks[node])
            }
            Action::Take { node, step } => {
                let class = &self.nodes[node][usize::from(state.classes[node])];
                let example = class.steps[step].example as usize;
                self.exploration.narrate(&self.exploration.steps[example])
            }
        }
    }

    fn take(&self, state: &ClusterState, node: usize, step: usize) -> ClusterState {
        let before = &self.nodes[node][usize::from(state.classes[node])];
        let step = &before.steps[step];
        let mut next = state.clone();
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
        self.see(step.sights);
    }

    /// Lets all nodes say what they can say without a change of their own.
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
        if let Some(start) = self.starts[node].get(&state.disks[node]) {
            next.classes[node] = *start;
        }
        if self.nodes[node][usize::from(next.classes[node])].term < state.disks[node].term {
            next.broken = Some(Invariant::TermsNeverFall);
        }
        next
    }

    fn see(&self, sights: Sights) {
        if self.seen.load(Ordering::Relaxed) & sights.0 != sights.0 {
            self.seen.fetch_or(sights.0, Ordering::Relaxed);
        }
    }

    /// The least image of the state under all renamings.
    fn canonical(&self, state: &ClusterState) -> Canonical {
        let nodes = self.cluster().nodes;
        let mut least = [(u16::MAX, Disk::default()); NODES_MAX];
        let mut facts = Facts::MAX;
        for image in &self.images {
            let mut seats = [(0, Disk::default()); NODES_MAX];
            for node in 0..nodes {
                let class = image.classes[node][usize::from(state.classes[node])];
                seats[image.nodes[node]] = (class, rename_disk(state.disks[node], &image.nodes));
            }
            if seats < least {
                (least, facts) = (seats, image.rename(state.facts));
            } else if seats == least {
                facts = facts.min(image.rename(state.facts));
            }
        }
        (least, facts)
    }
}

/// What a node may not do to what it has stored.
fn broken_by_writing(before: Disk, after: Disk) -> Option<Invariant> {
    if after.term < before.term {
        return Some(Invariant::TermsNeverFall);
    }
    let is_changed = before.vote.is_some() && after.vote != before.vote;
    (after.term == before.term && is_changed).then_some(Invariant::OneVotePerTerm)
}

impl Hash for ClusterState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.canonical, self.broken).hash(hasher);
    }
}

impl Model for Election {
    type State = ClusterState;
    type Action = Action;

    fn init_states(&self) -> Vec<ClusterState> {
        let mut state = ClusterState {
            classes: [0; NODES_MAX],
            disks: [Disk::default(); NODES_MAX],
            facts: 0,
            broken: None,
            canonical: Canonical::default(),
        };
        for node in self.cluster().all() {
            state = self.restart(&state, node);
        }
        state.canonical = self.canonical(&state);
        vec![state]
    }

    fn actions(&self, state: &ClusterState, actions: &mut Vec<Action>) {
        self.expanded.fetch_add(1, Ordering::Relaxed);
        for node in self.cluster().all() {
            let class = &self.nodes[node][usize::from(state.classes[node])];
            for (step, taken) in class.steps.iter().enumerate() {
                if taken.hears & state.facts == taken.hears {
                    actions.push(Action::Take { node, step });
                }
            }
            actions.push(Action::Restart { node });
        }
    }

    fn next_state(&self, state: &ClusterState, action: Action) -> Option<ClusterState> {
        let mut next = match action {
            Action::Take { node, step } => self.take(state, node, step),
            Action::Restart { node } => self.restart(state, node),
        };
        self.answer(&mut next);
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
            Property::always("I6: nothing undurable is said", |_, state: &ClusterState| {
                state.broken != Some(Invariant::NothingUndurableIsSaid)
            }),
        ]
    }
}

impl Image {
    fn new(renaming: &Renaming, layout: &FactsLayout) -> Self {
        let classes = renaming.states.iter();
        let classes =
            classes.map(|classes| classes.iter().map(|class| *class as u16).collect()).collect();
        let fact_images = layout.images(renaming);
        let byte_image = |byte: usize| {
            let mut images = [0; 256];
            for (value, image) in images.iter_mut().enumerate() {
                for bit in (0..8).filter(|bit| value >> bit & 1 == 1) {
                    *image |= fact_images.get(8 * byte + bit).map_or(0, |fact| 1 << fact);
                }
            }
            images
        };
        let facts = (0..layout.len().div_ceil(8)).map(byte_image).collect();
        Self { nodes: renaming.nodes.clone(), classes, facts }
    }

    fn rename(&self, facts: Facts) -> Facts {
        let bytes = facts.to_le_bytes();
        self.facts
            .iter()
            .zip(bytes)
            .fold(0, |renamed, (images, byte)| renamed | images[usize::from(byte)])
    }
}
