//! Which rules a world is held to, and the rule that it broke.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::step_text::{SpanText, parse_span};

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
    /// `changing`: what holds whoever votes, I1 to I11 and A7 above all. The voters change, and
    /// only the nodes know when.
    Changing,
    /// `doubles-12ms`: the same, and that two leases overlap for no longer than this, and not at
    /// all as long as no double has led. Some ids have several processes, and nothing that they say
    /// to each other takes longer, or is lost. Where T_min differs, a crash ends a lease.
    Doubles {
        /// How long a message takes at most, until it is heard.
        delay_max: Duration,
    },
}

impl Judged {
    /// Whether the voters change while the cluster runs.
    pub(crate) fn lets_lists_change(self) -> bool {
        matches!(self, Self::Changing)
    }

    /// Whether only what each node owes whatever it hears is judged of most rules.
    pub(crate) fn is_of_nodes_alone(self) -> bool {
        matches!(self, Self::NodesAlone | Self::Doubles { .. })
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => write!(f, "everything"),
            Self::AllButI1 => write!(f, "all-but-i1"),
            Self::AllButI4 => write!(f, "all-but-i4"),
            Self::NodesAlone => write!(f, "nodes-alone"),
            Self::Changing => write!(f, "changing"),
            Self::Doubles { delay_max } => write!(f, "doubles-{}", SpanText(*delay_max)),
        }
    }
}

impl FromStr for Judged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(span) = text.strip_prefix("doubles-") {
            return Ok(Self::Doubles { delay_max: parse_span(span)? });
        }
        let all =
            [Self::Everything, Self::AllButI1, Self::AllButI4, Self::NodesAlone, Self::Changing];
        all.into_iter().find(|judged| judged.to_string() == text).ok_or_else(|| {
            format!(
                "expected everything, all-but-i1, all-but-i4, nodes-alone, changing or \
                 doubles-12ms, not \"{text}\""
            )
        })
    }
}
