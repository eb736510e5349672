//! L1 to L6: what a leader says, and whom a follower follows. A leader in Graft mode asks for no
//! promises, so it has no lease and checks no quorum.

use std::num::NonZeroU64;

use graft_election_core::{
    Heartbeat, HeartbeatResponse, Message, Reason, Report, State, VoteRequest,
};

use crate::common::*;

#[test]
fn l1_a_new_leader_sends_a_heartbeat_at_once_and_then_every_h() {
    let mut a = candidate("a", 3, 4);
    a.hears(grant("b", 4)).expect_send(to_everyone(announced_heartbeat("a", 4, 3)));
    for _ in 0..5 {
        assert_eq!(a.timeout(), H);
        a.times_out().expect_send(to_everyone(announced_heartbeat("a", 4, 3)));
    }
}

#[test]
fn l1_a_heartbeat_that_comes_late_is_not_made_up_for() {
    let mut a = leader("a", 3, 4);
    a.wait(H * 7);
    a.wakes().expect_send(to_everyone(announced_heartbeat("a", 4, 3)));
    assert_eq!(a.timeout(), H);
    a.wakes().expect_silence();
}

#[test]
fn l1_a_leader_saves_nothing_while_it_leads() {
    let mut a = leader("a", 3, 4);
    for message in [
        vote_request("b", 4),
        pre_vote_request("b", 5),
        grant("c", 4),
        denial("c", 4),
        heartbeat("b", 3),
        refusal("b", 4),
        acknowledgement("b", 4),
        pre_vote("b", 4, 5, true),
        handover("b", 4, None),
    ] {
        a.hears(message).expect_nothing_to_save();
        assert_eq!(a.state(), State::Leader);
    }
}

#[test]
fn l2_a_follower_binds_itself_and_echoes() {
    let mut a = voter_with("a", 3, record(4, None));
    a.is_at("7");
    a.hears(timed_heartbeat("l", 4)).expect_send(to(
        "l",
        Message::HeartbeatResponse(HeartbeatResponse {
            position: position_of("7"),
            sent_at: NonZeroU64::new(SENT_AT),
            bound_for: NonZeroU64::new(500_000),
            ..plain_refusal("a", 4)
        }),
    ));
    assert_eq!(a.leader(), Some(&node_id("l")));
    a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
}

#[test]
fn l2_a_heartbeat_of_a_later_term_is_stored_before_it_is_acknowledged() {
    let mut a = bound_to("l", "a", 3, 4);
    a.hears(timed_heartbeat("m", 5))
        .expect_save(record(5, None))
        .then_sends(to("m", acknowledgement("a", 5)));
    assert_eq!(a.leader(), Some(&node_id("m")));
}

#[test]
fn l2_a_slow_save_does_not_lengthen_the_promise_already_given() {
    let mut a = voter_with("a", 3, record(4, None));
    a.hears(timed_heartbeat("m", 5))
        .expect_save(record(5, None))
        .lasts(H)
        .then_sends(to("m", acknowledgement("a", 5)));
    a.wait(BOUND - TICK);
    a.hears(vote_request("b", 6)).expect_send(to("b", denial("a", 5)));
    a.wait(TICK);
    a.hears(vote_request("b", 6))
        .expect_save(record(6, Some("b")))
        .then_sends(to("b", grant("a", 6)));
}

#[test]
fn l2_a_candidate_follows_the_leader_of_its_term() {
    let mut a = candidate("a", 3, 4);
    a.hears(timed_heartbeat("l", 4)).expect_send(to("l", acknowledgement("a", 4)));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LeaderHeard));
    assert_eq!(a.leader(), Some(&node_id("l")));
    assert_eq!(a.timeout(), T_MIN);
}

#[test]
fn l2_a_second_leader_of_the_term_is_refused_and_reported() {
    let mut a = bound_to("l", "a", 3, 4);
    let deadline = a.deadline();
    a.wait(BOUND - TICK);
    a.hears(timed_heartbeat("m", 4)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("m"))));
    assert_eq!(a.leader(), Some(&node_id("l")));
    assert_eq!(a.deadline(), deadline);
    a.wait(TICK);
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn l2_a_go_leader_gets_no_answer() {
    let mut a = voter_with("a", 3, record(4, None));
    a.hears(heartbeat("go", 4)).expect_silence();
    assert_eq!((a.report(), a.leader()), (None, Some(&node_id("go"))));
}

#[test]
fn l3_a_leader_asks_for_no_promise() {
    let mut a = leader("a", 3, 4);
    let Message::Heartbeat(heartbeat) = announced_heartbeat("a", 4, 3) else { unreachable!() };
    assert_eq!(heartbeat.sent_at, None);
    a.times_out().expect_send(to_everyone(Message::Heartbeat(heartbeat)));
}

#[test]
fn l4_a_leader_nobody_answers_leads_on() {
    let mut a = leader("a", 3, 4);
    for _ in 0..100 {
        a.times_out().expect_send(to_everyone(announced_heartbeat("a", 4, 3)));
    }
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn l5_a_leader_that_hears_another_of_its_term_reports_it_and_steps_down() {
    for message in [heartbeat("b", 4), timed_heartbeat("b", 4)] {
        let mut a = leader("a", 3, 4);
        a.hears(message).expect_silence();
        assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("b"))));
        assert_eq!((a.state(), a.reason()), (State::Follower, Reason::SecondLeader));
        assert_eq!((a.leader(), a.timeout()), (None, T_MIN));
        assert_eq!(*a.record(), record(4, Some("a")));
    }
}

#[test]
fn g9_two_leaders_of_one_term_both_stop() {
    let (mut a, mut b) = (leader("a", 3, 4), leader("b", 3, 4));
    a.hears(announced_heartbeat("b", 4, 3)).expect_silence();
    b.hears(announced_heartbeat("a", 4, 3)).expect_silence();
    assert_eq!((a.state(), b.state()), (State::Follower, State::Follower));
}

#[test]
fn l5_a_handover_in_the_own_term_of_a_leader_is_reported_only() {
    // Who hands over leads no more, so this node need not step down.
    let mut a = leader("a", 3, 4);
    a.hears(handover("b", 4, Some("a"))).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("b"))));
    assert_eq!((a.state(), a.term()), (State::Leader, 4));
}

fn of_size(size: usize, message: Message) -> Message {
    let size = announced(size);
    match message {
        Message::VoteRequest(request) => Message::VoteRequest(VoteRequest { size, ..request }),
        Message::PreVoteRequest(request) => {
            Message::PreVoteRequest(VoteRequest { size, ..request })
        }
        Message::Heartbeat(heartbeat) => Message::Heartbeat(Heartbeat { size, ..heartbeat }),
        other => other,
    }
}

#[test]
fn l6_a_heartbeat_of_another_size_is_reported_and_not_acknowledged() {
    let mut a = voter_with("a", 3, record(4, None));
    a.hears(of_size(5, timed_heartbeat("l", 4))).expect_silence();
    let node = node_id("l");
    assert_eq!(a.report(), Some(&Report::SizeMismatch { node, size: 5 }));
    a.hears(of_size(5, heartbeat("l", 4))).expect_silence();
    assert!(a.report().is_some());
    a.hears(of_size(3, timed_heartbeat("l", 4))).expect_send(to("l", acknowledgement("a", 4)));
    assert_eq!(a.report(), None);
}

#[test]
fn l6_a_request_of_another_size_gets_neither_vote_nor_pre_vote() {
    let mut a = voter_with("a", 3, record(4, None));
    for size in [1, 2, 4, 5] {
        a.hears(of_size(size, pre_vote_request("b", 5)))
            .expect_send(to("b", pre_vote("a", 4, 5, false)));
        assert!(matches!(a.report(), Some(Report::SizeMismatch { .. })));
    }
    a.hears(of_size(4, vote_request("b", 5)))
        .expect_save(record(5, None))
        .then_sends(to("b", denial("a", 5)));
    a.hears(of_size(3, pre_vote_request("b", 6))).expect_send(to("b", pre_vote("a", 5, 6, true)));
    a.hears(of_size(3, vote_request("b", 5)))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn g18_nodes_of_mixed_sizes_notice_and_elect_no_one_together() {
    let (mut three, mut five) = (voter("three", 3), voter("five", 5));
    three
        .times_out()
        .expect_save(record(1, Some("three")))
        .then_sends(to_everyone(request("three", 1, 3)));
    five.hears(request("three", 1, 3))
        .expect_save(record(1, None))
        .then_sends(to("three", denial("five", 1)));
    let node = node_id("three");
    assert_eq!(five.report(), Some(&Report::SizeMismatch { node, size: 3 }));
    five.times_out()
        .expect_save(record(2, Some("five")))
        .then_sends(to_everyone(request("five", 2, 5)));
    three
        .hears(request("five", 2, 5))
        .expect_save(record(2, None))
        .then_sends(to("five", denial("three", 2)));
    let node = node_id("five");
    assert_eq!(three.report(), Some(&Report::SizeMismatch { node, size: 5 }));
}
