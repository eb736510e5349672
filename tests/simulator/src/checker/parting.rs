use graft_election_core::{Instant, Reason};

/// What a node owes once it stops leading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parting {
    /// Why it stopped, until it says that it hands over (rules H1, L4).
    pub(super) owes_handover: Option<Reason>,
    /// The term in which it handed over, as long as it knows of no successor.
    pub(super) handed_over: Option<u64>,
    /// It was told to close. It may stay for a while even where it owes nobody that: its handover was
    /// lost with a save that failed (rule C4).
    pub(super) is_closing: bool,
    /// Until when a closing node goes on answering, unless its successor no longer needs it (rule
    /// H3).
    pub(super) stays_until: Option<Instant>,
    /// Whether it may leave at once all the same: who stands aside could answer nobody.
    pub(super) may_leave: bool,
}

impl Parting {
    /// Someone leads.
    pub(super) fn hears_leader(&mut self) {
        self.handed_over = None;
    }
}
