//! L2 to L4: promises, the lease that follows from them, and what a leader does without.

use std::num::NonZeroU64;
use std::time::Duration;

use graft_election_core::{
    Config, ConfigError, HeartbeatResponse, Instant, Leadership, Message, Reason, Report, State,
};

use crate::common::*;

fn answer(response: HeartbeatResponse) -> Message {
    Message::HeartbeatResponse(response)
}

fn bound_for(span: Duration) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::try_from(span.as_micros()).ok()?)
}

#[test]
fn l3_before_the_first_quorum_of_acknowledgements_there_is_no_lease() {
    let mut a = extended_leader("a", 5, 5);
    assert_eq!(a.leadership(a.now), None);
    let sent_at = a.now;
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    assert_eq!(a.leadership(a.now), None);
    a.hears(answer(echo("p2", 5, sent_at))).expect_silence();
    let valid_until = sent_at.saturating_add(LEASE);
    assert_eq!(a.leadership(a.now), Some(Leadership { token: 5, valid_until }));
}

#[test]
fn l3_the_lease_counts_from_when_the_heartbeat_was_sent() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    a.wait(T_MIN / 5);
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    let until = sent_at.saturating_add(LEASE);
    assert_eq!(a.leadership(a.now).map(|lease| lease.valid_until), Some(until));
    assert!(a.leadership(Instant::from_micros(until.as_micros() - 1)).is_some());
    assert_eq!(a.leadership(until), None, "it is over from that very instant");
}

#[test]
fn l3_a_shorter_promise_makes_a_shorter_lease_and_a_longer_one_no_longer() {
    for (promised, lease) in [
        (T_MIN, LEASE),
        (T_MAX, LEASE),
        (T_MIN / 2, Duration::from_micros(250_000 * 58_982 / 65_536 - 1)),
    ] {
        let mut a = extended_leader("a", 3, 5);
        let sent_at = a.now;
        let response =
            HeartbeatResponse { bound_for: bound_for(promised), ..echo("p1", 5, sent_at) };
        a.hears(answer(response)).expect_silence();
        let until = a.leadership(a.now).map(|lease| lease.valid_until);
        assert_eq!(until, Some(sent_at.saturating_add(lease)));
        let mismatch = u64::try_from(promised.as_micros()).expect("a short time");
        let expected = Report::PromiseMismatch { micros: mismatch };
        assert_eq!(a.report(), (promised != T_MIN).then_some(&expected), "L6");
    }
}

#[test]
fn l3_of_five_voters_the_second_best_promise_counts() {
    let mut a = extended_leader("a", 5, 5);
    let first = a.now;
    for peer in ["p1", "p2", "p3"] {
        a.hears(answer(echo(peer, 5, first))).expect_silence();
    }
    let second = a.deadline();
    a.times_out().expect_send(to_everyone(extended_heartbeat("a", 5, 5, second)));
    a.hears(answer(echo("p1", 5, second))).expect_silence();
    let until = |a: &Voter| a.leadership(a.now).map(|lease| lease.valid_until);
    assert_eq!(until(&a), Some(first.saturating_add(LEASE)));
    a.hears(answer(echo("p4", 5, second))).expect_silence();
    assert_eq!(until(&a), Some(second.saturating_add(LEASE)));
    // A late answer to an earlier heartbeat takes nothing back.
    a.hears(answer(echo("p1", 5, first))).expect_silence();
    assert_eq!(until(&a), Some(second.saturating_add(LEASE)));
}

#[test]
fn v6_a_follower_that_answers_twice_counts_once() {
    let mut a = extended_leader("a", 5, 5);
    let sent_at = a.now;
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    assert_eq!(a.leadership(a.now), None);
}

#[test]
fn v6_nobody_beyond_the_clusters_size_promises_anything() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    // p1 elected it, b is the third, and so c is one too many.
    a.hears(answer(HeartbeatResponse { bound_for: None, ..echo("b", 5, sent_at) }))
        .expect_silence();
    a.hears(answer(echo("b", 5, sent_at))).expect_silence();
    assert!(a.leadership(a.now).is_some());
    a.hears(answer(echo("c", 5, sent_at))).expect_silence();
    assert_eq!(a.report(), Some(&Report::SurplusVoter(node_id("c"))));
}

#[test]
fn v6_strangers_to_a_declared_list_promise_nothing() {
    let voters = ["a", "p1", "p2"].map(node_id);
    let config = Config { voters: &voters, ..extended_config(3) };
    let mut a = extended_leader_with("a", &config, 5);
    let sent_at = a.now;
    a.hears(answer(echo("x", 5, sent_at))).expect_silence();
    assert_eq!(a.leadership(a.now), None);
    assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
}

#[test]
fn l2_echoes_from_another_term_or_from_the_future_or_without_a_promise_are_ignored() {
    let mut a = extended_leader("a", 3, 5);
    let now = a.now;
    for response in [
        echo("p1", 4, now),
        echo("p1", 5, now.saturating_add(TICK)),
        HeartbeatResponse { bound_for: None, ..echo("p1", 5, now) },
        HeartbeatResponse { sent_at: None, ..echo("p1", 5, now) },
    ] {
        a.hears(answer(response)).expect_silence();
        assert_eq!(a.leadership(now), None);
    }
}

#[test]
fn l4_a_leader_that_nobody_acknowledges_steps_down_and_frees_the_others() {
    let mut a = extended_leader("a", 3, 5);
    let won_at = a.now;
    while a.deadline() < won_at.saturating_add(LEASE) {
        let at = a.deadline();
        a.times_out().expect_send(to_everyone(extended_heartbeat("a", 5, 3, at)));
    }
    a.times_out().expect_send(to_everyone(handover("a", 5, None)));
    assert_eq!(a.now, won_at.saturating_add(LEASE), "A3");
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LostQuorum));
    assert_eq!((a.leadership(a.now), a.timeout()), (None, T_MIN));
}

#[test]
fn l4_a_leader_whose_lease_ends_steps_down() {
    let mut a = extended_leader("a", 3, 5);
    let won_at = a.now;
    let second = a.deadline();
    a.times_out().expect_send(to_everyone(extended_heartbeat("a", 5, 3, second)));
    a.hears(answer(echo("p1", 5, second))).expect_silence();
    while a.state() == State::Leader {
        let _ = a.times_out();
    }
    assert_eq!(a.now, second.saturating_add(LEASE));
    assert!(a.now > won_at.saturating_add(LEASE));
    // What comes now is too late.
    a.hears(answer(echo("p1", 5, second))).expect_silence();
    assert_eq!(a.leadership(a.now), None);
}

#[test]
fn l1_the_end_of_the_lease_comes_before_any_input() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    // The machine was suspended. The answer that would renew the lease has been waiting since.
    a.wait(LEASE);
    a.hears(answer(echo("p2", 5, sent_at))).expect_send(to_everyone(handover("a", 5, None)));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LostQuorum));
}

#[test]
fn l3_in_a_cluster_of_one_each_heartbeat_renews_the_lease() {
    let mut a = extended("a", 1, record(4, None));
    let won_at = a.deadline();
    a.times_out()
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(extended_heartbeat("a", 5, 1, won_at)));
    for _ in 0..100 {
        let at = a.deadline();
        a.times_out().expect_send(to_everyone(extended_heartbeat("a", 5, 1, at)));
        let valid_until = at.saturating_add(LEASE);
        assert_eq!(a.leadership(at), Some(Leadership { token: 5, valid_until }));
    }
    // It was paused for too long, so another might be elected if there were one.
    a.wait(T_MIN);
    assert_eq!(a.leadership(a.now), None);
    a.wakes().expect_send(to_everyone(handover("a", 5, None)));
}

#[test]
fn l3_there_is_no_lease_in_graft_mode() {
    let mut a = leader("a", 3, 5);
    let now = a.now;
    a.hears(answer(echo("p1", 5, now))).expect_silence();
    a.hears(answer(echo("p2", 5, now))).expect_silence();
    assert_eq!((a.state(), a.leadership(now)), (State::Leader, None));
}

#[test]
fn l3_an_earlier_instant_does_not_bring_a_lease_back() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    let until = sent_at.saturating_add(LEASE);
    a.wait(LEASE);
    // An input has shown the node how late it is.
    a.is_told_to_hand_over(Some("p1")).expect_send(to_everyone(handover("a", 5, Some("p1"))));
    assert_eq!(a.leadership(Instant::from_micros(until.as_micros() - 1)), None);
}

#[test]
fn l3_a_wider_drift_and_a_coarser_tick_make_a_shorter_lease() {
    let tick = Duration::from_micros(31);
    let config = Config { clock_drift_percent: 50, clock_tick: tick, ..extended_config(3) };
    let mut a = extended_leader_with("a", &config, 5);
    let sent_at = a.now;
    a.hears(answer(echo("p1", 5, sent_at))).expect_silence();
    let until = a.leadership(a.now).map(|lease| lease.valid_until);
    assert_eq!(until, Some(sent_at.saturating_add(T_MIN / 2 - tick)));
}

#[test]
fn v2_a_coarse_clock_is_made_up_for_by_the_one_who_promises() {
    let config = Config { clock_tick: H, ..extended_config(3) };
    let mut a = extended_with("a", &config, record(0, None));
    let now = a.now;
    a.hears(extended_heartbeat("l", 1, 3, now))
        .expect_save(record(1, None))
        .then_sends(to("l", answer(echo("a", 1, now))));
    a.wait(T_MIN + H - TICK);
    a.hears(vote_request("b", 2)).expect_send(to("b", denial("a", 1)));
    a.wait(TICK);
    a.hears(vote_request("b", 2))
        .expect_save(record(2, Some("b")))
        .then_sends(to("b", grant("a", 2)));
}

#[test]
fn a_lease_must_outlast_a_heartbeat() {
    let check = |clock_drift_percent, clock_tick| {
        Config { clock_drift_percent, clock_tick, ..extended_config(3) }.check(7)
    };
    assert_eq!(check(79, TICK), Ok(()));
    assert_eq!(check(80, TICK), Err(ConfigError::LeaseTooShort));
    assert_eq!(check(u8::MAX, TICK), Err(ConfigError::LeaseTooShort));
    assert_eq!(check(10, H * 4), Err(ConfigError::LeaseTooShort));
    assert_eq!(check(10, Duration::MAX), Err(ConfigError::LeaseTooShort));
    assert_eq!(check(0, Duration::ZERO), Ok(()));
}
