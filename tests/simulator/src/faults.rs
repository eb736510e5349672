//! What goes wrong in a simulated world, and how often. All of it is drawn from the seed.

use std::time::Duration;

use graft_election_core::{Config, Mode};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use crate::judgement::Judged;
use crate::setup::VoteRecord;
use crate::time_shape::TimeShape;
use crate::{Change, NodeIndex, NodeSetup, Setup};

/// How long a message or a save takes in a healthy world, at most.
pub(crate) const MESSAGE_TIME_MAX: Duration = Duration::from_millis(10);

pub(crate) const SAVE_TIME_MAX: Duration = Duration::from_millis(2);

/// How far off a clock's rate is, at most, in millionths, where clocks are wild.
pub(crate) const WILD_DRIFT_MAX: i32 = 300_000;

/// How likely something is: a share of 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Odds(u32);

/// What kind of world a seed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything that can fail without malice.
    Faulty,
    /// Also messages that no sane node sends, or that are long out of date.
    Garbage,
    /// Also forged messages that can't be told from real ones.
    Hostile,
    /// Also disks that are lost, so that their nodes come back under new ids.
    LostDisks,
    /// Also more live nodes than the cluster has voters.
    TooMany,
    /// Also clocks that leap, or differ by more than rho.
    WildClocks,
    /// Also a second cluster with the same ids on the same medium: answers reach both.
    TwinClusters,
    /// Also handovers that come late, or that nobody said, while a leader is deaf.
    Handovers,
    /// Also other processes of some ids.
    Doubles,
    /// Also voters that are the Go original, among nodes in Graft mode.
    GoVoters,
    /// Also voters that change while the cluster runs.
    Changes,
    /// Also lists of voters that differ, and that are changed while all voters are stopped.
    Lists,
}

/// How often each fault happens. Each seed switches on some of them, at rates of its own: faults
/// that always occur hide those that are rare.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) kind: Kind,
    pub(crate) shape: TimeShape,
    /// Whether the doubles of a world are always heard by each other, and soon.
    pub(crate) doubles_hear: bool,
    /// How long a message takes at least.
    pub(crate) message_time_min: Duration,
    /// How much longer a message takes at most, unless it is slow.
    pub(crate) message_time_max: Duration,
    /// For each message.
    pub(crate) loss: Odds,
    pub(crate) duplication: Odds,
    pub(crate) slow_message: Odds,
    pub(crate) message_delay_max: Duration,
    /// For each save.
    pub(crate) save_failure: Odds,
    pub(crate) save_crash: Odds,
    pub(crate) slow_save: Odds,
    /// How long each save takes at least, on so many of the nodes: the first ones.
    pub(crate) save_time_min: Duration,
    pub(crate) slow_disks: usize,
    /// For each start: the node is told that no other process has its id (rule N5).
    pub(crate) no_double: Odds,
    /// For each restart.
    pub(crate) lost_disk: Odds,
    pub(crate) change: Odds,
    /// Of another program, or another mode, in a cluster with Go nodes.
    pub(crate) migration: Odds,
    /// For each timer that is due.
    pub(crate) late_timer: Odds,
    /// For each step.
    pub(crate) crash: Odds,
    pub(crate) pause: Odds,
    pub(crate) leap: Odds,
    pub(crate) drift: Odds,
    pub(crate) times: Odds,
    pub(crate) close: Odds,
    pub(crate) hand_over: Odds,
    pub(crate) list: Odds,
    pub(crate) progress: Odds,
    pub(crate) forgery: Odds,
    pub(crate) cut: Odds,
    pub(crate) operators: Odds,
    pub(crate) answers: Odds,
    /// The longest time for which a node is down, is paused, or waits for its disk.
    pub(crate) absence_max: Duration,
    /// Whether a crash amid a save can leave a torn record.
    pub(crate) tears: bool,
}

impl Odds {
    pub(crate) const NEVER: Self = Self(0);

    pub(crate) fn new(share: f64) -> Self {
        Self((share * f64::from(u32::MAX)) as u32)
    }

    pub(crate) fn happens(self, rng: &mut SmallRng) -> bool {
        self.0 > 0 && rng.next_u32() < self.0
    }
}

impl Kind {
    fn draw(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..17) {
            0..=4 => Self::Faulty,
            5 => Self::Changes,
            6 => Self::Lists,
            7 => Self::Garbage,
            8 => Self::Hostile,
            9 => Self::LostDisks,
            10 => Self::TooMany,
            11 => Self::WildClocks,
            12 | 13 => Self::TwinClusters,
            14 => Self::Handovers,
            15 => Self::GoVoters,
            _ => Self::Doubles,
        }
    }
}

impl Faults {
    /// No faults at all.
    pub(crate) fn none(kind: Kind) -> Self {
        Self {
            kind,
            shape: TimeShape::USUAL,
            doubles_hear: false,
            message_time_min: Duration::ZERO,
            message_time_max: MESSAGE_TIME_MAX,
            loss: Odds::NEVER,
            duplication: Odds::NEVER,
            slow_message: Odds::NEVER,
            message_delay_max: Duration::ZERO,
            save_failure: Odds::NEVER,
            save_crash: Odds::NEVER,
            slow_save: Odds::NEVER,
            save_time_min: Duration::ZERO,
            slow_disks: 0,
            no_double: Odds::NEVER,
            lost_disk: Odds::NEVER,
            change: Odds::NEVER,
            migration: Odds::NEVER,
            late_timer: Odds::NEVER,
            crash: Odds::NEVER,
            pause: Odds::NEVER,
            leap: Odds::NEVER,
            drift: Odds::NEVER,
            times: Odds::NEVER,
            close: Odds::NEVER,
            hand_over: Odds::NEVER,
            list: Odds::NEVER,
            progress: Odds::NEVER,
            forgery: Odds::NEVER,
            cut: Odds::NEVER,
            operators: Odds::NEVER,
            answers: Odds::NEVER,
            absence_max: Duration::ZERO,
            tears: false,
        }
    }

    /// The faults of a seed.
    pub(crate) fn draw(rng: &mut SmallRng) -> Self {
        let kind = Kind::draw(rng);
        let is_wild = kind == Kind::WildClocks;
        let shape =
            if is_wild || rng.random_bool(0.8) { TimeShape::USUAL } else { TimeShape::draw(rng) };
        let faults = Self {
            kind,
            shape,
            doubles_hear: kind == Kind::Doubles && rng.random_bool(0.5),
            message_time_min: Duration::ZERO,
            message_time_max: MESSAGE_TIME_MAX / rng.random_range(1..=10),
            loss: draw_odds(rng, 0.3),
            duplication: draw_odds(rng, 0.2),
            slow_message: draw_odds(rng, 0.2),
            message_delay_max: Duration::from_millis(rng.random_range(50..3_000)),
            save_failure: draw_odds(rng, 0.3),
            save_crash: draw_odds(rng, 0.2),
            slow_save: draw_odds(rng, 0.2),
            save_time_min: Duration::ZERO,
            slow_disks: 0,
            // No other process has it, except in the worlds that are about that.
            no_double: match kind {
                Kind::Doubles | Kind::TwinClusters => Odds::NEVER,
                _ => Odds::new(0.5),
            },
            lost_disk: if kind == Kind::LostDisks { Odds::new(0.3) } else { Odds::NEVER },
            change: draw_odds(rng, 0.5),
            migration: if kind == Kind::GoVoters { Odds::new(0.4) } else { Odds::NEVER },
            late_timer: draw_odds(rng, 0.2),
            crash: draw_odds(rng, 0.01),
            pause: draw_odds(rng, 0.01),
            leap: if is_wild { draw_odds(rng, 0.005) } else { Odds::NEVER },
            drift: draw_odds(rng, 0.005),
            times: draw_odds(rng, 0.01),
            close: draw_odds(rng, 0.005),
            hand_over: draw_odds(rng, 0.02),
            list: if kind == Kind::Lists { Odds::new(0.002) } else { Odds::NEVER },
            progress: draw_odds(rng, 0.01),
            forgery: match kind {
                Kind::Garbage | Kind::Hostile => Odds::new(0.05),
                Kind::Handovers => Odds::new(0.01),
                _ => Odds::NEVER,
            },
            cut: draw_odds(rng, 0.02),
            operators: Odds::NEVER,
            answers: Odds::NEVER,
            absence_max: Duration::from_millis(rng.random_range(20..3_000)),
            tears: rng.random_bool(0.5),
        };
        match kind {
            _ if faults.doubles_hear => faults.with_sound_links(),
            // G5: who counts answers and not voters elects with one vote that comes twice.
            Kind::GoVoters => Self { duplication: Odds::NEVER, ..faults },
            // A list without a quorum of disks would be the end.
            Kind::Changes => Self { tears: false, ..faults },
            _ => faults,
        }
    }

    /// How often operators do something. Most worlds have none.
    pub(crate) fn draw_operators(rng: &mut SmallRng) -> Odds {
        if rng.random_bool(0.3) { Odds::new(rng.random_range(0.01..0.1)) } else { Odds::NEVER }
    }

    /// How often an application begins to answer in another way. In most worlds none does.
    pub(crate) fn draw_answers(rng: &mut SmallRng) -> Odds {
        if rng.random_bool(0.2) { Odds::new(rng.random_range(0.002..0.03)) } else { Odds::NEVER }
    }

    /// The same without what keeps a running program from hearing soon what was said to it.
    fn with_sound_links(self) -> Self {
        Self {
            loss: Odds::NEVER,
            slow_message: Odds::NEVER,
            slow_save: Odds::NEVER,
            pause: Odds::NEVER,
            // Who notices late that it no longer leads says that, and not what it was asked.
            late_timer: Odds::NEVER,
            cut: Odds::NEVER,
            ..self
        }
    }

    /// A setting with which an operator starts a node next, beside its times.
    pub(crate) fn draw_change(&self, rng: &mut SmallRng) -> Change {
        match rng.random_range(0..4) {
            0 if self.kind != Kind::Changes => Change::Priority(rng.random_range(0..4)),
            1 => Change::Rho(self.shape.draw_rho(rng)),
            _ if self.only_mode().is_some() => Change::Priority(Config::PRIORITY),
            2 => Change::Mode(Mode::Graft),
            _ => Change::Mode(Mode::Extended),
        }
    }

    /// The mode in which all nodes stay, if they do. Only in Extended mode doubles stand aside, and
    /// lists silence those that go by an older one; and Go nodes elect nobody in it.
    fn only_mode(&self) -> Option<Mode> {
        match self.kind {
            Kind::GoVoters => Some(Mode::Graft),
            Kind::Lists => Some(Mode::Extended),
            _ => self.doubles_hear.then_some(Mode::Extended),
        }
    }

    /// How long a message takes at most until it is heard, where links are sound: who saves hears
    /// it afterwards.
    fn delay_max(&self) -> Duration {
        self.message_time_min + self.message_time_max + SAVE_TIME_MAX
    }

    /// How many voters there are.
    fn draw_size(&self, rng: &mut SmallRng, clusters: usize) -> usize {
        const SIZES: [usize; 14] = [1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 8, 9];
        let size = SIZES[rng.random_range(0..SIZES.len())].min(NodeIndex::COUNT_MAX / clusters);
        match self.kind {
            Kind::Lists => size.clamp(3, 5),
            Kind::Changes => size.min(5),
            // A cluster of one binds nobody else: its double may lead while the lease lasts of one
            // that crashed.
            _ if self.doubles_hear => size.max(2),
            _ => size,
        }
    }

    /// Which rules such a world is held to.
    fn judged(&self, declared: bool) -> Judged {
        match self.kind {
            Kind::Doubles if self.doubles_hear => Judged::Doubles { delay_max: self.delay_max() },
            Kind::Hostile | Kind::Doubles => Judged::NodesAlone,
            Kind::LostDisks | Kind::TooMany if !declared => Judged::AllButI1,
            Kind::WildClocks => Judged::AllButI4,
            Kind::Changes => Judged::Changing,
            _ => Judged::Everything,
        }
    }

    /// The world of a seed, as it begins.
    pub(crate) fn draw_setup(&self, rng: &mut SmallRng) -> Setup {
        let clusters = if self.kind == Kind::TwinClusters { 2 } else { 1 };
        let size = self.draw_size(rng, clusters);
        let declared = match self.kind {
            Kind::Lists | Kind::Changes => true,
            // V6: a Go node's votes, which name nobody, are no declared voter's.
            Kind::GoVoters => false,
            _ => rng.random_bool(0.5),
        };
        let count = match self.kind {
            Kind::TooMany => (size + rng.random_range(1..=size)).min(NodeIndex::COUNT_MAX),
            Kind::Doubles => (size + rng.random_range(1..=3)).min(NodeIndex::COUNT_MAX),
            Kind::Lists => size + rng.random_range(1..=2),
            Kind::Changes => size + rng.random_range(1..=4),
            _ => size * clusters,
        };
        let judged = self.judged(declared);
        let (unequal_terms, unequal_times) = (rng.random_bool(0.3), rng.random_bool(0.2));
        let unequal_positions = rng.random_bool(0.3);
        let (unequal_priorities, coarse_clocks) = (rng.random_bool(0.3), rng.random_bool(0.3));
        let common_times = self.shape.draw_common_times(rng);
        let modes = match self.only_mode() {
            Some(Mode::Extended) => Modes::Extended,
            Some(Mode::Graft) => Modes::Graft,
            None => Modes::draw(rng),
        };
        let nodes = (0..count).map(|index| {
            let mut node = NodeSetup {
                clock: Duration::from_micros(rng.random_range(0..10_000_000)),
                mode: modes.draw_mode(rng),
                times: common_times,
                rho: self.shape.rho(),
                ..NodeSetup::default()
            };
            if unequal_terms {
                let bits = rng.random_range(0..32);
                let term = rng.next_u64() & ((1 << bits) - 1);
                node.record = VoteRecord { term, ..VoteRecord::default() };
            }
            if unequal_times {
                node.times = self.shape.draw_times(rng);
            }
            node.joins = self.kind == Kind::Changes && index >= size;
            if unequal_priorities && self.kind != Kind::Changes {
                node.priority = rng.random_range(0..4);
            }
            if coarse_clocks {
                node.tick = TimeShape::draw_tick(rng);
            }
            if self.kind == Kind::Doubles && index >= size {
                node.double_of = Some(NodeIndex::new(rng.random_range(0..size)));
            }
            node.is_go = self.kind == Kind::GoVoters && rng.random_bool(0.5);
            if unequal_positions {
                node.position = rng.random_range(0..4);
            }
            node
        });
        let mut nodes: Vec<_> = nodes.collect();
        if self.kind == Kind::Lists {
            differ_in_lists(rng, &mut nodes, size);
        }
        let (echo, seed) = (rng.random_bool(0.5), rng.next_u64());
        Setup { nodes, size, clusters, just_started: true, declared, echo, seed, judged }
    }
}

/// Most nodes declare the list of the first `size` nodes. Some declare lists that differ in one
/// voter. At most one list has a quorum of nodes that declare it: there is one cluster.
fn differ_in_lists(rng: &mut SmallRng, nodes: &mut [NodeSetup], size: usize) {
    let first: Vec<_> = (0..size).map(NodeIndex::new).collect();
    let count = nodes.len();
    for (index, node) in nodes.iter_mut().enumerate() {
        let mut list = first.clone();
        if index >= size {
            list[rng.random_range(0..size)] = NodeIndex::new(index);
        } else if rng.random_bool(0.25) {
            let other = (index + rng.random_range(1..size)) % size;
            list[other] = NodeIndex::new(rng.random_range(size..count));
        }
        node.voters = Some(list);
    }
    let holders = |list: &Vec<NodeIndex>| {
        let holds = |voter: &&NodeIndex| nodes[voter.get()].voters.as_ref() == Some(list);
        list.iter().filter(holds).count()
    };
    let has_quorum = |node: &NodeSetup| {
        node.voters.as_ref().is_some_and(|list| *list != first && holders(list) * 2 > size)
    };
    if nodes.iter().any(has_quorum) {
        nodes[..size].iter_mut().for_each(|node| node.voters = Some(first.clone()));
    }
}

/// The modes of a world's nodes.
#[derive(Clone, Copy, Debug)]
enum Modes {
    Extended,
    Graft,
    Mixed,
}

impl Modes {
    fn draw(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..10) {
            0..=5 => Self::Extended,
            6 | 7 => Self::Graft,
            _ => Self::Mixed,
        }
    }

    fn draw_mode(self, rng: &mut SmallRng) -> Mode {
        match self {
            Self::Extended => Mode::Extended,
            Self::Graft => Mode::Graft,
            Self::Mixed if rng.random_bool(0.5) => Mode::Extended,
            Self::Mixed => Mode::Graft,
        }
    }
}

/// How far off a clock's rate is. The two extremes together are as likely as everything between
/// them.
pub(crate) fn draw_drift(rng: &mut SmallRng, max: i32) -> i32 {
    match rng.random_range(0..4) {
        0 => max,
        1 => -max,
        _ => rng.random_range(-max..=max),
    }
}

/// A span of at least a microsecond.
pub(crate) fn draw_span(rng: &mut SmallRng, max: Duration) -> Duration {
    let max = u32::try_from(max.as_micros()).unwrap_or(u32::MAX);
    // Cheaper than a division, and nearly uniform.
    let micros = (u64::from(rng.next_u32()) * u64::from(max)) >> 32;
    Duration::from_micros(micros + 1)
}

/// Half of all faults don't occur at all. The others are mostly rare.
fn draw_odds(rng: &mut SmallRng, max: f64) -> Odds {
    if rng.random_bool(0.5) {
        return Odds::NEVER;
    }
    let share: f64 = rng.random_range(0.05..1.0);
    Odds::new(share * share * max)
}
