//! The elections that the Raft paper measured (Ongaro and Ousterhout 2014, Figure 16), and some
//! that it and Ongaro's dissertation left open, in the simulated world.
//!
//! Five nodes follow a leader, and it crashes at any moment between two heartbeats, of which there
//! are two in the least election timeout. A message takes 1 to 13 ms, and a save up to 2, so that a
//! request and its answer take 15 ms together, as they did there. Only two of the survivors know
//! enough to be elected. The time is taken until a node leads, and in Extended mode
//! until it has a lease.

use std::ops::RangeInclusive;
use std::time::Duration;

use graft_election_core::{Handover, Message, Mode};

use crate::judgement::Violation;
use crate::setup::VoteRecord;
use crate::{Cluster, Links, NodeIndex, NodeSetup, Setup, Step};

/// A trial in which nobody leads for this long counts as one in which nobody ever does.
pub const NEVER_AFTER: Duration = Duration::from_secs(100);

/// How many nodes there are.
const SIZE: usize = 5;

/// How long a message takes on the paper's network.
const MESSAGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(13);

/// How long a message takes from one coast of America to the other, in the dissertation.
const COAST_TO_COAST: RangeInclusive<Duration> =
    Duration::from_millis(30)..=Duration::from_millis(40);

/// The election timeouts that the paper recommends.
const RECOMMENDED: [u64; 2] = [150, 300];

/// How much longer a message takes one way, where ways differ, or to nodes that are far away.
const LAG: Duration = Duration::from_millis(30);

/// Which part of the figure, or of what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The figure's upper half: more and more randomness.
    Randomness,
    /// Its lower half: shorter and shorter timeouts.
    Scale,
    /// The dissertation's wide-area network.
    WideArea,
    /// What both left open.
    Open,
}

/// What makes it harder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nothing.
    Nothing,
    /// All nodes start at once, with records of the same term; nobody crashes.
    Start,
    /// The same, and each record has another term.
    UnequalTerms,
    /// To a node of a higher number messages take longer than to one of a lower.
    OneWay,
    /// So they do from and to two of the nodes.
    FarAway,
    /// Clocks run at rates from 5 % too slow to 5 % too fast.
    Drift,
    /// Of the survivors, so many are down already.
    Down(usize),
}

/// Elections of one kind.
#[derive(Clone, Debug)]
pub struct Elections {
    /// Where they belong.
    pub part: Part,
    /// What they are.
    pub name: String,
    timeouts: [u64; 2],
    links: Links,
    /// Whether the nodes know differently much.
    differ: bool,
    trouble: Trouble,
}

impl Elections {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        let upper = [[150, 150], [150, 151], [150, 155], [150, 175], [150, 200], [150, 300]];
        all.extend(upper.map(|timeouts| Self::of_paper(Part::Randomness, timeouts)));
        let lower = [[12, 24], [25, 50], [50, 100], [100, 200], [150, 300]];
        all.extend(lower.map(|timeouts| Self::of_paper(Part::Scale, timeouts)));
        for failed in [1, 2] {
            all.push(Self {
                part: Part::WideArea,
                name: format!("{failed} of 5 down"),
                timeouts: [300, 600],
                links: Links { delay: COAST_TO_COAST, loss: 0.0 },
                differ: false,
                trouble: Trouble::Down(failed - 1),
            });
        }
        let open = |name: &str, trouble, loss| Self {
            part: Part::Open,
            name: name.to_owned(),
            links: Links { delay: MESSAGE, loss },
            trouble,
            ..Self::of_paper(Part::Open, RECOMMENDED)
        };
        all.extend([
            open("all is well", Trouble::Nothing, 0.0),
            open("messages take 30 ms more one way", Trouble::OneWay, 0.0),
            open("two nodes are 30 ms away", Trouble::FarAway, 0.0),
            open("a tenth of all messages is lost", Trouble::Nothing, 0.1),
            open("a third of all messages is lost", Trouble::Nothing, 0.33),
            open("half of all messages is lost", Trouble::Nothing, 0.5),
            open("clocks differ by 10 %", Trouble::Drift, 0.0),
            open("all start, with records of one term", Trouble::Start, 0.0),
            open("all start, with records of five terms", Trouble::UnequalTerms, 0.0),
        ]);
        all
    }

    /// The time of each of so many trials until a node leads again, in the order of their seeds;
    /// `None` if none does, or none did in the first place.
    ///
    /// # Errors
    ///
    /// A rule was broken.
    pub fn play(&self, mode: Mode, trials: u64) -> Result<Vec<Option<Duration>>, Violation> {
        (0..trials).map(|seed| self.play_one(mode, seed)).collect()
    }

    fn of_paper(part: Part, timeouts: [u64; 2]) -> Self {
        let [least, most] = timeouts;
        Self {
            part,
            name: format!("{least}–{most} ms"),
            timeouts,
            links: Links { delay: MESSAGE, loss: 0.0 },
            differ: true,
            trouble: Trouble::Nothing,
        }
    }

    fn play_one(&self, mode: Mode, seed: u64) -> Result<Option<Duration>, Violation> {
        let mut cluster = Cluster::new(self.setup(mode), &self.links, seed);
        self.make_trouble(&mut cluster);
        if matches!(self.trouble, Trouble::Start | Trouble::UnequalTerms) {
            return cluster.run_until(NEVER_AFTER, |cluster| cluster.leader().is_some());
        }
        cluster.dispel_doubts();
        have_lead(&mut cluster);
        let is_led = |cluster: &Cluster| cluster.undisputed_leader().is_some();
        if cluster.run_until(NEVER_AFTER, is_led)?.is_none() {
            return Ok(None);
        }
        let heartbeat = self.heartbeat();
        let span = cluster.draw(heartbeat * 10..=heartbeat * 11);
        cluster.run_for(span)?;
        if cluster.run_until(NEVER_AFTER, is_led)?.is_none() {
            return Ok(None);
        }
        let Some(leader) = cluster.undisputed_leader() else { return Ok(None) };
        self.kill(&mut cluster, leader)?;
        cluster.run_until(NEVER_AFTER, |cluster| cluster.leader().is_some())
    }

    fn setup(&self, mode: Mode) -> Setup {
        let [least, most] = self.timeouts.map(Duration::from_millis);
        // A range can't be empty.
        let most = most.max(least + Duration::from_micros(1));
        let term = |index: usize| match self.trouble {
            Trouble::Start => 1,
            Trouble::UnequalTerms => index as u64 + 1,
            _ => 0,
        };
        let node = |index| NodeSetup {
            record: VoteRecord { term: term(index), ..VoteRecord::default() },
            times: [least, most, self.heartbeat()],
            position: if self.differ { (SIZE - index) as u16 } else { 0 },
            mode,
            ..NodeSetup::default()
        };
        Setup { nodes: (0..SIZE).map(node).collect(), ..Setup::new(SIZE) }
    }

    /// Half of the least election timeout.
    fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.timeouts[0]) / 2
    }

    fn make_trouble(&self, cluster: &mut Cluster) {
        let nodes: Vec<NodeIndex> = cluster.world().nodes().collect();
        match self.trouble {
            Trouble::OneWay | Trouble::FarAway => {
                let is_far = |node: &NodeIndex| node.get() >= SIZE - 2;
                for (from, to) in
                    nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)))
                {
                    let lags = match self.trouble {
                        Trouble::OneWay => from < to,
                        _ => is_far(&from) || is_far(&to),
                    };
                    cluster.lag(from, to, if lags { LAG } else { Duration::ZERO });
                }
            }
            Trouble::Drift => {
                for (node, millionths) in nodes.into_iter().zip((-50_000..).step_by(25_000)) {
                    cluster.apply(&Step::Drift { node, millionths });
                }
            }
            _ => {}
        }
    }

    /// Ends the leader: at once, or, as in the dissertation's model, when all have just heard it.
    fn kill(&self, cluster: &mut Cluster, leader: NodeIndex) -> Result<(), Violation> {
        if let Trouble::Down(more) = self.trouble {
            let others = cluster.world().nodes().filter(|node| *node != leader);
            for node in others.take(more).collect::<Vec<_>>() {
                cluster.crash(node, None);
            }
            let due_at = cluster.world().due_at(leader);
            let is_past = |cluster: &Cluster| cluster.world().due_at(leader) != due_at;
            cluster.run_until(NEVER_AFTER, is_past)?;
            cluster.run_for(*self.links.delay.end())?;
        }
        cluster.crash(leader, None);
        Ok(())
    }
}

/// Has the first node campaign at once: without randomness they would never have a leader to lose.
fn have_lead(cluster: &mut Cluster) {
    let [first, other] = [0, 1].map(NodeIndex::new);
    let [leader, target] = [other, first].map(|node| cluster.world().identity(node).id());
    let handover = Handover { term: 1, leader, target: Some(target), round: None };
    let message = Box::new(Message::Handover(handover));
    cluster.apply(&Step::Forge { message, round_of: None, to: first });
}
