//! H1 and H4: to whom a leader hands over, and when it does so unasked.

use graft_election_core::{Config, HeartbeatResponse, Instant, Message, Reason, State};

use crate::common::*;

/// How long a follower must have been steady (rule H4).
const STEADY: std::time::Duration = T_MAX.saturating_mul(10);

/// Lets the leader `a` of a cluster of three go on until it stops; each of its heartbeats is
/// answered by `p1` at once, with that priority.
fn leads_with(a: &mut Voter, priority: u32) -> Message {
    loop {
        let sent_at = a.now;
        let term = a.term();
        let response = HeartbeatResponse { priority, ..echo("p1", term, sent_at) };
        a.hears(Message::HeartbeatResponse(response)).expect_silence();
        let said = a.times_out().sends();
        if a.state() != State::Leader {
            return said;
        }
    }
}

#[test]
fn h1_without_a_name_the_follower_that_answered_last_takes_over() {
    let mut a = extended_leader("a", 5, 5);
    let first = a.now;
    for peer in ["p1", "p2"] {
        a.hears(Message::HeartbeatResponse(echo(peer, 5, first))).expect_silence();
    }
    let second = a.deadline();
    a.times_out().expect_send(to_everyone(extended_heartbeat("a", 5, 5, second)));
    a.hears(Message::HeartbeatResponse(echo("p1", 5, second))).expect_silence();
    a.is_told_to_hand_over(None).expect_send(to_everyone(handover("a", 5, Some("p1"))));
    assert_eq!((a.state(), a.leadership(a.now)), (State::Follower, None));
}

#[test]
fn h1_neither_a_witness_nor_a_follower_behind_takes_over() {
    let mut a = extended_leader("a", 5, 5);
    a.is_at("7");
    let now = a.now;
    let witness =
        HeartbeatResponse { priority: 0, position: position_of("8"), ..echo("p1", 5, now) };
    let behind = HeartbeatResponse { position: position_of("6"), ..echo("p2", 5, now) };
    for response in [witness, behind] {
        a.hears(Message::HeartbeatResponse(response)).expect_silence();
    }
    a.is_told_to_hand_over(None).expect_send(to_everyone(handover("a", 5, None)));
}

#[test]
fn h3_a_leader_that_closes_names_its_successor() {
    let mut a = extended_leader("a", 3, 5);
    let now = a.now;
    a.hears(Message::HeartbeatResponse(echo("p2", 5, now))).expect_silence();
    a.is_told_to_close().expect_send(to_everyone(handover("a", 5, Some("p2"))));
    assert_eq!(a.leadership(now), None);
    a.hears(released_request("p2", 6, 5))
        .expect_save(record(6, Some("p2")))
        .then_sends(to("p2", grant("a", 6)));
    assert_eq!(a.state(), State::Closed);
}

#[track_caller]
fn assert_hands_over(message: Message, term: u64) {
    let expected = handover("a", term, Some("p1"));
    assert_eq!(as_far_as(&expected, message), expected);
}

#[test]
fn h4_a_leader_gives_way_to_a_steady_follower_of_higher_priority() {
    let mut a = extended_leader("a", 3, 5);
    let began_at = a.now;
    assert_hands_over(leads_with(&mut a, 2), 5);
    assert_eq!(a.reason(), Reason::PriorityHandover);
    let waited = a.now.saturating_since(began_at);
    assert!(waited >= STEADY && waited < STEADY + H, "{waited:?}");
}

#[test]
fn h4_a_leader_does_not_give_way_to_an_equal() {
    let mut a = extended_leader("a", 3, 5);
    let began_at = a.now;
    while a.now.saturating_since(began_at) < STEADY * 3 {
        let sent_at = a.now;
        a.hears(Message::HeartbeatResponse(echo("p1", 5, sent_at))).expect_silence();
        let _ = a.times_out();
    }
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn h4_a_gap_or_a_new_priority_restarts_the_wait() {
    let mut a = extended_leader("a", 5, 5);
    let began_at = a.now;
    let mut heartbeats = 0;
    while a.state() == State::Leader {
        let sent_at = a.now;
        for peer in ["p2", "p3"] {
            a.hears(Message::HeartbeatResponse(echo(peer, 5, sent_at))).expect_silence();
        }
        // p1 is silent for as long as its promise holds, half-way through.
        if !(50..56).contains(&heartbeats) {
            let response = HeartbeatResponse { priority: 2, ..echo("p1", 5, sent_at) };
            a.hears(Message::HeartbeatResponse(response)).expect_silence();
        }
        heartbeats += 1;
        let _ = a.times_out();
    }
    assert!(a.now.saturating_since(began_at) >= STEADY + H * 56);
}

#[test]
fn h4_a_leader_does_not_give_way_to_a_follower_whose_promise_ends_just_then() {
    let mut a = extended_leader("a", 3, 5);
    let steady_at = a.now.saturating_add(STEADY);
    let last_sent_at = Instant::from_micros(steady_at.as_micros() - LEASE.as_micros() as u64);
    while a.now < steady_at {
        let sent_at = a.now.min(last_sent_at);
        let response = HeartbeatResponse { priority: 2, ..echo("p1", 5, sent_at) };
        a.hears(Message::HeartbeatResponse(response)).expect_silence();
        a.hears(Message::HeartbeatResponse(echo("p2", 5, a.now))).expect_silence();
        let _ = a.times_out();
    }
    assert_eq!((a.now, a.state()), (steady_at, State::Leader));
}

#[test]
fn h4_an_answer_that_comes_when_the_promise_before_ends_restarts_the_wait() {
    let mut a = extended_leader("a", 3, 5);
    let first = HeartbeatResponse { priority: 2, ..echo("p1", 5, a.now) };
    let promise_ends_at = a.now.saturating_add(LEASE);
    a.hears(Message::HeartbeatResponse(first)).expect_silence();
    while a.deadline() < promise_ends_at {
        let _ = a.times_out();
        a.hears(Message::HeartbeatResponse(echo("p2", 5, a.now))).expect_silence();
    }
    a.wait(promise_ends_at.saturating_since(a.now));
    assert_hands_over(leads_with(&mut a, 2), 5);
    assert!(a.now.saturating_since(promise_ends_at) >= STEADY);
}

#[test]
fn h4_a_target_that_does_not_lead_is_waited_for_twice_as_long_each_time() {
    let mut a = extended_leader("a", 3, 5);
    let mut waits = Vec::new();
    for term in 5..9 {
        let began_at = a.now;
        assert_hands_over(leads_with(&mut a, 2), term);
        waits.push(a.now.saturating_since(began_at).as_secs());
        // The target does nothing, so this node is elected again.
        a.times_out().expect_send(to_everyone(pre_request("a", term + 1, 3)));
        a.hears(pre_vote("p1", term, term + 1, true))
            .expect_save(record(term + 1, Some("a")))
            .then_sends(to_everyone(request("a", term + 1, 3)));
        let now = a.now;
        a.hears(grant("p1", term + 1)).expect_send(to_everyone(extended_heartbeat(
            "a",
            term + 1,
            3,
            now,
        )));
    }
    assert_eq!(waits, [10, 20, 40, 80]);
}

#[test]
fn h4_a_target_that_leads_ends_the_doubling() {
    let mut a = extended_leader("a", 3, 5);
    for failed in [true, false] {
        assert_hands_over(leads_with(&mut a, 2), a.term());
        let next = a.term() + 1;
        if !failed {
            a.hears(heartbeat("p1", next)).expect_save(record(next, None)).then_is_silent();
        }
        let next = a.term() + 1;
        a.times_out().expect_send(to_everyone(pre_request("a", next, 3)));
        a.hears(pre_vote("p1", next - 1, next, true))
            .expect_save(record(next, Some("a")))
            .then_sends(to_everyone(request("a", next, 3)));
        let now = a.now;
        a.hears(grant("p1", next)).expect_send(to_everyone(extended_heartbeat("a", next, 3, now)));
    }
    let began_at = a.now;
    assert_hands_over(leads_with(&mut a, 2), a.term());
    assert_eq!(a.now.saturating_since(began_at).as_secs(), 10);
}

#[test]
fn h4_a_witness_votes_and_never_campaigns() {
    let config = Config { priority: 0, ..extended_config(3) };
    let mut a = Voter::start("a", &config, VoteRecord::default());
    a.settles(T_MIN);
    for _ in 0..10 {
        a.times_out().expect_silence();
    }
    for target in [None, Some("a"), Some("b")] {
        a.hears(handover("l", 0, target)).expect_silence();
        a.times_out().expect_silence();
    }
    assert_eq!((a.state(), a.term()), (State::Follower, 0));
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
    let now = a.now;
    a.hears(extended_heartbeat("b", 1, 3, now)).expect_send(to(
        "b",
        Message::HeartbeatResponse(HeartbeatResponse { priority: 0, ..echo("a", 1, now) }),
    ));
}

#[test]
fn h4_each_node_states_its_preference_for_leading() {
    let config = Config { priority: 7, ..extended_config(3) };
    let mut a = extended_with("a", &config, record(4, None));
    let now = a.now;
    a.hears(extended_heartbeat("l", 4, 3, now)).expect_send(to(
        "l",
        Message::HeartbeatResponse(HeartbeatResponse { priority: 7, ..echo("a", 4, now) }),
    ));
}
