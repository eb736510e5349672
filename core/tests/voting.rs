//! V1 to V9: who may have a node's vote, and whose votes a candidate counts.

use std::num::NonZeroU64;

use graft_election_core::{
    Config, ConfigError, Message, NodeId, NodeIdError, Position, PositionTooLong, Refusal, Report,
    State, VoteRequest,
};

use crate::common::*;

#[test]
fn v1_a_node_votes_for_one_candidate_in_a_term() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
    a.hears(vote_request("c", 1)).expect_send(to("c", denial("a", 1)));
    // The same candidate may ask again: its first answer may be lost. There is nothing to store.
    a.hears(vote_request("b", 1)).expect_send(to("b", grant("a", 1)));
    a.hears(vote_request("c", 2))
        .expect_save(record(2, Some("c")))
        .then_sends(to("c", grant("a", 2)));
}

#[test]
fn v1_nothing_clears_a_vote_within_its_term() {
    let mut a = voter_with("a", 3, record(5, Some("b")));
    let messages = [
        vote_request("c", 5),
        released_request("c", 5, 4),
        pre_vote_request("c", 6),
        heartbeat("c", 5),
        timed_heartbeat("c", 5),
        heartbeat("d", 5),
        grant("c", 5),
        denial("c", 5),
        refusal("c", 5),
        pre_vote("c", 5, 6, false),
        handover("c", 5, None),
        handover("c", 5, Some("d")),
    ];
    for message in messages {
        let output = a.hears(message.clone());
        output.expect_nothing_to_save();
        assert_eq!(*a.record(), record(5, Some("b")), "{message:?}");
    }
}

#[test]
fn v1_a_candidate_and_a_leader_keep_the_vote_for_themselves() {
    for mut a in [candidate("a", 3, 5), leader("a", 3, 5)] {
        a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 5)));
        a.hears(heartbeat("b", 5)).expect_silence();
        assert_eq!(*a.record(), record(5, Some("a")));
        assert_eq!(a.state(), State::Follower);
    }
}

#[test]
fn g7_a_heartbeat_of_its_own_term_leaves_a_candidates_vote_alone() {
    let mut a = candidate("a", 3, 5);
    a.hears(heartbeat("b", 5)).expect_silence();
    a.hears(vote_request("c", 5)).expect_send(to("c", denial("a", 5)));
    assert_eq!(a.vote(), Some(&node_id("a")));
}

#[test]
fn g1_a_node_that_was_closed_remembers_its_vote() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
    a.is_told_to_close().expect_silence();
    assert_eq!(a.state(), State::Closed);

    let mut a = voter_with("a", 3, a.record().clone());
    a.hears(vote_request("c", 1)).expect_send(to("c", denial("a", 1)));
}

#[test]
fn v2_a_bound_node_refuses_without_adopting_the_term() {
    let mut a = bound_to("l", "a", 3, 4);
    let deadline = a.deadline();
    a.hears(vote_request("b", 9)).expect_send(to("b", denial("a", 4)));
    a.hears(pre_vote_request("b", 9)).expect_send(to("b", pre_vote("a", 4, 9, false)));
    assert_eq!((a.term(), a.leader()), (4, Some(&node_id("l"))));
    assert_eq!(a.deadline(), deadline);
}

#[test]
fn v2_a_node_is_bound_for_exactly_its_own_t_min() {
    let mut a = bound_to("l", "a", 3, 4);
    a.wait(BOUND - TICK);
    a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
    a.wait(TICK);
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn v2_a_go_leaders_heartbeat_binds_no_one() {
    let mut a = follower_of("go", "a", 3, 4);
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn v2_adopting_a_term_does_not_end_the_bound() {
    let mut a = bound_to("l", "a", 3, 4);
    a.hears(handover("b", 6, None)).expect_save(record(6, None)).then_is_silent();
    a.hears(vote_request("b", 7)).expect_send(to("b", denial("a", 6)));
    // A leader that others elected may lead all the same.
    a.hears(heartbeat("c", 7)).expect_save(record(7, None)).then_is_silent();
    a.hears(vote_request("b", 8)).expect_send(to("b", denial("a", 7)));
}

#[test]
fn v2_a_bound_node_does_not_vote_for_itself() {
    // A promise longer than every election timeout keeps it bound when its timer runs out.
    let mut a = Voter::start("a", &graft_config(1), promised(T_MAX * 2, record(4, None)));
    a.settles(T_MIN);
    a.rolls(1 << 31);
    a.times_out().expect_silence();
    assert_eq!((a.state(), a.term()), (State::Follower, 4));
    assert_eq!(
        a.deadline().saturating_since(START),
        T_MAX * 2 + TICK + H / 2,
        "it waits until it is free, and then a moment of its own"
    );
    a.times_out()
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(announced_heartbeat("a", 5, 1)));
}

#[test]
fn v2_a_candidate_that_the_leader_released_gets_the_vote_of_a_bound_node() {
    let mut a = bound_to("l", "a", 3, 4);
    a.hears(released_request("b", 5, 4))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
    // The exception is that request's alone: the node stays bound.
    a.hears(vote_request("c", 6)).expect_send(to("c", denial("a", 5)));
}

#[test]
fn v2_a_release_by_a_later_leader_counts_too() {
    let mut a = bound_to("l", "a", 3, 4);
    a.hears(released_request("b", 9, 7))
        .expect_save(record(9, Some("b")))
        .then_sends(to("b", grant("a", 9)));
}

#[test]
fn v2_a_release_by_an_earlier_leader_frees_no_one() {
    let mut a = bound_to("l", "a", 3, 4);
    // Compared before the request's term would be adopted, and after.
    a.hears(released_request("b", 9, 3)).expect_send(to("b", denial("a", 4)));
    assert_eq!(a.term(), 4);
}

#[test]
fn v2_a_release_by_the_requests_own_term_or_a_later_is_malformed() {
    let mut a = bound_to("l", "a", 3, 4);
    for from in [5, 6, u64::MAX] {
        a.hears(released_request("b", 5, from)).expect_silence();
        assert_eq!(a.report(), Some(&Report::TermOutOfRange { term: 5 }));
        a.hears(Message::PreVoteRequest(VoteRequest {
            handover_from: NonZeroU64::new(from),
            ..plain_pre_request("b", 5)
        }))
        .expect_silence();
    }
    assert_eq!(a.term(), 4);
}

#[test]
fn v3_a_node_that_comes_back_with_a_term_is_bound_for_t_min() {
    let mut a = Voter::start("a", &graft_config(3), record(1, None));
    a.settles(BOUND - TICK);
    a.hears(vote_request("b", 2)).expect_send(to("b", denial("a", 1)));
    a.hears(pre_vote_request("b", 2)).expect_send(to("b", pre_vote("a", 1, 2, false)));
    a.wait(TICK);
    a.hears(vote_request("b", 2))
        .expect_save(record(2, Some("b")))
        .then_sends(to("b", grant("a", 2)));
}

#[test]
fn v3_a_node_that_never_stored_a_term_is_free_once_it_has_asked_for_its_name() {
    let mut a = Voter::start("a", &graft_config(3), VoteRecord::default());
    a.settles(T_MIN);
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
}

#[test]
fn v3_a_longer_promise_of_before_is_kept_when_t_min_was_lowered() {
    let mut a = Voter::start("a", &graft_config(3), promised(T_MAX * 5, record(1, None)));
    a.settles(T_MAX * 5);
    a.hears(vote_request("b", 2)).expect_send(to("b", denial("a", 1)));
    a.wait(TICK);
    a.hears(vote_request("b", 2))
        .expect_save(record(2, Some("b")))
        .then_sends(to("b", grant("a", 2)));
}

#[test]
fn v3_an_acknowledgement_does_not_shorten_the_quarantine() {
    let mut a = Voter::start("a", &graft_config(3), promised(T_MAX * 5, record(1, None)));
    a.settles(T_MAX);
    a.hears(timed_heartbeat("l", 1)).expect_send(to("l", acknowledgement("a", 1)));
    a.wait(T_MAX * 4);
    // Before it stopped it promised its old T_min, and someone's lease may still count on that.
    a.hears(vote_request("b", 2)).expect_send(to("b", denial("a", 1)));
    a.wait(TICK);
    a.hears(vote_request("b", 2))
        .expect_save(record(2, Some("b")))
        .then_sends(to("b", grant("a", 2)));
}

#[test]
fn v4_a_position_behind_is_refused_but_its_term_adopted() {
    let mut a = follower_of("l", "a", 3, 4);
    a.is_at("7");
    let deadline = a.deadline();
    let asks_at = |position, term| {
        Message::VoteRequest(VoteRequest {
            position: position_of(position),
            ..plain_request("b", term)
        })
    };
    a.hears(asks_at("6", 5)).expect_save(record(5, None)).then_sends(to("b", denial("a", 5)));
    assert_eq!(a.deadline(), deadline, "V8: a refusal restarts no timer");
    a.hears(asks_at("7", 5)).expect_save(record(5, Some("b"))).then_sends(to("b", grant("a", 5)));
}

#[test]
fn g13_a_refused_position_does_not_hold_up_the_election() {
    let mut ahead = candidate("a", 3, 1);
    ahead.is_at("7");
    // The node behind has got further ahead in terms than the one that could win.
    ahead
        .hears(vote_request("behind", 8))
        .expect_save(record(8, None))
        .then_sends(to("behind", denial("a", 8)));
    assert!(ahead.timeout() <= H);
    ahead.times_out().expect_save(record(9, Some("a"))).then_sends(to_everyone(
        Message::VoteRequest(VoteRequest {
            position: position_of("7"),
            size: announced(3),
            ..plain_request("a", 9)
        }),
    ));
    ahead.hears(grant("behind", 9)).expect_send(to_everyone(announced_heartbeat("a", 9, 3)));
}

#[test]
fn v5_own_messages_that_come_back_are_ignored() {
    let asked = |message| in_round(LIFE, message);
    let own = [
        asked(vote_request("a", 5)),
        asked(pre_vote_request("a", 5)),
        grant("a", 5),
        asked(heartbeat("a", 5)),
        asked(timed_heartbeat("a", 4)),
        refusal("a", 5),
        pre_vote("a", 5, 6, true),
        asked(handover("a", 5, Some("b"))),
        asked(handover("a", 5, None)),
        Message::Who(identity("a", LIFE, LIFE)),
    ];
    for mut a in [follower_of("l", "a", 3, 5), candidate("a", 3, 5), leader("a", 3, 5)] {
        let (state, deadline) = (a.state(), a.deadline());
        for message in &own {
            a.hears(message.clone()).expect_silence();
            assert_eq!(a.report(), None, "{message:?}");
        }
        assert_eq!((a.state(), a.deadline()), (state, deadline));
    }
}

#[test]
fn v5_the_own_vote_counts_once_however_often_it_comes_back() {
    let mut a = candidate("a", 5, 1);
    for _ in 0..5 {
        a.hears(grant("a", 1)).expect_silence();
    }
    assert_eq!(a.state(), State::Candidate);
}

#[test]
fn v6_votes_are_counted_by_voter() {
    let mut a = candidate("a", 5, 1);
    for _ in 0..5 {
        a.hears(grant("b", 1)).expect_silence();
    }
    assert_eq!(a.state(), State::Candidate);
    a.hears(grant("c", 1)).expect_send(to_everyone(announced_heartbeat("a", 1, 5)));
}

#[test]
fn g5_neither_a_second_answer_nor_a_denial_is_a_vote() {
    let mut a = candidate("a", 5, 1);
    a.hears(grant("b", 1)).expect_silence();
    a.hears(grant("b", 1)).expect_silence();
    for _ in 0..3 {
        a.hears(denial("c", 1)).expect_silence();
    }
    assert_eq!(a.state(), State::Candidate);
    // And three denials don't use up the answers a candidate listens to.
    a.hears(grant("d", 1)).expect_send(to_everyone(announced_heartbeat("a", 1, 5)));
}

#[test]
fn v6_a_declared_list_admits_no_one_else() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..graft_config(3) };
    let mut a = declared("a", &config);
    // R10: nor is its term adopted.
    a.hears(vote_request("x", 1)).expect_send(to("x", denial("a", 0)));
    assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
    a.hears(pre_vote_request("x", 2)).expect_send(to("x", pre_vote("a", 0, 2, false)));
    assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
    assert_eq!(a.report(), None);

    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 3)));
    a.hears(grant("x", 2)).expect_silence();
    assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
    a.hears(nameless_grant(2)).expect_silence();
    assert_eq!(a.report(), Some(&Report::NamelessVote));
    assert_eq!(a.state(), State::Candidate);
    a.hears(grant("c", 2)).expect_send(to_everyone(announced_heartbeat("a", 2, 3)));
}

#[test]
fn v6_a_stranger_that_leads_is_followed_but_not_acknowledged() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..graft_config(3) };
    let mut a = declared("a", &config);
    // An acknowledgement would let it believe that it leads the declared voters.
    a.hears(timed_heartbeat("x", 1)).expect_save(record(1, None)).then_is_silent();
    assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
    // Campaigning against it would only disturb whoever elected it.
    assert_eq!(a.leader(), Some(&node_id("x")));
}

/// It gives up no lease of this cluster's, and whoever is bound to a leader that has one must stay
/// so.
#[test]
fn v6_the_handover_of_a_stranger_frees_nobody() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..extended_config(3) };
    for term in [4, 6] {
        for target in [None, Some("a"), Some("c")] {
            let mut a = declared("a", &config);
            a.hears(timed_heartbeat("b", 4))
                .expect_save(record(4, None))
                .then_sends(to("b", acknowledgement("a", 4)));
            let deadline = a.deadline();
            // R10: not even its term is adopted.
            a.hears(handover("x", term, target)).expect_silence();
            assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
            assert_eq!((a.state(), a.deadline()), (State::Follower, deadline));
            a.hears(pre_vote_request("c", term + 1))
                .expect_send(to("c", pre_vote("a", 4, term + 1, false)));
            assert_eq!(a.refusal(), Some(Refusal::Bound));
        }
    }
}

/// Those who follow it, since nobody else leads, wait as long as if it had said nothing: nobody may
/// say that it runs in a stranger's place (H2).
#[test]
fn v6_the_handover_of_a_stranger_makes_nobody_its_successor() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..extended_config(3) };
    for target in [None, Some("a"), Some("c")] {
        let mut a = declared("a", &config);
        a.hears(timed_heartbeat("x", 4)).expect_save(record(4, None)).then_is_silent();
        let deadline = a.deadline();
        a.hears(handover("x", 4, target)).expect_silence();
        assert_eq!(a.report(), Some(&Report::Stranger(node_id("x"))));
        assert_eq!((a.state(), a.deadline()), (State::Follower, deadline));
    }
}

#[test]
fn l2_v6_a_declared_leader_takes_the_place_of_a_stranger_that_leads() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..graft_config(3) };
    let mut a = declared("a", &config);
    a.hears(timed_heartbeat("x", 1)).expect_save(record(1, None)).then_is_silent();
    // Both may lead in one term: strangers may have elected one of them.
    a.hears(heartbeat("b", 1)).expect_silence();
    assert_eq!((a.leader(), a.report()), (Some(&node_id("b")), None));
    a.hears(timed_heartbeat("x", 1)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("x"))));
    assert_eq!(a.leader(), Some(&node_id("b")));
}

#[test]
fn v6_without_a_list_the_votes_of_go_nodes_count() {
    let mut a = candidate("a", 5, 1);
    a.hears(nameless_grant(1)).expect_silence();
    assert_eq!(a.report(), None);
    a.hears(nameless_grant(1)).expect_send(to_everyone(announced_heartbeat("a", 1, 5)));
}

#[test]
fn v6_votes_with_and_without_a_name_add_up() {
    let mut a = candidate("a", 5, 1);
    a.hears(nameless_grant(1)).expect_silence();
    a.hears(nameless_denial(1)).expect_silence();
    a.hears(grant("b", 1)).expect_send(to_everyone(announced_heartbeat("a", 1, 5)));
}

#[test]
fn v6_voters_beyond_the_size_are_reported_and_do_not_count() {
    let mut a = candidate("a", 3, 1);
    a.hears(denial("b", 1)).expect_silence();
    a.hears(denial("c", 1)).expect_silence();
    assert_eq!(a.report(), None);
    a.hears(grant("d", 1)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SurplusVoter(node_id("d"))));
    assert_eq!(a.state(), State::Candidate);
    // The next campaign starts from nothing: a voter may have come back under another id (V9).
    a.times_out().expect_save(record(2, Some("a"))).then_sends(to_everyone(request("a", 2, 3)));
    a.hears(grant("d", 2)).expect_send(to_everyone(announced_heartbeat("a", 2, 3)));
}

#[test]
fn g6_a_fourth_voter_of_three_is_noticed_even_by_the_winner() {
    let mut a = leader("a", 3, 1);
    a.hears(grant("c", 1)).expect_silence();
    assert_eq!(a.report(), None);
    a.hears(grant("d", 1)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SurplusVoter(node_id("d"))));
    // And if it brought about a second leader, neither stays one (rule L5).
    a.hears(heartbeat("d", 1)).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("d"))));
    assert_eq!(a.state(), State::Follower);
}

#[test]
fn v6_a_quorum_is_more_than_half_of_the_size() {
    for (size, others) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)] {
        let mut a = candidate("a", size, 1);
        for peer in 1..others {
            a.hears(grant(&format!("p{peer}"), 1)).expect_silence();
        }
        assert_eq!(a.state(), State::Candidate, "{size} voters");
        a.hears(grant(&format!("p{others}"), 1))
            .expect_send(to_everyone(announced_heartbeat("a", 1, size)));
    }
}

#[test]
fn v7_malformed_ids_and_long_positions_are_no_values() {
    assert_eq!(NodeId::new(""), Err(NodeIdError::Empty));
    for (name, at) in [("*", 0), (">", 0), ("a b", 1), ("a.b", 1), ("a\n", 1)] {
        assert_eq!(NodeId::new(name), Err(NodeIdError::Forbidden { at }));
    }
    assert!(NodeId::new(&"n".repeat(64)).is_ok());
    let too_long = "n".repeat(65);
    assert_eq!(NodeId::new(&too_long), Err(NodeIdError::TooLong { bytes: 65 }));

    assert_eq!(Position::new(&[7; 64]).map(|kept| kept.as_bytes().len()), Ok(64));
    assert_eq!(Position::new(&[7; 65]), Err(PositionTooLong { bytes: 65 }));
    assert_eq!(
        PositionTooLong { bytes: 65 }.to_string(),
        "a position has at most 64 bytes, not 65"
    );
}

#[test]
fn g12_ids_that_would_do_harm_cannot_be_made() {
    // An empty id, wildcards and spaces never reach a node, its record or a subject.
    for name in ["", "*", ">", "a b"] {
        assert!(NodeId::new(name).is_err(), "{name:?}");
    }
}

#[test]
fn v8_an_accepted_heartbeat_and_a_granted_vote_restart_the_timer() {
    let mut a = follower_of("l", "a", 3, 4);
    a.wait(T_MIN / 2);
    a.hears(heartbeat("l", 4)).expect_silence();
    assert_eq!(a.timeout(), T_MIN);
    a.wait(T_MIN / 2);
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
    assert_eq!(a.timeout(), T_MIN);
    // C2a: a vote that is given again is none that is granted.
    a.wait(T_MIN / 2);
    a.hears(vote_request("b", 5)).expect_send(to("b", grant("a", 5)));
    assert_eq!(a.timeout(), T_MIN / 2);
}

#[test]
fn v8_nothing_else_restarts_the_timer() {
    let mut a = follower_of("l", "a", 3, 4);
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
    a.hears(heartbeat("l", 5)).expect_silence();
    let deadline = a.deadline();
    a.rolls(u32::MAX);
    a.wait(H);
    for message in [
        vote_request("c", 5),
        vote_request("c", 4),
        pre_vote_request("c", 6),
        grant("c", 5),
        denial("c", 5),
        refusal("c", 5),
        acknowledgement("c", 5),
        pre_vote("c", 5, 6, true),
        heartbeat("c", 4),
        heartbeat("second", 5),
        in_round(LIFE, heartbeat("a", 5)),
        handover("c", 4, None),
    ] {
        let _ = a.hears(message.clone());
        assert_eq!(a.deadline(), deadline, "{message:?}");
    }
    a.is_at("7");
    a.hears(vote_request("c", 6)).expect_save(record(6, None)).then_sends(to("c", denial("a", 6)));
    assert_eq!(a.deadline(), deadline);
}

#[test]
fn v9_a_declared_list_shows_whether_a_node_came_back_under_a_new_id() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..graft_config(3) };
    let error = Voter::try_start("a2", &config, VoteRecord::first(list(&voters))).err();
    assert_eq!(error, Some(ConfigError::OwnIdMissing));
}

#[test]
fn a_report_outlives_the_save_that_the_same_input_needs() {
    let mut a = voter("a", 3);
    a.hears(Message::VoteRequest(VoteRequest { size: announced(5), ..plain_request("b", 1) }))
        .expect_save(record(1, None))
        .then_sends(to("b", denial("a", 1)));
    let node = node_id("b");
    assert_eq!(a.report(), Some(&Report::SizeMismatch { node, size: 5 }));
    a.hears(grant("c", 1)).expect_silence();
    assert_eq!(a.report(), None);
}
