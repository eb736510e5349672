//! From state to state, each with its reason, in the words that users and logs see.

use graft_election_core::{COMPATIBLE_VERSION, ListId, Reason, Refusal, Report, State, quorum};

use crate::common::*;

#[test]
fn states_have_the_words_of_the_go_original() {
    let words = [State::Follower, State::Leader, State::Candidate, State::Closed]
        .map(|state| state.to_string());
    assert_eq!(words, ["Follower", "Leader", "Candidate", "Closed"]);
    assert_eq!(format!("{:>9}|", State::Leader), "   Leader|");
    assert_eq!(State::default(), State::Follower);
    assert_eq!(COMPATIBLE_VERSION, "0.7");
}

#[test]
fn quorums_are_those_of_the_go_original() {
    let table = [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (9, 5), (12, 7)];
    for (size, expected) in table {
        assert_eq!(quorum(size), expected, "{size} voters");
    }
}

#[test]
fn a_node_starts_as_a_follower_without_a_leader() {
    let a = voter("a", 3);
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::Started));
    assert_eq!((a.term(), a.vote(), a.leader()), (0, None, None));
    assert_eq!((a.id(), a.record()), (&node_id("a"), &VoteRecord::default()));
    assert_eq!(a.report(), None);
    assert_eq!(a.deadline(), START.saturating_add(T_MAX - TICK));
}

#[test]
fn each_transition_has_its_reason() {
    let mut a = voter("a", 3);
    a.times_out().expect_save(record(1, Some("a"))).then_sends(to_everyone(request("a", 1, 3)));
    assert_eq!((a.state(), a.reason()), (State::Candidate, Reason::ElectionTimeout));

    a.hears(heartbeat("b", 1)).expect_silence();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LeaderHeard));

    a.times_out().expect_save(record(2, Some("a"))).fails();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::SaveFailed));

    a.times_out().expect_save(record(2, Some("a"))).then_is_silent();
    a.times_out().expect_save(record(3, Some("a"))).then_sends(to_everyone(request("a", 3, 3)));
    a.hears(denial("b", 4)).expect_save(record(4, None)).then_is_silent();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HigherTerm));

    a.times_out().expect_save(record(5, Some("a"))).then_sends(to_everyone(request("a", 5, 3)));
    a.hears(grant("b", 5)).expect_send(to_everyone(announced_heartbeat("a", 5, 3)));
    assert_eq!((a.state(), a.reason()), (State::Leader, Reason::WonElection));
    assert_eq!(a.leader(), Some(&node_id("a")));

    a.hears(heartbeat("b", 5)).expect_silence();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::SecondLeader));

    a.is_told_to_close().expect_silence();
    assert_eq!((a.state(), a.reason()), (State::Closed, Reason::Closed));
}

#[test]
fn handovers_have_their_reasons_too() {
    let mut a = follower_of("l", "a", 1, 1);
    a.hears(handover("l", 1, Some("a")))
        .expect_save(record(2, Some("a")))
        .then_sends(to_everyone(announced_heartbeat("a", 2, 1)));
    assert_eq!((a.state(), a.reason()), (State::Leader, Reason::WonElection));
    a.is_told_to_hand_over(None).expect_send(to_everyone(handover("a", 2, None)));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
    let mut b = follower_of("l", "b", 3, 1);
    let saving = b.hears(handover("l", 1, Some("b"))).expect_save(record(2, Some("b")));
    assert_eq!(saving.node().reason(), Reason::HandoverReceived);
    assert_eq!(saving.node().state(), State::Candidate);
    saving.fails();
}

#[test]
fn a_cluster_of_one_leads_after_its_first_timeout_and_only_after_the_save() {
    let mut a = voter("a", 1);
    let saving = a.times_out().expect_save(record(1, Some("a")));
    assert_eq!(saving.node().state(), State::Candidate);
    saving.fails();
    assert_eq!(a.state(), State::Follower);

    a.times_out().expect_save(record(1, Some("a"))).then_is_silent();
    a.times_out()
        .expect_save(record(2, Some("a")))
        .then_sends(to_everyone(announced_heartbeat("a", 2, 1)));
    assert_eq!(a.state(), State::Leader);
}

#[test]
fn reasons_read_as_parts_of_a_sentence() {
    let texts = [
        (Reason::Started, "started"),
        (Reason::ElectionTimeout, "heard from no leader for an election timeout"),
        (Reason::HandoverReceived, "was told by the leader to take over"),
        (Reason::WonPreVote, "won the pre-vote"),
        (Reason::WonElection, "won the election"),
        (Reason::GaveVote, "voted for another"),
        (Reason::LostQuorum, "lost its quorum"),
        (Reason::HigherTerm, "saw a higher term"),
        (Reason::LeaderHeard, "heard the leader of its term"),
        (Reason::SecondLeader, "heard a second leader of its term"),
        (Reason::SaveFailed, "could not store its vote"),
        (Reason::HandedOver, "handed its leadership over"),
        (Reason::PriorityHandover, "gave way to a node of higher priority"),
        (Reason::Closed, "was closed"),
    ];
    for (reason, text) in texts {
        assert_eq!(reason.to_string(), text);
    }
    assert_eq!(Reason::default(), Reason::Started);
}

#[test]
fn refusals_say_what_keeps_a_node_from_granting() {
    let texts = [
        (Refusal::StaleTerm, "its term is over"),
        (Refusal::Bound, "this node has promised its vote to its leader"),
        (Refusal::Quarantined, "this node has just started and may have promised its vote"),
        (Refusal::Leading, "this node leads"),
        (Refusal::VoteSpent, "this node has voted for another candidate in that term"),
        (
            Refusal::NotOneOfUs,
            "it is not a voter of this cluster, or is configured with other voters",
        ),
        (Refusal::Position, "its position is not acceptable"),
    ];
    for (refusal, text) in texts {
        assert_eq!(refusal.to_string(), text);
    }
}

#[test]
fn reports_say_what_is_wrong_and_with_whom() {
    let node = || node_id("n7");
    let texts = [
        (
            Report::TermOutOfRange { term: 1 << 63 },
            "dropped a message whose term 9223372036854775808 is out of range",
        ),
        (Report::DuplicateId, "another process uses this node's id; each needs an id of its own"),
        (
            Report::TwoCampaigns(node()),
            "node n7 asked for the vote of one term in two campaigns: two processes use its id",
        ),
        (
            Report::TwoLives(node()),
            "node n7 answers as two processes, or as one that keeps restarting; it does not count",
        ),
        (
            Report::ListMismatch { node: node(), list: ListId { term: 3, version: 9 } },
            "node n7 goes by another list of voters: 3.9",
        ),
        (
            Report::SlowSave { micros: 700_000 },
            "storing the vote took 700000 µs, longer than the least election timeout",
        ),
        (Report::Stranger(node()), "node n7 is not among the declared voters"),
        (Report::NamelessVote, "an answer without a name, as Go nodes send it, did not count"),
        (
            Report::SurplusVoter(node()),
            "more nodes answered than the cluster has voters; n7 did not count",
        ),
        (
            Report::SizeMismatch { node: node(), size: 5 },
            "node n7 is configured for a cluster of 5 voters",
        ),
        (Report::SecondLeader(node()), "node n7 leads in the same term"),
        (Report::TermsExhausted, "there is no higher term to campaign in"),
    ];
    for (report, text) in texts {
        assert_eq!(report.to_string(), text);
    }
}

#[test]
fn outputs_are_shown_to_programmers() {
    let mut a = follower_of("c", "a", 3, 4);
    assert_eq!(format!("{:?}", a.wakes().output), "Idle");
    let sent = format!("{:?}", a.hears(heartbeat("b", 1)).output);
    assert!(sent.starts_with("Send(Outgoing { to: Node(\"b\")"), "{sent}");
    let saved = format!("{:?}", a.hears(vote_request("b", 5)).output);
    assert_eq!(
        saved,
        "Save(VoteRecord { term: 5, voted_for: Some(\"b\"), list: None, bound_for: 500000, \
         is_paused: false, starts: 0 })"
    );
}
