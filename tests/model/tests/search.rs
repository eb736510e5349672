//! Searches that are over in no time.

use std::num::NonZeroUsize;

use graft_election_model::{Cluster, Kind, Others, search};

#[test]
fn i1_i2_i3_i6_i7_hold_whatever_happens_to_two_nodes() {
    let cluster = Cluster { term_max: 2, ..Cluster::new(Kind::Graft, 2) };
    search(cluster, NonZeroUsize::MIN).unwrap();
}

#[test]
fn i1_i2_i3_i6_i7_hold_whatever_happens_to_two_nodes_that_hand_over_and_close() {
    let cluster = Cluster { term_max: 2, leaving: true, ..Cluster::new(Kind::Graft, 2) };
    search(cluster, NonZeroUsize::MIN).unwrap();
}

#[test]
fn i1_to_i7_hold_whatever_happens_to_two_nodes_that_hold_leases() {
    let cluster = Cluster { term_max: 2, leaving: true, ..Cluster::new(Kind::Extended, 2) };
    search(cluster, NonZeroUsize::MIN).unwrap();
}

#[test]
fn n1_answers_of_another_cluster_of_the_same_ids_count_for_nothing() {
    let others = Others::Cluster;
    let cluster = Cluster { others, disturbances_max: Some(0), ..Cluster::new(Kind::Extended, 4) };
    search(cluster, NonZeroUsize::MIN).unwrap();
}

#[test]
fn the_order_in_which_a_node_hears_of_its_voters_makes_no_difference() {
    let cluster = |declared| Cluster { declared, ..Cluster::new(Kind::Graft, 3) };
    let declared = search(cluster(true), NonZeroUsize::MIN).unwrap();
    let undeclared = search(cluster(false), NonZeroUsize::MIN).unwrap();
    assert_eq!(declared.states, undeclared.states);
}
