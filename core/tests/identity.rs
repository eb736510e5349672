//! N1 to N6: who says it, and in answer to what; V6 and V3 as far as they are kept with the record.

use std::num::NonZeroU64;

use graft_election_core::{
    Config, ConfigError, Heartbeat, HeartbeatResponse, Life, ListId, Message, Mode, NodeId,
    Outgoing, Output, PreVoteResponse, Reason, RecordedList, Refusal, Report, Round, State,
    VoteRequest, VoteResponse, VoterList,
};

use crate::common::*;

/// A life above that of the nodes here, which is 1.
const HIGHER: u32 = 9;

fn who(round: u32, life: u32) -> Message {
    Message::Who(identity("a", round, life))
}

fn here(round: u32, life: u32) -> Message {
    Message::Here(identity("a", round, life))
}

/// What another process says in the name of `a`.
fn foreign(message: Message) -> Message {
    in_round(ROUND, message)
}

/// A leader whose lease is valid.
fn leader_with_a_lease() -> Voter {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    a.hears(Message::HeartbeatResponse(echo("p1", 5, sent_at))).expect_silence();
    assert!(a.leadership(a.now).is_some());
    a
}

/// A node that has heard something in its own name, and has asked in this round.
fn aside() -> (Voter, u32) {
    let mut a = extended("a", 3, record(4, None));
    a.hears(foreign(heartbeat("a", 4))).expect_silence();
    let round = asks(&mut a);
    (a, round)
}

/// Until the node asks its next question; returns its round. Election timeouts come to nothing
/// meanwhile.
#[track_caller]
fn asks(a: &mut Voter) -> u32 {
    loop {
        match a.times_out().output {
            Output::Send(Outgoing { message: Message::Who(question), .. }) => {
                return question.round.number();
            }
            output => assert!(matches!(output, Output::Idle), "{output:?}"),
        }
    }
}

#[test]
fn n1_an_answer_to_another_campaign_is_dropped_unread() {
    let mut a = candidate("a", 3, 5);
    for message in [grant("b", 5), denial("b", 9), nameless_in_a_round(9)] {
        a.hears_verbatim(in_round(ROUND, message)).expect_silence();
        assert_eq!((a.state(), a.term(), a.report()), (State::Candidate, 5, None));
    }
    a.hears(grant("b", 5)).expect_send(to_everyone(announced_heartbeat("a", 5, 3)));
}

/// No Go node sends it: it has a field of ours.
fn nameless_in_a_round(term: u64) -> Message {
    Message::VoteResponse(VoteResponse {
        term,
        granted: false,
        voter: None,
        round: Round::new(ROUND),
        list: None,
        life: None,
        wanted: None,
    })
}

#[test]
fn n1_an_acknowledgement_of_another_leadership_keeps_no_lease() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    for term in [5, 9] {
        let foreign = HeartbeatResponse { term, ..echo("p1", 5, sent_at) };
        a.hears(in_round(ROUND, Message::HeartbeatResponse(foreign))).expect_silence();
        assert_eq!((a.leadership(a.now), a.term()), (None, 5));
    }
    a.hears(Message::HeartbeatResponse(echo("p1", 5, sent_at))).expect_silence();
    assert!(a.leadership(a.now).is_some());
}

#[test]
fn n1_a_pre_vote_of_another_round_does_not_count_and_tells_no_term() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(in_round(ROUND, pre_vote("b", 4, 5, true))).expect_silence();
    a.hears(in_round(ROUND, pre_vote("b", 8, 5, false))).expect_silence();
    assert_eq!((a.state(), a.term()), (State::PreCandidate, 4));
}

#[test]
fn n1_who_asks_nothing_reads_no_answer() {
    let mut a = follower_of("l", "a", 3, 4);
    for message in [denial("b", 9), refusal("b", 9), pre_vote("b", 9, 5, false)] {
        a.hears(message).expect_silence();
        assert_eq!(a.term(), 4);
    }
}

#[test]
fn n1_a_go_nodes_answers_count_in_graft_mode_alone() {
    let mut graft = candidate("a", 3, 5);
    graft.hears(nameless_grant(5)).expect_send(to_everyone(announced_heartbeat("a", 5, 3)));
    graft.hears(refusal_of_a_go_node(9)).expect_save(record(9, None)).then_is_silent();

    let mut extended = extended_leader("a", 3, 5);
    extended.hears(nameless_denial(9)).expect_silence();
    assert_eq!(extended.report(), Some(&Report::NamelessVote));
    extended.hears_verbatim(refusal_of_a_go_node(9)).expect_silence();
    assert_eq!((extended.state(), extended.term()), (State::Leader, 5));
}

fn refusal_of_a_go_node(term: u64) -> Message {
    Message::HeartbeatResponse(HeartbeatResponse { priority: 0, ..plain_refusal("go", term) })
}

#[test]
fn n1_each_question_has_a_round_of_its_own_and_a_leader_keeps_its_campaigns() {
    let mut a = extended("a", 3, record(4, None));
    let asked = a.times_out().sends();
    assert_eq!(asked.round(), Round::new(2), "the first round was the question at the start");
    a.hears(in_round(2, pre_vote("b", 4, 5, true)))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(in_round(3, request("a", 5, 3))));
    let won = a.hears(in_round(3, grant("b", 5))).sends();
    assert_eq!(won.round(), Round::new(3));
    assert_eq!(a.times_out().sends().round(), Round::new(3));
    let handover = a.is_told_to_hand_over(None).sends();
    assert_eq!(handover.round(), Round::new(3));
}

#[test]
fn n1_n4_every_answer_echoes_the_round_and_names_the_life() {
    let mut a = extended("a", 3, record(4, None));
    let (round, life) = (Round::new(ROUND), Life::new(LIFE));
    let mut answers = Vec::new();
    for message in [
        in_round(ROUND, pre_vote_request("b", 4)),
        in_round(ROUND, vote_request("b", 3)),
        in_round(ROUND, heartbeat("b", 3)),
        timed_heartbeat("b", 4),
        in_round(ROUND, pre_vote_request("c", 5)),
    ] {
        let Output::Send(Outgoing { message, .. }) = a.hears(message).output else {
            panic!("it doesn't answer");
        };
        answers.push(message);
    }
    for answer in answers {
        assert_eq!(answer.round(), round, "{answer:?}");
        let told = match &answer {
            Message::PreVoteResponse(PreVoteResponse { life, .. })
            | Message::VoteResponse(VoteResponse { life, .. })
            | Message::HeartbeatResponse(HeartbeatResponse { life, .. }) => *life,
            other => panic!("{other:?} is no answer"),
        };
        assert_eq!(told, life, "{answer:?}");
    }
}

#[test]
fn n2_a_second_campaign_of_the_same_candidate_and_term_gets_no_vote() {
    let mut a = voter_with("a", 3, record(4, None));
    a.hears(in_round(7, vote_request("b", 5)))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
    a.hears(in_round(8, vote_request("b", 5))).expect_send(to("b", denial("a", 5)));
    assert_eq!(a.report(), Some(&Report::TwoCampaigns(node_id("b"))));
    assert_eq!(a.refusal(), Some(Refusal::VoteSpent));
    // The first one asks again, since the network lost the answer.
    a.hears(in_round(7, vote_request("b", 5))).expect_send(to("b", grant("a", 5)));
}

#[test]
fn n2_a_restart_forgets_the_round_and_gives_no_vote_again() {
    let mut a = voter_with("a", 3, record(5, Some("b")));
    a.hears(in_round(7, vote_request("b", 5))).expect_send(to("b", denial("a", 5)));
    assert_eq!((a.report(), a.refusal()), (None, Some(Refusal::VoteSpent)));
}

#[test]
fn n2_a_leader_of_another_round_is_a_second_leader() {
    let mut a = bound_to("l", "a", 3, 4);
    a.hears(in_round(8, timed_heartbeat("l", 4))).expect_silence();
    assert_eq!(a.report(), Some(&Report::SecondLeader(node_id("l"))));
    a.hears(timed_heartbeat("l", 4)).expect_send(to("l", acknowledgement("a", 4)));
}

#[test]
fn n3_a_leader_that_hears_another_in_its_own_name_stops_lease_first() {
    for message in [
        heartbeat("a", 5),
        heartbeat("a", 4),
        vote_request("a", 6),
        pre_vote_request("a", 6),
        handover("a", 5, None),
    ] {
        let mut a = leader_with_a_lease();
        a.hears(foreign(message)).expect_send(to_everyone(handover("a", 5, None)));
        assert_eq!(a.leadership(a.now), None);
        assert_eq!((a.state(), a.reason()), (State::Follower, Reason::DuplicateId));
        assert!(a.timeout() <= H, "it asks within a heartbeat");
        asks(&mut a);
    }
}

#[test]
fn n3_a_message_without_a_round_is_not_its_own_either() {
    let mut a = leader_with_a_lease();
    a.hears_verbatim(vote_request("a", 5)).expect_send(to_everyone(handover("a", 5, None)));
}

#[test]
fn n3_a_candidate_stops_too() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(foreign(pre_vote_request("a", 5))).expect_silence();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::DuplicateId));
}

#[test]
fn n3_own_messages_are_known_however_late_they_come() {
    let mut a = leader_with_a_lease();
    let mut own = vec![who(LIFE, LIFE)];
    for _ in 0..3 {
        own.push(a.times_out().sends());
        let sent_at = a.now;
        a.hears(Message::HeartbeatResponse(echo("p1", 5, sent_at))).expect_silence();
    }
    own.push(a.is_told_to_hand_over(None).sends());
    a.wait(T_MAX * 20);
    for message in own {
        let deadline = a.deadline();
        a.hears_verbatim(message.clone()).expect_silence();
        assert_eq!((a.reason(), a.deadline()), (Reason::HandedOver, deadline), "{message:?}");
    }
}

#[test]
fn n3_who_stands_aside_follows_and_does_nothing_else() {
    let (mut a, _) = aside();
    for message in [
        vote_request("b", 6),
        pre_vote_request("b", 6),
        handover("b", 6, Some("a")),
        heartbeat("b", 3),
        grant("b", 4),
    ] {
        a.hears(message.clone()).expect_silence();
        assert_eq!(a.term(), 4, "{message:?}");
    }
    a.hears(timed_heartbeat("l", 7)).expect_save(record(7, None)).then_is_silent();
    assert_eq!((a.leader(), a.term()), (Some(&node_id("l")), 7));
    // It is bound by that heartbeat, though it didn't acknowledge.
    a.wait(T_MIN - TICK);
    a.hears(vote_request("b", 8)).expect_silence();
    a.wait(TICK);
    a.wakes().expect_silence();
    a.hears(vote_request("b", 8)).expect_send(to("b", denial("a", 7)));
    assert_eq!(a.refusal(), Some(Refusal::Bound));
}

/// H3 is for a successor, and it could answer none.
#[test]
fn n3_who_stands_aside_and_has_handed_over_closes_at_once() {
    let mut a = leader_with_a_lease();
    a.is_told_to_hand_over(Some("b")).expect_send(to_everyone(handover("a", 5, Some("b"))));
    a.hears(foreign(heartbeat("a", 5))).expect_silence();
    a.is_told_to_close().expect_silence();
    assert_eq!(a.state(), State::Closed);
}

#[test]
fn n3_unanswered_it_takes_part_again_after_t_min_and_says_nothing() {
    let (mut a, _) = aside();
    a.wait(T_MIN - TICK);
    a.hears(vote_request("b", 5)).expect_silence();
    a.wait(TICK);
    // The election timeout is over by then, too.
    a.wakes().expect_send(to_everyone(pre_request("a", 5, 3)));
    assert_eq!(a.report(), None);
}

#[test]
fn n3_answered_it_reports_and_asks_again_for_as_long_as_it_is() {
    let (mut a, mut round) = aside();
    for roll in [0, u32::MAX, 0] {
        a.rolls(roll);
        a.hears(here(round, HIGHER)).expect_silence();
        assert_eq!(a.report(), Some(&Report::DuplicateId));
        let asked_at = a.now;
        let wait = if roll == 0 { T_MAX } else { T_MAX * 2 - TICK };
        round = asks(&mut a);
        assert_eq!(a.now.saturating_since(asked_at), T_MIN + wait);
    }
    a.wait(T_MIN);
    a.wakes().expect_send(to_everyone(pre_request("a", 5, 3)));
}

#[test]
fn n3_only_the_answer_to_the_question_in_progress_counts() {
    let (mut a, round) = aside();
    for message in
        [here(round + 1, HIGHER), here(round, LIFE), Message::Here(identity("b", round, HIGHER))]
    {
        a.hears(message).expect_silence();
        assert_eq!(a.report(), None);
    }
    a.wait(T_MIN);
    a.wakes().expect_send(to_everyone(pre_request("a", 5, 3)));
    a.hears(here(round, HIGHER)).expect_silence();
    assert_eq!((a.report(), a.state()), (None, State::PreCandidate));
}

#[test]
fn n3_in_graft_mode_it_asks_reports_and_goes_on() {
    let mut a = leader("a", 3, 4);
    a.hears(foreign(heartbeat("a", 4))).expect_silence();
    assert_eq!(a.state(), State::Leader);
    let mut round = None;
    while round.is_none() {
        if let Message::Who(question) = a.times_out().sends() {
            round = Some(question.round.number());
        }
    }
    a.hears(here(round.unwrap_or_default(), HIGHER)).expect_silence();
    assert_eq!((a.state(), a.report()), (State::Leader, Some(&Report::DuplicateId)));
}

#[test]
fn n4_a_voter_that_answers_as_two_processes_elects_nobody() {
    let mut a = candidate("a", 3, 5);
    a.hears(of_life(7, denial("b", 5))).expect_silence();
    a.hears(of_life(8, grant("b", 5))).expect_silence();
    assert_eq!(a.report(), Some(&Report::TwoLives(node_id("b"))));
    assert_eq!(a.state(), State::Candidate);
    a.hears(grant("c", 5)).expect_send(to_everyone(announced_heartbeat("a", 5, 3)));

    let mut a = pre_candidate("a", 3, 5);
    a.hears(of_life(7, pre_vote("b", 4, 5, false))).expect_silence();
    a.hears(of_life(8, pre_vote("b", 4, 5, true))).expect_silence();
    assert_eq!(a.report(), Some(&Report::TwoLives(node_id("b"))));
    assert_eq!(a.state(), State::PreCandidate);
}

#[test]
fn n4_a_new_life_counts_from_the_next_heartbeat_on() {
    let mut a = extended_leader("a", 3, 5);
    let first = a.now;
    let answer = |life, sent_at| of_life(life, Message::HeartbeatResponse(echo("p1", 5, sent_at)));
    a.hears(answer(7, first)).expect_silence();
    let until = a.leadership(a.now).map(|lease| lease.valid_until);
    a.times_out().sends();
    let second = a.now;
    a.wait(H / 4);
    a.hears(answer(8, second)).expect_silence();
    assert_eq!(a.report(), None, "one restart is nothing to tell");
    // What it promised before holds, and its answer to a heartbeat from before its start doesn't.
    assert_eq!(a.leadership(a.now).map(|lease| lease.valid_until), until);
    a.hears(answer(7, second)).expect_silence();
    assert_eq!(a.leadership(a.now).map(|lease| lease.valid_until), until);
    a.times_out().sends();
    let third = a.now;
    a.hears(answer(8, third)).expect_silence();
    assert_eq!(
        a.leadership(a.now).map(|lease| lease.valid_until),
        Some(third.saturating_add(LEASE))
    );
}

#[test]
fn n4_a_late_acknowledgement_of_an_earlier_life_is_no_change() {
    let mut a = extended_leader("a", 3, 5);
    let answer = |life, sent_at| of_life(life, Message::HeartbeatResponse(echo("p1", 5, sent_at)));
    let first = a.now;
    a.times_out().sends();
    let second = a.now;
    a.wait(H / 4);
    a.hears(answer(8, second)).expect_silence();
    let until = Some(second.saturating_add(LEASE));
    assert_eq!(a.leadership(a.now).map(|lease| lease.valid_until), until);
    // The former life's answer overtook nothing: it comes last, and makes no double of p1.
    a.hears(answer(7, first)).expect_silence();
    a.hears(answer(8, second)).expect_silence();
    assert_eq!(a.report(), None);
    a.times_out().sends();
    let third = a.now;
    a.hears(answer(8, third)).expect_silence();
    let until = Some(third.saturating_add(LEASE));
    assert_eq!(a.leadership(a.now).map(|lease| lease.valid_until), until);
}

#[test]
fn n5_a_node_that_is_woken_late_asks_before_it_votes() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    a.wait(T_MIN * 3);
    a.hears(vote_request("b", 1)).expect_send(to("b", denial("a", 0)));
    a.wakes().expect_send(to_everyone(who(LIFE, LIFE)));
    a.wait(T_MIN / 2);
    a.hears(vote_request("b", 1)).expect_send(to("b", denial("a", 0)));
    a.wait(T_MIN / 2);
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
}

#[test]
fn n4_a_voter_that_changes_its_life_twice_is_not_counted_for_a_while() {
    let mut a = extended_leader("a", 5, 5);
    let began_at = a.now;
    let mut suspected_at = None;
    while a.now.saturating_since(began_at) < T_MAX * 3 {
        let sent_at = a.now;
        for peer in ["p2", "p3"] {
            a.hears(Message::HeartbeatResponse(echo(peer, 5, sent_at))).expect_silence();
        }
        let life = if a.now.saturating_since(began_at) < H * 3 { 7 } else { 1 };
        let rounds = a.now.saturating_since(began_at).as_millis() / 100;
        let life = if life == 7 { 7 + u32::from(rounds % 2 == 1) } else { 8 };
        a.hears(of_life(life, Message::HeartbeatResponse(echo("p1", 5, sent_at)))).expect_silence();
        if a.report() == Some(&Report::TwoLives(node_id("p1"))) {
            suspected_at = Some(a.now);
        }
        a.times_out().sends();
    }
    let suspected_at = suspected_at.expect("two changes within T_max are told");
    assert_eq!(suspected_at.saturating_since(began_at), H * 2);
}

#[test]
fn n5_a_node_asks_when_it_starts_and_helps_nobody_for_t_min() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    assert_eq!(a.deadline(), START);
    a.wakes().expect_send(to_everyone(who(LIFE, LIFE)));
    a.hears(vote_request("b", 1)).expect_send(to("b", denial("a", 0)));
    assert_eq!(a.refusal(), Some(Refusal::Quarantined));
    a.hears(pre_vote_request("b", 1)).expect_send(to("b", pre_vote("a", 0, 1, false)));
    a.hears(timed_heartbeat("l", 1))
        .expect_save(record(1, None))
        .then_sends(to("l", acknowledgement_of_no_successor("a", 1)));
    a.hears(released_request("b", 2, 1))
        .expect_save(record(2, Some("b")))
        .then_sends(to("b", grant("a", 2)));
}

#[test]
fn n5_a_handover_makes_nobody_campaign_who_still_asks() {
    let mut a = Voter::start("a", &extended_config(3), record(4, None));
    a.wakes().expect_send(to_everyone(who(LIFE, LIFE)));
    a.hears(timed_heartbeat("l", 4)).expect_send(to("l", acknowledgement_of_no_successor("a", 4)));
    a.hears(handover("l", 4, Some("a"))).expect_silence();
    assert_eq!((a.state(), a.term()), (State::Follower, 4));
}

#[test]
fn n5_a_running_node_answers_a_question_and_changes_nothing() {
    for mut a in [follower_of("l", "a", 3, 4), candidate("a", 3, 4), leader_with_a_lease()] {
        let (state, deadline, lease) = (a.state(), a.deadline(), a.leadership(a.now));
        for life in [LIFE + 1, HIGHER] {
            a.hears(who(ROUND, life)).expect_send(to("a", here(ROUND, LIFE)));
        }
        a.hears(Message::Who(identity("b", ROUND, HIGHER))).expect_silence();
        assert_eq!((a.state(), a.deadline(), a.leadership(a.now)), (state, deadline, lease));
    }
}

#[test]
fn n5_a_node_whose_disk_fails_answers_all_the_same() {
    let mut a = voter("a", 3);
    a.hears(vote_request("b", 1)).expect_save(record(1, Some("b"))).fails();
    a.hears(who(ROUND, HIGHER)).expect_send(to("a", here(ROUND, LIFE)));
    a.hears(vote_request("b", 1))
        .expect_save(record(1, Some("b")))
        .then_sends(to("b", grant("a", 1)));
}

#[test]
fn n5_of_those_that_stand_aside_or_start_the_higher_life_answers() {
    let (mut aside, _) = aside();
    aside.rolls(0);
    let mut starting = Voter::start("a", &extended_config(3), VoteRecord::default());
    starting.wakes().expect_send(to_everyone(who(LIFE, LIFE)));
    for a in [&mut aside, &mut starting] {
        a.hears(who(ROUND, HIGHER)).expect_silence();
    }
    let mut higher = with_life(HIGHER);
    higher.hears(who(ROUND, LIFE)).expect_send(to("a", here(ROUND, HIGHER)));
}

/// A node of this life, which has just asked for the first time.
fn with_life(life: u32) -> Voter {
    let mut a = Voter::of_life(life, "a", &extended_config(3), VoteRecord::default());
    a.wakes().expect_send(to_everyone(who(life, life)));
    a
}

/// The higher may have come too late to hear the question: without another, neither would ever be
/// answered, and both would go on.
#[test]
fn n5_a_node_that_gives_way_at_its_start_asks_in_its_turn() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    a.wakes().expect_send(to_everyone(who(LIFE, LIFE)));
    a.hears(who(ROUND, HIGHER)).expect_silence();
    assert_eq!(a.deadline(), a.now);
    a.wakes().expect_send(to_everyone(who(LIFE + 1, LIFE)));
    a.hears(here(LIFE + 1, HIGHER)).expect_silence();
    assert_eq!(a.report(), Some(&Report::DuplicateId));
}

#[test]
fn n5_a_node_that_is_answered_at_its_start_asks_again_and_then_gives_up() {
    let mut a = Voter::start("a", &extended_config(3), VoteRecord::default());
    let mut asked = 0;
    while a.state() != State::Closed {
        let round = asks(&mut a);
        asked += 1;
        a.hears(here(round, HIGHER)).expect_silence();
        assert_eq!(a.report(), Some(&Report::DuplicateId));
    }
    assert_eq!(a.reason(), Reason::DuplicateId);
    assert_eq!(a.now.saturating_since(START), H * 2 + T_MAX);
    assert_eq!(asked, 13);
    a.hears(who(ROUND, LIFE)).expect_silence();
}

#[test]
fn n5_a_predecessor_that_closes_in_time_is_followed() {
    let mut a = Voter::start("a", &extended_config(3), record(4, None));
    for _ in 0..3 {
        let round = asks(&mut a);
        a.hears(here(round, HIGHER)).expect_silence();
    }
    asks(&mut a);
    a.hears(vote_request("b", 5)).expect_silence();
    a.wait(T_MIN);
    a.wakes().expect_send(to_everyone(in_round(LIFE + 4, pre_request("a", 5, 3))));
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn n5_a_node_whose_link_comes_up_later_asks_again() {
    let mut a = extended("a", 3, record(4, None));
    a.wait(T_MAX);
    let now = a.now;
    a.handle_link_up(now);
    asks(&mut a);
    assert_eq!(a.now, now);
    a.hears(vote_request("b", 5)).expect_send(to("b", denial("a", 4)));
    a.wait(T_MIN);
    a.wakes().expect_send(to_everyone(pre_request("a", 5, 3)));
}

#[test]
fn n6_a_declared_voter_without_a_record_does_not_start() {
    let voters = ["a", "b", "c"].map(node_id);
    for mode in [Mode::Extended, Mode::Graft] {
        let config = Config { voters: &voters, mode, ..extended_config(3) };
        let error = Voter::try_start("a", &config, VoteRecord::default()).err();
        assert_eq!(error, Some(ConfigError::RecordMissing));
        assert!(Voter::try_start("a", &config, VoteRecord::first(list(&voters))).is_ok());
        assert!(Voter::try_start("a", &config, record(1, None)).is_ok());
    }
    assert!(Voter::try_start("a", &extended_config(3), VoteRecord::default()).is_ok());
}

#[test]
fn v6_a_list_that_is_not_the_records_does_not_start() {
    let [old, new] = [["a", "b", "c"], ["a", "b", "d"]].map(|names| names.map(node_id));
    let config = |voters| Config { voters, ..extended_config(3) };
    let start = |voters, record| Voter::try_start("a", &config(voters), record).err();
    let (recorded, declared) = (ListId::declared(&old), ListId::declared(&new));
    let changed = Some(ConfigError::ListChanged { recorded, declared });
    assert_eq!(start(&new, VoteRecord::first(list(&old))), changed);
    let none: &[NodeId] = &[];
    assert_eq!(
        start(none, VoteRecord::first(list(&old))),
        Some(ConfigError::ListMissing { recorded })
    );
    // The way back to Go: its nodes can't be declared.
    let graft = Config { mode: Mode::Graft, ..config(none) };
    assert!(Voter::try_start("a", &graft, VoteRecord::first(list(&old))).is_ok());
    // Changed offline, with the record.
    let old_record = VoteRecord { bound_for: 600_000, ..VoteRecord::first(list(&old)) };
    let record = old_record.with_list(&node_id("a"), replaced_in(9, &new), 500_000);
    assert_eq!((record.term, record.voted_for.as_ref()), (9, Some(&node_id("a"))));
    // V3: the longest promise to a leader of the old list.
    assert_eq!(record.bound_for, 600_000);
    assert_eq!(
        old_record.with_list(&node_id("a"), replaced_in(9, &new), 700_000).bound_for,
        700_000
    );
    assert_eq!(start(&new, record.clone()), None);
    assert_ne!(start(&old, record), None);
}

#[test]
fn v6_a_list_that_is_declared_for_the_first_time_is_stored_before_anything_is_said() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..extended_config(3) };
    let mut a = Voter::start("a", &config, record(4, None));
    match a.wakes().output {
        Output::Save(unsaved) => {
            assert_eq!(unsaved.record().list, Some(RecordedList::Whole(list(&voters))));
            assert_eq!(unsaved.saved(START), Some(to_everyone(who(LIFE, LIFE))));
        }
        other => panic!("expected a save, got {other:?}"),
    }
}

/// An earlier version stored the id alone.
#[test]
fn r1_a_list_of_which_the_record_has_the_id_is_stored_whole() {
    let voters = ["a", "b", "c"].map(node_id);
    let config = Config { voters: &voters, ..extended_config(3) };
    let whole = replaced_in(3, &voters);
    let named = RecordedList::Id(whole.id());
    let mut a = Voter::start("a", &config, VoteRecord { list: Some(named), ..record(4, None) });
    match a.wakes().output {
        Output::Save(unsaved) => {
            assert_eq!(unsaved.record().list, Some(RecordedList::Whole(whole)));
        }
        other => panic!("expected a save, got {other:?}"),
    }
}

/// What is declared is the list that was set by hand; the node goes by the one that has come of it.
#[test]
fn r1_the_list_of_the_record_counts_and_its_root_is_compared() {
    let [declared, changed] = [["a", "b", "c"], ["a", "b", "d"]].map(|names| names.map(node_id));
    let (root, id) = (ListId::declared(&declared), ListId { term: 3, version: 2 });
    let list = VoterList::restored(id, root, changed.clone()).unwrap();
    let stored = VoteRecord { list: Some(RecordedList::Whole(list)), ..record(4, None) };
    let config = Config { voters: &declared, ..extended_config(3) };
    let mut a = Voter::start("a", &config, stored.clone());
    assert_eq!(*a.record(), stored);
    a.settles(BOUND);
    let asks =
        |name| Message::PreVoteRequest(VoteRequest { list: Some(id), ..plain_request(name, 5) });
    a.hears(asks("c")).expect_send(to("c", pre_vote("a", 4, 5, false)));
    assert_eq!(a.report(), Some(&Report::Stranger(node_id("c"))));
    a.hears(asks("d")).expect_send(to("d", pre_vote("a", 4, 5, true)));

    let start = |config: &Config<'_>| Voter::try_start("a", config, stored.clone()).err();
    let error = ConfigError::ListChanged { recorded: root, declared: ListId::declared(&changed) };
    assert_eq!(start(&Config { voters: &changed, ..extended_config(3) }), Some(error));
    // Go nodes know of no change, so there is no way back to them.
    let missing = ConfigError::ListMissing { recorded: id };
    assert_eq!(start(&extended_config(3)), Some(missing.clone()));
    assert_eq!(start(&graft_config(3)), Some(missing));
}

/// A node that has joined Go nodes keeps the id of its list, and no more.
#[test]
fn r1_a_list_is_remembered_by_a_node_that_declares_none_any_more() {
    let voters = ["a", "b", "c"].map(node_id);
    let mut a = Voter::start("a", &graft_config(3), VoteRecord::first(list(&voters)));
    let id = ListId::declared(&voters);
    match a.times_out().output {
        Output::Save(unsaved) => assert_eq!(unsaved.record().list, Some(RecordedList::Id(id))),
        other => panic!("expected a save, got {other:?}"),
    }
}

#[test]
fn v6_nodes_of_different_lists_do_not_help_each_other() {
    let voters = ["a", "p1", "p2"].map(node_id);
    let other = ListId::declared(&["a", "p1", "x"].map(node_id));
    let config = Config { voters: &voters, ..extended_config(3) };
    let mismatch = Report::ListMismatch { node: node_id("p1"), list: other };

    let mut a = declared("a", &config);
    let request = VoteRequest { list: Some(other), ..plain_request("p1", 1) };
    a.hears(Message::PreVoteRequest(request.clone()))
        .expect_send(to("p1", pre_vote("a", 0, 1, false)));
    assert_eq!(a.report(), Some(&mismatch));
    a.hears(Message::VoteRequest(request))
        .expect_save(record(1, None))
        .then_sends(to("p1", denial("a", 1)));
    assert_eq!((a.report(), a.refusal()), (Some(&mismatch), Some(Refusal::NotOneOfUs)));
    let heartbeat = Heartbeat {
        list: Some(other),
        sent_at: NonZeroU64::new(SENT_AT),
        ..plain_heartbeat("p1", 1)
    };
    a.hears(Message::Heartbeat(heartbeat)).expect_silence();
    assert_eq!((a.report(), a.leader()), (Some(&mismatch), Some(&node_id("p1"))));

    let record = VoteRecord { term: 4, bound_for: 500_000, ..VoteRecord::first(list(&voters)) };
    let mut a = Voter::start("a", &config, record);
    a.settles(BOUND);
    a.times_out().expect_send(to_everyone(pre_request("a", 5, 3)));
    let response = |message| match message {
        Message::PreVoteResponse(response) => {
            Message::PreVoteResponse(PreVoteResponse { list: Some(other), ..response })
        }
        message => message,
    };
    a.hears(response(pre_vote("p1", 4, 5, true))).expect_silence();
    assert_eq!((a.report(), a.state()), (Some(&mismatch), State::PreCandidate));
}

#[test]
fn v6_an_acknowledgement_by_another_list_keeps_no_lease() {
    let voters = ["a", "p1", "p2"].map(node_id);
    let other = ListId::declared(&["a", "p1", "x"].map(node_id));
    let config = Config { voters: &voters, ..extended_config(3) };
    let mut a = extended_leader_with("a", &config, 5);
    let sent_at = a.now;
    let answer = HeartbeatResponse { list: Some(other), ..echo("p1", 5, sent_at) };
    a.hears(Message::HeartbeatResponse(answer)).expect_silence();
    assert_eq!(a.leadership(a.now), None);
}

#[test]
fn v6_who_hears_an_older_list_stands_aside_until_it_is_heard_no_more() {
    let voters = ["a", "b", "c"].map(node_id);
    let old = ListId::declared(&["a", "b", "x"].map(node_id));
    let config = Config { voters: &voters, ..extended_config(3) };
    let record = VoteRecord::default().with_list(&node_id("a"), replaced_in(9, &voters), 0);
    let mut a = Voter::start("a", &config, record);
    a.settles(BOUND);
    // Not on this list: a cluster that has nothing to do with it any more.
    let request = |node| VoteRequest { list: Some(old), ..plain_pre_request(node, 10) };
    a.hears(Message::PreVoteRequest(request("x")))
        .expect_send(to("x", pre_vote("a", 9, 10, false)));
    a.hears(Message::PreVoteRequest(request("b"))).expect_silence();
    let mismatch = Report::ListMismatch { node: node_id("b"), list: old };
    assert_eq!(a.report(), Some(&mismatch));
    a.wait(T_MAX * 2 - TICK);
    a.hears(pre_vote_request("c", 10)).expect_silence();
    a.wakes().expect_silence();
    a.wait(TICK);
    a.hears(pre_vote_request("c", 10)).expect_send(to("c", pre_vote("a", 9, 10, true)));
}

#[test]
fn v6_lists_that_clusters_start_with_silence_nobody() {
    let voters = ["a", "p1", "p2"].map(node_id);
    let other = ListId::declared(&["a", "p1", "x"].map(node_id));
    let config = Config { voters: &voters, ..extended_config(3) };
    let mut a = extended_leader_with("a", &config, 5);
    let heartbeat = Heartbeat { list: Some(other), ..plain_heartbeat("p1", 4) };
    a.hears(Message::Heartbeat(heartbeat)).expect_send(to("p1", refusal("a", 5)));
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn v3_a_promise_is_stored_before_it_is_made() {
    let unpromised = VoteRecord { bound_for: 0, ..record(4, None) };
    let mut a = voter_with("a", 3, unpromised.clone());
    // Nothing is promised to a leader in Graft mode.
    a.hears(heartbeat("l", 4)).expect_nothing_to_save();
    match a.hears(timed_heartbeat("l", 4)).output {
        Output::Save(unsaved) => assert_eq!(*unsaved.record(), promised(T_MIN, unpromised)),
        other => panic!("expected a save, got {other:?}"),
    }
}

#[test]
fn v3_the_record_keeps_a_longer_promise_until_it_is_over() {
    let old = promised(T_MAX * 3, record(4, None));
    let mut a = Voter::start("a", &extended_config(3), old);
    a.settles(T_MAX * 3);
    let bound_for = |a: &mut Voter, term| {
        let _ = a.hears(timed_heartbeat("l", term));
        a.record().bound_for
    };
    assert_eq!(bound_for(&mut a, 5), 3_000_000);
    a.wait(TICK);
    assert_eq!(bound_for(&mut a, 6), 500_000);
}

#[test]
fn c3_votes_count_for_as_long_as_the_term_is_the_candidates_own() {
    let mut a = pre_candidate("a", 3, 5);
    a.hears(pre_vote("b", 4, 5, true))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(in_round(3, request("a", 5, 3))));
    a.repeats_for(T_MIN, &in_round(3, request("a", 5, 3)));
    a.times_out().expect_send(to_everyone(in_round(4, pre_request("a", 6, 3))));
    a.times_out().expect_send(to_everyone(in_round(4, pre_request("a", 6, 3))));
    // The voter was slow to store its vote.
    let now = a.now;
    a.hears(in_round(3, grant("b", 5)))
        .expect_send(to_everyone(extended_heartbeat("a", 5, 3, now)));
    assert_eq!(a.state(), State::Leader);
}
