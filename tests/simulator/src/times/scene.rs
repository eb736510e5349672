//! What happens to a cluster in each scene, and which time is measured.

use std::fmt;
use std::time::Duration;

use graft_election_core::{Config, Handover, Message, Mode};

use crate::judgement::Violation;
use crate::setup::VoteRecord;
use crate::{Cluster, Condition, Links, NodeIndex, NodeSetup, Setup, Step};

/// T_min, the unit of all times; T_max is twice that, and H a fifth.
pub(super) const UNIT: Duration = Config::ELECTION_TIMEOUT_MIN;

/// A run that has no leader for this long counts as never having one again.
const NEVER_AFTER: Duration = UNIT.saturating_mul(1_000);

/// How long a message takes at most.
const MESSAGE_TIME_MAX: Duration = Duration::from_millis(4);

/// The share of messages that is lost in the scene with lossy links.
const LOSS: f64 = 0.1;

/// How long the slow disk takes, at least.
const SLOW_SAVE: Duration = Duration::from_millis(300);

/// For how long times without a leader are added up where there may be several.
const WATCHED: Duration = UNIT.saturating_mul(20);

/// What happens, and which time without a leader is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    ColdStart,
    ColdStartInNoDoubt,
    StaggeredStart,
    StaggeredRestart,
    StartWithoutSome,
    AllRestarted,
    LeaderCrashes,
    AnotherIsDown,
    LossyLinks,
    SlowLinks,
    SlowAndLossyLinks,
    OneWayAmongSurvivors,
    CutAmongSurvivors,
    DeafSurvivor,
    MuteSurvivor,
    SlowDiskAmongSurvivors,
    Witnesses,
    CandidateIsBehind,
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
    pub(super) const ALL: [(Self, &[usize]); 26] = [
        (Self::ColdStart, &[3, 5, 7, 9]),
        (Self::ColdStartInNoDoubt, &[3, 5, 7, 9]),
        (Self::StaggeredStart, &[3, 5]),
        (Self::StaggeredRestart, &[3, 5]),
        (Self::StartWithoutSome, &[3, 5]),
        (Self::AllRestarted, &[3, 5]),
        (Self::LeaderCrashes, &[3, 5, 7, 9]),
        (Self::AnotherIsDown, &[5]),
        (Self::LossyLinks, &[3, 5]),
        (Self::SlowLinks, &[3, 5]),
        (Self::SlowAndLossyLinks, &[3, 5]),
        (Self::OneWayAmongSurvivors, &[5]),
        (Self::CutAmongSurvivors, &[5]),
        (Self::DeafSurvivor, &[5, 7]),
        (Self::MuteSurvivor, &[5, 7]),
        (Self::SlowDiskAmongSurvivors, &[3, 5]),
        (Self::Witnesses, &[5]),
        (Self::CandidateIsBehind, &[3, 5]),
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
        let slow = UNIT.mul_f64(0.2)..=UNIT.mul_f64(0.3);
        let healthy = &mut cluster(&links);
        match self {
            Self::ColdStart => until_led(healthy),
            Self::ColdStartInNoDoubt => starts_in_no_doubt(healthy),
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
            Self::AllRestarted => all_restarted(healthy),
            Self::LeaderCrashes => leader_crashes(healthy),
            Self::AnotherIsDown => {
                healthy.crash(NodeIndex::new(0), None);
                leader_crashes(healthy)
            }
            Self::LossyLinks => leader_crashes(&mut cluster(&Links { loss: LOSS, ..links })),
            Self::SlowLinks => leader_crashes(&mut cluster(&Links { delay: slow, ..links })),
            Self::SlowAndLossyLinks => {
                leader_crashes(&mut cluster(&Links { delay: slow, loss: LOSS }))
            }
            Self::OneWayAmongSurvivors
            | Self::CutAmongSurvivors
            | Self::DeafSurvivor
            | Self::MuteSurvivor
            | Self::SlowDiskAmongSurvivors => self.handicap_a_survivor(healthy),
            Self::Witnesses => {
                leader_crashes(&mut Cluster::new(with_witnesses(size, mode), &links, seed))
            }
            Self::CandidateIsBehind => candidate_is_behind(healthy),
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

    /// Something is wrong with one of those whom the leader leaves behind.
    fn handicap_a_survivor(self, cluster: &mut Cluster) -> Result<Duration, Violation> {
        let leader = lead(cluster)?;
        let others = others(cluster, leader);
        let first = others[0];
        match self {
            Self::CutAmongSurvivors => cluster.part(first, others[1]),
            Self::DeafSurvivor => others[1..].iter().for_each(|other| cluster.cut(*other, first)),
            Self::MuteSurvivor => others[1..].iter().for_each(|other| cluster.cut(first, *other)),
            Self::SlowDiskAmongSurvivors => cluster.slow_disks(first.get() + 1, SLOW_SAVE),
            _ => cluster.cut(first, others[1]),
        }
        cluster.crash(leader, None);
        until_led(cluster)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ColdStart => "all start together",
            Self::ColdStartInNoDoubt => "all start together, of ids that are their own",
            Self::StaggeredStart => "they start one by one",
            Self::StaggeredRestart => "they start one by one, with records",
            Self::StartWithoutSome => "only a quorum starts",
            Self::AllRestarted => "all crash, and are back at once",
            Self::LeaderCrashes => "the leader crashes",
            Self::AnotherIsDown => "the leader crashes, and one is down already",
            Self::LossyLinks => "the leader crashes, and a tenth of all messages is lost",
            Self::SlowLinks => "the leader crashes, and messages take 0.2 to 0.3",
            Self::OneWayAmongSurvivors => "the leader crashes, and one link works one way",
            Self::SlowAndLossyLinks => "the leader crashes, and messages are slow and lost",
            Self::CutAmongSurvivors => "the leader crashes, and one link is cut",
            Self::DeafSurvivor => "the leader crashes, and one survivor hears nobody",
            Self::MuteSurvivor => "the leader crashes, and nobody hears one survivor",
            Self::SlowDiskAmongSurvivors => "the leader crashes, and one survivor saves slowly",
            Self::Witnesses => "the leader crashes, and two others are witnesses",
            Self::CandidateIsBehind => "the leader crashes, and one survivor has a higher term",
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

fn starts_in_no_doubt(cluster: &mut Cluster) -> Result<Duration, Violation> {
    cluster.dispel_doubts();
    until_led(cluster)
}

/// A cluster whose first two nodes never lead.
fn with_witnesses(size: usize, mode: Mode) -> Setup {
    let mut setup = Setup::new(size);
    setup.nodes.iter_mut().for_each(|node| node.mode = mode);
    setup.nodes.iter_mut().take(2).for_each(|node| node.priority = Config::WITNESS);
    setup
}

fn leader_crashes(cluster: &mut Cluster) -> Result<Duration, Violation> {
    let leader = lead(cluster)?;
    cluster.crash(leader, None);
    until_led(cluster)
}

/// All lose their power at once, with their records. Time is measured from their start.
fn all_restarted(cluster: &mut Cluster) -> Result<Duration, Violation> {
    lead(cluster)?;
    for node in cluster.world().nodes() {
        cluster.crash(node, Some(UNIT / 10));
    }
    cluster.run_for(UNIT / 10)?;
    until_led(cluster)
}

/// A survivor has a higher term than it says before it is asked. It is a stray handover that gave
/// it the term, when it was bound to nobody any more.
fn candidate_is_behind(cluster: &mut Cluster) -> Result<Duration, Violation> {
    let leader = lead(cluster)?;
    let ahead = others(cluster, leader)[0];
    until(cluster, |cluster| cluster.world().condition(ahead) == Condition::Waiting)?;
    let term = cluster.world().view(ahead).map_or(0, |(_, term, _)| term + 1);
    let id = cluster.world().identity(leader).id();
    let handover = Handover { term, leader: id, target: None, round: None };
    let message = Box::new(Message::Handover(handover));
    cluster.crash(leader, None);
    cluster.apply(&Step::Forge { message, round_of: None, to: ahead });
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
