//! Which facts can still matter.
//!
//! A message to which no node will ever react again, whatever else happens, may as well never have
//! been sent; and that someone led a term needs no remembering once nobody can win that term any
//! more. What a node can still do is read off the table of its steps, by following all of them, so
//! nothing here trusts the core to keep a rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Facts, FactsLayout};
use crate::sights::Sights;
use crate::table::{Class, Step};
use crate::voter::{Cluster, Disk, NODES_MAX};

/// What can still matter to each node.
#[derive(Debug)]
pub(crate) struct Relevance {
    nodes: usize,
    /// How many different records can be stored.
    disks: usize,
    messages: Facts,
    rivals: Vec<Facts>,
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
type Seat = (u16, Disk);

impl Relevance {
    pub(crate) fn new(
        cluster: Cluster,
        layout: &FactsLayout,
        tables: &[Vec<Class>],
        starts: &[BTreeMap<Disk, u16>],
    ) -> Self {
        let seats: Vec<Vec<Seat>> = tables
            .iter()
            .zip(starts)
            .map(|(classes, starts)| {
                reachable(classes, starts, (starts[&Disk::default()], Disk::default()))
            })
            .collect();
        // What someone merely answers.
        let mut answered = 0;
        for (classes, seats) in tables.iter().zip(&seats) {
            for (seat, step) in steps_of(classes, seats) {
                if is_answer(seat, step, 0) {
                    answered |= step.hears;
                }
            }
        }
        let disks = (usize::from(cluster.term_max) + 1) * (cluster.nodes + 1);
        let futures = tables.iter().zip(starts).zip(seats).map(|((classes, starts), seats)| {
            let mut futures = vec![Future::default(); classes.len() * disks];
            for seat in seats {
                let reachable = reachable(classes, starts, seat);
                futures[usize::from(seat.0) * disks + disk_index(cluster.nodes, seat.1)] =
                    Future::new(layout, classes, &reachable, answered);
            }
            futures
        });
        Self {
            nodes: cluster.nodes,
            disks,
            messages: layout.messages(),
            rivals: layout.rivals(),
            futures: futures.collect(),
        }
    }

    /// Those of the facts that can still matter in a state of the cluster.
    pub(crate) fn filter(
        &self,
        classes: &[u16; NODES_MAX],
        disks: &[Disk; NODES_MAX],
        facts: Facts,
    ) -> Facts {
        let future = |node: usize| {
            let place = usize::from(classes[node]) * self.disks;
            &self.futures[node][place + disk_index(self.nodes, disks[node])]
        };
        let (mut relevant, mut to_come) = (0, 0);
        for node in 0..self.nodes {
            relevant |= future(node).reacts_to;
            to_come |= future(node).adds;
        }
        // A fact that only itself can follow is no one's rival.
        let is_open = |rivals: &&Facts| **rivals & to_come & !facts != 0;
        for rivals in self.rivals.iter().filter(is_open) {
            relevant |= *rivals;
        }
        let mut kept = facts & relevant;
        let mut others = facts & self.messages & !relevant;
        while others != 0 {
            let message = others.trailing_zeros() as usize;
            let answers = (0..self.nodes)
                .fold(0, |all, node| all | future(node).answers.get(message).unwrap_or(&0));
            if answers & relevant != 0 {
                kept |= 1 << message;
            }
            others &= others - 1;
        }
        kept
    }
}

impl Future {
    fn new(layout: &FactsLayout, classes: &[Class], seats: &[Seat], answered: Facts) -> Self {
        let messages = layout.messages().count_ones() as usize;
        let mut future = Self { answers: vec![0; messages], ..Self::default() };
        for (seat, step) in steps_of(classes, seats) {
            future.adds |= step.adds;
            if is_answer(seat, step, answered) {
                future.answers[step.hears.trailing_zeros() as usize] |= step.adds;
            } else {
                future.reacts_to |= step.hears;
            }
        }
        future
    }
}

/// Whether all that comes of a message is another message, and one to which nobody merely answers
/// in turn (`answered` has those), truthfully said.
fn is_answer(seat: Seat, step: &Step, answered: Facts) -> bool {
    let (class, disk) = seat;
    let stays = step.next == class && step.stores.is_none_or(|stored| stored == disk);
    let is_true = step.claim.is_none_or(|claim| claim.is_true_of(disk));
    let is_new = step.sights != Sights::default();
    step.hears != 0 && stays && is_true && !is_new && step.adds & answered == 0
}

/// The seat and all that a node can come to from there, whatever it hears.
fn reachable(classes: &[Class], starts: &BTreeMap<Disk, u16>, from: Seat) -> Vec<Seat> {
    let mut seats = vec![from];
    let mut known = BTreeSet::from([from]);
    let mut next = 0;
    while let Some(&(class, disk)) = seats.get(next) {
        let restart = starts.get(&disk).map(|start| (*start, disk));
        let steps = classes[usize::from(class)].steps.iter();
        let steps = steps.map(|step| (step.next, step.stores.unwrap_or(disk)));
        for seat in steps.chain(restart) {
            if known.insert(seat) {
                seats.push(seat);
            }
        }
        next += 1;
    }
    seats
}

fn steps_of<'a>(classes: &'a [Class], seats: &'a [Seat]) -> impl Iterator<Item = (Seat, &'a Step)> {
    seats.iter().flat_map(|seat| {
        let class = &classes[usize::from(seat.0)];
        class.steps.iter().chain(&class.answers).map(|step| (*seat, step))
    })
}

fn disk_index(nodes: usize, disk: Disk) -> usize {
    let vote = disk.vote.map_or(0, |vote| usize::from(vote) + 1);
    usize::from(disk.term) * (nodes + 1) + vote
}
