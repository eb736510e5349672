//! H1 to H4: how a leader gives way, on request or because it closes.

use std::num::NonZeroU64;
use std::time::Duration;

use graft_election_core::{Instant, Message, Outgoing, Output, Reason, Report, State, VoteRequest};

use crate::common::*;

/// The request of a candidate that the leader of the term before has told to take over.
fn successors_request(candidate: &str, term: u64, size: usize) -> Outgoing {
    to_everyone(Message::VoteRequest(VoteRequest {
        handover_from: NonZeroU64::new(term - 1),
        size: announced(size),
        ..plain_request(candidate, term)
    }))
}

#[test]
fn h1_a_leader_stops_leading_before_it_says_so() {
    let mut a = leader("a", 3, 4);
    a.is_told_to_hand_over(Some("b")).expect_send(to_everyone(handover("a", 4, Some("b"))));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    assert_eq!((a.leader(), a.timeout()), (None, T_MIN));
    assert_eq!(*a.record(), record(4, Some("a")));
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn h1_without_a_name_anyone_may_take_over() {
    let mut a = leader("a", 3, 4);
    a.is_told_to_hand_over(None).expect_send(to_everyone(handover("a", 4, None)));
    assert_eq!(a.state(), State::Follower);
}

#[test]
fn h1_who_does_not_lead_has_nothing_to_hand_over() {
    let mut closing = leader("a", 3, 4);
    closing.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
    for mut a in [follower_of("l", "a", 3, 4), candidate("a", 3, 4), closing] {
        let (state, deadline) = (a.state(), a.deadline());
        a.is_told_to_hand_over(Some("b")).expect_silence();
        assert_eq!((a.state(), a.deadline()), (state, deadline));
    }
}

#[test]
fn h2_the_target_campaigns_at_once_and_says_who_sent_it() {
    let mut a = follower_of("l", "a", 3, 4);
    a.hears(handover("l", 4, Some("a")))
        .expect_save(record(5, Some("a")))
        .then_sends(successors_request("a", 5, 3));
    assert_eq!((a.state(), a.reason()), (State::Candidate, Reason::HandoverReceived));
}

#[test]
fn h2_the_target_campaigns_though_bound_or_in_quarantine() {
    let mut bound = bound_to("l", "a", 3, 4);
    bound
        .hears(handover("l", 4, Some("a")))
        .expect_save(record(5, Some("a")))
        .then_sends(successors_request("a", 5, 3));

    let old_promise = promised(T_MAX * 9, record(4, None));
    let mut restarted = Voter::start("a", &graft_config(3), old_promise);
    restarted.settles(T_MIN);
    restarted.hears(heartbeat("l", 4)).expect_silence();
    restarted
        .hears(handover("l", 4, Some("a")))
        .expect_save(record(5, Some("a")))
        .then_sends(successors_request("a", 5, 3));
}

/// It follows nobody, so that anyone may have said it.
#[test]
fn h2_a_candidate_that_is_the_target_goes_on() {
    let mut a = candidate("a", 5, 4);
    a.hears(handover("l", 4, Some("a"))).expect_silence();
    assert_eq!((a.state(), a.term(), a.timeout()), (State::Candidate, 4, H));
}

#[test]
fn h2_only_who_follows_that_leader_in_its_round_is_freed() {
    let others = [
        handover("m", 4, Some("a")),
        handover("m", 4, None),
        in_round(ROUND + 1, handover("l", 4, Some("a"))),
        in_round(0, handover("l", 4, Some("a"))),
    ];
    for message in others {
        let mut a = bound_to("l", "a", 3, 4);
        let deadline = a.deadline();
        a.hears_verbatim(message.clone()).expect_silence();
        assert_eq!((a.deadline(), a.leader()), (deadline, Some(&node_id("l"))), "{message:?}");
        a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, false)));
    }
}

/// A node that has restarted follows nobody until it hears a heartbeat.
#[test]
fn h2_who_has_restarted_stays_bound() {
    let mut a = Voter::start("a", &graft_config(3), record(4, None));
    a.settles(T_MIN);
    a.hears(handover("l", 4, Some("a"))).expect_silence();
    a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
    a.wait(TICK);
    // It is free, and gets ready.
    a.hears(handover("l", 4, Some("b"))).expect_silence();
    assert_eq!(a.timeout(), H);
}

#[test]
fn h2_the_leaders_word_is_good_for_one_campaign() {
    let mut a = follower_of("l", "a", 3, 4);
    a.hears(handover("l", 4, Some("a")))
        .expect_save(record(5, Some("a")))
        .then_sends(successors_request("a", 5, 3));
    a.times_out().expect_save(record(6, Some("a"))).then_sends(to_everyone(request("a", 6, 3)));
    assert_eq!(a.reason(), Reason::ElectionTimeout);
}

#[test]
fn h2_the_target_of_a_later_term_adopts_it_and_only_gets_ready() {
    let mut a = follower_of("l", "a", 3, 4);
    a.hears(handover("m", 7, Some("a"))).expect_save(record(7, None)).then_is_silent();
    assert_eq!((a.state(), a.timeout()), (State::Follower, H));
}

#[test]
fn h2_who_is_not_the_target_is_free_and_ready_within_two_heartbeats() {
    for (roll, timeout) in [(0, H), (1 << 31, H + H / 2), (u32::MAX, H * 2 - TICK)] {
        let mut a = bound_to("l", "a", 3, 4);
        a.rolls(roll);
        a.hears(handover("l", 4, Some("b"))).expect_silence();
        assert_eq!((a.state(), a.leader()), (State::Follower, None));
        assert_eq!(a.timeout(), timeout);
        // It votes for the target even if the request doesn't name the old term.
        a.hears(vote_request("b", 5))
            .expect_save(record(5, Some("b")))
            .then_sends(to("b", grant("a", 5)));
    }
}

#[test]
fn h2_on_anyone_a_follower_is_ready_within_one_heartbeat() {
    for (roll, timeout) in [(0, Duration::ZERO), (1 << 31, H / 2), (u32::MAX, H - TICK)] {
        let mut a = bound_to("l", "a", 3, 4);
        a.rolls(roll);
        a.hears(handover("l", 4, None)).expect_silence();
        assert_eq!(a.timeout(), timeout);
        a.times_out().expect_save(record(5, Some("a"))).then_sends(to_everyone(request("a", 5, 3)));
    }
}

#[test]
fn h2_a_timer_that_runs_out_sooner_stays() {
    for target in [Some("b"), None] {
        let mut a = bound_to("l", "a", 3, 4);
        a.wait(BOUND - TICK);
        let deadline = a.deadline();
        a.rolls(u32::MAX);
        a.hears(handover("l", 4, target)).expect_silence();
        assert_eq!(a.deadline(), deadline);
    }
}

#[test]
fn h2_a_candidate_that_is_not_the_target_stays_one() {
    let mut a = candidate("a", 3, 4);
    a.hears(handover("l", 4, Some("b"))).expect_silence();
    assert_eq!((a.state(), a.timeout()), (State::Candidate, H));
}

#[test]
fn h2_a_handover_of_a_later_term_is_adopted_and_frees_nobody() {
    let mut a = bound_to("l", "a", 3, 4);
    let deadline = a.deadline();
    a.hears(handover("m", 6, Some("b"))).expect_save(record(6, None)).then_is_silent();
    assert_eq!(a.deadline(), deadline);
    a.hears(vote_request("b", 7)).expect_send(to("b", denial("a", 6)));
}

#[test]
fn h2_a_handover_of_an_earlier_term_frees_no_one() {
    let mut a = bound_to("l", "a", 3, 4);
    let deadline = a.deadline();
    a.hears(handover("k", 3, None)).expect_silence();
    a.hears(handover("k", 3, Some("a"))).expect_silence();
    assert_eq!((a.deadline(), a.leader()), (deadline, Some(&node_id("l"))));
    a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
}

#[test]
fn h2_a_leader_hears_the_handover_of_a_later_term_as_a_follower() {
    let mut a = leader("a", 3, 4);
    a.hears(handover("m", 6, None)).expect_save(record(6, None)).then_is_silent();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HigherTerm));
    assert_eq!(a.timeout(), Duration::ZERO);
}

#[test]
fn h3_a_leader_that_closes_hands_over_and_waits_for_its_successor() {
    let mut a = leader("a", 3, 4);
    a.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    assert_eq!(a.leader(), None);

    a.hears(released_request("b", 5, 4))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
    assert_eq!((a.state(), a.reason()), (State::Closed, Reason::Closed));
}

#[test]
fn h3_a_closing_node_goes_on_answering() {
    let mut a = leader("a", 3, 4);
    a.is_at("7");
    a.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
    let deadline = a.deadline();
    let up_to_date = VoteRequest { position: position_of("7"), ..plain_request("c", 5) };
    let round = plain_pre_request("c", 5).round;
    a.hears(Message::PreVoteRequest(VoteRequest { round, ..up_to_date.clone() }))
        .expect_send(to("c", pre_vote("a", 4, 5, true)));
    a.hears(vote_request("b", 5)).expect_save(record(5, None)).then_sends(to("b", denial("a", 5)));
    a.hears(handover("b", 5, Some("a"))).expect_silence();
    a.hears(handover("b", 6, None)).expect_save(record(6, None)).then_is_silent();
    a.is_told_to_close().expect_silence();
    assert_eq!((a.state(), a.deadline()), (State::Follower, deadline));
    a.hears(Message::VoteRequest(VoteRequest { term: 7, ..up_to_date }))
        .expect_save(record(7, Some("c")))
        .then_sends(to("c", grant("a", 7)));
    assert_eq!(a.state(), State::Closed);
}

#[test]
fn h3_a_closing_node_goes_when_it_hears_its_successor_lead() {
    for message in [heartbeat("b", 5), timed_heartbeat("b", 5)] {
        let mut a = leader("a", 3, 4);
        a.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
        a.hears(heartbeat("old", 3)).expect_send(to("old", refusal("a", 4)));
        a.hears(message).expect_save(record(5, None)).then_is_silent();
        assert_eq!(a.state(), State::Closed);
    }
}

#[test]
fn h3_a_closing_node_does_not_take_a_leader_of_its_own_term_for_its_successor() {
    let mut a = leader("a", 3, 4);
    a.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
    a.hears(heartbeat("b", 4)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("b"))));
    assert_eq!(a.state(), State::Follower);
}

#[test]
fn h3_a_closing_node_waits_two_heartbeats_at_most() {
    let mut a = leader("a", 3, 4);
    a.wait(H / 2);
    a.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
    assert_eq!(a.timeout(), H * 2);
    a.wait(H * 2 - TICK);
    a.wakes().expect_silence();
    assert_eq!(a.state(), State::Follower);
    a.wait(TICK);
    a.wakes().expect_silence();
    assert_eq!((a.state(), a.reason()), (State::Closed, Reason::Closed));
    assert_eq!(*a.record(), record(4, Some("a")));
}

#[test]
fn h3_a_node_that_has_just_handed_over_stays_for_its_successor_too() {
    let mut a = leader("a", 3, 4);
    a.is_told_to_hand_over(Some("b")).expect_send(to_everyone(handover("a", 4, Some("b"))));
    a.is_told_to_close().expect_silence();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    assert_eq!(a.timeout(), H * 2);
    a.hears(released_request("b", 5, 4))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
    assert_eq!((a.state(), a.reason()), (State::Closed, Reason::Closed));

    // Two heartbeats are the most that it waits.
    let mut a = leader("a", 3, 4);
    a.is_told_to_hand_over(Some("b")).expect_send(to_everyone(handover("a", 4, Some("b"))));
    a.wait(H / 2);
    a.is_told_to_close().expect_silence();
    assert_eq!(a.timeout(), H * 2);
    a.times_out().expect_silence();
    assert_eq!(a.state(), State::Closed);
}

#[test]
fn h3_a_node_whose_successor_has_its_vote_or_leads_closes_at_once() {
    for shows_itself in [vote_request("b", 5), heartbeat("b", 5)] {
        let mut a = leader("a", 3, 4);
        a.is_told_to_hand_over(Some("b")).expect_send(to_everyone(handover("a", 4, Some("b"))));
        let Output::Save(unsaved) = a.hears(shows_itself).output else { panic!("a higher term") };
        let _ = unsaved.saved(START);
        a.is_told_to_close().expect_silence();
        assert_eq!(a.state(), State::Closed);
    }
}

#[test]
fn h3_a_vote_that_a_closing_node_cannot_store_is_not_given() {
    let mut a = leader("a", 3, 4);
    a.is_told_to_close().expect_send(to_everyone(handover("a", 4, None)));
    a.hears(vote_request("b", 5)).expect_save(record(5, Some("b"))).fails();
    assert_eq!(a.state(), State::Closed);
}

#[test]
fn h3_any_other_node_closes_at_once_and_is_silent() {
    for mut a in [follower_of("l", "a", 3, 4), candidate("a", 3, 4)] {
        let record = a.record().clone();
        a.is_told_to_close().expect_silence();
        assert_eq!((a.state(), a.reason()), (State::Closed, Reason::Closed));
        assert_eq!((a.leader(), a.deadline()), (None, Instant::FAR_FUTURE));

        a.hears(vote_request("b", 9)).expect_silence();
        a.hears(timed_heartbeat("b", 9)).expect_silence();
        a.hears(handover("b", 9, Some("a"))).expect_silence();
        a.now = Instant::FAR_FUTURE;
        a.wakes().expect_silence();
        a.is_told_to_close().expect_silence();
        assert_eq!((a.state(), a.record()), (State::Closed, &record));
    }
}

#[test]
fn g19_a_graceful_close_costs_a_round_trip_and_not_a_timeout() {
    let mut old = leader("old", 3, 4);
    let mut new = follower_of("old", "new", 3, 4);
    old.is_told_to_close().expect_send(to_everyone(handover("old", 4, None)));
    new.hears(handover("old", 4, None)).expect_silence();
    assert!(new.timeout() < H);
    new.times_out()
        .expect_save(record(5, Some("new")))
        .then_sends(to_everyone(request("new", 5, 3)));
    old.hears(request("new", 5, 3))
        .expect_save(record(5, Some("new")))
        .then_sends(to("new", grant("old", 5)));
    new.hears(grant("old", 5)).expect_send(to_everyone(announced_heartbeat("new", 5, 3)));
    assert_eq!((old.state(), new.state()), (State::Closed, State::Leader));
}

#[test]
fn h4_every_node_that_can_store_its_vote_may_campaign() {
    let mut a = voter_with("a", 3, record(4, None));
    let Message::HeartbeatResponse(response) = acknowledgement("a", 4) else { unreachable!() };
    assert_eq!(response.priority, 1);
    a.hears(timed_heartbeat("l", 4)).expect_send(to("l", Message::HeartbeatResponse(response)));
    assert_eq!(a.report(), None::<&Report>);
}
