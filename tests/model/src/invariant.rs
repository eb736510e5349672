//! What must always hold.

use crate::voter::Disk;

/// What must always hold (protocol, section 5). The exploration checks I7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Invariant {
    OneLeaderPerTerm,
    OneVotePerTerm,
    TermsNeverFall,
    OneLeaseAtATime,
    TokensRise,
    NothingUndurableIsSaid,
}

/// What a node breaks that stores `after` over `before` (rules T1, V1).
pub(crate) fn broken_by_writing(before: Disk, after: Disk) -> Option<Invariant> {
    if after.term < before.term {
        return Some(Invariant::TermsNeverFall);
    }
    let is_changed = before.vote.is_some() && after.vote != before.vote;
    (after.term == before.term && is_changed).then_some(Invariant::OneVotePerTerm)
}
