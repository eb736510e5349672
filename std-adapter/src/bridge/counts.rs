use std::fmt;

use serde::Serialize;

/// What became of all messages that a [`Bridge`](crate::Bridge) has heard since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BridgeCounts {
    /// What came from the line.
    pub to_nats: DirectionCounts,
    /// What came from NATS.
    pub to_line: DirectionCounts,
}

/// What became of the messages that were heard on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionCounts {
    /// Carried to the other side.
    pub carried: u64,
    /// Not carried because its receiver is on the side it came from.
    pub stayed: u64,
    /// Not carried because it came from the other side, or was published from the same line.
    pub echoes: u64,
    /// Dropped to keep the rate.
    pub over_rate: u64,
    /// Dropped because the other side was disconnected.
    pub disconnected: u64,
    /// Dropped because it was not a valid message (rule V7).
    pub malformed: u64,
    /// Dropped because the other side didn't take it: the line was full, for example, or the
    /// message is longer than a frame.
    pub refused: u64,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Carried,
    Stayed,
    Echo,
    OverRate,
    Disconnected,
    Malformed,
    Refused,
}

impl DirectionCounts {
    pub(super) fn count(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Carried => &mut self.carried,
            Outcome::Stayed => &mut self.stayed,
            Outcome::Echo => &mut self.echoes,
            Outcome::OverRate => &mut self.over_rate,
            Outcome::Disconnected => &mut self.disconnected,
            Outcome::Malformed => &mut self.malformed,
            Outcome::Refused => &mut self.refused,
        };
        *counter = counter.saturating_add(1);
    }
}

impl fmt::Display for BridgeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to NATS: {}; to the line: {}", self.to_nats, self.to_line)
    }
}

impl fmt::Display for DirectionCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} carried", self.carried)?;
        for (count, what) in [
            (self.stayed, "stayed"),
            (self.echoes, "echoes"),
            (self.over_rate, "over the rate"),
            (self.disconnected, "while disconnected"),
            (self.malformed, "malformed"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
