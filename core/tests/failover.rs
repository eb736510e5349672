//! C1, C1a, C2a and N5 as they decide how soon there is a leader again: when a node asks, for whom
//! it stands back, and what it says again.

use std::time::Duration;

use graft_election_core::{Config, HeartbeatResponse, Message, Round, State};

use crate::common::*;

/// The shortest draw and the longest.
const ROLLS: [u32; 2] = [0, u32::MAX];

/// A free follower, whose timer is far from due.
fn free_follower(id: &str) -> Voter {
    let mut voter = extended(id, 5, record(4, None));
    voter.hears(heartbeat("l", 4)).expect_silence();
    voter
}

/// Asks for a pre-vote that is granted.
fn asks(voter: &mut Voter, candidate: &str, round: u32) {
    let request = in_round(round, pre_vote_request(candidate, 5));
    let answer = in_round(round, pre_vote(voter.id().as_str(), 4, 5, true));
    voter.hears_verbatim(request).expect_send(to(candidate, of_life(LIFE, answer)));
}

#[test]
fn c1_a_follower_asks_soon_after_its_promise_has_ended() {
    for (roll, jitter) in ROLLS.into_iter().zip([Duration::ZERO, H / 4 - TICK]) {
        let mut a = extended("a", 3, record(4, None));
        a.rolls(roll);
        let now = a.now;
        a.hears(extended_heartbeat("l", 4, 3, now))
            .expect_send(to("l", Message::HeartbeatResponse(echo("a", 4, now))));
        assert_eq!(a.timeout(), BOUND + H / 20 + jitter);
        a.times_out().expect_send(to_everyone(pre_request("a", 5, 3)));
    }
}

#[test]
fn c1_the_wait_after_a_promise_is_no_shorter_than_a_tick() {
    let config = Config { clock_tick: H / 5, ..extended_config(3) };
    let mut a = extended_with("a", &config, record(4, None));
    let now = a.now;
    a.hears(extended_heartbeat("l", 4, 3, now))
        .expect_send(to("l", Message::HeartbeatResponse(echo("a", 4, now))));
    assert_eq!(a.timeout(), T_MIN + H / 5 * 2);
}

#[test]
fn c1_a_longer_promise_of_an_earlier_life_is_waited_for() {
    let mut a = Voter::start("a", &extended_config(3), promised(T_MAX * 3, record(4, None)));
    a.settles(T_MAX);
    let now = a.now;
    a.hears(extended_heartbeat("l", 4, 3, now))
        .expect_send(to("l", Message::HeartbeatResponse(echo("a", 4, now))));
    assert_eq!(a.timeout(), T_MAX * 2 + TICK + H / 20);
}

#[test]
fn c1_who_has_promised_nothing_waits_for_an_election_timeout() {
    let mut a = extended("a", 3, record(4, None));
    a.hears(heartbeat("l", 4)).expect_silence();
    assert_eq!(a.timeout(), T_MIN);
}

#[test]
fn c3_a_follower_that_knows_of_slow_disks_leaves_others_more_time() {
    let mut a = extended("a", 3, record(4, None));
    a.rolls(u32::MAX);
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .lasts(T_MAX)
        .then_sends(to("b", grant("a", 5)));
    a.wait(T_MAX);
    let now = a.now;
    a.hears(extended_heartbeat("b", 5, 3, now))
        .expect_send(to("b", Message::HeartbeatResponse(echo("a", 5, now))));
    assert!(a.timeout() > T_MAX, "{:?}", a.timeout());
}

#[test]
fn c1_who_has_just_started_asks_once_it_is_free() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    a.wakes().expect_send(to_everyone(Message::Who(identity("a", LIFE, LIFE))));
    a.times_out().expect_silence();
    assert_eq!(a.now.saturating_since(START), T_MIN);
    // It is the longest draw.
    assert_eq!(a.timeout(), H / 2 - TICK);
    a.times_out().expect_send(to_everyone(pre_request("a", 1, 3)));
}

#[test]
fn n5_who_has_no_double_does_not_wait_for_an_answer() {
    for (roll, wait) in ROLLS.into_iter().zip([Duration::ZERO, H / 2 - TICK]) {
        let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
        a.wakes().expect_send(to_everyone(Message::Who(identity("a", LIFE, LIFE))));
        a.rolls(roll);
        let now = a.now;
        a.handle_no_double(now);
        assert_eq!(a.timeout(), wait);
        a.times_out().expect_send(to_everyone(pre_request("a", 1, 3)));
    }
}

#[test]
fn n5_who_has_run_before_asks_though_there_is_no_double() {
    for (term, record) in [(4, record(4, None)), (0, promised(T_MIN, record(0, None)))] {
        let mut a = Voter::start("a", &extended_config(3), record);
        let now = a.now;
        a.handle_no_double(now);
        a.settles(T_MIN - TICK);
        a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", term)));
    }
}

#[test]
fn n5_what_an_earlier_life_said_makes_no_node_stand_aside_that_asks_anyway() {
    let mut a = Voter::start("a", &extended_config(3), record(4, None));
    let now = a.now;
    a.handle_no_double(now);
    a.hears_verbatim(in_round(7, handover("a", 4, Some("b")))).expect_silence();
    a.settles(TICK);
    let now = a.now;
    let acknowledgement = HeartbeatResponse { priority: 0, ..echo("a", 5, now) };
    a.hears(extended_heartbeat("b", 5, 3, now))
        .expect_save(record(5, None))
        .then_sends(to("b", Message::HeartbeatResponse(acknowledgement)));
}

#[test]
fn n5_a_double_that_has_answered_is_not_argued_away() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    a.wakes().expect_send(to_everyone(Message::Who(identity("a", LIFE, LIFE))));
    a.hears(Message::Here(identity("a", LIFE, LIFE + 9))).expect_silence();
    let now = a.now;
    a.handle_no_double(now);
    a.hears(vote_request("b", 1)).expect_silence();
    assert_eq!(a.timeout(), H);
}

#[test]
fn n5_a_follower_whose_id_is_its_own_keeps_its_timer() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    a.wakes().expect_send(to_everyone(Message::Who(identity("a", LIFE, LIFE))));
    a.hears(heartbeat("l", 0)).expect_silence();
    let (now, deadline) = (a.now, a.now.saturating_add(T_MIN));
    a.handle_no_double(now);
    assert_eq!(a.deadline(), deadline);
}

#[test]
fn c1_a_node_of_graft_mode_draws_its_timeouts_as_ever() {
    let mut a = Voter::start("a", &graft_config(3), VoteRecord::default());
    let now = a.now;
    a.handle_no_double(now);
    assert_eq!(a.timeout(), T_MIN);
    a.rolls(u32::MAX);
    a.hears(timed_heartbeat("l", 0))
        .expect_save(promised(T_MIN, record(0, None)))
        .then_sends(to("l", acknowledgement("a", 0)));
    assert_eq!(a.timeout(), T_MAX - TICK);
}

#[test]
fn c1a_a_follower_that_grants_a_pre_vote_puts_its_own_off() {
    let mut a = extended("a", 5, record(4, None));
    assert!(a.timeout() < H);
    asks(&mut a, "b", 7);
    assert_eq!(a.timeout(), H);
    // Nor does a timer that is due later come any sooner.
    let mut a = free_follower("a");
    a.rolls(u32::MAX);
    asks(&mut a, "b", 7);
    assert_eq!(a.timeout(), T_MIN);
}

#[test]
fn c1a_who_refuses_a_pre_vote_does_not_stand_back() {
    let mut a = extended("a", 5, record(4, None));
    a.is_at("9");
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, false)));
    assert!(a.timeout() < H);
}

#[test]
fn c1a_of_two_that_ask_the_one_with_the_smaller_id_goes_first() {
    let mut b = pre_candidate("b", 5, 5);
    let round = b.asked_round().map_or(0, Round::number);
    asks(&mut b, "c", 7);
    assert_eq!(b.timeout(), H / 2);
    asks(&mut b, "a", 7);
    assert_eq!((b.state(), b.timeout()), (State::PreCandidate, H));
    // Its round is over, so answers that are still under way don't make it campaign.
    for voter in ["d", "e", "f"] {
        b.hears_verbatim(in_round(round, pre_vote(voter, 4, 5, true))).expect_silence();
    }
    let next = b.times_out().sends();
    assert!(matches!(next, Message::PreVoteRequest(_)));
    assert_ne!(next.round(), Round::new(round));
    b.hears(pre_vote("d", 4, 5, true)).expect_silence();
    b.hears(pre_vote("e", 4, 5, true))
        .expect_save(record(5, Some("b")))
        .then_sends(to_everyone(request("b", 5, 5)));
}

#[test]
fn c1a_a_node_stands_back_once_for_a_round() {
    let mut a = extended("a", 5, record(4, None));
    asks(&mut a, "b", 7);
    a.wait(H / 2);
    asks(&mut a, "b", 7);
    assert_eq!(a.timeout(), H / 2);
    asks(&mut a, "b", 8);
    assert_eq!(a.timeout(), H);
}

#[test]
fn c1a_a_candidate_that_hears_no_answer_is_not_waited_for_for_ever() {
    let mut a = extended("a", 5, record(4, None));
    for round in 1..=4 {
        a.wait(H / 2);
        asks(&mut a, "b", round);
        assert_eq!(a.timeout(), H);
    }
    a.wait(H / 2);
    asks(&mut a, "b", 5);
    assert_eq!(a.timeout(), H / 2);
    // A vote or a leader begins it all again.
    a.hears(vote_request("c", 5))
        .expect_save(record(5, Some("c")))
        .then_sends(to("c", grant("a", 5)));
    a.wait(T_MIN);
    let request = in_round(6, pre_vote_request("b", 6));
    a.hears_verbatim(request)
        .expect_send(to("b", of_life(LIFE, in_round(6, pre_vote("a", 5, 6, true)))));
    assert_eq!(a.timeout(), H);
}

#[test]
fn c2a_a_candidate_repeats_its_request_and_its_voters_their_votes() {
    for (roll, wait) in ROLLS.into_iter().zip([H / 2, H - TICK]) {
        let mut a = pre_candidate("a", 3, 5);
        a.rolls(roll);
        a.hears(pre_vote("b", 4, 5, true))
            .expect_save(record(5, Some("a")))
            .then_sends(to_everyone(request("a", 5, 3)));
        assert_eq!(a.timeout(), wait);
        a.times_out().expect_send(to_everyone(request("a", 5, 3)));
        assert_eq!((a.state(), a.timeout()), (State::Candidate, wait));
    }
    let mut b = extended("b", 3, record(4, None));
    b.hears(vote_request("a", 5))
        .expect_save(record(5, Some("a")))
        .then_sends(to("a", grant("b", 5)));
    // It is the same vote: nothing is stored.
    b.hears(vote_request("a", 5)).expect_send(to("a", grant("b", 5)));
    b.hears(vote_request("c", 5)).expect_send(to("c", denial("b", 5)));
}

#[test]
fn c2a_a_vote_counts_once_however_often_it_is_given() {
    let mut a = pre_candidate("a", 5, 5);
    a.hears(pre_vote("b", 4, 5, true)).expect_silence();
    a.hears(pre_vote("c", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 5)));
    a.hears(grant("b", 5)).expect_silence();
    a.times_out().expect_send(to_everyone(request("a", 5, 5)));
    a.hears(grant("b", 5)).expect_silence();
    assert_eq!(a.state(), State::Candidate);
    let now = a.now;
    a.hears(grant("c", 5)).expect_send(to_everyone(extended_heartbeat("a", 5, 5, now)));
}

#[test]
fn c2a_a_handover_shortens_no_campaign_to_its_next_request() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(pre_vote("b", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 3)));
    a.rolls(u32::MAX);
    a.hears(handover("l", 5, Some("c"))).expect_silence();
    a.repeats_for(H * 2 - TICK, &request("a", 5, 3));
}

#[test]
fn c2a_in_graft_mode_a_candidate_asks_once() {
    assert_eq!(candidate("a", 3, 5).timeout(), T_MIN);
}
