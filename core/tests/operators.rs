//! O1 to O4, L7: what operators ask of a node, what its own program does, and what a leader says.

use graft_election_core::{
    Config, ControlAction, ControlOutcome, ControlRequest, ControlResponse, Heartbeat,
    HeartbeatResponse, LeaderValue, Life, Message, Output, Reason, Round, State, ValueTooLong,
};

use crate::common::*;

/// How the node answers a question, by which it changes nothing.
#[track_caller]
fn ask(voter: &mut Voter) -> ControlResponse {
    let question = ControlRequest { life: None, ..control(ControlAction::Ask) };
    answer_to(voter, &question)
}

/// How the node answers a request, after a save if need be.
#[track_caller]
fn answer_to(voter: &mut Voter, request: &ControlRequest) -> ControlResponse {
    let now = voter.now;
    let heard = voter.hears_verbatim(Message::ControlRequest(request.clone()));
    let sent = match heard.output {
        Output::Send(outgoing) => outgoing,
        Output::Save(unsaved) => unsaved.saved(now).expect("the answer waits for the save"),
        Output::Idle => panic!("{request:?} is not answered"),
    };
    match sent.message {
        Message::ControlResponse(response) => response,
        other => panic!("expected an answer to {request:?}, got {other:?}"),
    }
}

/// The next request that the node would obey.
#[track_caller]
fn next(voter: &mut Voter, action: ControlAction) -> ControlRequest {
    let known = ask(voter);
    let number = known.last.map_or(0, Round::number) % 900_000 + 1;
    let (life, round) = (Some(known.life), operators_round(number));
    ControlRequest { last: known.last, life, round, ..control(action) }
}

fn hand_over(voter: &mut Voter, term: u64, target: Option<&str>) -> ControlRequest {
    let target = target.map(node_id);
    ControlRequest { term, target, ..next(voter, ControlAction::HandOver) }
}

#[track_caller]
fn pause(voter: &mut Voter) {
    let request = next(voter, ControlAction::Pause);
    assert_eq!(answer_to(voter, &request).outcome, ControlOutcome::Done);
}

fn acknowledged(leader: &mut Voter, response: HeartbeatResponse) {
    leader.hears(Message::HeartbeatResponse(response)).expect_silence();
}

#[test]
fn o1_a_node_tells_how_it_is() {
    let mut a = follower_of("l", "a", 3, 4);
    let answer = ask(&mut a);
    assert_eq!((answer.term, answer.node, answer.leader), (4, node_id("a"), Some(node_id("l"))));
    assert_eq!(
        (answer.outcome, answer.last, answer.is_paused),
        (ControlOutcome::Done, None, false)
    );
    assert_eq!(answer.round, operators_round(1));
}

#[test]
fn o1_what_is_asked_of_another_node_is_nothing_to_this_one() {
    let mut a = extended_leader("a", 3, 5);
    for action in [ControlAction::Ask, ControlAction::HandOver, ControlAction::Pause] {
        let request = ControlRequest { node: node_id("b"), ..next(&mut a, action) };
        a.hears_verbatim(Message::ControlRequest(request)).expect_silence();
    }
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn o1_an_operators_term_is_never_adopted_nor_does_one_free_or_bind_anybody() {
    let mut a = bound_to("l", "a", 3, 4);
    let deadline = a.deadline();
    let request = ControlRequest { term: 9, ..next(&mut a, ControlAction::HandOver) };
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::NotLeading);
    assert_eq!((a.term(), a.deadline(), a.leader()), (4, deadline, Some(&node_id("l"))));
    a.hears(pre_vote_request("b", 5)).expect_send(to("b", pre_vote("a", 4, 5, false)));
}

#[test]
fn o1_a_node_may_refuse_all_but_the_question() {
    let config = Config { obeys_operators: false, ..extended_config(3) };
    let mut a = extended_leader_with("a", &config, 5);
    for action in [ControlAction::HandOver, ControlAction::Pause, ControlAction::Resume] {
        let request = ControlRequest { term: 5, ..next(&mut a, action) };
        assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::Refused);
    }
    assert_eq!((a.state(), a.is_paused()), (State::Leader, false));
}

#[test]
fn o2_the_leader_of_the_named_term_hands_over() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    acknowledged(&mut a, echo("b", 5, sent_at));
    for term in [4, 6] {
        let request = hand_over(&mut a, term, None);
        assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::NotLeading);
        assert!(a.leadership(a.now).is_some());
    }
    let request = hand_over(&mut a, 5, None);
    a.hears_verbatim(Message::ControlRequest(request.clone())).expect_send(to_everyone(handover(
        "a",
        5,
        Some("b"),
    )));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    // O4: that was its answer; the request, repeated, brings another.
    let answer = answer_to(&mut a, &request);
    assert_eq!((answer.outcome, answer.last), (ControlOutcome::Done, Some(request.round)));
}

#[test]
fn o2_a_target_must_be_fit() {
    let mut a = extended_leader("a", 7, 5);
    a.is_at("7");
    let now = a.now;
    acknowledged(&mut a, HeartbeatResponse { position: position_of("7"), ..echo("b", 5, now) });
    acknowledged(&mut a, HeartbeatResponse { position: position_of("6"), ..echo("c", 5, now) });
    let witness = HeartbeatResponse { priority: 0, ..echo("d", 5, now) };
    acknowledged(&mut a, HeartbeatResponse { position: position_of("7"), ..witness });
    for unfit in ["c", "d", "e", "a", "nobody"] {
        let request = hand_over(&mut a, 5, Some(unfit));
        assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::UnfitTarget, "{unfit}");
        assert!(a.leadership(a.now).is_some());
    }
    let request = hand_over(&mut a, 5, Some("b"));
    a.hears_verbatim(Message::ControlRequest(request)).expect_send(to_everyone(handover(
        "a",
        5,
        Some("b"),
    )));
}

/// A leader of term 5 that `b` acknowledged once, and for as long as a promise lasts only two
/// others did, each with what `altered` makes of its echo.
fn leader_past_the_promise_of_b(altered: fn(HeartbeatResponse) -> HeartbeatResponse) -> Voter {
    let mut a = extended_leader("a", 5, 5);
    let sent_at = a.now;
    acknowledged(&mut a, echo("b", 5, sent_at));
    for _ in 0..5 {
        a.times_out().sends();
        let sent_at = a.now;
        for follower in ["p1", "p2"] {
            acknowledged(&mut a, altered(echo(follower, 5, sent_at)));
        }
    }
    a
}

#[test]
fn o2_a_target_must_be_within_its_promise() {
    let mut a = leader_past_the_promise_of_b(|echo| echo);
    let request = hand_over(&mut a, 5, Some("b"));
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::UnfitTarget);
    let request = hand_over(&mut a, 5, Some("p1"));
    a.hears_verbatim(Message::ControlRequest(request)).expect_send(to_everyone(handover(
        "a",
        5,
        Some("p1"),
    )));
}

#[test]
fn o2_a_leader_without_a_fit_follower_goes_on() {
    let mut alone = extended("a", 1, record(4, None));
    let won_at = alone.deadline();
    alone
        .times_out()
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(extended_heartbeat("a", 5, 1, won_at)));
    let mut unheard = extended_leader("a", 3, 5);
    let mut with_paused = extended_leader("a", 3, 5);
    let sent_at = with_paused.now;
    for follower in ["b", "c"] {
        let paused = HeartbeatResponse { priority: 0, ..echo(follower, 5, sent_at) };
        acknowledged(&mut with_paused, paused);
    }
    for a in [&mut alone, &mut unheard, &mut with_paused] {
        let request = hand_over(a, 5, None);
        let answer = answer_to(a, &request);
        assert_eq!((answer.outcome, answer.last), (ControlOutcome::UnfitTarget, None));
        assert_eq!(a.state(), State::Leader);
    }
    assert!(with_paused.leadership(sent_at).is_some());
}

#[test]
fn o2_a_follower_whose_promise_is_over_is_nobodys_successor() {
    let mut a = leader_past_the_promise_of_b(|echo| HeartbeatResponse { priority: 0, ..echo });
    let request = hand_over(&mut a, 5, None);
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::UnfitTarget);
    assert!(a.leadership(a.now).is_some());
}

/// Nobody tells it who is fit (rule L2).
#[test]
fn o2_in_graft_mode_a_leader_hands_over_unless_it_is_the_only_voter() {
    let mut alone = voter_with("a", 1, record(4, None));
    alone
        .times_out()
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(announced_heartbeat("a", 5, 1)));
    let request = hand_over(&mut alone, 5, None);
    assert_eq!(answer_to(&mut alone, &request).outcome, ControlOutcome::UnfitTarget);
    assert_eq!(alone.state(), State::Leader);
    let mut a = leader("a", 3, 5);
    let request = hand_over(&mut a, 5, None);
    a.hears_verbatim(Message::ControlRequest(request))
        .expect_send(to_everyone(handover("a", 5, None)));
}

#[test]
fn o3_a_leader_that_is_paused_hands_over_once_that_is_stored() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    acknowledged(&mut a, echo("b", 5, sent_at));
    let request = next(&mut a, ControlAction::Pause);
    let saving = a
        .hears_verbatim(Message::ControlRequest(request.clone()))
        .expect_save(record(5, Some("a")));
    assert!(saving.node().record().is_paused);
    // H1: the lease is gone before anything is said.
    assert_eq!(saving.node().leadership(sent_at), None);
    saving.then_sends(to_everyone(handover("a", 5, Some("b"))));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    let answer = answer_to(&mut a, &request);
    assert_eq!((answer.outcome, answer.is_paused), (ControlOutcome::Done, true));
}

#[test]
fn o3_a_pause_that_can_not_be_stored_is_not_confirmed() {
    let mut a = follower_of("l", "a", 3, 4);
    let request = next(&mut a, ControlAction::Pause);
    a.hears_verbatim(Message::ControlRequest(request.clone())).expect_save(record(4, None)).fails();
    assert!(a.is_paused(), "it keeps back all the same");
    // C4: the same save, and only then the answer.
    a.hears_verbatim(Message::ControlRequest(request)).expect_save(record(4, None)).fails();
}

#[test]
fn o3_a_paused_node_votes_and_follows_and_does_not_campaign() {
    let mut a = bound_to("l", "a", 3, 4);
    pause(&mut a);
    a.hears(timed_heartbeat("l", 4)).expect_send(to("l", paused_acknowledgement("a", 4)));
    a.wait(BOUND);
    a.times_out().expect_silence();
    assert_eq!(a.state(), State::Follower);
    a.hears(handover("l", 4, Some("a"))).expect_silence();
    a.times_out().expect_silence();
    assert_eq!((a.state(), a.term()), (State::Follower, 4));
    a.hears(vote_request("b", 5))
        .expect_save(record(5, Some("b")))
        .then_sends(to("b", grant("a", 5)));
}

#[test]
fn o3_who_campaigns_stops() {
    for mut a in [pre_candidate("a", 3, 5), candidate("a", 3, 5)] {
        let term = a.term();
        pause(&mut a);
        assert_eq!((a.state(), a.reason()), (State::Follower, Reason::KeptBack));
        a.hears(pre_vote("b", term, 5, true)).expect_silence();
        a.hears(grant("b", 5)).expect_silence();
        assert_eq!((a.state(), a.term()), (State::Follower, term));
    }
}

/// Its vote is its own, too, but it has no successor to wait for.
#[test]
fn h3_a_candidate_that_was_paused_closes_at_once() {
    let mut a = candidate("a", 3, 5);
    pause(&mut a);
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::KeptBack));
    a.is_told_to_close().expect_silence();
    assert_eq!(a.state(), State::Closed);
}

#[test]
fn h3_a_leader_that_was_paused_stays_for_its_successor() {
    let mut a = extended_leader("a", 3, 5);
    let request = next(&mut a, ControlAction::Pause);
    a.hears_verbatim(Message::ControlRequest(request))
        .expect_save(record(5, Some("a")))
        .then_sends(to_everyone(handover("a", 5, None)));
    a.is_told_to_close().expect_silence();
    assert_eq!((a.state(), a.timeout()), (State::Follower, H * 2));
}

#[test]
fn o3_the_record_keeps_a_pause_and_resume_ends_it() {
    let mut a = extended("a", 1, record(4, Some("a")));
    pause(&mut a);
    let kept = a.record().clone();
    assert!(kept.is_paused);
    let mut restarted = extended("a", 1, kept);
    restarted.times_out().expect_silence();
    assert!(ask(&mut restarted).is_paused);
    let request = next(&mut restarted, ControlAction::Resume);
    let answer = answer_to(&mut restarted, &request);
    assert_eq!((answer.outcome, answer.is_paused), (ControlOutcome::Done, false));
    assert!(!restarted.record().is_paused);
    restarted.times_out().expect_save(record(5, Some("a"))).fails();
}

#[test]
fn o3_a_term_does_not_end_a_pause() {
    let mut a = extended("a", 3, record(4, None));
    pause(&mut a);
    a.hears(vote_request("b", 9))
        .expect_save(record(9, Some("b")))
        .then_sends(to("b", grant("a", 9)));
    assert!(a.record().is_paused);
}

#[test]
fn l1_a_leader_whose_lease_is_over_stops_whatever_its_program_says() {
    for is_held_back in [false, true] {
        let mut a = extended_leader("a", 3, 5);
        a.wait(T_MIN);
        a.is_held_back(is_held_back).expect_send(to_everyone(handover("a", 5, None)));
        assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LostQuorum));
    }
}

#[test]
fn o3_its_own_program_holds_a_node_back() {
    let mut a = extended_leader("a", 3, 5);
    let sent_at = a.now;
    acknowledged(&mut a, echo("b", 5, sent_at));
    a.is_held_back(true).expect_send(to_everyone(handover("a", 5, Some("b"))));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    assert!(!a.is_paused());
    a.times_out().expect_silence();
    assert_eq!(a.state(), State::Follower);
    // Neither ends the other.
    let request = next(&mut a, ControlAction::Resume);
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::Done);
    a.times_out().expect_silence();
    assert_eq!(a.state(), State::Follower);
    pause(&mut a);
    a.is_held_back(false).expect_silence();
    a.times_out().expect_silence();
    assert_eq!(a.state(), State::Follower);
    let request = next(&mut a, ControlAction::Resume);
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::Done);
    a.times_out().expect_send(to_everyone(pre_request("a", 6, 3)));
}

#[test]
fn o4_a_late_request_undoes_no_later_one() {
    let mut a = follower_of("l", "a", 3, 4);
    let late = next(&mut a, ControlAction::Pause);
    pause(&mut a);
    let request = next(&mut a, ControlAction::Resume);
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::Done);
    let answer = answer_to(&mut a, &late);
    assert_eq!((answer.outcome, answer.last), (ControlOutcome::Outdated, Some(request.round)));
    assert!(!a.is_paused());
}

#[test]
fn o4_of_two_operators_at_once_the_second_learns_that_it_was_late() {
    let mut a = follower_of("l", "a", 3, 4);
    let first = next(&mut a, ControlAction::Pause);
    let second = ControlRequest {
        round: operators_round(77),
        action: ControlAction::Resume,
        ..first.clone()
    };
    assert_eq!(answer_to(&mut a, &first).outcome, ControlOutcome::Done);
    assert_eq!(answer_to(&mut a, &second).outcome, ControlOutcome::Outdated);
    assert_eq!(answer_to(&mut a, &first).outcome, ControlOutcome::Done);
    assert!(a.is_paused());
}

#[test]
fn o4_a_request_after_another_than_the_last_or_for_another_life_is_outdated() {
    let mut a = extended_leader("a", 3, 5);
    let request = hand_over(&mut a, 5, None);
    let life = request.life.map_or(0, Life::number);
    for request in [
        ControlRequest { last: Some(operators_round(9)), ..request.clone() },
        ControlRequest { life: None, ..request.clone() },
        ControlRequest { life: Life::new(life + 1), ..request.clone() },
    ] {
        assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::Outdated);
    }
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn o4_what_was_not_done_is_no_last_request() {
    let mut a = extended_leader("a", 3, 5);
    let request = hand_over(&mut a, 5, Some("nobody"));
    let answer = answer_to(&mut a, &request);
    assert_eq!((answer.outcome, answer.last), (ControlOutcome::UnfitTarget, None));
}

#[test]
fn n3_an_operators_round_is_no_sign_of_a_double() {
    let mut a = extended_leader("a", 3, 5);
    let request = ControlRequest { round: Round::new(3).unwrap(), ..hand_over(&mut a, 4, None) };
    assert_eq!(answer_to(&mut a, &request).outcome, ControlOutcome::NotLeading);
    assert_eq!(a.state(), State::Leader);
    // Its own answer comes back.
    let echo = Message::ControlResponse(ask(&mut a));
    a.hears_verbatim(echo).expect_silence();
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn l7_a_leader_says_its_value_and_followers_know_it() {
    let mut a = extended_leader("a", 3, 5);
    assert!(a.leader_value().is_empty());
    let value = LeaderValue::new(b"10.0.0.7:80").unwrap();
    a.says(&value);
    let Message::Heartbeat(heartbeat) = a.times_out().sends() else { panic!("it leads") };
    assert_eq!(heartbeat.value, value);

    let mut b = voter_with("b", 3, record(4, None));
    let plain = Heartbeat { value: value.clone(), ..plain_heartbeat("a", 5) };
    b.hears(Message::Heartbeat(plain)).expect_save(record(5, None)).then_is_silent();
    assert_eq!(*b.leader_value(), value);
    // It is the leader's, and not that of a candidate that this node votes for.
    b.hears(vote_request("c", 6))
        .expect_save(record(6, Some("c")))
        .then_sends(to("c", grant("b", 6)));
    assert_eq!((b.leader(), b.leader_value().is_empty()), (None, true));
}

#[test]
fn l7_a_value_is_never_cut() {
    assert_eq!(LeaderValue::new(&[1; 64]).unwrap().as_bytes(), [1; 64]);
    assert_eq!(LeaderValue::new(&[1; 65]), Err(ValueTooLong { bytes: 65 }));
}

fn paused_acknowledgement(follower: &str, term: u64) -> Message {
    match acknowledgement_of_no_successor(follower, term) {
        Message::HeartbeatResponse(response) => {
            Message::HeartbeatResponse(HeartbeatResponse { is_paused: true, ..response })
        }
        other => other,
    }
}
