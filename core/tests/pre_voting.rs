//! C1 to C3, H5 and V2 as they show in Extended mode: a node asks before it disturbs anyone.

use std::num::NonZeroU64;

use graft_election_core::{Message, Reason, Refusal, Report, Round, State, VoteRequest};

use crate::common::*;

/// A request for a pre-vote in a round of its own.
fn pre_request_in(round: u32, candidate: &str, term: u64, size: usize) -> Message {
    Message::PreVoteRequest(VoteRequest {
        round: Round::new(round),
        size: announced(size),
        ..plain_request(candidate, term)
    })
}

/// A request for pre-votes in place of the leader of `from` (rule H5).
fn successors_pre_request(candidate: &str, term: u64, size: usize, from: u64) -> Message {
    Message::PreVoteRequest(VoteRequest {
        handover_from: NonZeroU64::new(from),
        size: announced(size),
        ..plain_request(candidate, term)
    })
}

#[test]
fn c1_at_the_timeout_a_follower_asks_and_changes_nothing() {
    let mut a = extended("a", 3, record(4, Some("b")));
    a.times_out().expect_send(to_everyone(pre_request("a", 5, 3)));
    assert_eq!((a.state(), a.reason()), (State::PreCandidate, Reason::ElectionTimeout));
    assert_eq!((a.record(), a.leader()), (&record(4, Some("b")), None));
}

#[test]
fn c2_a_quorum_of_pre_votes_starts_the_campaign() {
    let mut a = pre_candidate("a", 5, 5);
    a.hears(pre_vote("b", 4, 5, true)).expect_silence();
    a.hears(pre_vote("c", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 5)));
    assert_eq!((a.state(), a.reason()), (State::Candidate, Reason::WonPreVote));
}

#[test]
fn c2_the_pre_votes_are_no_votes() {
    let mut a = pre_candidate("a", 5, 5);
    a.hears(pre_vote("b", 4, 5, true)).expect_silence();
    a.hears(pre_vote("c", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 5)));
    a.hears(grant("b", 5)).expect_silence();
    assert_eq!(a.state(), State::Candidate);
    let now = a.now;
    a.hears(grant("c", 5)).expect_send(to_everyone(extended_heartbeat("a", 5, 5, now)));
}

#[test]
fn c2_a_cluster_of_one_needs_no_pre_vote() {
    let mut a = extended("a", 1, record(4, None));
    let at = a.deadline();
    a.times_out()
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(extended_heartbeat("a", 5, 1, at)));
}

#[test]
fn v6_a_pre_voter_counts_once() {
    let mut a = pre_candidate("a", 5, 5);
    for _ in 0..3 {
        a.hears(pre_vote("b", 4, 5, true)).expect_silence();
    }
    assert_eq!(a.state(), State::PreCandidate);
}

#[test]
fn c1_pre_votes_for_another_term_and_refusals_do_not_count() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(pre_vote("b", 4, 6, true)).expect_silence();
    a.hears(pre_vote("b", 3, 4, true)).expect_silence();
    a.hears(pre_vote("b", 4, 5, false)).expect_silence();
    assert_eq!(a.state(), State::PreCandidate);
}

#[test]
fn c1_answers_to_earlier_requests_of_a_round_count() {
    let mut a = pre_candidate("a", 5, 5);
    a.hears(pre_vote("b", 4, 5, true)).expect_silence();
    a.times_out().expect_send(to_everyone(pre_request("a", 5, 5)));
    a.hears(pre_vote("c", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 5)));
}

#[test]
fn c1_a_round_lasts_for_t_min() {
    let mut a = pre_candidate("a", 3, 5);
    let asked_at = a.now;
    loop {
        let round = if a.deadline().saturating_since(asked_at) < T_MIN { 2 } else { 3 };
        a.times_out().expect_send(to_everyone(pre_request_in(round, "a", 5, 3)));
        if round == 3 {
            break;
        }
    }
    // An answer that was held back for that long may be of a voter that has heard a leader since.
    a.hears(in_round(2, pre_vote("b", 4, 5, true))).expect_silence();
    a.hears(in_round(3, pre_vote("c", 4, 5, true)))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 3)));
}

#[test]
fn c1_what_an_earlier_round_brought_is_forgotten() {
    let mut a = pre_candidate("a", 5, 5);
    a.hears(pre_vote("b", 4, 5, true)).expect_silence();
    a.wait(T_MIN);
    a.wakes().expect_send(to_everyone(pre_request_in(3, "a", 5, 5)));
    a.hears(in_round(3, pre_vote("c", 4, 5, true))).expect_silence();
    assert_eq!(a.state(), State::PreCandidate);
}

#[test]
fn a2_an_answer_held_back_from_before_a_leader_was_heard_deposes_nobody() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(heartbeat("l", 4)).expect_silence();
    a.times_out().expect_send(to_everyone(pre_request_in(3, "a", 5, 3)));
    a.hears(in_round(2, pre_vote("b", 4, 5, true))).expect_silence();
    assert_eq!((a.state(), a.term()), (State::PreCandidate, 4));
}

#[test]
fn c3_a_request_is_repeated_after_half_a_heartbeat_to_a_whole_one() {
    for (roll, timeout) in [(0, H / 2), (1 << 31, H * 3 / 4), (u32::MAX, H - TICK)] {
        let mut a = extended("a", 3, record(4, None));
        a.rolls(roll);
        a.times_out().expect_send(to_everyone(pre_request("a", 5, 3)));
        assert_eq!(a.timeout(), timeout);
    }
}

#[test]
fn c3_a_campaign_that_gets_nowhere_goes_back_to_asking() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(pre_vote("b", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 3)));
    a.repeats_for(T_MIN, &request("a", 5, 3));
    a.times_out().expect_send(to_everyone(pre_request("a", 6, 3)));
    assert_eq!((a.state(), a.term()), (State::PreCandidate, 5));
    // The pre-votes of the term before are of no use.
    a.hears(pre_vote("b", 4, 5, true)).expect_silence();
}

#[test]
fn a2_a_node_that_was_cut_off_comes_back_with_the_term_it_left_with() {
    let mut a = extended("a", 3, record(4, None));
    for _ in 0..1_000 {
        a.times_out().expect_send(to_everyone(pre_request("a", 5, 3)));
    }
    assert_eq!(a.term(), 4);
    let now = a.now;
    a.hears(extended_heartbeat("l", 4, 3, now))
        .expect_send(to("l", Message::HeartbeatResponse(echo("a", 4, now))));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LeaderHeard));
}

#[test]
fn l2_a_pre_candidate_remembers_the_leader_of_its_term() {
    let mut a = extended("a", 3, record(4, None));
    a.hears(heartbeat("l", 4)).expect_silence();
    a.times_out().expect_send(to_everyone(pre_request("a", 5, 3)));
    a.hears(heartbeat("x", 4)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("x"))));
    a.hears(heartbeat("l", 4)).expect_silence();
    assert_eq!((a.state(), a.leader()), (State::Follower, Some(&node_id("l"))));
}

#[test]
fn t3_a_pre_candidate_that_is_behind_asks_again_within_a_heartbeat() {
    let mut a = pre_candidate("a", 3, 5);
    a.rolls(u32::MAX);
    a.hears(pre_vote("b", 7, 5, false)).expect_save(record(7, None)).then_is_silent();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HigherTerm));
    assert_eq!(a.timeout(), H - TICK);
    a.times_out().expect_send(to_everyone(pre_request("a", 8, 3)));
}

#[test]
fn v1_a_pre_candidate_that_votes_waits_for_its_candidate() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(vote_request("b", 4))
        .expect_save(record(4, Some("b")))
        .then_sends(to("b", grant("a", 4)));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::GaveVote));
    assert_eq!(a.timeout(), T_MIN);
    // Pre-votes that come now come too late.
    a.hears(pre_vote("c", 4, 5, true)).expect_silence();
}

#[test]
fn v5_an_own_pre_vote_request_that_comes_back_is_ignored() {
    let mut a = pre_candidate("a", 3, 5);
    let own = a.times_out().sends();
    a.hears_verbatim(own).expect_silence();
    assert_eq!((a.report(), a.state()), (None, State::PreCandidate));
}

#[test]
fn c5_a_node_that_fails_to_save_does_not_campaign_on_pre_votes() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(vote_request("b", 6)).expect_save(record(6, Some("b"))).fails();
    a.times_out().expect_save(record(6, Some("b"))).fails();
    a.hears(pre_vote("c", 6, 7, true)).expect_silence();
    assert_eq!((a.state(), a.term()), (State::Follower, 6));
}

#[test]
fn c1_graft_mode_does_not_ask() {
    let mut a = voter("a", 3);
    a.times_out().expect_save(record(1, Some("a"))).then_sends(to_everyone(request("a", 1, 3)));
}

#[test]
fn h5_a_deposed_leader_runs_again_at_once_in_its_own_place() {
    for refusal in [refusal("b", 7), denial("b", 7)] {
        let mut a = extended_leader("a", 3, 5);
        a.hears(refusal)
            .expect_save(record(7, None))
            .then_sends(to_everyone(successors_pre_request("a", 8, 3, 5)));
        assert_eq!((a.state(), a.reason()), (State::PreCandidate, Reason::HigherTerm));
        // The campaign says so too: the others may still be bound to the leader it was.
        a.hears(pre_vote("b", 7, 8, true)).expect_save(record(8, Some("a"))).then_sends(
            to_everyone(Message::VoteRequest(VoteRequest {
                handover_from: NonZeroU64::new(5),
                size: announced(3),
                ..plain_request("a", 8)
            })),
        );
    }
}

#[test]
fn h5_a_request_is_repeated_in_the_same_place() {
    let mut a = extended_leader("a", 3, 5);
    a.hears(refusal("b", 7))
        .expect_save(record(7, None))
        .then_sends(to_everyone(successors_pre_request("a", 8, 3, 5)));
    let asks_until = a.now.saturating_add(T_MIN * 2);
    while a.now < asks_until {
        a.times_out().expect_send(to_everyone(successors_pre_request("a", 8, 3, 5)));
    }
}

#[test]
fn c1a_a_deposed_leader_that_runs_again_does_not_stand_back() {
    let mut b = extended_leader("b", 3, 5);
    b.hears(refusal("a", 7))
        .expect_save(record(7, None))
        .then_sends(to_everyone(successors_pre_request("b", 8, 3, 5)));
    b.hears(pre_vote_request("a", 8)).expect_send(to("a", pre_vote("b", 7, 8, true)));
    assert_eq!(b.timeout(), H / 2);
}

#[test]
fn c5_a_deposed_leader_that_fails_to_save_counts_pre_votes_and_does_not_campaign() {
    let mut a = extended_leader("a", 3, 5);
    a.hears(refusal("b", 7)).expect_save(record(7, None)).fails();
    a.hears(in_round(4, pre_vote("b", 7, 8, true))).expect_save(record(7, None)).then_is_silent();
    assert_eq!((a.state(), a.term()), (State::PreCandidate, 7));
}

#[test]
fn h5_c2_where_it_is_the_quorum_it_campaigns_and_asks_no_one() {
    let mut a = extended("a", 1, record(4, None));
    a.wait(T_MAX);
    let heartbeat = extended_heartbeat("a", 5, 1, a.now);
    a.wakes().expect_save(record(5, Some("a"))).then_sends(to_everyone(heartbeat));
    let heartbeat = extended_heartbeat("a", 8, 1, a.now);
    a.hears(refusal("b", 7)).expect_save(record(8, Some("a"))).then_sends(to_everyone(heartbeat));
}

#[test]
fn v6_v9_a_newcomer_counts_in_a_later_round() {
    let mut a = pre_candidate("a", 2, 5);
    a.hears(pre_vote("b", 4, 5, false)).expect_silence();
    // In place of b, which never comes back.
    a.hears(pre_vote("b-2", 4, 5, true)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SurplusVoter(node_id("b-2"))));
    a.times_out().expect_send(to_everyone(pre_request("a", 5, 2)));
    a.hears(pre_vote("b-2", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 2)));
}

#[test]
fn h5_a_leader_deposed_by_its_successor_does_not_run() {
    let mut a = extended_leader("a", 3, 5);
    a.hears(heartbeat("b", 7)).expect_save(record(7, None)).then_is_silent();
    assert_eq!((a.state(), a.leader()), (State::Follower, Some(&node_id("b"))));
}

#[test]
fn v2_a_leader_refuses_votes_and_pre_votes_without_adopting_the_term() {
    let mut a = extended_leader("a", 3, 5);
    a.hears(vote_request("b", 9)).expect_send(to("b", denial("a", 5)));
    assert_eq!(a.refusal(), Some(Refusal::Leading));
    a.hears(pre_vote_request("b", 9)).expect_send(to("b", pre_vote("a", 5, 9, false)));
    assert_eq!((a.refusal(), a.state()), (Some(Refusal::Leading), State::Leader));
}

#[test]
fn v2_a_leader_does_not_heed_a_word_that_it_never_gave() {
    let mut a = extended_leader("a", 3, 5);
    // It leads in term 5, so it has told nobody to take over.
    a.hears(released_request("b", 6, 5)).expect_send(to("b", denial("a", 5)));
    assert_eq!((a.state(), a.term()), (State::Leader, 5));
    // The leader of a later term may have.
    a.hears(released_request("b", 8, 7))
        .expect_save(record(8, Some("b")))
        .then_sends(to("b", grant("a", 8)));
    assert_eq!(a.state(), State::Follower);
}

#[test]
fn v6_a_nameless_vote_does_not_count_in_extended_mode() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(pre_vote("b", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(request("a", 5, 3)));
    a.hears(nameless_grant(5)).expect_silence();
    assert_eq!((a.state(), a.report()), (State::Candidate, Some(&Report::NamelessVote)));
}

#[test]
fn each_refusal_has_its_reason() {
    let stranger_to = |id: &str| [node_id(id), node_id("b"), node_id("c")];
    let voters = stranger_to("a");
    let config = graft_election_core::Config { voters: &voters, ..extended_config(3) };

    let mut a = extended_with("a", &config, record(4, Some("b")));
    a.hears(vote_request("c", 4)).expect_send(to("c", denial("a", 4)));
    assert_eq!(a.refusal(), Some(Refusal::VoteSpent));
    a.hears(vote_request("c", 3)).expect_send(to("c", denial("a", 4)));
    assert_eq!(a.refusal(), Some(Refusal::StaleTerm));
    a.hears(pre_vote_request("c", 4)).expect_send(to("c", pre_vote("a", 4, 4, false)));
    assert_eq!(a.refusal(), Some(Refusal::StaleTerm));
    a.hears(pre_vote_request("x", 5)).expect_send(to("x", pre_vote("a", 4, 5, false)));
    assert_eq!(a.refusal(), Some(Refusal::NotOneOfUs));
    a.is_at("7");
    a.hears(pre_vote_request("c", 5)).expect_send(to("c", pre_vote("a", 4, 5, false)));
    assert_eq!(a.refusal(), Some(Refusal::Position));
    a.hears(grant("c", 3)).expect_silence();
    assert_eq!(a.refusal(), None);

    let mut bound = bound_to("l", "a", 3, 4);
    bound.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
    assert_eq!(bound.refusal(), Some(Refusal::Bound));

    let mut restarted = Voter::start("a", &graft_config(3), record(4, None));
    restarted.settles(T_MIN);
    restarted.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
    assert_eq!(restarted.refusal(), Some(Refusal::Quarantined));
}
