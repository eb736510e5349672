//! Steps as text: the language in which scripts are written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use graft_election_core::Mode;

use crate::message_text::{MessageText, parse_message};
use crate::setup::{NodesText, parse_mode, parse_nodes, parse_rho};
use crate::{Change, DiskMode, NodeIndex, Pick, Remains, Step};

/// The first words of all steps.
const VERBS: [&str; 32] = [
    "advance",
    "timeout",
    "deliver",
    "drop",
    "duplicate",
    "settle",
    "save",
    "fail-save",
    "disk",
    "crash",
    "restart",
    "replace",
    "pause",
    "resume",
    "hand-over",
    "close",
    "add-voter",
    "remove-voter",
    "hold-back",
    "let-lead",
    "cut",
    "mend",
    "partition",
    "heal",
    "leap",
    "drift",
    "times",
    "change",
    "rewrite",
    "position",
    "answers",
    "forge",
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advance(span) => write!(f, "advance {}", SpanText(*span)),
            Self::TimeOut(node) => write!(f, "timeout {node}"),
            Self::Deliver(pick) => write!(f, "deliver {pick}"),
            Self::Drop(pick) => write!(f, "drop {pick}"),
            Self::Duplicate(pick) => write!(f, "duplicate {pick}"),
            Self::Settle => f.write_str("settle"),
            Self::Save(node) => write!(f, "save {node}"),
            Self::FailSave { node, written: false } => write!(f, "fail-save {node}"),
            Self::FailSave { node, written: true } => write!(f, "fail-save {node} written"),
            Self::Disk { node, mode } => write!(f, "disk {node} {}", name_of(*mode)),
            Self::Crash { node, remains } => {
                let remains = match remains {
                    Remains::Old => "",
                    Remains::New => " written",
                    Remains::Torn => " torn",
                };
                write!(f, "crash {node}{remains}")
            }
            Self::Restart(node) => write!(f, "restart {node}"),
            Self::Replace(node) => write!(f, "replace {node}"),
            Self::Pause(node) => write!(f, "pause {node}"),
            Self::Resume(node) => write!(f, "resume {node}"),
            Self::NoDouble(node) => write!(f, "no-double {node}"),
            Self::HandOver { node, to: None } => write!(f, "hand-over {node}"),
            Self::HandOver { node, to: Some(to) } => write!(f, "hand-over {node} -> {to}"),
            Self::ChangeVoters { node, adds: true, voter } => {
                write!(f, "add-voter {node} {voter}")
            }
            Self::ChangeVoters { node, adds: false, voter } => {
                write!(f, "remove-voter {node} {voter}")
            }
            Self::Close(node) => write!(f, "close {node}"),
            Self::HoldBack { node, is_held_back: true } => write!(f, "hold-back {node}"),
            Self::HoldBack { node, is_held_back: false } => write!(f, "let-lead {node}"),
            Self::Cut { from, to } => write!(f, "cut {from} -> {to}"),
            Self::Mend { from, to } => write!(f, "mend {from} -> {to}"),
            Self::Partition(groups) => {
                let words = |group: &Vec<NodeIndex>| {
                    let letters: Vec<_> = group.iter().map(NodeIndex::to_string).collect();
                    letters.join(" ")
                };
                let groups: Vec<_> = groups.iter().map(words).collect();
                write!(f, "partition {}", groups.join(" | "))
            }
            Self::Heal => f.write_str("heal"),
            Self::Leap { node, by } => write!(f, "leap {node} {}", SpanText(*by)),
            Self::Drift { node, millionths } => write!(f, "drift {node} {millionths}ppm"),
            Self::Times { node, times } => {
                let [t_min, t_max, heartbeat] = times.map(SpanText);
                write!(f, "times {node} {t_min} {t_max} {heartbeat}")
            }
            Self::Position { node, position } => write!(f, "position {node} {position}"),
            Self::Answers { node, answers } => write!(f, "answers {node} {answers}"),
            Self::Change { node, change } => write!(f, "change {node} {change}"),
            Self::Rewrite { node, term, voters } => {
                write!(f, "rewrite {node} {term} {}", NodesText(voters))
            }
            Self::Forge { message, round_of, to } => {
                write!(f, "forge {}", MessageText::full(message))?;
                if let Some(node) = round_of {
                    write!(f, " of {node}")?;
                }
                write!(f, " -> {to}")
            }
        }
    }
}

fn name_of(mode: DiskMode) -> &'static str {
    match mode {
        DiskMode::Works => "works",
        DiskMode::Fails => "fails",
        DiskMode::Holds => "holds",
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(Mode::Extended) => f.write_str("mode extended"),
            Self::Mode(Mode::Graft) => f.write_str("mode graft"),
            Self::Priority(priority) => write!(f, "priority {priority}"),
            Self::Rho(rho) => write!(f, "rho {rho}"),
            Self::Voters(voters) => write!(f, "voters {}", NodesText(voters)),
            Self::Program { is_go: true } => f.write_str("program go"),
            Self::Program { is_go: false } => f.write_str("program ours"),
            Self::Draws(seed) => write!(f, "draws {seed}"),
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.older {
            0 => {}
            older => write!(f, "{} ", Ordinal(older + 1))?,
        }
        let name = |node: Option<NodeIndex>| node.map_or("all".to_owned(), |node| node.to_string());
        write!(f, "{} -> {}", name(self.from), name(self.to))
    }
}

/// A span of time to display, in the greatest unit in which it is a whole number.
pub(crate) struct SpanText(pub(crate) Duration);

impl fmt::Display for SpanText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_micros() {
            micros if micros % 1_000_000 == 0 => write!(f, "{}s", micros / 1_000_000),
            micros if micros % 1_000 == 0 => write!(f, "{}ms", micros / 1_000),
            micros => write!(f, "{micros}us"),
        }
    }
}

/// Reads what [`SpanText`] writes.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let micros = match unit {
        "s" => 1_000_000,
        "ms" => 1_000,
        "us" => 1,
        _ => 0,
    };
    let number: Option<u64> = digits.parse().ok().filter(|_| micros > 0);
    number
        .and_then(|number| number.checked_mul(micros))
        .map(Duration::from_micros)
        .ok_or_else(|| format!("expected a span of time, \"500ms\" for instance, not \"{text}\""))
}

struct Ordinal(usize);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match (self.0 % 100, self.0 % 10) {
            (11..=13, _) => "th",
            (_, 1) => "st",
            (_, 2) => "nd",
            (_, 3) => "rd",
            _ => "th",
        };
        write!(f, "{}{suffix}", self.0)
    }
}

/// What is wrong with the text of a step: what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StepError(String);

impl FromStr for Step {
    type Err = StepError;

    fn from_str(text: &str) -> Result<Self, StepError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        parse_step(&words).map_err(StepError)
    }
}

fn parse_step(words: &[&str]) -> Result<Step, String> {
    let (verb, rest) = words.split_first().ok_or("expected a step")?;
    Ok(match *verb {
        "advance" => Step::Advance(parse_span(one(rest, "a span of time")?)?),
        "timeout" => Step::TimeOut(parse_only_node(rest)?),
        "deliver" => Step::Deliver(parse_pick(rest)?),
        "drop" => Step::Drop(parse_pick(rest)?),
        "duplicate" => Step::Duplicate(parse_pick(rest)?),
        "settle" => {
            end(rest)?;
            Step::Settle
        }
        "save" => Step::Save(parse_only_node(rest)?),
        "fail-save" => parse_fail_save(rest)?,
        "disk" => parse_disk(rest)?,
        "crash" => parse_crash(rest)?,
        "restart" => Step::Restart(parse_only_node(rest)?),
        "replace" => Step::Replace(parse_only_node(rest)?),
        "pause" => Step::Pause(parse_only_node(rest)?),
        "resume" => Step::Resume(parse_only_node(rest)?),
        "no-double" => Step::NoDouble(parse_only_node(rest)?),
        "hand-over" => parse_hand_over(rest)?,
        "add-voter" => parse_voter_change(true, rest)?,
        "remove-voter" => parse_voter_change(false, rest)?,
        "close" => Step::Close(parse_only_node(rest)?),
        "hold-back" => Step::HoldBack { node: parse_only_node(rest)?, is_held_back: true },
        "let-lead" => Step::HoldBack { node: parse_only_node(rest)?, is_held_back: false },
        "cut" => {
            let (from, to) = parse_link(rest)?;
            Step::Cut { from, to }
        }
        "mend" => {
            let (from, to) = parse_link(rest)?;
            Step::Mend { from, to }
        }
        "partition" => Step::Partition(parse_groups(rest)?),
        "heal" => {
            end(rest)?;
            Step::Heal
        }
        "leap" => {
            let (node, rest) = parse_node(rest)?;
            Step::Leap { node, by: parse_span(one(rest, "a span of time")?)? }
        }
        "drift" => parse_drift(rest)?,
        "times" => parse_times(rest)?,
        "change" => parse_change(rest)?,
        "rewrite" => parse_rewrite(rest)?,
        "position" => parse_position(rest)?,
        "answers" => {
            let (node, rest) = parse_node(rest)?;
            Step::Answers { node, answers: one(rest, "how it answers")?.parse()? }
        }
        "forge" => parse_forge(rest)?,
        other => return Err(format!("expected one of {}, not \"{other}\"", VERBS.join(", "))),
    })
}

fn parse_voter_change(adds: bool, words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    Ok(Step::ChangeVoters { node, adds, voter: parse_only_node(rest)? })
}

fn parse_fail_save(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let written = match rest {
        [] => false,
        ["written"] => true,
        [other, ..] => return Err(format!("expected \"written\", not \"{other}\"")),
    };
    Ok(Step::FailSave { node, written })
}

fn parse_disk(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let mode = match one(rest, "works, fails or holds")? {
        "works" => DiskMode::Works,
        "fails" => DiskMode::Fails,
        "holds" => DiskMode::Holds,
        other => return Err(format!("expected works, fails or holds, not \"{other}\"")),
    };
    Ok(Step::Disk { node, mode })
}

fn parse_crash(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let remains = match rest {
        [] => Remains::Old,
        ["written"] => Remains::New,
        ["torn"] => Remains::Torn,
        [other, ..] => return Err(format!("expected written or torn, not \"{other}\"")),
    };
    Ok(Step::Crash { node, remains })
}

fn parse_hand_over(words: &[&str]) -> Result<Step, String> {
    if let [node] = words {
        return Ok(Step::HandOver { node: named(node)?, to: None });
    }
    let (node, to) = parse_link(words)?;
    Ok(Step::HandOver { node, to: Some(to) })
}

fn parse_drift(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let text = one(rest, "a drift, \"50000ppm\" for instance")?;
    let millionths = text.strip_suffix("ppm").and_then(|number| number.parse().ok());
    let millionths = millionths
        .ok_or_else(|| format!("expected a drift, \"50000ppm\" for instance, not \"{text}\""))?;
    Ok(Step::Drift { node, millionths })
}

fn parse_times(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let [t_min, t_max, heartbeat] = rest else {
        return Err("expected T_min, T_max and H".to_owned());
    };
    let times = [parse_span(t_min)?, parse_span(t_max)?, parse_span(heartbeat)?];
    Ok(Step::Times { node, times })
}

fn parse_position(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let text = one(rest, "a number")?;
    let position = text.parse().map_err(|_| format!("expected a number, not \"{text}\""))?;
    Ok(Step::Position { node, position })
}

fn parse_change(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let change = match rest {
        ["mode", mode] => Change::Mode(parse_mode(mode)?),
        ["priority", priority] => Change::Priority(
            priority.parse().map_err(|_| format!("expected a priority, not \"{priority}\""))?,
        ),
        ["rho", rho] => Change::Rho(parse_rho(rho)?),
        ["program", "go"] => Change::Program { is_go: true },
        ["program", "ours"] => Change::Program { is_go: false },
        ["draws", seed] => {
            Change::Draws(seed.parse().map_err(|_| format!("expected a seed, not \"{seed}\""))?)
        }
        ["voters", voters @ ..] => Change::Voters(parse_nodes(voters)?),
        _ => return Err(format!("expected a setting, not \"{}\"", rest.join(" "))),
    };
    Ok(Step::Change { node, change })
}

fn parse_rewrite(words: &[&str]) -> Result<Step, String> {
    let (node, rest) = parse_node(words)?;
    let (term, voters) = rest.split_first().ok_or("expected a term")?;
    let term = term.parse().map_err(|_| format!("expected a term, not \"{term}\""))?;
    Ok(Step::Rewrite { node, term, voters: parse_nodes(voters)? })
}

fn parse_forge(words: &[&str]) -> Result<Step, String> {
    let [message @ .., "->", to] = words else {
        return Err("expected a message, \"->\" and a node".to_owned());
    };
    let (message, round_of) = match message {
        [message @ .., "of", node] => (message, Some(named(node)?)),
        message => (message, None),
    };
    let message = Box::new(parse_message(message)?);
    Ok(Step::Forge { message, round_of, to: named(to)? })
}

fn named(word: &str) -> Result<NodeIndex, String> {
    word.parse().map_err(|error: crate::identity::UnknownNode| error.to_string())
}

fn parse_node<'a, 'w>(words: &'w [&'a str]) -> Result<(NodeIndex, &'w [&'a str]), String> {
    let (node, rest) = words.split_first().ok_or("expected a node")?;
    Ok((named(node)?, rest))
}

fn parse_only_node(words: &[&str]) -> Result<NodeIndex, String> {
    let (node, rest) = parse_node(words)?;
    end(rest)?;
    Ok(node)
}

fn one<'a>(words: &[&'a str], what: &str) -> Result<&'a str, String> {
    match words {
        [word] => Ok(word),
        [] => Err(format!("expected {what}")),
        [_, word, ..] => Err(format!("expected nothing after {what}, not \"{word}\"")),
    }
}

fn end(words: &[&str]) -> Result<(), String> {
    words.first().map_or(Ok(()), |word| Err(format!("expected nothing more, not \"{word}\"")))
}

fn parse_link(words: &[&str]) -> Result<(NodeIndex, NodeIndex), String> {
    match words {
        [from, "->", to] => Ok((named(from)?, named(to)?)),
        _ => {
            Err(format!("expected two nodes, \"a -> b\" for instance, not \"{}\"", words.join(" ")))
        }
    }
}

fn parse_pick(words: &[&str]) -> Result<Pick, String> {
    let any = |word: &str| if word == "all" { Ok(None) } else { named(word).map(Some) };
    let (older, link) = match words {
        ["all"] => return Ok(Pick { from: None, to: None, older: 0 }),
        [ordinal, link @ ..] if ordinal.starts_with(|first: char| first.is_ascii_digit()) => {
            let number: Option<usize> = ordinal
                .get(..ordinal.len().saturating_sub(2))
                .and_then(|digits| digits.parse().ok());
            let number = number.filter(|number| *number > 0);
            (
                number.ok_or_else(|| format!("expected \"2nd\" or the like, not \"{ordinal}\""))?
                    - 1,
                link,
            )
        }
        link => (0, link),
    };
    let [from, "->", to] = link else {
        return Err(format!("expected \"a -> b\" or \"all\", not \"{}\"", words.join(" ")));
    };
    let pick = Pick { from: any(from)?, to: any(to)?, older };
    if older > 0 && (pick.from.is_none() || pick.to.is_none()) {
        return Err("expected one sender and one receiver after a number".to_owned());
    }
    Ok(pick)
}

fn parse_groups(words: &[&str]) -> Result<Vec<Vec<NodeIndex>>, String> {
    let groups = words.split(|word| *word == "|");
    groups.map(|group| group.iter().map(|word| named(word)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_parsed_again() {
        let steps = [
            "advance 500ms",
            "advance 1500us",
            "advance 2s",
            "timeout a",
            "deliver a -> b",
            "deliver 3rd a -> b",
            "deliver all -> b",
            "drop 12th c -> l",
            "duplicate a -> b",
            "settle",
            "save a",
            "fail-save a",
            "fail-save a written",
            "disk b holds",
            "disk b fails",
            "disk b works",
            "crash a",
            "crash a written",
            "crash a torn",
            "restart a",
            "replace a",
            "pause a",
            "resume a",
            "no-double a",
            "hand-over a",
            "hand-over a -> b",
            "add-voter a d",
            "remove-voter a d",
            "close a",
            "hold-back a",
            "let-lead a",
            "cut a -> b",
            "mend a -> b",
            "partition a b | c",
            "heal",
            "leap a 5s",
            "drift a -50000ppm",
            "times a 500ms 1s 100ms",
            "change a mode graft",
            "change a priority 2",
            "change a rho 20",
            "change a draws 7",
            "change a program go",
            "change a program ours",
            "change a voters a b d",
            "rewrite a 7 a b d",
            "position a 7",
            "answers a current",
            "answers a outdated",
            "answers a refuses",
            "forge vote-request term=3 candidate=x position=01ff handover-from=2 size=3 -> a",
            "forge vote-response term=3 granted -> a",
            "forge vote-response term=3 refused voter=b -> a",
            "forge heartbeat term=9223372036854775807 leader=x sent-at=7 size=3 -> a",
            "forge heartbeat-response term=3 follower=x priority=1 bound-for=500000 -> a",
            "forge pre-vote-response term=3 refused voter=x proposed=4 round=9 -> a",
            "forge handover term=3 leader=x target=a round=7 -> a",
            "forge handover term=3 leader=b of b -> a",
            "forge who node=a round=7 life=6 -> a",
            "forge vote-response term=3 granted voter=b round=7 life=9 list=0.123 -> a",
        ];
        for text in steps {
            assert_eq!(text.parse::<Step>().unwrap().to_string(), text);
        }
        assert_eq!("deliver all".parse::<Step>().unwrap().to_string(), "deliver all -> all");
        for verb in VERBS {
            assert!(steps.iter().any(|step| step.split(' ').next() == Some(verb)), "{verb}");
        }
    }

    #[test]
    fn an_error_says_what_was_expected() {
        let error = |text: &str| text.parse::<Step>().unwrap_err().to_string();
        assert_eq!(error("timeout"), "expected a node");
        assert_eq!(error("timeout x"), "expected a node, a letter from a to l, not \"x\"");
        assert_eq!(error("timeout a b"), "expected nothing more, not \"b\"");
        assert_eq!(error("deliver a b"), "expected \"a -> b\" or \"all\", not \"a b\"");
        assert_eq!(
            error("advance 5"),
            "expected a span of time, \"500ms\" for instance, not \"5\""
        );
        assert_eq!(error("forge heartbeat term=1 -> a"), "expected leader=…");
        assert_eq!(
            error("forge heartbeat term=1 leader=x voter=y -> a"),
            "a heartbeat has no \"voter=y\""
        );
        assert!(error("explode a").starts_with("expected one of advance, timeout, "));
    }
}
