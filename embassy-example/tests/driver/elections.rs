//! What a cluster does when nothing but its nodes fails.

use graft_election_core::{Config, ConfigError, Message, Reason, State, VoteRecord};
use graft_election_embassy::{ProvisionError, StartError, StateChange, VoteStore};

use crate::machine::{Broken, Disk, Health, Observed, now};
use crate::messages::{heartbeat, id, vote_request};
use crate::world::{World, ready};

const THREE: [&str; 3] = ["a", "b", "c"];

#[test]
fn i1_three_nodes_elect_exactly_one_leader_and_keep_it() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.elect();
    let changes = world.look(&leader, |machine| machine.changes().count());
    for _ in 0..100 {
        world.run_for(100);
        assert_eq!(world.leaders(), std::slice::from_ref(&leader));
    }
    assert_eq!(world.look(&leader, |machine| machine.changes().count()), changes);
}

#[test]
fn a1_a_leader_that_is_killed_is_followed_by_another() {
    let mut world = World::with_cluster(&THREE);
    let first = world.elect();
    world.kill(&first);
    let second = world.elect();
    assert_ne!(first, second);
}

#[test]
fn v3_a_node_that_comes_back_follows_with_the_vote_that_it_stored() {
    let mut world = World::with_cluster(&THREE);
    let first = world.elect();
    world.kill(&first);
    let second = world.elect();
    world.start(&first, 3);
    assert_eq!(world.elect(), second);
    assert_eq!(world.look(&first, |machine| machine.changes().count()), 0);
}

#[test]
fn l4_a_leader_that_is_cut_off_stops_before_another_leads() {
    let mut world = World::with_cluster(&THREE);
    let first = world.elect();
    world.with(&first, |machine| machine.is_cut_off = true);
    world.run_until(3_000, |world| {
        let leaders = world.leaders();
        assert!(leaders.len() < 2, "{leaders:?}");
        leaders.len() == 1 && leaders[0] != first
    });
    let last = world.look(&first, |machine| machine.changes().nth(3).copied());
    let reason = last.map(|change| (change.from, change.to, change.reason));
    assert_eq!(reason, Some((State::Leader, State::Follower, Reason::LostQuorum)));
    world.with(&first, |machine| machine.is_cut_off = false);
    assert_ne!(world.elect(), first);
}

#[test]
fn c2_a_cluster_of_one_is_seen_to_campaign_and_then_to_lead() {
    let mut world = World::with_cluster(&["a"]);
    world.elect();
    let campaign = StateChange {
        from: State::Follower,
        to: State::Candidate,
        reason: Reason::ElectionTimeout,
        term: 1,
    };
    let victory = StateChange {
        from: State::Candidate,
        to: State::Leader,
        reason: Reason::WonElection,
        term: 1,
    };
    let observed =
        [Observed::State(campaign), Observed::State(victory), Observed::Leader(Some(id("a")), 1)];
    assert_eq!(world.look("a", |machine| machine.observed.clone()), observed);
}

#[test]
fn a_leader_that_is_heard_again_in_a_later_term_is_reported_again() {
    let mut world = World::new();
    world.start("a", 3);
    for term in [1, 1, 2] {
        world.deliver("a", heartbeat("b", term));
        world.run_for(10);
    }
    let observed = [Observed::Leader(Some(id("b")), 1), Observed::Leader(Some(id("b")), 2)];
    assert_eq!(world.look("a", |machine| machine.observed.clone()), observed);
}

#[test]
fn h3_a_leader_that_is_stopped_hands_over_and_votes_for_its_successor() {
    let mut world = World::with_cluster(&THREE);
    let first = world.elect();
    world.stop(&first);
    let interval = Config::HEARTBEAT_INTERVAL.as_millis() as u64;
    let took = world.run_until(2 * interval, |world| world.has_ended(&first));
    assert!(took < 2 * interval, "it left when it had answered, not when time was up");
    assert_eq!(world.look(&first, |machine| machine.state()), State::Closed);
    world.look(&first, |machine| match machine.messages().as_slice() {
        [.., Message::Handover(_), Message::VoteResponse(vote)] => assert!(vote.granted),
        messages => panic!("{messages:?}"),
    });
    assert_ne!(world.elect(), first);
}

#[test]
fn h3_a_leader_without_a_successor_closes_after_two_heartbeat_intervals() {
    let mut world = World::with_cluster(&["a"]);
    world.elect();
    world.stop("a");
    let took = world.run_until(1_000, |world| world.has_ended("a"));
    assert_eq!(took, 200);
}

#[test]
fn a_follower_that_is_stopped_is_gone_at_once() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.elect();
    let follower = THREE.into_iter().find(|name| *name != leader).unwrap();
    world.stop(follower);
    world.run_for(0);
    assert!(world.has_ended(follower));
    world.run_for(3_000);
    assert_eq!(world.leaders(), [leader]);
}

#[test]
fn v1_a_node_starts_with_the_vote_that_it_stored() {
    let mut world = World::new();
    world.with("a", |machine| {
        machine.record = VoteRecord { term: 5, voted_for: Some(id("b")), ..VoteRecord::default() };
    });
    world.start("a", 3);
    // V3: until then it would refuse every request.
    world.run_for(501);
    // N2: not even `b` has it, since it may be another campaign of that name.
    for (candidate, term) in [("c", 5), ("b", 5), ("c", 6)] {
        world.deliver("a", vote_request(candidate, term));
    }
    world.run_for(1);
    world.look("a", |machine| match machine.messages().as_slice() {
        [
            Message::VoteResponse(to_c),
            Message::VoteResponse(to_b),
            Message::VoteResponse(later),
        ] => {
            assert_eq!((to_c.granted, to_b.granted, later.granted), (false, false, true));
        }
        messages => panic!("{messages:?}"),
    });
}

#[test]
fn v9_a_node_does_not_start_with_a_vote_store_that_it_cannot_read() {
    let mut world = World::new();
    world.with("a", |machine| machine.loading = Health::Broken);
    let start = world.try_start("a", &Config::new("test", 3));
    assert_eq!(start, Err(StartError::Load(Broken)));
}

#[test]
fn n6_a_declared_voter_without_a_record_does_not_start_until_it_is_given_one() {
    let mut world = World::new();
    let voters = THREE.map(id);
    let config = Config { voters: &voters, ..Config::new("test", 3) };
    for name in THREE {
        let start = world.try_start(name, &config);
        assert_eq!(start, Err(StartError::Config(ConfigError::RecordMissing)));
        assert_eq!(ready(Disk(world.machine(name)).provision(&voters)), Ok(()));
        assert_eq!(world.try_start(name, &config), Ok(()));
    }
    let leader = world.elect();
    world.kill(&leader);
    // The record that it comes back with is not that first one.
    let again = ready(Disk(world.machine(&leader)).provision(&voters));
    assert_eq!(again, Err(ProvisionError::InUse));
    assert_eq!(world.try_start(&leader, &config), Ok(()));
    world.with(&leader, |machine| machine.record = VoteRecord::default());
    world.kill(&leader);
    let start = world.try_start(&leader, &config);
    assert_eq!(start, Err(StartError::Config(ConfigError::RecordMissing)));
}

#[test]
fn v6_a_declared_voter_does_not_start_with_other_voters_than_before() {
    let mut world = World::new();
    let voters = ["a", "b", "c", "d"].map(id);
    let old = Config { voters: &voters[..3], ..Config::new("test", 3) };
    let new = Config { voters: &[id("a"), id("b"), id("d")], ..old };
    assert_eq!(ready(Disk(world.machine("a")).provision(old.voters)), Ok(()));
    assert_eq!(world.try_start("a", &old), Ok(()));
    world.kill("a");
    let start = world.try_start("a", &new);
    assert!(matches!(start, Err(StartError::Config(ConfigError::ListChanged { .. }))), "{start:?}");
}

/// Equal boards, to whose random source nobody gave a thought: ids alone keep them from asking at
/// the same moment, again and again.
#[test]
fn a1_nodes_with_equal_random_sources_and_equal_delays_elect_a_leader() {
    for size in [2, 3, 5] {
        let names = &["a", "b", "c", "d", "e"][..size];
        let mut world = World::new();
        world.has_equal_seeds = true;
        world.network.delay.set(10);
        for name in names {
            world.start(name, size);
        }
        let first = world.elect();
        assert!(now() < 2_000, "it took {} ms", now());
        // They keep in step: the next timeout of each was drawn with equal numbers, too.
        world.kill(&first);
        if size > 2 {
            world.elect();
        }
    }
}

#[test]
fn a_node_does_not_start_with_a_configuration_that_makes_no_sense() {
    let mut world = World::new();
    let start = world.try_start("a", &Config::new("test", 0));
    assert_eq!(start, Err(StartError::Config(ConfigError::SizeZero)));
}
