//! Reads back what a board logs.

use graft_election_core::{Reason, State};

const STATES: [State; 5] =
    [State::Follower, State::PreCandidate, State::Candidate, State::Leader, State::Closed];

const REASONS: [Reason; 14] = [
    Reason::Started,
    Reason::ElectionTimeout,
    Reason::HandoverReceived,
    Reason::WonPreVote,
    Reason::WonElection,
    Reason::GaveVote,
    Reason::LostQuorum,
    Reason::HigherTerm,
    Reason::LeaderHeard,
    Reason::SecondLeader,
    Reason::SaveFailed,
    Reason::HandedOver,
    Reason::PriorityHandover,
    Reason::Closed,
];

/// A line that `DefmtLog` logs, or the board about its light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLine<'l> {
    /// The node starts with this record.
    Started { term: u64, vote: Option<&'l str> },
    /// It entered another state.
    StateChanged { from: State, to: State, term: u64, reason: Reason },
    /// It follows another leader, leads itself, or no longer knows of a leader.
    LeaderChanged { leader: Option<&'l str>, term: u64 },
    /// It may act as the leader from now on, with this token; with none, it no longer may.
    Light { token: Option<u64> },
    /// Anything else, which is a fault.
    Fault(&'l str),
}

impl<'l> LogLine<'l> {
    /// Reads a line. What isn't one of the known lines is a fault.
    pub(crate) fn read(line: &'l str) -> Self {
        let known = started(line).or_else(|| state_changed(line)).or_else(|| leader_changed(line));
        let known = known.or_else(|| light(line));
        known.unwrap_or(Self::Fault(line))
    }
}

/// `board-1 starts in term 2, with a vote for board-3`, or `…, without a vote`.
fn started(line: &str) -> Option<LogLine<'_>> {
    let (_, rest) = line.split_once(" starts in term ")?;
    let (term, vote) = rest.split_once(", ")?;
    let vote = match vote {
        "without a vote" => None,
        vote => Some(vote.strip_prefix("with a vote for ")?),
    };
    Some(LogLine::Started { term: term.parse().ok()?, vote })
}

/// `Candidate -> Leader in term 2: WonElection`.
fn state_changed(line: &str) -> Option<LogLine<'_>> {
    let (from, rest) = line.split_once(" -> ")?;
    let (to, rest) = rest.split_once(" in term ")?;
    let (term, reason) = rest.split_once(": ")?;
    let (from, to) = (by_name(&STATES, from)?, by_name(&STATES, to)?);
    let (term, reason) = (term.parse().ok()?, by_name(&REASONS, reason)?);
    Some(LogLine::StateChanged { from, to, term, reason })
}

/// `board-3 leads in term 2`, or `no leader in term 2`.
fn leader_changed(line: &str) -> Option<LogLine<'_>> {
    let (leader, term) = match line.strip_prefix("no leader in term ") {
        Some(term) => (None, term),
        None => line.split_once(" leads in term ").map(|(leader, term)| (Some(leader), term))?,
    };
    Some(LogLine::LeaderChanged { leader, term: term.parse().ok()? })
}

/// `the light is on, token 2`, or `the light is off`.
fn light(line: &str) -> Option<LogLine<'_>> {
    let token = match line.strip_prefix("the light is ")? {
        "off" => None,
        on => Some(on.strip_prefix("on, token ")?.parse().ok()?),
    };
    Some(LogLine::Light { token })
}

/// The logs have the names of the variants in the source.
fn by_name<T: Copy + std::fmt::Debug>(all: &[T], name: &str) -> Option<T> {
    all.iter().copied().find(|value| format!("{value:?}") == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_logs_is_read_back() {
        let read = LogLine::read;
        let (term, vote) = (0, None);
        assert_eq!(read("a starts in term 0, without a vote"), LogLine::Started { term, vote });
        let (term, vote) = (7, Some("b"));
        assert_eq!(read("a starts in term 7, with a vote for b"), LogLine::Started { term, vote });
        assert_eq!(
            read("Follower -> Candidate in term 8: ElectionTimeout"),
            LogLine::StateChanged {
                from: State::Follower,
                to: State::Candidate,
                term: 8,
                reason: Reason::ElectionTimeout
            }
        );
        let (term, leader) = (8, Some("b"));
        assert_eq!(read("b leads in term 8"), LogLine::LeaderChanged { leader, term });
        let (term, leader) = (9, None);
        assert_eq!(read("no leader in term 9"), LogLine::LeaderChanged { leader, term });
        assert_eq!(read("the light is on, token 9"), LogLine::Light { token: Some(9) });
        assert_eq!(read("the light is off"), LogLine::Light { token: None });
    }

    #[test]
    fn everything_else_is_a_fault() {
        for line in [
            "",
            "3 bytes came too fast and were lost",
            "Follower -> Chief in term 8: ElectionTimeout",
            "b leads in term x",
            "the light is on, token x",
            "the light is broken",
            "a starts in term 7",
        ] {
            assert_eq!(LogLine::read(line), LogLine::Fault(line));
        }
    }
}
