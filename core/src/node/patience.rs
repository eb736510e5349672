//! How much longer a node waits where votes take long to store (rule C3).

use crate::Round;

/// How often late votes double the span at most.
const DOUBLINGS_MAX: u8 = 3;

/// How many times as long as the configured span a stretched one is at most.
const STRETCH_MAX: u32 = 8;

/// What a node knows of slow disks: its own, and those of the voters that it asked (rule C3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Patience {
    /// How many microseconds the node's own last save took, if it was a slow one.
    slow_save: u32,
    /// How many campaigns had votes that came too late for them.
    late_campaigns: u8,
    /// The last one of them. A voter that answers late answers each repeated request (rule C2a).
    last_late: Option<Round>,
}

impl Patience {
    /// The node has stored its record, which took `micros`; from `slow_from` on that is slow.
    pub(super) fn note_save(&mut self, micros: u64, slow_from: u32) {
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        self.slow_save = if micros >= slow_from { micros } else { 0 };
    }

    /// A vote has come too late for the campaign of this round.
    pub(super) fn note_late_vote(&mut self, round: Option<Round>) {
        if self.last_late != round {
            self.late_campaigns = self.late_campaigns.saturating_add(1).min(DOUBLINGS_MAX);
            self.last_late = round;
        }
    }

    /// There is a leader, so the votes of its campaign came in time.
    pub(super) fn forget_late_votes(&mut self) {
        (self.late_campaigns, self.last_late) = (0, None);
    }

    /// Whether the node has to wait for slow disks at all.
    pub(super) fn is_needed(self) -> bool {
        self != Self::default()
    }

    /// The span, in microseconds, from which an election timeout is drawn in place of `span`.
    pub(super) fn stretch(self, span: u32) -> u32 {
        let stretched = span.saturating_add(self.slow_save.saturating_mul(2));
        stretched.saturating_mul(1 << self.late_campaigns).min(span.saturating_mul(STRETCH_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_a_span_stretches_with_slow_saves_and_late_votes_up_to_a_limit() {
        let mut patience = Patience::default();
        assert_eq!((patience.stretch(500), patience.is_needed()), (500, false));
        patience.note_save(499, 500);
        assert_eq!(patience.stretch(500), 500);
        patience.note_save(600, 500);
        assert_eq!((patience.stretch(500), patience.is_needed()), (1700, true));
        patience.note_late_vote(Round::new(1));
        patience.note_late_vote(Round::new(1));
        assert_eq!(patience.stretch(500), 3400);
        patience.note_late_vote(Round::new(2));
        assert_eq!(patience.stretch(500), 4000);
        patience.note_save(3, 500);
        assert_eq!(patience.stretch(500), 2000);
        patience.forget_late_votes();
        assert_eq!((patience.stretch(500), patience.is_needed()), (500, false));
    }

    #[test]
    fn c3_nothing_overflows() {
        let mut patience = Patience::default();
        patience.note_save(u64::MAX, 1);
        for round in 1..300 {
            patience.note_late_vote(Round::new(round));
        }
        assert_eq!(patience.stretch(u32::MAX), u32::MAX);
        assert_eq!(patience.stretch(1), 8);
    }
}
