//! Searches of clusters whose voters change, those that are over in no time.

use std::num::NonZeroUsize;

use graft_election_model::{OMISSIONS, Omission, Renewal};

/// The first line of what a search finds without this rule.
fn violation_without(omission: Omission) -> Option<String> {
    let is_meant = |renewal: &&Renewal| renewal.omission == Some(omission);
    let renewal = OMISSIONS.iter().find(is_meant)?;
    let violation = renewal.search(NonZeroUsize::MIN).err()?.to_string();
    violation.lines().next().map(str::to_owned)
}

#[test]
fn i1_i4_i10_hold_while_the_voters_change() {
    Renewal::new(3, 3, 2, 1).search(NonZeroUsize::MIN).unwrap();
}

#[test]
fn r6_a_list_that_another_follows_has_to_be_committed() {
    let violation = violation_without(Omission::Commit).unwrap();
    assert!(violation.starts_with("violated: I4"), "{violation}");
}

#[test]
fn r7_two_voters_must_not_change_at_once() {
    let violation = violation_without(Omission::OneVoter).unwrap();
    assert!(violation.starts_with("violated: I10"), "{violation}");
}

#[test]
fn r4_a_candidate_with_an_older_list_must_get_no_vote() {
    let violation = violation_without(Omission::Compare).unwrap();
    assert!(violation.starts_with("violated: I10"), "{violation}");
}

#[test]
fn r3_an_older_list_must_not_be_learned() {
    let violation = violation_without(Omission::NewerList).unwrap();
    assert!(violation.starts_with("violated: I10"), "{violation}");
}
