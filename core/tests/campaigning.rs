//! C1 to C5: who campaigns, and what happens when the disk fails. Pre-votes are answered but never
//! asked for in Graft mode.

use std::time::Duration;

use graft_election_core::{Instant, Message, Reason, Report, State, VoteRequest};

use crate::common::*;

#[test]
fn c1_a_pre_vote_is_granted_and_nothing_changes() {
    let mut a = follower_of("l", "a", 3, 4);
    a.wait(H);
    let (deadline, reason) = (a.deadline(), a.reason());
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, true)));
    a.hears(pre_vote_request("c", 5)).expect_send(to("c", pre_vote("a", 4, 5, true)));
    assert_eq!(*a.record(), record(4, None));
    assert_eq!(a.leader(), Some(&node_id("l")));
    assert_eq!((a.deadline(), a.reason()), (deadline, reason));
}

#[test]
fn c1_a_pre_vote_needs_a_term_above_the_voters() {
    let mut a = voter_with("a", 3, record(4, None));
    a.hears(pre_vote_request("b", 4)).expect_send(to("b", pre_vote("a", 4, 4, false)));
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, true)));
}

#[test]
fn c1_a_bound_node_refuses_pre_votes_unless_the_leader_released_it() {
    let mut a = bound_to("l", "a", 3, 4);
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, false)));
    let released = |from| {
        Message::PreVoteRequest(VoteRequest {
            handover_from: std::num::NonZeroU64::new(from),
            ..plain_pre_request("b", 5)
        })
    };
    a.hears(released(3)).expect_send(to("b", pre_vote("a", 4, 5, false)));
    a.hears(released(4)).expect_send(to("b", pre_vote("a", 4, 5, true)));
    a.wait(BOUND);
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, true)));
}

#[test]
fn c1_a_position_behind_gets_no_pre_vote() {
    let mut a = voter_with("a", 3, record(4, None));
    a.is_at("7");
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, false)));
    let request = VoteRequest { position: position_of("7"), ..plain_pre_request("b", 5) };
    a.hears(Message::PreVoteRequest(request)).expect_send(to("b", pre_vote("a", 4, 5, true)));
}

#[test]
fn c1_pre_votes_elect_no_one_here() {
    let mut a = candidate("a", 3, 4);
    for peer in ["b", "c"] {
        a.hears(pre_vote(peer, 4, 5, true)).expect_silence();
    }
    assert_eq!((a.state(), a.term()), (State::Candidate, 4));
}

#[test]
fn c2_at_the_election_timeout_it_votes_for_itself_saves_and_asks() {
    let mut a = voter("a", 3);
    a.is_at("12");
    a.times_out().expect_save(record(1, Some("a"))).then_sends(to_everyone(Message::VoteRequest(
        VoteRequest { position: position_of("12"), size: announced(3), ..plain_request("a", 1) },
    )));
    assert_eq!((a.state(), a.term()), (State::Candidate, 1));
    assert_eq!((a.reason(), a.leader()), (Reason::ElectionTimeout, None));
}

#[test]
fn c2_the_election_timeout_is_drawn_from_its_whole_range() {
    let mut a = voter("a", 3);
    for (roll, timeout) in [(0, T_MIN), (1 << 31, (T_MIN + T_MAX) / 2), (u32::MAX, T_MAX - TICK)] {
        a.rolls(roll);
        a.hears(heartbeat("l", 0)).expect_silence();
        assert_eq!(a.timeout(), timeout);
    }
}

#[test]
fn c2_a_timeout_that_comes_early_does_nothing() {
    let mut a = voter("a", 3);
    a.wait(a.timeout() - TICK);
    a.wakes().expect_silence();
    assert_eq!(a.term(), 0);
    a.wait(TICK);
    a.wakes().expect_save(record(1, Some("a"))).then_sends(to_everyone(request("a", 1, 3)));
}

#[test]
fn c2_a_cluster_of_one_leads_once_its_vote_is_stored() {
    let mut a = voter("a", 1);
    let save = a.times_out().expect_save(record(1, Some("a")));
    save.then_sends(to_everyone(announced_heartbeat("a", 1, 1)));
    assert_eq!((a.state(), a.reason()), (State::Leader, Reason::WonElection));
}

#[test]
fn c3_a_campaign_that_gets_nowhere_is_repeated_after_a_fresh_timeout() {
    let mut a = candidate("a", 3, 1);
    a.rolls(1 << 31);
    for term in 2..5 {
        a.times_out()
            .expect_save(record(term, Some("a")))
            .then_sends(to_everyone(request("a", term, 3)));
        assert_eq!(a.timeout(), (T_MIN + T_MAX) / 2);
    }
}

#[test]
fn c3_a_slow_disk_makes_campaigns_longer_in_graft_mode() {
    let mut a = voter("a", 3);
    for term in 1..4 {
        a.times_out()
            .expect_save(record(term, Some("a")))
            .lasts(T_MIN)
            .then_sends(to_everyone(request("a", term, 3)));
        a.wait(T_MIN);
        assert_eq!(a.timeout(), T_MIN + T_MIN * 2);
    }
}

/// The middle of the timeouts that are drawn from a span so many times as long as the usual one.
fn stretched(times: u32) -> Duration {
    T_MIN + (T_MAX - T_MIN) * times / 2
}

#[test]
fn c3_after_a_slow_save_timeouts_vary_more_until_one_is_fast() {
    let mut a = voter("a", 3);
    a.rolls(1 << 31);
    for (term, span, times) in [(1, T_MIN, 1), (2, Duration::ZERO, 3), (3, Duration::ZERO, 1)] {
        a.times_out()
            .expect_save(record(term, Some("a")))
            .lasts(span)
            .then_sends(to_everyone(request("a", term, 3)));
        a.wait(span);
        // In Graft mode the slow save itself is waited for, too.
        assert_eq!(a.timeout(), stretched(times) + span * 2, "term {term}");
    }
}

#[test]
fn c3_a_slow_save_makes_the_only_voter_wait_no_longer() {
    let mut a = extended("a", 1, record(4, Some("a")));
    a.rolls(1 << 31);
    let won_at = a.deadline().saturating_add(T_MIN * 3);
    a.times_out()
        .expect_save(record(5, Some("a")))
        .lasts(T_MIN * 3)
        .then_sends(to_everyone(extended_heartbeat("a", 5, 1, won_at)));
    a.wait(T_MIN * 4);
    a.wakes().expect_send(to_everyone(handover("a", 5, None)));
    assert_eq!(a.timeout(), stretched(1));
}

#[test]
fn c3_votes_that_come_too_late_make_timeouts_vary_more_until_there_is_a_leader() {
    let mut a = candidate("a", 3, 1);
    a.rolls(1 << 31);
    for (term, times) in [(2, 1), (3, 2), (4, 4), (5, 8), (6, 8)] {
        let too_late = a.answering(grant("b", term - 1));
        a.times_out()
            .expect_save(record(term, Some("a")))
            .then_sends(to_everyone(request("a", term, 3)));
        assert_eq!(a.timeout(), stretched(times), "term {term}");
        a.hears_verbatim(too_late).expect_silence();
    }
    a.hears(heartbeat("b", 6)).expect_silence();
    assert_eq!(a.timeout(), stretched(1));
}

#[test]
fn c3_a_candidate_with_slow_voters_is_less_prompt_after_a_higher_term() {
    let mut a = candidate("a", 3, 1);
    let too_late = a.answering(grant("b", 1));
    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 3)));
    a.rolls(1 << 31);
    a.hears_verbatim(too_late).expect_silence();
    a.hears(denial("b", 3)).expect_save(record(3, None)).then_is_silent();
    assert_eq!(a.timeout(), T_MAX - T_MIN);
}

#[test]
fn c4_a_save_that_takes_t_min_is_reported() {
    for (span, is_slow) in [(T_MIN - TICK, false), (T_MIN, true)] {
        let mut a = voter("a", 3);
        a.times_out()
            .expect_save(record(1, Some("a")))
            .lasts(span)
            .then_sends(to_everyone(request("a", 1, 3)));
        let slow = Report::SlowSave { micros: 500_000 };
        assert_eq!(a.report(), is_slow.then_some(&slow));
    }
}

#[test]
fn c3_votes_of_an_earlier_campaign_do_not_count_in_the_next() {
    let mut a = candidate("a", 5, 1);
    a.hears(grant("b", 1)).expect_silence();
    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 5)));
    a.hears(grant("c", 1)).expect_silence();
    a.hears(grant("c", 2)).expect_silence();
    assert_eq!(a.state(), State::Candidate);
    a.hears(grant("d", 2)).expect_send(to_everyone(announced_heartbeat("a", 2, 5)));
}

#[test]
fn c3_a_slow_save_does_not_eat_up_the_time_to_answer() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(pre_vote("b", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .lasts(T_MAX)
        .then_sends(to_everyone(request("a", 5, 3)));
    a.wait(T_MAX);
    a.repeats_for(T_MIN, &request("a", 5, 3));
}

#[test]
fn c4_what_could_not_be_stored_is_never_said() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 1)).expect_save(record(1, Some("b"))).fails();
    // Every later need asks for the same save first.
    a.hears(vote_request("c", 1)).expect_save(record(1, Some("b"))).fails();
    a.hears(heartbeat("c", 0)).expect_save(record(1, Some("b"))).fails();
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
    // The disk works again, so nothing is stored twice.
    a.hears(vote_request("c", 1)).expect_send(to("c", denial("a", 1)));
}

#[test]
fn g20_a_failed_save_on_granting_again_keeps_the_vote() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 1)).expect_save(record(1, Some("b"))).fails();
    a.hears(vote_request("b", 1)).expect_save(record(1, Some("b"))).fails();
    assert_eq!(a.vote(), Some(&node_id("b")));
    a.hears(vote_request("c", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("c", denial("a", 1)));
    a.hears(vote_request("b", 1)).expect_send(to("b", grant("a", 1)));
}

#[test]
fn c4_a_save_that_failed_is_tried_again_at_the_next_timeout() {
    let mut a = voter("a", 3);
    a.times_out().expect_save(record(1, Some("a"))).fails();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::SaveFailed));
    for _ in 0..3 {
        a.times_out().expect_save(record(1, Some("a"))).fails();
        assert_eq!(a.timeout(), T_MIN, "a sick disk is no reason for a busy loop");
    }
    a.times_out().expect_save(record(1, Some("a"))).then_is_silent();
    assert_eq!(a.state(), State::Follower, "the campaign of term 1 is over");
    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 3)));
}

#[test]
fn c4_votes_for_a_candidate_whose_save_failed_elect_no_one() {
    let mut a = voter("a", 3);
    a.times_out().expect_save(record(1, Some("a"))).fails();
    a.hears(in_round(2, grant("b", 1))).expect_silence();
    a.hears(in_round(2, grant("c", 1))).expect_silence();
    assert_eq!(a.state(), State::Follower);
}

#[test]
fn c5_a_node_that_fails_to_save_does_not_campaign_on_a_handover_either() {
    let mut a = follower_of("l", "a", 3, 4);
    a.hears(vote_request("b", 5)).expect_save(record(5, Some("b"))).fails();
    a.hears(handover("l2", 5, Some("a"))).expect_save(record(5, Some("b"))).fails();
    assert_eq!((a.state(), a.term()), (State::Follower, 5));
}

#[test]
fn c5_a_node_that_fails_to_save_acknowledges_with_priority_0() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 1)).expect_save(record(1, Some("b"))).fails();
    a.hears(timed_heartbeat("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", acknowledgement_of_no_successor("a", 1)));
    a.hears(timed_heartbeat("b", 1)).expect_send(to("b", acknowledgement("a", 1)));
}

#[test]
fn a_clock_that_runs_backwards_counts_as_standing_still() {
    let mut a = voter_with("a", 3, record(1, None));
    a.hears(timed_heartbeat("l", 1)).expect_send(to("l", acknowledgement("a", 1)));
    let latest = a.now;
    a.now = Instant::from_micros(0);
    a.hears(heartbeat("l", 1)).expect_silence();
    assert_eq!(a.deadline().saturating_since(latest), T_MIN);
    a.hears(vote_request("b", 2)).expect_send(to("b", denial("a", 1)));
}

#[test]
fn timers_stop_at_the_end_of_the_clock() {
    let mut a = voter_with("a", 3, record(1, None));
    a.now = Instant::from_micros(u64::MAX - 1);
    a.hears(timed_heartbeat("l", 1)).expect_send(to("l", acknowledgement("a", 1)));
    assert_eq!(a.deadline(), Instant::FAR_FUTURE);
    a.wakes().expect_silence();
    a.hears(handover("l", 1, None)).expect_silence();
    assert_eq!(a.deadline(), a.now);
    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 3)));
}
