//! T1 to T4: terms never fall, and whoever is behind learns so.

use std::time::Duration;

use graft_election_core::{
    ConfigError, HeartbeatResponse, Message, Reason, Report, State, TERM_END,
};

use crate::common::*;

/// Every kind of message from `b` that makes its hearer adopt `term`.
fn messages_that_tell(term: u64) -> Vec<Message> {
    vec![
        vote_request("b", term),
        grant("b", term),
        denial("b", term),
        nameless_denial(term),
        heartbeat("b", term),
        timed_heartbeat("b", term),
        refusal("b", term),
        acknowledgement("b", term),
        pre_vote("b", term, term + 1, true),
        pre_vote("b", term, term, false),
        handover("b", term, Some("c")),
        handover("b", term, None),
    ]
}

#[test]
fn t1_a_term_that_rises_clears_the_vote() {
    let mut a = voter_with("a", 3, record(3, Some("b")));
    a.hears(heartbeat("c", 4)).expect_save(record(4, None)).then_is_silent();
    a.hears(vote_request("d", 4))
        .expect_save(record(4, Some("d")))
        .then_sends(to("d", grant("a", 4)));
}

#[test]
fn t1_a_term_and_its_vote_survive_a_restart() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 4))
        .expect_save(record(4, Some("b")))
        .then_sends(to("b", grant("a", 4)));

    let mut a = voter_with("a", 3, a.record().clone());
    assert_eq!((a.term(), a.vote()), (4, Some(&node_id("b"))));
    a.hears(vote_request("c", 3)).expect_send(to("c", denial("a", 4)));
    a.hears(vote_request("c", 4)).expect_send(to("c", denial("a", 4)));
}

#[test]
fn t1_even_a_refusal_waits_for_the_term_it_carries() {
    let mut a = voter("a", 3);
    a.is_at("5");
    a.hears(vote_request("b", 4)).expect_save(record(4, None)).fails();
    let refusal =
        HeartbeatResponse { position: position_of("5"), priority: 0, ..plain_refusal("a", 4) };
    // The term is still not durable, so the next refusal, which carries it, waits as well.
    a.hears(heartbeat("c", 1))
        .expect_save(record(4, None))
        .then_sends(to("c", Message::HeartbeatResponse(refusal)));
}

#[test]
fn t2_a_lower_term_is_refused_with_the_own_term() {
    let mut a = voter_with("a", 3, record(5, None));
    a.hears(vote_request("b", 4)).expect_send(to("b", denial("a", 5)));
    a.hears(pre_vote_request("b", 4)).expect_send(to("b", pre_vote("a", 5, 4, false)));
    a.hears(heartbeat("b", 4)).expect_send(to("b", refusal("a", 5)));
    a.hears(timed_heartbeat("b", 4)).expect_send(to("b", refusal("a", 5)));
    assert_eq!((a.term(), a.vote(), a.leader()), (5, None, None));
}

#[test]
fn t2_a_refused_heartbeat_binds_no_one_and_restarts_no_timer() {
    let mut a = voter_with("a", 3, record(5, None));
    let deadline = a.deadline();
    a.hears(timed_heartbeat("b", 4)).expect_send(to("b", refusal("a", 5)));
    assert_eq!(a.deadline(), deadline);
    a.hears(vote_request("c", 6))
        .expect_save(record(6, Some("c")))
        .then_sends(to("c", grant("a", 6)));
}

#[test]
fn t2_answers_and_handovers_of_a_lower_term_are_ignored() {
    let mut a = candidate("a", 3, 5);
    let deadline = a.deadline();
    a.hears(grant("b", 4)).expect_silence();
    a.hears(nameless_grant(4)).expect_silence();
    a.hears(refusal("b", 4)).expect_silence();
    a.hears(pre_vote("b", 4, 6, true)).expect_silence();
    a.hears(handover("b", 4, Some("a"))).expect_silence();
    assert_eq!((a.state(), a.term()), (State::Candidate, 5));
    assert_eq!(a.deadline(), deadline);
}

#[test]
fn g15_a_follower_without_a_leader_does_not_believe_a_stale_heartbeat() {
    let mut a = voter_with("a", 3, record(7, None));
    a.hears(heartbeat("old", 6)).expect_send(to("old", refusal("a", 7)));
    assert_eq!(a.leader(), None);
}

fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::VoteResponse(_) | Message::HeartbeatResponse(_) | Message::PreVoteResponse(_)
    )
}

#[test]
fn t3_a_higher_term_in_any_message_is_adopted() {
    for message in messages_that_tell(8).into_iter().filter(|message| !is_answer(message)) {
        let mut a = follower_of("l", "a", 3, 7);
        a.is_at("9");
        let _ = a.hears(message.clone());
        assert_eq!(a.term(), 8, "{message:?}");
        assert_eq!(a.state(), State::Follower, "{message:?}");
        assert_ne!(a.leader(), Some(&node_id("l")), "{message:?}");
    }
}

#[test]
fn t3_a_leader_that_hears_a_higher_term_becomes_a_follower() {
    let all = messages_that_tell(8).into_iter();
    // It asks for no pre-votes.
    for message in all.filter(|message| !matches!(message, Message::PreVoteResponse(_))) {
        let mut a = leader("a", 3, 7);
        let _ = a.hears(message.clone());
        assert_eq!((a.state(), a.term()), (State::Follower, 8), "{message:?}");
        assert_eq!(a.reason(), Reason::HigherTerm, "{message:?}");
        assert_ne!(a.vote(), Some(&node_id("a")), "{message:?}");
    }
}

#[test]
fn t3_a_deposed_leader_waits_a_whole_election_timeout() {
    let mut a = leader("a", 3, 7);
    a.hears(denial("b", 8)).expect_save(record(8, None)).then_is_silent();
    assert_eq!(a.timeout(), T_MIN);
}

#[test]
fn t3_a_proposed_term_is_not_adopted() {
    for mut a in [follower_of("l", "a", 3, 7), candidate("a", 3, 7), leader("a", 3, 7)] {
        let (state, deadline) = (a.state(), a.deadline());
        a.hears(pre_vote_request("b", 9)).expect_send(to("b", pre_vote("a", 7, 9, true)));
        assert_eq!((a.state(), a.term()), (state, 7));
        assert_eq!(a.deadline(), deadline);
    }
}

#[test]
fn t3_a_candidate_that_is_behind_campaigns_again_within_a_heartbeat() {
    for (roll, timeout) in [(0, Duration::ZERO), (1 << 31, H / 2), (u32::MAX, H - TICK)] {
        let mut a = candidate("a", 5, 7);
        a.rolls(roll);
        a.hears(denial("b", 9)).expect_save(record(9, None)).then_is_silent();
        assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HigherTerm));
        assert_eq!(a.timeout(), timeout);
        a.times_out()
            .expect_save(record(10, Some("a")))
            .then_sends(to_everyone(request("a", 10, 5)));
    }
}

#[test]
fn t3_a_follower_that_learns_of_a_higher_term_keeps_its_timer() {
    let mut a = follower_of("l", "a", 3, 7);
    a.is_at("7");
    let deadline = a.deadline();
    a.wait(H);
    a.hears(vote_request("b", 8)).expect_save(record(8, None)).then_sends(to("b", denial("a", 8)));
    assert_eq!(a.deadline(), deadline);
}

#[test]
fn g14_a_candidate_heeds_a_higher_term_in_a_denial() {
    let mut a = candidate("a", 3, 2);
    a.hears(nameless_denial(6)).expect_save(record(6, None)).then_is_silent();
    assert_eq!((a.state(), a.term()), (State::Follower, 6));
}

#[test]
fn t4_a_node_without_a_term_takes_none_above_two_to_the_48() {
    let mut a = voter("a", 3);
    a.hears(heartbeat("b", TERM_END)).expect_silence();
    assert_eq!(a.report(), Some(&Report::TermOutOfRange { term: TERM_END }));
    assert_eq!((a.term(), a.leader()), (0, None));
    let furthest = 1 << 48;
    a.hears(heartbeat("b", furthest + 1)).expect_silence();
    assert_eq!(a.report(), Some(&Report::TermOutOfRange { term: furthest + 1 }));
    a.hears(heartbeat("b", furthest)).expect_save(record(furthest, None)).then_is_silent();
    assert_eq!(a.leader(), Some(&node_id("b")));
}

/// Otherwise a cluster that has come further would shut out every newcomer.
#[test]
fn t4_a_node_without_a_term_believes_the_answer_to_its_own_question() {
    let mut a = extended("a", 3, record(0, None));
    a.times_out().expect_send(to_everyone(pre_request("a", 1, 3)));
    a.hears(in_round(9, pre_vote("b", TERM_END - 1, 1, false))).expect_silence();
    assert_eq!(a.term(), 0);
    a.hears(pre_vote("b", TERM_END, 1, false)).expect_silence();
    assert_eq!(a.report(), Some(&Report::TermOutOfRange { term: TERM_END }));
    a.hears(pre_vote("b", TERM_END - 1, 1, false))
        .expect_save(record(TERM_END - 1, None))
        .then_is_silent();
}

#[test]
fn t4_a_term_may_be_two_to_the_32_ahead_and_no_more() {
    let furthest = 1 + (1 << 32);
    let mut a = voter_with("a", 3, record(1, None));
    for message in messages_that_tell(furthest + 1).into_iter().filter(|it| !is_answer(it)) {
        a.hears(message).expect_silence();
        let term = furthest + 1;
        assert_eq!(a.report(), Some(&Report::TermOutOfRange { term }));
        assert_eq!(a.term(), 1);
    }
    a.hears(pre_vote_request("b", furthest + 1)).expect_silence();
    a.hears(pre_vote_request("b", furthest)).expect_send(to("b", pre_vote("a", 1, furthest, true)));
    a.hears(vote_request("b", furthest))
        .expect_save(record(furthest, Some("b")))
        .then_sends(to("b", grant("a", furthest)));
}

#[test]
fn t4_numbers_from_two_to_the_63_are_no_terms() {
    for term in [TERM_END, TERM_END + 1, u64::MAX] {
        for own in [0, 1, TERM_END - 1] {
            let mut a = voter_with("a", 3, record(own, None));
            for message in [
                vote_request("b", term),
                pre_vote_request("b", term),
                heartbeat("b", term),
                handover("b", term, None),
            ] {
                a.hears(message).expect_silence();
                assert_eq!(a.report(), Some(&Report::TermOutOfRange { term }));
            }
            assert_eq!((a.term(), a.leader()), (own, None));
        }
    }
}

#[test]
fn t4_a_stored_number_that_is_no_term_is_an_error() {
    let start = |term| {
        let config = graft_config(3);
        Voter::try_start("a", &config, record(term, None)).err()
    };
    let error = |term| Some(ConfigError::TermOutOfRange { term });
    assert_eq!(start(TERM_END), error(TERM_END));
    assert_eq!(start(u64::MAX), error(u64::MAX));
    assert_eq!(start(TERM_END - 1), None);
}

#[test]
fn t4_the_last_term_is_not_wrapped_but_reported() {
    let mut a = voter_with("a", 3, record(TERM_END - 1, None));
    for _ in 0..3 {
        a.times_out().expect_silence();
        assert_eq!(a.report(), Some(&Report::TermsExhausted));
        assert_eq!((a.state(), a.term()), (State::Follower, TERM_END - 1));
        assert_eq!(a.timeout(), T_MIN);
    }
    a.hears(heartbeat("b", TERM_END - 1)).expect_silence();
    a.hears(handover("b", TERM_END - 1, Some("a"))).expect_silence();
    assert_eq!(a.report(), Some(&Report::TermsExhausted));

    let mut b = voter_with("b", 3, record(TERM_END - 2, None));
    b.times_out().expect_save(record(TERM_END - 1, Some("b"))).then_sends(to_everyone(request(
        "b",
        TERM_END - 1,
        3,
    )));
}

#[test]
fn g11_a_heartbeat_of_the_greatest_number_neither_counts_nor_wraps() {
    let mut a = follower_of("l", "a", 3, 1);
    a.hears(heartbeat("b", u64::MAX)).expect_silence();
    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 3)));
}
