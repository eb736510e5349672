//! What happens to a cluster in each scene, and which time is measured.

use std::fmt;
use std::time::Duration;

use graft_election_core::{Config, Handover, Message, Mode, VoteRecord};

use crate::judgement::Violation;
use crate::{Cluster, Condition, Links, NodeIndex, NodeSetup, Setup, Step};

/// T_min, the unit of all times; T_max is twice that, and H a fifth.
pub(super) const UNIT: Duration = Config::ELECTION_TIMEOUT_MIN;

/// A run that has no leader for this long counts as never having one again.
const NEVER_AFTER: Duration = UNIT.saturating_mul(1_000);

/// How long a message takes at most.
const MESSAGE_TIME_MAX: Duration = Duration::from_millis(4);

/// The share of messages that is lost in the scene with lossy links.
const LOSS: f64 = 0.1;

/// For how long times without a leader are added up where there may be several.
const WATCHED: Duration = UNIT.saturating_mul(20);

/// What happens, and which time without a leader is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    ColdStart,
    StaggeredStart,
    StaggeredRestart,
    StartWithoutSome,
    LeaderCrashes,
    AnotherIsDown,
    LossyLinks,
    SlowLinks,
    OneWayAmongSurvivors,
    GracefulClose,
    HandoverToTheDead,
    RollingRestart,
    LongestOfRollingRestart,
    OneWayFromLeader,
    DeafLeader,
    DeafLeaderGivesUp,
    HigherTermReturns,
}

impl Scene {
    /// All scenes, each with the sizes of cluster with which it is played.
    pub(super) const ALL: [(Self, &[usize]); 17] = [
        (Self::ColdStart, &[3, 5]),
        (Self::StaggeredStart, &[3, 5]),
        (Self::StaggeredRestart, &[3, 5]),
        (Self::StartWithoutSome, &[3, 5]),
        (Self::LeaderCrashes, &[3, 5]),
        (Self::AnotherIsDown, &[5]),
        (Self::LossyLinks, &[3, 5]),
        (Self::SlowLinks, &[3, 5]),
        (Self::OneWayAmongSurvivors, &[5]),
        (Self::GracefulClose, &[3, 5]),
        (Self::HandoverToTheDead, &[3, 5]),
        (Self::RollingRestart, &[3, 5]),
        (Self::LongestOfRollingRestart, &[3, 5]),
        (Self::OneWayFromLeader, &[3, 5]),
        (Self::DeafLeader, &[3, 5]),
        (Self::DeafLeaderGivesUp, &[3, 5]),
        (Self::HigherTermReturns, &[3, 5]),
    ];

    /// Whether it can happen in a mode: a leader in Graft mode never finds out that it is deaf.
    pub(super) fn happens_in(self, mode: Mode) -> bool {
        mode == Mode::Extended || !matches!(self, Self::DeafLeader | Self::DeafLeaderGivesUp)
    }

    /// Plays it once, with the chances of `seed`. Returns the time measured.
    ///
    /// # Errors
    ///
    /// The first rule that was broken; A1, if nobody leads for too long.
    pub(super) fn play(self, size: usize, mode: Mode, seed: u64) -> Result<Duration, Violation> {
        let cluster = |links: &Links| Cluster::of_size(size, mode, links, seed);
        let links = Links { delay: Duration::ZERO..=MESSAGE_TIME_MAX, loss: 0.0 };
        let healthy = &mut cluster(&links);
        match self {
            Self::ColdStart => until_led(healthy),
            Self::StaggeredStart => staggered(healthy, size),
            Self::StaggeredRestart => {
                let record = VoteRecord { term: 1, ..VoteRecord::default() };
                let node = NodeSetup { mode, record, ..NodeSetup::default() };
                let setup = Setup { nodes: vec![node; size], ..Setup::new(size) };
                staggered(&mut Cluster::new(setup, &links, seed), size)
            }
            Self::StartWithoutSome => {
                for node in healthy.world().nodes().skip(quorum(size)) {
                    healthy.crash(node, None);
                }
                until_led(healthy)
            }
            Self::LeaderCrashes => leader_crashes(healthy),
            Self::AnotherIsDown => {
                healthy.crash(NodeIndex::new(0), None);
                leader_crashes(healthy)
            }
            Self::LossyLinks => leader_crashes(&mut cluster(&Links { loss: LOSS, ..links })),
            Self::SlowLinks => {
                let delay = UNIT.mul_f64(0.2)..=UNIT.mul_f64(0.3);
                leader_crashes(&mut cluster(&Links { delay, ..links }))
            }
            Self::OneWayAmongSurvivors => {
                let leader = lead(healthy)?;
                let others = others(healthy, leader);
                healthy.cut(others[0], others[1]);
                healthy.crash(leader, None);
                until_led(healthy)
            }
            Self::GracefulClose => {
                let leader = lead(healthy)?;
                healthy.close(leader, None);
                until_led(healthy)
            }
            Self::HandoverToTheDead => {
                let leader = lead(healthy)?;
                let target = others(healthy, leader)[0];
                healthy.crash(target, None);
                healthy.apply(&Step::HandOver { node: leader, to: Some(target) });
                until_led(healthy)
            }
            Self::RollingRestart => restart_in_turn(healthy).map(|outages| outages.total),
            Self::LongestOfRollingRestart => {
                restart_in_turn(healthy).map(|outages| outages.longest)
            }
            Self::OneWayFromLeader => one_way_from_leader(healthy),
            Self::DeafLeader => {
                let leader = deafen_leader(healthy)?;
                until(healthy, |cluster| cluster.leader().is_some_and(|other| other != leader))
            }
            Self::DeafLeaderGivesUp => {
                let leader = deafen_leader(healthy)?;
                until(healthy, |cluster| cluster.leader() != Some(leader))?;
                until_led(healthy)
            }
            Self::HigherTermReturns => higher_term_returns(healthy, mode),
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ColdStart => "all start together",
            Self::StaggeredStart => "they start one by one",
            Self::StaggeredRestart => "they start one by one, with records",
            Self::StartWithoutSome => "only a quorum starts",
            Self::LeaderCrashes => "the leader crashes",
            Self::AnotherIsDown => "the leader crashes, and one is down already",
            Self::LossyLinks => "the leader crashes, and a tenth of all messages is lost",
            Self::SlowLinks => "the leader crashes, and messages take 0.2 to 0.3",
            Self::OneWayAmongSurvivors => "the leader crashes, and one link works one way",
            Self::GracefulClose => "the leader is closed",
            Self::HandoverToTheDead => "the leader hands over to a dead node",
            Self::RollingRestart => "all are restarted in turn: sum",
            Self::LongestOfRollingRestart => "all are restarted in turn: longest",
            Self::OneWayFromLeader => "one follower doesn't hear the leader: sum",
            Self::DeafLeader => "the leader hears nobody",
            Self::DeafLeaderGivesUp => "the leader hears nobody, from its end on",
            Self::HigherTermReturns => "a node comes back with a higher term",
        })
    }
}

/// The times without a leader.
#[derive(Debug, Default)]
struct Outages {
    total: Duration,
    longest: Duration,
    current: Duration,
}

impl Outages {
    /// Adds up the time without a leader for a while. The end of a lease shows at the next thing
    /// that happens, and that is at the latest the leader's own timer at that very moment.
    fn watch(&mut self, cluster: &mut Cluster, span: Duration) -> Result<(), Violation> {
        let end = cluster.world().now().plus(span);
        while cluster.world().now() < end {
            let (before, was_led) = (cluster.world().now(), cluster.leader().is_some());
            cluster.run_next()?;
            let passed = cluster.world().now().since(before);
            if was_led {
                self.current = Duration::ZERO;
            } else {
                self.current += passed;
                self.total += passed;
            }
            self.longest = self.longest.max(self.current);
        }
        Ok(())
    }
}

/// Lets a cluster run for a while under a leader whom all nodes follow.
fn lead(cluster: &mut Cluster) -> Result<NodeIndex, Violation> {
    until(cluster, |cluster| cluster.undisputed_leader().is_some())?;
    let span = cluster.draw(UNIT..=UNIT * 2);
    cluster.run_for(span)?;
    // On bad links the leader may have changed by now, or be about to change.
    until(cluster, |cluster| cluster.undisputed_leader().is_some())?;
    cluster.undisputed_leader().ok_or_else(nobody_leads)
}

fn others(cluster: &Cluster, leader: NodeIndex) -> Vec<NodeIndex> {
    cluster.world().nodes().filter(|node| *node != leader).collect()
}

fn until_led(cluster: &mut Cluster) -> Result<Duration, Violation> {
    until(cluster, |cluster| cluster.leader().is_some())
}

fn until(
    cluster: &mut Cluster,
    condition: impl Fn(&Cluster) -> bool,
) -> Result<Duration, Violation> {
    cluster.run_until(NEVER_AFTER, condition)?.ok_or_else(nobody_leads)
}

fn nobody_leads() -> Violation {
    Violation { rule: "A1", what: format!("nobody leads for {NEVER_AFTER:?}") }
}

/// The nodes start at any moment within T_max. Time is measured from the start that makes a quorum.
fn staggered(cluster: &mut Cluster, size: usize) -> Result<Duration, Violation> {
    for node in cluster.world().nodes() {
        let start_after = cluster.draw(Duration::ZERO..=UNIT * 2);
        cluster.crash(node, Some(start_after));
    }
    let is_up = |cluster: &Cluster, node| cluster.world().condition(node) != Condition::Down;
    until(cluster, |cluster| {
        cluster.world().nodes().filter(|node| is_up(cluster, *node)).count() >= quorum(size)
    })?;
    until_led(cluster)
}

fn leader_crashes(cluster: &mut Cluster) -> Result<Duration, Violation> {
    let leader = lead(cluster)?;
    cluster.crash(leader, None);
    until_led(cluster)
}

/// Closes each node, and starts it again after T_min. The next one follows when all follow a leader
/// again.
fn restart_in_turn(cluster: &mut Cluster) -> Result<Outages, Violation> {
    let mut outages = Outages::default();
    for node in cluster.world().nodes() {
        lead(cluster)?;
        until(cluster, |cluster| cluster.world().condition(node) == Condition::Waiting)?;
        cluster.close(node, Some(UNIT));
        outages.watch(cluster, UNIT * 4)?;
    }
    Ok(outages)
}

/// Cuts the link from the leader to one follower. Returns the time without a leader for a while
/// after that.
fn one_way_from_leader(cluster: &mut Cluster) -> Result<Duration, Violation> {
    let leader = lead(cluster)?;
    cluster.cut(leader, others(cluster, leader)[0]);
    let mut outages = Outages::default();
    outages.watch(cluster, WATCHED)?;
    Ok(outages.total)
}

/// Cuts all links to the leader, while all others still hear it.
fn deafen_leader(cluster: &mut Cluster) -> Result<NodeIndex, Violation> {
    let leader = lead(cluster)?;
    for other in others(cluster, leader) {
        cluster.cut(other, leader);
    }
    Ok(leader)
}

/// A node that was cut off comes back with a higher term, and deposes the leader, once (rules T2,
/// A2). In Extended mode it takes a stray handover to raise its term.
fn higher_term_returns(cluster: &mut Cluster, mode: Mode) -> Result<Duration, Violation> {
    let leader = lead(cluster)?;
    let away = others(cluster, leader)[0];
    for other in cluster.world().nodes().filter(|node| *node != away) {
        cluster.part(away, other);
    }
    if mode == Mode::Extended {
        until(cluster, |cluster| cluster.world().condition(away) == Condition::Waiting)?;
        let term = cluster.world().view(away).map_or(0, |(_, term, _)| term);
        let round = cluster.world().round(leader);
        let [leader, target] = [leader, away].map(|node| cluster.world().identity(node).id());
        let handover = Handover { term, leader, target: Some(target), round };
        let message = Box::new(Message::Handover(handover));
        cluster.apply(&Step::Forge { message, round_of: None, to: away });
    }
    let span = cluster.draw(UNIT * 4..=UNIT * 5);
    cluster.run_for(span)?;
    cluster.apply(&Step::Heal);
    until(cluster, |cluster| cluster.leader() != Some(leader))?;
    until_led(cluster)
}

fn quorum(size: usize) -> usize {
    size / 2 + 1
}
