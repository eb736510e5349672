//! The scenarios that broke real systems (section 5 of the protocol), each with many random
//! courses: delays, lost messages, slow disks, clocks that run unevenly. The checker judges every
//! step. What is asserted here is how soon there is a leader again, in virtual time.
//!
//! The scripts in `tests/scripts/extended/scenes` show the same scenarios.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests may stop at the first surprise too"
)]

use std::time::Duration;

use graft_election_core::{Config, Mode};
use graft_election_simulator::{Cluster, Condition, Judged, Links, NodeIndex, Setup, Step};

/// How many courses each scenario takes.
const SEEDS: u64 = 200;

const T_MAX: Duration = Config::ELECTION_TIMEOUT_MAX;

/// How far off a clock's rate is, at most, in millionths. Two of them differ by less than rho.
const DRIFT_MAX: u64 = 50_000;

/// Few enough lost messages for a leader with one follower to keep its lease. The lease lasts for
/// four heartbeats, and each of them or its answer would have to be lost.
const FEW: f64 = 0.01;

/// Enough lost messages for elections to fail now and then.
const MANY: f64 = 0.1;

/// For how long a leader must stay.
const LONG: Duration = T_MAX.saturating_mul(15);

#[test]
fn one_link_cut_of_three() {
    for seed in 0..SEEDS {
        let mut course = Course::of(Setup::new(3), FEW, seed);
        let leader = course.lead();
        course.cluster.part(leader, course.follower(leader));
        course.keeps(leader);
    }
}

#[test]
fn one_way_link() {
    for seed in 0..SEEDS {
        for leader_is_heard in [false, true] {
            let mut course = Course::of(Setup::new(3), FEW, seed);
            let leader = course.lead();
            let follower = course.follower(leader);
            if leader_is_heard {
                course.cluster.cut(follower, leader);
            } else {
                course.cluster.cut(leader, follower);
            }
            course.keeps(leader);
        }
    }
}

#[test]
fn five_nodes_two_weak_links() {
    recovers_within(Bounds { most: 1.5, worst: 4.0 }, |seed| {
        let mut course = Course::of(Setup::new(5), MANY, seed);
        course.lead();
        course.leave_links(&[(0, 1), (0, 2), (1, 2), (1, 3), (2, 4)]);
        course.until_one_leads(&[0, 1, 2])
    });
}

#[test]
fn quorum_loss() {
    recovers_within(Bounds { most: 1.5, worst: 3.0 }, |seed| {
        let mut course = Course::of(Setup::new(5), MANY, seed);
        let leader = course.lead();
        let center = course.follower(leader).get();
        let links = (0..5).filter(|node| *node != center).map(|node| (node, center));
        course.leave_links(&links.collect::<Vec<_>>());
        course.until_one_leads(&[center])
    });
}

#[test]
fn constrained_election() {
    recovers_within(Bounds { most: 2.0, worst: 4.0 }, |seed| {
        let mut setup = Setup::new(4);
        setup.nodes[1..].iter_mut().for_each(|node| node.position = 7);
        let mut course = Course::of(setup, MANY, seed);
        course.lead();
        course.leave_links(&[(0, 1), (0, 2), (0, 3)]);
        course.cluster.run_for(T_MAX).unwrap();
        assert_eq!(
            course.cluster.leader(),
            None,
            "seed {seed}: nobody reaches those who would vote"
        );
        course.cluster.apply(&Step::Position { node: NodeIndex::new(0), position: 7 });
        course.until_one_leads(&[0])
    });
}

#[test]
fn chained_connectivity() {
    recovers_within(Bounds { most: 2.0, worst: 3.0 }, |seed| {
        let mut course = Course::of(Setup::new(5), MANY, seed);
        course.lead();
        course.leave_links(&[(0, 1), (1, 2), (2, 3), (3, 4)]);
        course.until_one_leads(&[1, 2, 3])
    });
}

#[test]
fn lower_term_among_pre_voters() {
    recovers_within(Bounds { most: 2.5, worst: 4.0 }, |seed| {
        let mut course = Course::of(Setup::new(3), MANY, seed);
        let leader = course.lead();
        let away = course.follower(leader);
        course.isolate(away);
        course.cluster.apply(&Step::HandOver { node: leader, to: None });
        course.until_led();
        let leader = course.cluster.leader().unwrap();
        assert!(course.term(away) < course.term(leader), "seed {seed}");
        course.cluster.apply(&Step::Heal);
        course.cluster.crash(leader, None);
        course.until_led()
    });
}

#[test]
fn mixed_modes() {
    recovers_within(Bounds { most: 1.5, worst: 3.0 }, |seed| {
        let mut setup = Setup::new(5);
        for (bit, node) in setup.nodes.iter_mut().enumerate() {
            let is_graft = seed >> bit & 1 == 1;
            node.mode = if is_graft { Mode::Graft } else { Mode::Extended };
        }
        let mut course = Course::of(setup, MANY, seed);
        let leader = course.lead();
        course.cluster.crash(leader, None);
        course.until_led()
    });
}

#[test]
fn deaf_leader() {
    recovers_within(Bounds { most: 2.5, worst: 3.0 }, |seed| {
        let mut course = Course::of(Setup::new(3), MANY, seed);
        let leader = course.lead();
        let others = course.others(leader);
        others.iter().for_each(|other| course.cluster.cut(*other, leader));
        course.until(|cluster| cluster.leader().is_some_and(|other| other != leader))
    });
}

#[test]
fn priorities_that_fight() {
    for seed in 0..SEEDS {
        let mut setup = Setup::new(3);
        for (priority, node) in (1..).zip(&mut setup.nodes) {
            node.priority = priority;
        }
        let mut course = Course::of(setup, FEW, seed);
        course.cluster.part(NodeIndex::new(1), NodeIndex::new(2));
        course.until_led();
        let elections = course.cluster.elections();
        course.cluster.run_for(T_MAX * 40).unwrap();
        // Each promotion is one election, and one more if it fails.
        assert!(course.cluster.elections() <= elections + 3, "seed {seed}");
        assert!(course.cluster.leader().is_some(), "seed {seed}");
    }
}

/// Candidates give up and restart again and again, and the checker knows for whom each has voted
/// (rules V1, I2). Half of all messages are lost.
#[test]
fn a_vote_in_its_own_term() {
    recovers_within(Bounds { most: 6.0, worst: 8.0 }, |seed| {
        let mut course = Course::of(Setup::new(3), 0.5, seed);
        for _ in 0..20 {
            course.cluster.run_for(T_MAX / 2).unwrap();
            let node = NodeIndex::new(seed as usize % 3);
            if course.cluster.world().condition(node) != Condition::Down {
                course.cluster.crash(node, Some(T_MAX / 10));
            }
        }
        course.until_led()
    });
}

#[test]
fn leader_paused() {
    recovers_within(Bounds { most: 2.5, worst: 3.0 }, |seed| {
        let mut course = Course::of(Setup::new(3), MANY, seed);
        let leader = course.lead();
        course.cluster.pause(leader, T_MAX * 8);
        let recovery =
            course.until(|cluster| cluster.leader().is_some_and(|other| other != leader));
        course.cluster.run_for(T_MAX * 8).unwrap();
        course.until(|cluster| cluster.undisputed_leader().is_some());
        recovery
    });
}

#[test]
fn all_nodes_paused() {
    recovers_within(Bounds { most: 1.0, worst: 3.0 }, |seed| {
        let mut course = Course::of(Setup::new(3), MANY, seed);
        course.lead();
        for node in course.cluster.world().nodes() {
            let ready = |cluster: &Cluster| cluster.world().condition(node) == Condition::Waiting;
            course.until(ready);
            course.cluster.pause(node, T_MAX * 60);
        }
        course.cluster.run_for(T_MAX * 60).unwrap();
        course.until(|cluster| cluster.undisputed_leader().is_some())
    });
}

/// The leader's machine and a follower's: nobody can be elected meanwhile.
#[test]
fn machine_suspended() {
    recovers_within(Bounds { most: 1.0, worst: 3.0 }, |seed| {
        let mut course = Course::of(Setup::new(3), MANY, seed);
        let leader = course.lead();
        for node in [leader, course.follower(leader)] {
            course.until(|cluster| cluster.world().condition(node) == Condition::Waiting);
            course.cluster.pause(node, T_MAX * 10);
        }
        course.cluster.run_for(T_MAX * 9).unwrap();
        assert_eq!(course.cluster.leader(), None, "seed {seed}: its lease is over");
        course.cluster.run_for(T_MAX).unwrap();
        course.until_led()
    });
}

/// Disks that take as long to store a vote as the longest timeout, on all nodes or on as many as a
/// quorum needs, from the start or from when the leader crashes (rule C3). Two nodes that ask for
/// votes within one save of each other cost a round of two saves and a timeout.
#[test]
fn slow_disks() {
    for (size, most, worst) in [(3, 11.0, 12.0), (5, 15.0, 17.0)] {
        for slow in [size / 2 + 1, size] {
            for crashes in [false, true] {
                recovers_within(Bounds { most, worst }, |seed| {
                    let mut course = Course::of(Setup::new(size), FEW, seed);
                    let leader = if crashes { Some(course.lead()) } else { None };
                    course.cluster.slow_disks(slow, T_MAX);
                    if let Some(leader) = leader {
                        course.cluster.crash(leader, None);
                    }
                    course.until_led()
                });
            }
        }
    }
}

/// The two that are left must hear each other, with a tenth of what they say lost: of 200,000
/// courses, 14 take more than 4 T_max, and none takes 5.
#[test]
fn a_lost_disk() {
    recovers_within(Bounds { most: 2.5, worst: 5.0 }, |seed| {
        let setup = Setup { judged: Judged::AllButI1, ..Setup::new(3) };
        let mut course = Course::of(setup, MANY, seed);
        let leader = course.lead();
        let loser = course.follower(leader);
        course.cluster.crash(loser, None);
        course.cluster.apply(&Step::Replace(loser));
        course.cluster.run_for(T_MAX).unwrap();
        let leader = course.lead();
        course.cluster.crash(leader, None);
        course.until_led()
    });
}

/// Three nodes with a list of voters, and three without one. The list keeps the declared voters
/// from helping strangers, but not the strangers from electing one of themselves (rule V6). All
/// nodes follow whichever leads, and no two ever have a lease.
#[test]
fn two_clusters_of_one_name() {
    recovers_within(Bounds { most: 2.0, worst: 4.0 }, |seed| {
        let setup = Setup { size: 3, declared: true, ..Setup::new(6) };
        let mut course = Course::of(setup, MANY, seed);
        course.until_led();
        course.cluster.run_for(T_MAX * 4).unwrap();
        course.until_led();
        let leader = course.cluster.leader().unwrap();
        course.cluster.crash(leader, None);
        course.until_led()
    });
}

/// How long recovery may take, in T_max.
struct Bounds {
    /// In 99 of 100 courses: a fault shows here before it shows in the worst of them.
    most: f64,
    worst: f64,
}

/// Plays a scenario with all seeds.
#[track_caller]
fn recovers_within(bounds: Bounds, scenario: impl Fn(u64) -> Duration) {
    let mut recoveries: Vec<_> = (0..SEEDS).map(|seed| (scenario(seed), seed)).collect();
    recoveries.sort_unstable();
    let most = recoveries.len() * 99 / 100;
    for (index, bound) in [(most, bounds.most), (recoveries.len() - 1, bounds.worst)] {
        let (recovery, seed) = recoveries[index];
        assert!(recovery <= T_MAX.mul_f64(bound), "seed {seed}: {recovery:?} > {bound} T_max");
    }
}

/// One course of a scenario.
struct Course {
    cluster: Cluster,
    seed: u64,
}

impl Course {
    /// A cluster on links that lose this share of all messages, with clocks that run unevenly.
    fn of(setup: Setup, loss: f64, seed: u64) -> Self {
        let mut cluster = Cluster::new(setup, &Links::lossy(loss), seed);
        for node in cluster.world().nodes() {
            let micros = Duration::from_micros;
            let drift = cluster.draw(micros(0)..=micros(2 * DRIFT_MAX)).as_micros() as i32;
            cluster.apply(&Step::Drift { node, millionths: drift - DRIFT_MAX as i32 });
        }
        Self { cluster, seed }
    }

    /// Lets it run until all follow a leader, and for a while.
    fn lead(&mut self) -> NodeIndex {
        self.until(|cluster| cluster.undisputed_leader().is_some());
        let span = self.cluster.draw(T_MAX..=T_MAX * 2);
        self.cluster.run_for(span).unwrap();
        self.until(|cluster| cluster.undisputed_leader().is_some());
        self.cluster.undisputed_leader().unwrap()
    }

    fn others(&self, node: NodeIndex) -> Vec<NodeIndex> {
        self.cluster.world().nodes().filter(|other| *other != node).collect()
    }

    fn follower(&self, leader: NodeIndex) -> NodeIndex {
        let others = self.others(leader);
        others[self.seed as usize % others.len()]
    }

    fn term(&self, node: NodeIndex) -> Option<u64> {
        self.cluster.world().view(node).map(|(_, term, _)| term)
    }

    fn isolate(&mut self, node: NodeIndex) {
        for other in self.others(node) {
            self.cluster.part(node, other);
        }
    }

    /// Cuts all links except these, which work both ways.
    fn leave_links(&mut self, links: &[(usize, usize)]) {
        let nodes: Vec<_> = self.cluster.world().nodes().collect();
        for from in &nodes {
            for to in nodes.iter().filter(|to| *to != from) {
                let (a, b) = (from.get(), to.get());
                if !links.contains(&(a, b)) && !links.contains(&(b, a)) {
                    self.cluster.cut(*from, *to);
                }
            }
        }
    }

    /// How long it takes until there is a leader.
    fn until_led(&mut self) -> Duration {
        self.until(|cluster| cluster.leader().is_some())
    }

    /// How long it takes until one of these leads.
    fn until_one_leads(&mut self, nodes: &[usize]) -> Duration {
        self.until(|cluster| cluster.leader().is_some_and(|leader| nodes.contains(&leader.get())))
    }

    fn until(&mut self, condition: impl Fn(&Cluster) -> bool) -> Duration {
        let took = self.cluster.run_until(T_MAX * 100, condition);
        match took {
            Ok(took) => took.unwrap_or_else(|| panic!("seed {}: it takes for ever", self.seed)),
            Err(violation) => panic!("seed {}: {violation}", self.seed),
        }
    }

    /// The leader stays, and nobody else is elected (A2).
    fn keeps(&mut self, leader: NodeIndex) {
        let elections = self.cluster.elections();
        self.cluster.run_for(LONG).unwrap();
        assert_eq!(self.cluster.leader(), Some(leader), "seed {}", self.seed);
        assert_eq!(self.cluster.elections(), elections, "seed {}", self.seed);
    }
}
