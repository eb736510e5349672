//! Which rules a world is held to, and the rule that it broke.

use std::fmt;
use std::str::FromStr;

/// A rule of the protocol that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule of `docs/protocol.md`.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken: {}", self.rule, self.what)
    }
}

/// Which rules a world is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judged {
    /// All.
    #[default]
    Everything,
    /// All except I1, I4 and I5: the cluster has more voters than its size, or one of them lost its
    /// record, and there is no list of voters to exclude it (rules V6, V9).
    AllButI1,
    /// All except I4 and I5: the rates of clocks differ by more than rho, or clocks leap.
    AllButI4,
    /// What each node owes whatever it hears: I2, I3, I6, I7 and T3. Messages are forged, and can't
    /// be told from real ones.
    NodesAlone,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "everything",
            Self::AllButI1 => "all-but-i1",
            Self::AllButI4 => "all-but-i4",
            Self::NodesAlone => "nodes-alone",
        })
    }
}

impl FromStr for Judged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Everything, Self::AllButI1, Self::AllButI4, Self::NodesAlone];
        all.into_iter().find(|judged| judged.to_string() == text).ok_or_else(|| {
            format!("expected everything, all-but-i1, all-but-i4 or nodes-alone, not \"{text}\"")
        })
    }
}
