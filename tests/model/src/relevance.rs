//! Which facts can still matter.
//!
//! A message to which no node will ever react again, whatever else happens, may as well never have
//! been sent; and who led a term need not be remembered once nobody else can win that term. What a
//! node can still do is read from the table of its steps, by following all of them, so nothing here
//! trusts the core to keep a rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;
use crate::coverage::Coverage;
use crate::facts::{Facts, FactsLayout, fact};
use crate::table::{Class, Step};
use crate::voter::{Disk, NODES_MAX};

/// What can still matter to each node.
#[derive(Debug)]
pub(crate) struct Relevance {
    nodes: usize,
    /// How many different records can be stored.
    disks: usize,
    messages: Facts,
    /// Groups of facts of which at most one may be true.
    exclusive: Vec<Facts>,
    /// For each node, by class and by what is stored.
    futures: Vec<Vec<Future>>,
}

/// All that a node can do from some state on.
#[derive(Clone, Debug, Default)]
struct Future {
    /// The messages that can make it do more than answer.
    reacts_to: Facts,
    /// For each message, the facts that its mere answers add.
    answers: Vec<Facts>,
    /// The facts that it can add.
    adds: Facts,
}

/// A class of states, and what is stored.
type Situation = (u16, Disk);

impl Relevance {
    pub(crate) fn new(
        cluster: Cluster,
        layout: &FactsLayout,
        tables: &[Vec<Class>],
        starts: &[BTreeMap<(Disk, u8), u16>],
        ages: &[Option<(usize, Option<usize>)>],
    ) -> Self {
        let situations: Vec<Vec<Situation>> =
            tables.iter().zip(starts).map(|(classes, starts)| reachable(classes, starts)).collect();
        // The messages that some node merely answers.
        let mut answered = Facts::ZERO;
        for (classes, situations) in tables.iter().zip(&situations) {
            for situation in situations {
                let class = &classes[usize::from(situation.0)];
                for step in class.steps.iter().chain(&class.answers) {
                    if is_answer(*situation, step, Facts::ZERO) {
                        answered |= step.hears;
                    }
                }
            }
        }
        let youths = youths(ages);
        let disks = (usize::from(cluster.term_max) + 1) * (cluster.nodes + 1);
        let futures =
            tables.iter().zip(starts).zip(situations).map(|((classes, starts), situations)| {
                let mut futures = vec![Future::default(); classes.len() * disks];
                let index = |situation: Situation| {
                    usize::from(situation.0) * disks + disk_index(cluster.nodes, situation.1)
                };
                for situation in &situations {
                    futures[index(*situation)] = Future::of_steps(
                        &youths,
                        *situation,
                        &classes[usize::from(situation.0)],
                        answered,
                    );
                }
                let mut precursors: BTreeMap<Situation, Vec<Situation>> = BTreeMap::new();
                for situation in &situations {
                    for next in successors(classes, starts, *situation) {
                        precursors.entry(next).or_default().push(*situation);
                    }
                }
                let mut open = situations;
                while let Some(situation) = open.pop() {
                    let future = futures[index(situation)].clone();
                    for before in precursors.get(&situation).into_iter().flatten() {
                        if futures[index(*before)].include(&future) {
                            open.push(*before);
                        }
                    }
                }
                futures
            });
        Self {
            nodes: cluster.nodes,
            disks,
            messages: layout.messages(),
            exclusive: layout.exclusive(),
            futures: futures.collect(),
        }
    }

    /// The facts that can still matter in a state of the cluster.
    pub(crate) fn filter(
        &self,
        classes: &[u16; NODES_MAX],
        disks: &[Disk; NODES_MAX],
        facts: Facts,
    ) -> Facts {
        let future = |node: usize| {
            let index = usize::from(classes[node]) * self.disks;
            &self.futures[node][index + disk_index(self.nodes, disks[node])]
        };
        let (mut relevant, mut to_come) = (Facts::ZERO, Facts::ZERO);
        for node in 0..self.nodes {
            relevant |= future(node).reacts_to;
            to_come |= future(node).adds;
        }
        // A group matters as long as another of its facts can still come true.
        let is_open = |group: &&Facts| **group & to_come & !facts != Facts::ZERO;
        for group in self.exclusive.iter().filter(is_open) {
            relevant |= *group;
        }
        let mut kept = facts & relevant;
        let mut others = facts & self.messages & !relevant;
        while others != Facts::ZERO {
            let message = others.trailing_zeros();
            let answers = (0..self.nodes).fold(Facts::ZERO, |all, node| {
                all | future(node).answers.get(message).copied().unwrap_or_default()
            });
            if answers & relevant != Facts::ZERO {
                kept |= fact(message);
            }
            others &= !fact(message);
        }
        kept
    }
}

impl Future {
    /// What a node can do in one state, including with messages that are still younger now.
    fn of_steps(
        youths: &[Vec<usize>],
        situation: Situation,
        class: &Class,
        answered: Facts,
    ) -> Self {
        let mut future = Self { answers: vec![Facts::ZERO; youths.len()], ..Self::default() };
        for step in class.steps.iter().chain(&class.answers) {
            future.adds |= step.adds;
            let Some(youths) = youths.get(step.hears.trailing_zeros()) else { continue };
            for message in youths {
                if is_answer(situation, step, answered) {
                    future.answers[*message] |= step.adds;
                } else {
                    future.reacts_to |= fact(*message);
                }
            }
        }
        future
    }

    /// Adds what can be done in another state. Returns whether anything is new.
    fn include(&mut self, other: &Self) -> bool {
        let mut is_new = false;
        let mut add = |all: &mut Facts, more: Facts| {
            is_new |= more & !*all != Facts::ZERO;
            *all |= more;
        };
        add(&mut self.reacts_to, other.reacts_to);
        add(&mut self.adds, other.adds);
        for (all, more) in self.answers.iter_mut().zip(&other.answers) {
            add(all, *more);
        }
        is_new
    }
}

/// For each message, all messages that are or will become it as they age.
fn youths(ages: &[Option<(usize, Option<usize>)>]) -> Vec<Vec<usize>> {
    let mut youths: Vec<Vec<usize>> = (0..ages.len()).map(|message| vec![message]).collect();
    for message in 0..ages.len() {
        let mut older = message;
        while let Some((_, Some(next))) = ages[older]
            && !youths[next].contains(&message)
        {
            youths[next].push(message);
            older = next;
        }
    }
    youths
}

/// Whether all that comes of a message is another message, and one to which nobody merely answers
/// in turn (`answered` has those), truthfully said.
fn is_answer(situation: Situation, step: &Step, answered: Facts) -> bool {
    let (class, disk) = situation;
    let stays = step.next == class && step.stores.is_none_or(|stored| stored == disk);
    let is_true = step.claim.is_none_or(|claim| claim.is_true_of(disk));
    let is_new = step.covers != Coverage::default();
    step.hears != Facts::ZERO && stays && is_true && !is_new && step.adds & answered == Facts::ZERO
}

/// All situations that a node can get into, whatever it hears.
fn reachable(classes: &[Class], starts: &BTreeMap<(Disk, u8), u16>) -> Vec<Situation> {
    let first = starts.iter().filter(|((disk, _), _)| *disk == Disk::default());
    let mut situations: Vec<Situation> = first.map(|((disk, _), start)| (*start, *disk)).collect();
    let mut known: BTreeSet<Situation> = situations.iter().copied().collect();
    let mut next = 0;
    while let Some(&situation) = situations.get(next) {
        for situation in successors(classes, starts, situation) {
            if known.insert(situation) {
                situations.push(situation);
            }
        }
        next += 1;
    }
    situations
}

/// The situations in which a node may be after its next step.
fn successors(
    classes: &[Class],
    starts: &BTreeMap<(Disk, u8), u16>,
    (class, disk): Situation,
) -> BTreeSet<Situation> {
    let class = &classes[usize::from(class)];
    let restart = starts.get(&(disk, class.phase)).map(|start| (*start, disk));
    let steps = class.steps.iter();
    let steps = steps.map(|step| (step.next, step.stores.unwrap_or(disk)));
    steps.chain(restart).chain([(class.next, disk)]).collect()
}

fn disk_index(nodes: usize, disk: Disk) -> usize {
    let vote = disk.vote.map_or(0, |vote| usize::from(vote) + 1);
    usize::from(disk.term) * (nodes + 1) + vote
}
