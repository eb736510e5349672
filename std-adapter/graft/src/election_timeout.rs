//! Times as they are written on the command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use graft_election::Config;
use humantime::{DurationError, format_duration};

/// From how long to how long a node waits for a leader. Whether an election can keep these times is
/// for [`Config::check`] to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElectionTimeout {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Default for ElectionTimeout {
    fn default() -> Self {
        Self { min: Config::ELECTION_TIMEOUT_MIN, max: Config::ELECTION_TIMEOUT_MAX }
    }
}

impl fmt::Display for ElectionTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", format_duration(self.min), format_duration(self.max))
    }
}

impl FromStr for ElectionTimeout {
    type Err = ElectionTimeoutError;

    fn from_str(text: &str) -> Result<Self, ElectionTimeoutError> {
        let (min, max) = text.split_once("..").ok_or(ElectionTimeoutError::NoRange)?;
        Ok(Self { min: parse_duration(min)?, max: parse_duration(max)? })
    }
}

/// A time with its unit, such as `500ms` or `2s`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, ElectionTimeoutError> {
    humantime::parse_duration(text.trim())
        .map_err(|error| ElectionTimeoutError::Duration { text: text.to_owned(), error })
}

/// Why these are no times.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElectionTimeoutError {
    #[error("it has two times with .. between them, as in 500ms..1s")]
    NoRange,
    #[error("{text:?} is no time with a unit, such as 500ms: {error}")]
    Duration { text: String, error: DurationError },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let default = ElectionTimeout::default();
        assert_eq!(default.to_string(), "500ms..1s");
        assert_eq!(default.to_string().parse::<ElectionTimeout>().unwrap(), default);
    }

    #[test]
    fn what_is_no_range_is_explained() {
        for (text, told) in [
            ("500ms", "it has two times"),
            ("..1s", "\"\" is no time"),
            ("500..1s", "\"500\" is no time with a unit"),
            ("1s..2 parsecs", "\"2 parsecs\" is no time"),
        ] {
            let error = text.parse::<ElectionTimeout>().unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
