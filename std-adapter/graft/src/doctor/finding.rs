//! What was found, and what to do about it.

use std::fmt::{self, Display};

use anstyle::AnsiColor;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Fine,
    /// It may be meant so.
    Warning,
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at, by its name for programs.
    check: &'static str,
    pub(super) verdict: Verdict,
    text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    pub(super) fn fine(check: &'static str, text: impl Display) -> Self {
        Self { check, verdict: Verdict::Fine, text: text.to_string(), advice: None }
    }

    pub(super) fn warning(check: &'static str, text: impl Display, advice: impl Display) -> Self {
        let advice = Some(advice.to_string());
        Self { check, verdict: Verdict::Warning, text: text.to_string(), advice }
    }

    pub(super) fn failure(check: &'static str, text: impl Display, advice: impl Display) -> Self {
        Self { verdict: Verdict::Failure, ..Self::warning(check, text, advice) }
    }
}

/// For people.
impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, style) = match self.verdict {
            Verdict::Fine => ("ok   ", AnsiColor::Green.on_default()),
            Verdict::Warning => ("look ", AnsiColor::Yellow.on_default()),
            Verdict::Failure => ("wrong", AnsiColor::Red.on_default().bold()),
        };
        write!(f, "{style}{word}{style:#}  {:11}  {}", self.check, self.text)?;
        match &self.advice {
            Some(advice) => write!(f, "\n{:20}{advice}", ""),
            None => Ok(()),
        }
    }
}
