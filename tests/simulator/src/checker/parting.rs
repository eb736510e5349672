use graft_election_core::{Instant, Reason};

/// What a node owes once it stops leading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parting {
    /// Why it stopped, until it says that it hands over (rules H1, L4).
    pub(super) owes_handover: Option<Reason>,
    /// The term in which it handed over, as long as it knows of no successor.
    pub(super) handed_over: Option<u64>,
    /// Until when a closing node goes on answering, unless its successor no longer needs it (rule
    /// H3).
    pub(super) stays_until: Option<Instant>,
    /// Whether it may leave at once all the same: who stands aside could answer nobody.
    pub(super) may_leave: bool,
}

impl Parting {
    /// It has said that it hands over in `term`, or would have: if that was lost with a save that
    /// failed it stays for a successor all the same. Returns why it had to.
    pub(super) fn hands_over(&mut self, term: u64) -> Option<Reason> {
        let owed = self.owes_handover.take();
        let expects_successor = owed.is_some_and(|reason| !names_nobody(reason));
        self.handed_over = expects_successor.then_some(term);
        owed
    }

    /// Someone leads.
    pub(super) fn hears_leader(&mut self) {
        self.handed_over = None;
    }
}

/// Whether a leader that stops for this reason leaves it to all others who leads.
pub(super) fn names_nobody(reason: Reason) -> bool {
    matches!(reason, Reason::LostQuorum | Reason::DuplicateId | Reason::OlderList)
}
