//! When the driver reads the clock, and what it waits for.

use graft_election_core::{Life, Message, PreVoteResponse, State, VoteRequest, VoteResponse};

use crate::machine::now;
use crate::messages::{heartbeat, id, vote_request};
use crate::world::World;

#[test]
fn the_clock_is_read_after_the_message_was_received() {
    let mut world = World::new();
    world.start("a", 3);
    // V8: each heartbeat restarts a timer of 500 to 1,000 ms.
    for _ in 0..20 {
        world.run_for(490);
        world.deliver("a", heartbeat("b", 1));
        world.run_for(1);
        assert_eq!(world.look("a", |machine| machine.state()), State::Follower);
    }
}

#[test]
fn a_node_campaigns_at_its_deadline() {
    let mut world = World::new();
    world.start("a", 3);
    let took = world.run_until(1_001, |world| world.look("a", |machine| machine.sent.len()) == 1);
    assert!(took >= 500);
}

#[test]
fn a_slow_save_does_not_eat_up_the_time_that_voters_have_to_answer() {
    let mut world = World::new();
    world.with("a", |machine| machine.save_takes = 3_000);
    world.start("a", 3);
    world.run_until(1_001, |world| world.look("a", |machine| machine.sent.len()) == 1);
    let pre_vote = world.look("a", |machine| pre_vote("b", machine.messages()[0]));
    world.deliver("a", pre_vote);
    world.run_until(5_000, |world| world.look("a", |machine| machine.sent.len()) == 2);
    // T_min later the candidate still waits for answers to its first request.
    world.run_for(499);
    assert_eq!(world.look("a", |machine| machine.saves), 1);
    let vote = world.look("a", |machine| vote("b", machine.messages()[1]));
    world.deliver("a", vote);
    world.run_for(1);
    assert_eq!(world.leaders(), ["a"]);
}

#[test]
fn i6_a_slow_save_is_waited_for_whatever_comes_meanwhile() {
    let mut world = World::new();
    world.start_and_settle("a", 3);
    world.with("a", |machine| machine.save_takes = 3_000);
    world.deliver("a", vote_request("b", 1));
    world.run_for(100);
    // A message, a deadline that passes, and the request to stop all wait for this save.
    world.with("a", |machine| machine.save_takes = 0);
    world.deliver("a", heartbeat("b", 0));
    world.run_for(2_800);
    world.stop("a");
    world.run_for(99);
    world.look("a", |machine| {
        assert_eq!((machine.saves, machine.sent.len()), (1, 0));
    });
    let end = now() + 1;
    world.run_for(1);
    assert!(world.has_ended("a"));
    world.look("a", |machine| {
        assert_eq!(machine.cancelled_saves, 0);
        let (at, first) = machine.sent.first().unwrap();
        assert_eq!(*at, end);
        assert!(matches!(&first.message, Message::VoteResponse(vote) if vote.granted));
    });
}

#[test]
fn three_nodes_with_slow_vote_stores_elect_a_leader() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.with(name, |machine| machine.save_takes = 100);
        world.start(name, 3);
    }
    let leader = world.elect();
    world.run_for(5_000);
    assert_eq!(world.leaders(), [leader]);
}

/// The answer that grants the pre-vote that `request` asks for.
fn pre_vote(voter: &str, request: &Message) -> Message {
    let Message::PreVoteRequest(VoteRequest { term: proposed_term, round, .. }) = *request else {
        panic!("not a request for a pre-vote: {request:?}");
    };
    Message::PreVoteResponse(PreVoteResponse {
        term: proposed_term - 1,
        granted: true,
        voter: id(voter),
        proposed_term,
        round,
        list: None,
        life: Life::new(7),
        wanted: None,
    })
}

/// The vote that `request` asks for.
fn vote(voter: &str, request: &Message) -> Message {
    let Message::VoteRequest(VoteRequest { term, round, .. }) = *request else {
        panic!("not a request for a vote: {request:?}");
    };
    let (granted, voter, life) = (true, Some(id(voter)), Life::new(7));
    Message::VoteResponse(VoteResponse {
        term,
        granted,
        voter,
        round,
        list: None,
        life,
        wanted: None,
    })
}
