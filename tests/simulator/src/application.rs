//! A node's application: how far it is, and which candidates it accepts (rule V4).

use std::fmt;
use std::str::FromStr;

use graft_election_core::{Application, LeaderValue, Position};

/// How an application answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// `current`: it says how far it is, and accepts any candidate that is at least as far.
    #[default]
    Current,
    /// `outdated`: it says how far it was when this began. It judges candidates as ever, so it may
    /// refuse the position that it says itself.
    Outdated,
    /// `refuses`: it accepts no candidate.
    RefusesAll,
}

/// What runs beside a node, and outlives its program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SimulatedApplication {
    position: u16,
    /// How far it says that it is.
    said: u16,
    answers: Answers,
    /// What it wants known while its node leads (rule L7): how often it has changed its answers.
    value: u16,
}

impl SimulatedApplication {
    /// One that is this far.
    pub(crate) fn at(position: u16) -> Self {
        Self { position, said: position, ..Self::default() }
    }

    /// How far it is, whatever it says.
    pub(crate) fn progress(&self) -> u16 {
        self.position
    }

    /// How it answers.
    pub(crate) fn answers(&self) -> Answers {
        self.answers
    }

    /// It has come this far.
    pub(crate) fn advance(&mut self, position: u16) {
        self.position = position;
        if self.answers != Answers::Outdated {
            self.said = position;
        }
    }

    /// From now on it answers so.
    pub(crate) fn answer(&mut self, answers: Answers) {
        self.answers = answers;
        self.value = self.value.wrapping_add(1);
        if answers != Answers::Outdated {
            self.said = self.position;
        }
    }

    /// Whether it accepts a candidate at this position.
    pub(crate) fn accepts(&self, position: &[u8]) -> bool {
        let is_behind = self.position > 0 && position < self.position.to_be_bytes().as_slice();
        self.answers != Answers::RefusesAll && !is_behind
    }
}

impl Application for SimulatedApplication {
    fn position(&mut self) -> Position {
        if self.said == 0 {
            return Position::EMPTY;
        }
        Position::new(&self.said.to_be_bytes()).expect("two bytes are a short position")
    }

    fn grants_vote(&mut self, position: &[u8]) -> bool {
        self.accepts(position)
    }

    fn leader_value(&mut self) -> LeaderValue {
        if self.value == 0 {
            return LeaderValue::EMPTY;
        }
        LeaderValue::new(&self.value.to_be_bytes()).expect("two bytes are a short value")
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Outdated => "outdated",
            Self::RefusesAll => "refuses",
        })
    }
}

impl FromStr for Answers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Current, Self::Outdated, Self::RefusesAll];
        let known = all.into_iter().find(|answers| answers.to_string() == text);
        known.ok_or_else(|| format!("expected current, outdated or refuses, not \"{text}\""))
    }
}
