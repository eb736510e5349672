//! What a node does when a part of its board fails.

use graft_election_core::{Config, Message, Reason, Report, State};
use graft_election_embassy::SendError;

use crate::machine::{Broken, Health, Machine, Observed, now};
use crate::messages::{heartbeat, id, vote_request};
use crate::world::World;

#[test]
fn c4_a_node_that_cannot_store_its_vote_stays_silent_until_it_can() {
    let mut world = World::with_cluster(&["a"]);
    world.with("a", |machine| machine.saving = Health::Broken);
    world.run_for(10_000);
    world.look("a", |machine| {
        assert_eq!(machine.sent, []);
        assert!(machine.count(&Observed::SaveFailed) >= 9, "it tries again");
        assert_eq!(machine.state(), State::Follower);
        let reasons: Vec<_> = machine.changes().map(|change| change.reason).collect();
        assert_eq!(reasons, [Reason::ElectionTimeout, Reason::SaveFailed]);
    });
    world.with("a", |machine| machine.saving = Health::Sound);
    assert_eq!(world.elect(), "a");
}

#[test]
fn c4_a_save_that_takes_too_long_is_reported() {
    let mut world = World::with_cluster(&["a"]);
    world.with("a", |machine| machine.save_takes = 499);
    world.elect();
    let slow = |world: &World, millis: u64| {
        let report = Observed::Report(Report::SlowSave { micros: millis * 1_000 });
        world.look("a", |machine| machine.count(&report))
    };
    assert_eq!(slow(&world, 499), 0);
    world.kill("a");
    world.with("a", |machine| machine.save_takes = 500);
    world.start("a", 1);
    world.elect();
    assert_eq!(slow(&world, 500), 1);
}

#[test]
fn i6_a_vote_that_was_not_stored_is_not_given() {
    let mut world = World::new();
    world.start_and_settle("a", 3);
    world.with("a", |machine| machine.saving = Health::Broken);
    world.deliver("a", vote_request("b", 1));
    world.run_for(100);
    world.look("a", |machine| {
        assert_eq!(machine.sent, []);
        assert_eq!(machine.observed, [Observed::SaveFailed]);
    });
    world.with("a", |machine| machine.saving = Health::Sound);
    world.deliver("a", vote_request("b", 1));
    world.run_for(1);
    world.look("a", |machine| match machine.messages().as_slice() {
        [Message::VoteResponse(response)] => assert!(response.granted),
        messages => panic!("{messages:?}"),
    });
}

#[test]
fn c5_two_sound_nodes_elect_a_leader_beside_a_sick_disk() {
    let mut world = World::new();
    world.with("a", |machine| machine.saving = Health::Broken);
    for name in ["a", "b", "c"] {
        world.start(name, 3);
    }
    assert_ne!(world.elect(), "a");
    world.with("a", |machine| machine.saving = Health::Sound);
    world.run_for(2_000);
    let leader = world.elect();
    world.kill(&leader);
    world.elect();
}

#[test]
fn a_report_is_made_once_even_if_the_save_that_goes_with_it_fails() {
    for saving in [Health::Sound, Health::Broken] {
        let mut world = World::new();
        world.with("a", |machine| machine.saving = saving);
        world.start_and_settle("a", 3);
        // L6: the higher term must be saved, and the size reported.
        let Message::VoteRequest(mut request) = vote_request("b", 7) else { unreachable!() };
        request.size = core::num::NonZeroU32::new(4);
        world.deliver("a", Message::VoteRequest(request));
        world.run_for(1);
        let report = Observed::Report(Report::SizeMismatch { node: id("b"), size: 4 });
        world.look("a", |machine| {
            assert_eq!(machine.saves, 1);
            assert_eq!(machine.count(&report), 1);
        });
    }
}

#[test]
fn g16_a_transport_that_fails_at_once_every_time_neither_spins_nor_stops_the_election_timer() {
    let mut world = World::new();
    world.with("a", |machine| machine.receiving = Health::Broken);
    world.start("a", 3);
    world.run_for(10_000);
    world.look("a", |machine| {
        let pauses = 10_000 / (Config::HEARTBEAT_INTERVAL.as_millis() as usize / 2);
        assert!(machine.receives <= pauses + 1);
        assert_eq!(machine.count(&Observed::ReceiveFailed), machine.receives);
        assert!(machine.sent.len() >= 90, "it asks for pre-votes at each timeout");
    });
}

#[test]
fn a_transport_that_recovers_is_heard_again() {
    let mut world = World::with_cluster(&["a", "b", "c"]);
    let leader = world.elect();
    let follower = if leader == "a" { "b" } else { "a" };
    world.with(follower, |machine| machine.receiving = Health::Broken);
    // The pending receive ends with the next heartbeat; the ones after it fail.
    world.run_for(300);
    world.with(follower, |machine| machine.receiving = Health::Sound);
    world.run_for(5_000);
    assert!(world.look(follower, |machine| machine.count(&Observed::ReceiveFailed)) > 0);
    assert_eq!(world.leaders(), std::slice::from_ref(&leader));
    assert_eq!(world.look(follower, |machine| machine.leader()), Some(id(&leader)));
}

#[test]
fn g16_a_message_that_cannot_be_sent_is_reported_and_lost() {
    let mut world = World::with_cluster(&["a"]);
    world.with("a", |machine| machine.sending = Health::Broken);
    world.run_for(2_000);
    assert_eq!(world.leaders(), ["a"]);
    let failed = Observed::SendFailed(SendError::Transport(Broken));
    assert!(world.look("a", |machine| machine.count(&failed)) >= 10);
}

#[test]
fn l1_a_transport_that_never_finishes_sending_is_given_up_after_a_heartbeat_interval() {
    let mut world = World::with_cluster(&["a"]);
    world.with("a", |machine| machine.sending = Health::Stuck);
    world.run_until(2_000, |world| world.leaders() == ["a"]);
    let failed = Observed::SendFailed(SendError::TimedOut);
    let before = world.look("a", |machine| machine.count(&failed));
    world.run_for(1_010);
    assert_eq!(world.look("a", |machine| machine.count(&failed)), before + 10);
    world.with("a", |machine| machine.sending = Health::Sound);
    world.run_for(200);
    assert!(world.look("a", |machine| machine.sent.len()) > 0);
}

#[test]
fn t3_a_leader_whose_sends_never_finish_still_hears_a_higher_term() {
    let mut world = World::with_cluster(&["a"]);
    world.with("a", |machine| machine.sending = Health::Stuck);
    world.run_until(2_000, |world| world.leaders() == ["a"]);
    world.deliver("a", heartbeat("b", 9));
    world.run_until(200, |world| world.leaders().is_empty());
}

#[test]
fn l1_a_leader_that_is_flooded_sends_its_heartbeats_all_the_same() {
    let mut world = World::with_cluster(&["a"]);
    world.elect();
    world.with("a", |machine| {
        machine.receive_takes = 1;
        machine.is_cut_off = true;
    });
    for _ in 0..1_000 {
        world.deliver("a", heartbeat("b", 0));
    }
    let start = now();
    world.run_for(0);
    assert_eq!(now() - start, 1_000, "the messages were always ready");
    let heartbeats = |machine: &Machine| {
        let is_heartbeat = |message: &&Message| matches!(message, Message::Heartbeat(_));
        machine.messages().into_iter().filter(is_heartbeat).count()
    };
    assert_eq!(world.look("a", heartbeats), 1 + 10);
}
