//! How a world begins.

use std::fmt;
use std::time::Duration;

use graft_election_core::{Config, Mode, NodeId, RecordedList};

use crate::NodeIndex;
use crate::judgement::Judged;
use crate::message_text::parse_list;
use crate::step_text::{SpanText, parse_span};

/// The most voters of a simulated cluster.
pub(crate) const VOTERS_MAX: usize = 9;

/// A vote record of its nodes.
pub(crate) type VoteRecord = graft_election_core::VoteRecord<VOTERS_MAX>;

/// What a world is before its first step. It is written as lines too: `nodes 3`, `declared`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// `nodes 3`: the nodes, of which the first `size` are the cluster's. Any further ones are too
    /// many, and strangers if the voters are declared.
    pub nodes: Vec<NodeSetup>,
    /// `size 3`: how many voters each node believes there are; the number of nodes if absent.
    pub size: usize,
    /// `clusters 2`: how many clusters share the medium: the nodes are so many equal parts, whose
    /// ids are the same. 1 if absent.
    pub clusters: usize,
    /// `just-started`: the world begins when the nodes start. Otherwise a script begins when all
    /// have asked whether another process uses their id, and nobody has answered (rule N5).
    pub just_started: bool,
    /// `declared`: the voters have a list of all voters' ids.
    pub declared: bool,
    /// `echo`: messages for everyone come back to their sender too, as they do on NATS.
    pub echo: bool,
    /// `seed 7`: the seed of the nodes' random numbers; 1 if absent.
    pub seed: u64,
    /// `judge all-but-i1`: which rules the checker holds the world to; everything if absent.
    pub judged: Judged,
}

/// What a node is before it starts for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSetup {
    /// `record a term=5 vote=b`: what is on its disk.
    pub record: VoteRecord,
    /// `clock a 5s`: what its clock shows when the world begins.
    pub clock: Duration,
    /// `times a 500ms 1s 100ms`: its T_min, T_max and H.
    pub times: [Duration; 3],
    /// `position a 7`: the application's position.
    pub position: u16,
    /// `mode graft` for all nodes, `mode a graft` for one: its mode.
    pub mode: Mode,
    /// `priority a 2`: its preference for leading.
    pub priority: u32,
    /// `tick a 20ms`: the resolution of its clock, which its program knows.
    pub tick: Duration,
    /// `rho a 20`: by how many hundredths it believes that the rates of clocks may differ.
    pub rho: u8,
    /// `voters a a b d`: its own list of voters; the cluster's if absent.
    pub voters: Option<Vec<NodeIndex>>,
    /// `double d a`: it is another process of this node's id.
    pub double_of: Option<NodeIndex>,
    /// `go a`: it is the Go original. Its log never breaks, and nobody closes it (G1, G2).
    pub is_go: bool,
    /// `joins d`: it takes its first list from others (rule R1).
    pub joins: bool,
    /// `disobeys a`: it refuses all that operators ask, but the question how it is (rule O1).
    pub obeys_operators: bool,
}

impl Setup {
    /// A cluster of `size` nodes that have never run, with the default times.
    pub fn new(size: usize) -> Self {
        Self {
            nodes: vec![NodeSetup::default(); size],
            size,
            clusters: 1,
            just_started: false,
            declared: false,
            echo: false,
            seed: 1,
            judged: Judged::default(),
        }
    }

    /// Reads one line. Returns whether it belongs to a setup at all.
    ///
    /// # Errors
    ///
    /// What is wrong with the line.
    pub(crate) fn read_line(&mut self, words: &[&str]) -> Result<bool, String> {
        match words {
            ["nodes", count] => {
                let count = number(count, 1, NodeIndex::COUNT_MAX)?;
                *self = Self { size: count, ..Self::new(count) };
            }
            ["size", size] => self.size = number(size, 1, VOTERS_MAX)?,
            ["clusters", count] => {
                self.clusters = number(count, 1, 2)?;
                self.size = self.nodes.len() / self.clusters;
            }
            ["just-started"] => self.just_started = true,
            ["declared"] => self.declared = true,
            ["echo"] => self.echo = true,
            ["seed", seed] => {
                self.seed = seed.parse().map_err(|_| format!("expected a seed, not \"{seed}\""))?;
            }
            ["judge", judged] => self.judged = judged.parse()?,
            ["record", node, fields @ ..] => self.node(node)?.record = parse_record(fields)?,
            ["clock", node, shown] => self.node(node)?.clock = parse_span(shown)?,
            ["times", node, t_min, t_max, heartbeat] => {
                let times = [parse_span(t_min)?, parse_span(t_max)?, parse_span(heartbeat)?];
                self.node(node)?.times = times;
            }
            ["position", node, position] => {
                self.node(node)?.position = position
                    .parse()
                    .map_err(|_| format!("expected a position, not \"{position}\""))?;
            }
            ["mode", mode] => {
                let mode = parse_mode(mode)?;
                self.nodes.iter_mut().for_each(|node| node.mode = mode);
            }
            ["mode", node, mode] => self.node(node)?.mode = parse_mode(mode)?,
            ["priority", node, priority] => {
                self.node(node)?.priority = priority
                    .parse()
                    .map_err(|_| format!("expected a priority, not \"{priority}\""))?;
            }
            ["tick", node, span] => self.node(node)?.tick = parse_tick(span)?,
            ["rho", node, rho] => self.node(node)?.rho = parse_rho(rho)?,
            ["voters", node, voters @ ..] => {
                self.node(node)?.voters = Some(parse_nodes(voters)?);
            }
            ["go", node] => self.node(node)?.is_go = true,
            ["joins", node] => self.node(node)?.joins = true,
            ["disobeys", node] => self.node(node)?.obeys_operators = false,
            ["double", node, original] => {
                self.node(node)?.double_of = Some(parse_index(original)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn node(&mut self, name: &str) -> Result<&mut NodeSetup, String> {
        let index = parse_index(name)?;
        let count = self.nodes.len();
        self.nodes.get_mut(index.get()).ok_or_else(|| format!("there are only {count} nodes"))
    }
}

impl Default for NodeSetup {
    fn default() -> Self {
        let times = [
            Config::ELECTION_TIMEOUT_MIN,
            Config::ELECTION_TIMEOUT_MAX,
            Config::HEARTBEAT_INTERVAL,
        ];
        Self {
            record: VoteRecord::default(),
            clock: Duration::ZERO,
            times,
            position: 0,
            mode: Mode::default(),
            priority: Config::PRIORITY,
            tick: Config::CLOCK_TICK,
            rho: Config::CLOCK_DRIFT_PERCENT,
            voters: None,
            double_of: None,
            is_go: false,
            joins: false,
            obeys_operators: true,
        }
    }
}

/// The lines of a script that make this setup.
impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "nodes {}", self.nodes.len())?;
        if self.clusters > 1 {
            writeln!(f, "clusters {}", self.clusters)?;
        }
        if self.size != self.nodes.len() / self.clusters {
            writeln!(f, "size {}", self.size)?;
        }
        for (word, is_set) in
            [("just-started", self.just_started), ("declared", self.declared), ("echo", self.echo)]
        {
            if is_set {
                writeln!(f, "{word}")?;
            }
        }
        if self.seed != 1 {
            writeln!(f, "seed {}", self.seed)?;
        }
        if self.judged != Judged::default() {
            writeln!(f, "judge {}", self.judged)?;
        }
        let all_graft = self.nodes.iter().all(|node| node.mode == Mode::Graft);
        if all_graft {
            writeln!(f, "mode graft")?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let (name, usual) = (NodeIndex::new(index), NodeSetup::default());
            if node.record != usual.record {
                writeln!(f, "record {name} {}", RecordText(&node.record))?;
            }
            if node.clock != usual.clock {
                writeln!(f, "clock {name} {}", SpanText(node.clock))?;
            }
            if node.times != usual.times {
                let [t_min, t_max, heartbeat] = node.times.map(SpanText);
                writeln!(f, "times {name} {t_min} {t_max} {heartbeat}")?;
            }
            if node.position != usual.position {
                writeln!(f, "position {name} {}", node.position)?;
            }
            if node.mode != usual.mode && !all_graft {
                writeln!(f, "mode {name} graft")?;
            }
            if node.priority != usual.priority {
                writeln!(f, "priority {name} {}", node.priority)?;
            }
            if node.tick != usual.tick {
                writeln!(f, "tick {name} {}", SpanText(node.tick))?;
            }
            if node.rho != usual.rho {
                writeln!(f, "rho {name} {}", node.rho)?;
            }
            if let Some(voters) = &node.voters {
                writeln!(f, "voters {name} {}", NodesText(voters))?;
            }
            if let Some(original) = node.double_of {
                writeln!(f, "double {name} {original}")?;
            }
            if node.is_go {
                writeln!(f, "go {name}")?;
            }
            if node.joins {
                writeln!(f, "joins {name}")?;
            }
            if !node.obeys_operators {
                writeln!(f, "disobeys {name}")?;
            }
        }
        Ok(())
    }
}

/// A vote record to display: `term=5 vote=b bound-for=500ms`. The list with which a cluster started
/// is left out.
pub(crate) struct RecordText<'a>(pub(crate) &'a VoteRecord);

impl fmt::Display for RecordText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VoteRecord { term, voted_for, list, bound_for, is_paused, starts: _ } = self.0;
        write!(f, "term={term}")?;
        if let Some(candidate) = voted_for {
            write!(f, " vote={candidate}")?;
        }
        if let Some(list) = list.as_ref().map(RecordedList::id).filter(|list| list.term > 0) {
            write!(f, " list={list}")?;
        }
        if *bound_for > 0 {
            let span = Duration::from_micros(u64::from(*bound_for));
            write!(f, " bound-for={}", SpanText(span))?;
        }
        if *is_paused {
            f.write_str(" paused")?;
        }
        Ok(())
    }
}

/// Nodes to display, one after the other.
pub(crate) struct NodesText<'a>(pub(crate) &'a [NodeIndex]);

impl fmt::Display for NodesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(NodeIndex::to_string).collect();
        f.write_str(&names.join(" "))
    }
}

fn parse_record(words: &[&str]) -> Result<VoteRecord, String> {
    let mut record = VoteRecord::default();
    for word in words {
        let expected = || {
            format!("expected term=5, vote=b, list=7.123, bound-for=1s or paused, not \"{word}\"")
        };
        if *word == "paused" {
            record.is_paused = true;
            continue;
        }
        match word.split_once('=').ok_or_else(expected)? {
            ("term", term) => record.term = term.parse().map_err(|_| expected())?,
            ("vote", vote) => {
                record.voted_for = Some(NodeId::new(vote).map_err(|error| error.to_string())?);
            }
            ("list", list) => record.list = Some(RecordedList::Id(parse_list(list)?)),
            ("bound-for", span) => {
                let micros = parse_span(span)?.as_micros();
                record.bound_for = u32::try_from(micros).map_err(|_| expected())?;
            }
            _ => return Err(expected()),
        }
    }
    Ok(record)
}

pub(crate) fn parse_index(name: &str) -> Result<NodeIndex, String> {
    name.parse().map_err(|error: crate::identity::UnknownNode| error.to_string())
}

pub(crate) fn parse_nodes(names: &[&str]) -> Result<Vec<NodeIndex>, String> {
    names.iter().map(|name| parse_index(name)).collect()
}

pub(crate) fn parse_rho(text: &str) -> Result<u8, String> {
    let rho = text.parse().ok().filter(|rho| *rho < 100);
    rho.ok_or_else(|| format!("expected hundredths below 100, not \"{text}\""))
}

pub(crate) fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "extended" => Ok(Mode::Extended),
        "graft" => Ok(Mode::Graft),
        other => Err(format!("expected extended or graft, not \"{other}\"")),
    }
}

fn parse_tick(text: &str) -> Result<Duration, String> {
    let tick = parse_span(text)?;
    if tick.is_zero() {
        Err("a clock's tick is a microsecond at least".to_owned())
    } else {
        Ok(tick)
    }
}

fn number(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("expected a number from {min} to {max}, not \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Simulation;

    /// What doesn't come back is a failure that nobody can play again.
    #[test]
    fn every_world_begins_as_its_script_says() {
        for seed in 0..2_000 {
            let setup = Simulation::new(seed, false).setup().clone();
            let mut again = Setup::new(3);
            for line in setup.to_string().lines() {
                let words: Vec<_> = line.split_whitespace().collect();
                assert_eq!(again.read_line(&words), Ok(true), "seed {seed}: {line}");
            }
            assert_eq!(again.nodes, setup.nodes, "seed {seed}");
            assert_eq!(again.to_string(), setup.to_string(), "seed {seed}");
        }
    }
}
