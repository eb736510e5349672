//! What is done to a cluster, and which time is taken.

use std::fmt;
use std::time::Duration;

use graft_election_core::{Config, Handover, Message, Mode, VoteRecord};

use crate::{Condition, Links, NodeIndex, NodeSetup, Setup, Stage, Step, Violation};

/// T_min, the unit of all times; T_max is twice that, and H a fifth.
pub(super) const UNIT: Duration = Config::ELECTION_TIMEOUT_MIN;

/// After which time without a leader a run counts as one that never has any.
const NEVER_AFTER: Duration = UNIT.saturating_mul(1_000);

/// How long a message takes at most.
const MESSAGE_TIME_MAX: Duration = Duration::from_millis(4);

/// The share of messages that is lost where some are.
const LOSS: f64 = 0.1;

/// For how long the time without a leader is added up, if there may be several such times.
const WATCHED: Duration = UNIT.saturating_mul(20);

/// What happens, and from when to when time is taken.
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
    /// All, each with the sizes of the clusters that it is played with.
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

    /// Plays it once, by the chances that `seed` has. The time that is taken.
    ///
    /// # Errors
    ///
    /// The first rule that was broken; A1, if nobody leads for too long.
    pub(super) fn play(self, size: usize, mode: Mode, seed: u64) -> Result<Duration, Violation> {
        let stage = |links: &Links| Stage::cluster(size, mode, links, seed);
        let links = Links { delay: Duration::ZERO..=MESSAGE_TIME_MAX, loss: 0.0 };
        let healthy = &mut stage(&links);
        match self {
            Self::ColdStart => until_led(healthy),
            Self::StaggeredStart => staggered(healthy, size),
            Self::StaggeredRestart => {
                let record = VoteRecord { term: 1, voted_for: None };
                let node = NodeSetup { mode, record, ..NodeSetup::default() };
                let setup = Setup { nodes: vec![node; size], ..Setup::new(size) };
                staggered(&mut Stage::new(setup, &links, seed), size)
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
            Self::LossyLinks => leader_crashes(&mut stage(&Links { loss: LOSS, ..links })),
            Self::SlowLinks => {
                let delay = UNIT.mul_f64(0.2)..=UNIT.mul_f64(0.3);
                leader_crashes(&mut stage(&Links { delay, ..links }))
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
            Self::OneWayFromLeader => {
                let leader = lead(healthy)?;
                healthy.cut(leader, others(healthy, leader)[0]);
                let mut outages = Outages::default();
                outages.watch(healthy, WATCHED)?;
                Ok(outages.total)
            }
            Self::DeafLeader => {
                let leader = deafen_leader(healthy)?;
                until(healthy, |stage| stage.leader().is_some_and(|other| other != leader))
            }
            Self::DeafLeaderGivesUp => {
                let leader = deafen_leader(healthy)?;
                until(healthy, |stage| stage.leader() != Some(leader))?;
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
    /// Looks on for a while. That a lease has ended shows at the next thing that happens, which in
    /// a leader's life is the end of its lease itself.
    fn watch(&mut self, stage: &mut Stage, span: Duration) -> Result<(), Violation> {
        let end = stage.world().now().plus(span);
        while stage.world().now() < end {
            let (before, was_led) = (stage.world().now(), stage.leader().is_some());
            stage.go_on()?;
            let passed = stage.world().now().since(before);
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

/// Lets a cluster run for a while under a leader whom all follow.
fn lead(stage: &mut Stage) -> Result<NodeIndex, Violation> {
    until(stage, |stage| stage.undisputed_leader().is_some())?;
    let span = stage.draw(UNIT..=UNIT * 2);
    stage.go_on_for(span)?;
    // On bad links the leader may be another by now, or about to be.
    until(stage, |stage| stage.undisputed_leader().is_some())?;
    stage.undisputed_leader().ok_or_else(nobody_leads)
}

fn others(stage: &Stage, leader: NodeIndex) -> Vec<NodeIndex> {
    stage.world().nodes().filter(|node| *node != leader).collect()
}

fn until_led(stage: &mut Stage) -> Result<Duration, Violation> {
    until(stage, |stage| stage.leader().is_some())
}

fn until(stage: &mut Stage, condition: impl Fn(&Stage) -> bool) -> Result<Duration, Violation> {
    stage.go_on_until(NEVER_AFTER, condition)?.ok_or_else(nobody_leads)
}

fn nobody_leads() -> Violation {
    Violation { rule: "A1", what: format!("nobody leads for {NEVER_AFTER:?}") }
}

/// The nodes start at any moment within T_max. Time is taken from the one on that makes a quorum.
fn staggered(stage: &mut Stage, size: usize) -> Result<Duration, Violation> {
    for node in stage.world().nodes() {
        let start_after = stage.draw(Duration::ZERO..=UNIT * 2);
        stage.crash(node, Some(start_after));
    }
    let is_up = |stage: &Stage, node| stage.world().condition(node) != Condition::Down;
    until(stage, |stage| {
        stage.world().nodes().filter(|node| is_up(stage, *node)).count() >= quorum(size)
    })?;
    until_led(stage)
}

fn leader_crashes(stage: &mut Stage) -> Result<Duration, Violation> {
    let leader = lead(stage)?;
    stage.crash(leader, None);
    until_led(stage)
}

/// Closes each node, and starts it again after T_min; the next one's turn is when all follow a
/// leader once more.
fn restart_in_turn(stage: &mut Stage) -> Result<Outages, Violation> {
    let mut outages = Outages::default();
    for node in stage.world().nodes() {
        lead(stage)?;
        until(stage, |stage| stage.world().condition(node) == Condition::Waiting)?;
        stage.close(node, Some(UNIT));
        outages.watch(stage, UNIT * 4)?;
    }
    Ok(outages)
}

/// Nothing that is said reaches the leader any more, while all hear it.
fn deafen_leader(stage: &mut Stage) -> Result<NodeIndex, Violation> {
    let leader = lead(stage)?;
    for other in others(stage, leader) {
        stage.cut(other, leader);
    }
    Ok(leader)
}

/// A node that was cut off has a higher term when it is back, and ends the leader's leadership,
/// once (rules T2, A2). In Extended mode it takes a stray handover to raise its term.
fn higher_term_returns(stage: &mut Stage, mode: Mode) -> Result<Duration, Violation> {
    let leader = lead(stage)?;
    let away = others(stage, leader)[0];
    for other in stage.world().nodes().filter(|node| *node != away) {
        stage.part(away, other);
    }
    if mode == Mode::Extended {
        until(stage, |stage| stage.world().condition(away) == Condition::Waiting)?;
        let term = stage.world().view(away).map_or(0, |(_, term, _)| term);
        let [leader, target] = [leader, away].map(|node| stage.world().identity(node).id());
        let handover = Handover { term, leader, target: Some(target) };
        let message = Box::new(Message::Handover(handover));
        stage.apply(&Step::Forge { message, to: away });
    }
    let span = stage.draw(UNIT * 4..=UNIT * 5);
    stage.go_on_for(span)?;
    stage.apply(&Step::Heal);
    until(stage, |stage| stage.leader() != Some(leader))?;
    until_led(stage)
}

fn quorum(size: usize) -> usize {
    size / 2 + 1
}
