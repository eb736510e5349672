//! R1 to R12: how lists of voters are learned, sealed, committed and changed.

use std::num::NonZeroU32;

use graft_election_core::{
    Change, Config, ControlAction, ControlOutcome, ControlRequest, ControlResponse, Heartbeat,
    HeartbeatResponse, Life, ListId, ListPart, ListRequest, Message, Mode, NodeId, Outgoing,
    Output, PreVoteResponse, Reason, RecordedList, Refusal, Report, State, VoteRequest, VoterList,
};

use crate::common::*;

/// The term in which the leaders of these tests lead.
const TERM: u64 = 5;

/// A change is under way.
const NOT_YET: ControlOutcome = ControlOutcome::NotCommitted;

/// A change that was asked for, and what came of it.
type Asked = (ControlOutcome, Option<Message>);

fn ids(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| node_id(name)).collect()
}

fn list_id(term: u64, version: u32) -> ListId {
    ListId { term, version }
}

/// The leader `a` of these declared voters; nobody has answered its first heartbeat.
fn leader_of(voters: &[&str]) -> Voter {
    let voters = ids(voters);
    let config = Config { voters: &voters, allows_changes: true, ..extended_config(voters.len()) };
    extended_leader_with("a", &config, TERM)
}

/// The follower `a` of these declared voters, which has just acknowledged a heartbeat of `l`.
fn follower_on(voters: &[&str], list: VoterList<7>) -> Voter {
    let voters = ids(voters);
    let config = Config { voters: &voters, ..extended_config(voters.len()) };
    let stored = VoteRecord { list: Some(RecordedList::Whole(list)), ..record(TERM, None) };
    extended_with("a", &config, stored)
}

fn present(node: &Voter) -> ListId {
    node.record().voter_list().expect("it has a list").id()
}

/// The follower acknowledges the leader's last heartbeat, by this list.
fn names(leader: &mut Voter, follower: &str, list: ListId) {
    leader.hears(acknowledged_by(leader, follower, list)).expect_silence();
}

fn acknowledged_by(leader: &Voter, follower: &str, list: ListId) -> Message {
    let echo = echo(follower, leader.term(), leader.now);
    Message::HeartbeatResponse(HeartbeatResponse { list: Some(list), ..echo })
}

/// Asks for one voter more or less. What is to be stored is.
fn ask(node: &mut Voter, adds: bool, voter: &str) -> Asked {
    let (now, voter) = (node.now, node_id(voter));
    let (outcome, output) = node.change_voters(now, &Change { adds, voter, list: None });
    let said = match output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing.message),
        Output::Save(unsaved) => unsaved.saved(now).map(|outgoing| outgoing.message),
    };
    (outcome, said)
}

/// A leader of these voters whose list is sealed, and committed by all.
fn committed_leader_of(voters: &[&str]) -> Voter {
    let mut a = leader_of(voters);
    assert_eq!(ask(&mut a, false, "a").0, ControlOutcome::WouldLose);
    let (outcome, said) = ask(&mut a, true, voters[0]);
    assert_eq!((outcome, said.and_then(|it| it.list())), (NOT_YET, Some(list_id(TERM, 1))));
    for voter in &voters[1..] {
        names(&mut a, voter, list_id(TERM, 1));
    }
    assert!(a.is_list_committed());
    a
}

#[test]
fn r5_a_leader_that_is_asked_seals_its_list_first() {
    let mut a = leader_of(&["a", "p1", "p2"]);
    let before = present(&a);
    let (outcome, said) = ask(&mut a, true, "d");
    assert_eq!(outcome, NOT_YET);
    let sealed = list_id(TERM, 1);
    assert!(
        matches!(said, Some(Message::Heartbeat(Heartbeat { list, .. })) if list == Some(sealed))
    );
    let list = a.record().voter_list().unwrap();
    assert_eq!((list.id(), list.root()), (sealed, before));
    assert_eq!(list.voters(), ids(&["a", "p1", "p2"]));
    // R6: nobody has named it.
    names(&mut a, "p1", before);
    assert!(!a.is_list_committed());
    assert_eq!(ask(&mut a, true, "d"), (NOT_YET, None));
    names(&mut a, "p1", sealed);
    assert!(a.is_list_committed());
}

#[test]
fn r5_nothing_of_a_list_is_said_before_it_is_stored() {
    let mut a = leader_of(&["a", "p1", "p2"]);
    let (now, voter) = (a.now, node_id("d"));
    let (_, output) = a.change_voters(now, &Change { adds: true, voter, list: None });
    assert!(matches!(output, Output::Save(_)), "{output:?}");
    drop(output);
    assert!(!a.is_list_committed());
    let output = a.times_out().output;
    assert!(matches!(output, Output::Save(_)), "{output:?}");
}

#[test]
fn r5_a_leader_that_hears_of_a_newer_list_seals_its_own() {
    for mode in [Mode::Extended, Mode::Graft] {
        let mut a = match mode {
            Mode::Extended => leader_of(&["a", "p1", "p2"]),
            Mode::Graft => graft_leader(),
        };
        let newer = Some(list_id(3, 2));
        let answer = HeartbeatResponse { list: newer, ..plain_refusal("p1", TERM) };
        let now = a.now;
        match a.hears(Message::HeartbeatResponse(answer)).output {
            Output::Save(unsaved) => {
                let said = unsaved.saved(now).unwrap().message;
                assert_eq!(said.list(), Some(list_id(TERM, 1)), "{mode:?}");
                assert!(matches!(said, Message::Heartbeat(_)), "{said:?}");
            }
            other => panic!("{mode:?}: expected a save, got {other:?}"),
        }
        assert_eq!(a.state(), State::Leader);
    }
}

/// A leader in Graft mode of a, p1 and p2.
fn graft_leader() -> Voter {
    let voters = ids(&["a", "p1", "p2"]);
    let config = Config { voters: &voters, ..graft_config(3) };
    let mut a = Voter::start("a", &config, record(TERM - 1, None));
    a.settles(BOUND);
    a.times_out()
        .expect_save(record(TERM, Some("a")))
        .then_sends(to_everyone(request("a", TERM, 3)));
    a.hears(grant("p1", TERM)).expect_send(to_everyone(announced_heartbeat("a", TERM, 3)));
    a
}

/// R5: a Graft leader asks for no answer, so who knows a newer list tells it all the same.
#[test]
fn r5_a_follower_tells_a_graft_leader_of_a_newer_list() {
    let list = changed(TERM, 1, &["a", "l", "b"]);
    let mut a = follower_on(&["a", "l", "b"], list);
    let said = Heartbeat {
        list: Some(ListId::declared(&ids(&["a", "l", "b"]))),
        ..plain_heartbeat("l", TERM)
    };
    let answer = HeartbeatResponse { list: Some(list_id(TERM, 1)), ..plain_refusal("a", TERM) };
    a.hears(Message::Heartbeat(said)).expect_send(to("l", Message::HeartbeatResponse(answer)));
    let same = Heartbeat { list: Some(list_id(TERM, 1)), ..plain_heartbeat("l", TERM) };
    a.hears(Message::Heartbeat(same)).expect_silence();
}

#[test]
fn r6_a_list_is_committed_once_a_quorum_has_named_it_under_a_lease() {
    let mut a = leader_of(&["a", "p1", "p2", "p3", "p4"]);
    ask(&mut a, true, "p1");
    let sealed = list_id(TERM, 1);
    names(&mut a, "p1", sealed);
    assert!(!a.is_list_committed());
    names(&mut a, "p1", sealed);
    assert!(!a.is_list_committed(), "one voter counts once");
    names(&mut a, "p2", sealed);
    assert!(a.is_list_committed());
    assert_eq!(ask(&mut a, true, "p1"), (ControlOutcome::Done, None));
    // That it knew the list before says nothing of the next one.
    let mut a = leader_of(&["a", "p1", "p2"]);
    let before = present(&a);
    names(&mut a, "p1", before);
    ask(&mut a, true, "p1");
    assert!(!a.is_list_committed());
    // Who does not say by which list it goes never counts.
    let mut a = leader_of(&["a", "p1", "p2"]);
    ask(&mut a, true, "p1");
    let nameless = echo("p1", TERM, a.now);
    a.hears(Message::HeartbeatResponse(nameless)).expect_silence();
    assert!(!a.is_list_committed());
}

#[test]
fn r7_a_voter_is_added_once_it_is_heard_and_knows_the_list() {
    let mut a = committed_leader_of(&["a", "p1", "p2"]);
    assert_eq!(ask(&mut a, true, "d"), (ControlOutcome::NotHeard, None));
    names(&mut a, "d", ListId::declared(&ids(&["a", "p1", "p2"])));
    assert_eq!(ask(&mut a, true, "d"), (ControlOutcome::NotHeard, None));
    names(&mut a, "d", list_id(TERM, 1));
    let lease = a.leadership(a.now).unwrap();
    let (outcome, said) = ask(&mut a, true, "d");
    let next = list_id(TERM, 2);
    assert_eq!((outcome, said.and_then(|it| it.list())), (NOT_YET, Some(next)));
    assert_eq!(a.record().voter_list().unwrap().voters(), ids(&["a", "p1", "p2", "d"]));
    // R8, I11
    assert!(a.leadership(a.now).unwrap().valid_until >= lease.valid_until);
    assert!(!a.is_list_committed());
    names(&mut a, "p1", next);
    assert!(!a.is_list_committed(), "three of four");
    names(&mut a, "d", next);
    // R6: the lease has to outlast the one that was given before.
    assert!(!a.is_list_committed());
    a.times_out().sends();
    for voter in ["p1", "d"] {
        names(&mut a, voter, next);
    }
    assert!(a.is_list_committed());
    assert_eq!(ask(&mut a, true, "d"), (ControlOutcome::Done, None));
}

#[test]
fn r7_the_next_list_waits_until_the_last_is_committed() {
    let mut a = committed_leader_of(&["a", "p1", "p2", "p3"]);
    ask(&mut a, false, "p3");
    assert_eq!(present(&a), list_id(TERM, 2));
    assert_eq!(ask(&mut a, false, "p2"), (NOT_YET, None));
    assert_eq!(a.record().voter_list().unwrap().voters(), ids(&["a", "p1", "p2"]));
}

#[test]
fn r7_no_change_gives_the_quorum_away() {
    let mut a = leader_of(&["a", "p1", "p2"]);
    ask(&mut a, true, "p1");
    names(&mut a, "p1", list_id(TERM, 1));
    // Without p1 there would be nobody but p2, which is silent.
    assert_eq!(ask(&mut a, false, "p1"), (ControlOutcome::WouldLose, None));
    assert_eq!(ask(&mut a, false, "p2").0, NOT_YET);
    assert_eq!(present(&a), list_id(TERM, 2));
}

#[test]
fn r7_a_change_waits_for_whoever_is_there_and_has_not_caught_up() {
    let mut a = leader_of(&["a", "p1", "p2", "p3", "p4"]);
    let before = present(&a);
    ask(&mut a, true, "p1");
    for voter in ["p1", "p2", "p3"] {
        names(&mut a, voter, list_id(TERM, 1));
    }
    names(&mut a, "p4", before);
    assert!(a.is_list_committed());
    assert_eq!(ask(&mut a, false, "p3"), (NOT_YET, None));
    // The one that is in the way may go.
    assert_eq!(ask(&mut a, false, "p4").0, NOT_YET);
    assert_eq!(present(&a), list_id(TERM, 2));
}

#[test]
fn r7_nobody_is_added_for_whom_there_is_no_room() {
    let mut a = committed_leader_of(&["a", "p1", "p2"]);
    ask(&mut a, true, "d");
    let full = |name| {
        let echo = echo(name, TERM, START);
        HeartbeatResponse { list: Some(list_id(TERM, 1)), is_full: true, ..echo }
    };
    names(&mut a, "d", list_id(TERM, 1));
    let response = HeartbeatResponse { sent_at: echo("p1", TERM, a.now).sent_at, ..full("p1") };
    a.hears(Message::HeartbeatResponse(response)).expect_silence();
    assert_eq!(ask(&mut a, true, "d"), (ControlOutcome::NoRoom, None));
    let seven = ["a", "p1", "p2", "p3", "p4", "p5", "p6"];
    let mut a = committed_leader_of(&seven);
    ask(&mut a, true, "d");
    names(&mut a, "d", list_id(TERM, 1));
    assert_eq!(ask(&mut a, true, "d"), (ControlOutcome::NoRoom, None));
}

#[test]
fn r7_a_leader_that_is_to_go_hands_over() {
    let mut a = leader_of(&["a", "p1", "p2"]);
    assert_eq!(ask(&mut a, false, "a"), (ControlOutcome::WouldLose, None));
    let list = present(&a);
    names(&mut a, "p2", list);
    let (outcome, said) = ask(&mut a, false, "a");
    assert_eq!((outcome, said), (NOT_YET, Some(handover_of(&a, "p2"))));
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::HandedOver));
}

fn handover_of(leader: &Voter, target: &str) -> Message {
    match handover("a", leader.term(), Some(target)) {
        Message::Handover(it) => {
            Message::Handover(graft_election_core::Handover { round: leader.asked_round(), ..it })
        }
        other => other,
    }
}

#[test]
fn r7_only_the_list_that_was_named_is_changed() {
    let mut a = committed_leader_of(&["a", "p1", "p2"]);
    let now = a.now;
    let mut change = |list| {
        let change = Change { adds: false, voter: node_id("p2"), list };
        a.change_voters(now, &change).0
    };
    assert_eq!(change(Some(list_id(3, 7))), ControlOutcome::OtherList);
    // The list that was sealed is still the one that was meant.
    assert_eq!(change(Some(ListId::declared(&ids(&["a", "p1", "p2"])))), NOT_YET);
    assert_eq!(present(&a), list_id(TERM, 2));
    let declared = extended_leader("a", 3, TERM)
        .change_voters(now, &Change { adds: true, voter: node_id("d"), list: None })
        .0;
    assert_eq!(declared, ControlOutcome::OtherList, "no voters are declared");
}

/// R8: p1's promise is p1's own, and not that of whoever stands in its place of the list next.
#[test]
fn r8_promises_move_with_their_voters() {
    let mut a = committed_leader_of(&["a", "p1", "p2", "p3"]);
    a.wait(LEASE / 2);
    a.times_out().sends();
    for voter in ["p1", "p2"] {
        names(&mut a, voter, list_id(TERM, 1));
    }
    // p3's promise ends, and p1's does not.
    a.wait(LEASE * 3 / 4);
    assert_eq!(ask(&mut a, false, "p1").0, NOT_YET);
    assert_eq!(a.record().voter_list().unwrap().voters(), ids(&["a", "p3", "p2"]));
    names(&mut a, "p2", list_id(TERM, 2));
    a.times_out().sends();
    names(&mut a, "p2", list_id(TERM, 2));
    assert!(a.is_list_committed());
    assert_eq!(ask(&mut a, false, "p2"), (ControlOutcome::WouldLose, None));
}

#[test]
fn l1_a_list_that_takes_too_long_to_store_ends_the_leadership() {
    let mut a = committed_leader_of(&["a", "p1", "p2"]);
    let (now, voter) = (a.now, node_id("p2"));
    let change = Change { adds: false, voter, list: None };
    let said = match a.change_voters(now, &change).1 {
        Output::Save(unsaved) => unsaved.saved(now.saturating_add(T_MAX)),
        other => panic!("{other:?}"),
    };
    let said = said.map(|outgoing| outgoing.message);
    assert!(matches!(said, Some(Message::Handover(_))), "{said:?}");
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::LostQuorum));
}

/// A list that came of that of a, l and b, or of the first three of these voters.
fn changed(term: u64, version: u32, voters: &[&str]) -> VoterList<7> {
    let root = ListId::declared(&ids(&["a", "l", "b"]));
    VoterList::restored(list_id(term, version), root, ids(voters)).unwrap()
}

fn heartbeat_by(list: ListId) -> Message {
    let Message::Heartbeat(heartbeat) = timed_heartbeat("l", TERM) else { unreachable!() };
    Message::Heartbeat(Heartbeat { list: Some(list), ..heartbeat })
}

fn part(list: &VoterList<7>, place: u32, life: Option<Life>) -> Message {
    let voters = list.voters();
    Message::ListPart(ListPart {
        sender: node_id("l"),
        voter: voters[place as usize - 1].clone(),
        place: NonZeroU32::new(place).unwrap(),
        count: NonZeroU32::new(voters.len() as u32).unwrap(),
        list: Some(list.id()),
        life,
        root: (list.root() != list.id()).then_some(list.root()),
    })
}

fn wanted(node: &mut Voter, list: ListId) -> Option<u32> {
    let now = node.now;
    let sent = match node.hears(heartbeat_by(list)).output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing),
        Output::Save(unsaved) => unsaved.saved(now),
    };
    match sent.map(|outgoing| outgoing.message) {
        Some(Message::HeartbeatResponse(response)) => response.wanted.map(NonZeroU32::get),
        Some(Message::ListRequest(request)) => Some(request.wanted.get()),
        _ => None,
    }
}

fn request_for(place: u32) -> Outgoing {
    let (node, life) = (node_id("a"), Life::new(LIFE).unwrap());
    let wanted = NonZeroU32::new(place).unwrap();
    to("l", Message::ListRequest(ListRequest { node, life, wanted }))
}

#[test]
fn r9_a_newer_list_is_fetched_voter_by_voter_and_then_stored() {
    let newer = changed(TERM, 2, &["a", "l", "d"]);
    let mut a = follower_on(
        &["a", "l", "b"],
        changed(0, ListId::declared(&ids(&["a", "l", "b"])).version, &["a", "l", "b"]),
    );
    let life = Life::new(LIFE);
    assert_eq!(wanted(&mut a, newer.id()), Some(1));
    // Neither a part that it didn't ask for, nor one for another process.
    a.hears(part(&newer, 2, life)).expect_silence();
    a.hears(part(&newer, 1, Life::new(LIFE + 1))).expect_silence();
    a.hears(part(&newer, 1, life)).expect_send(request_for(2));
    // Once more: each that is answered twice would ask twice.
    a.hears(part(&newer, 1, life)).expect_silence();
    // What was lost is asked for after the next heartbeat.
    assert_eq!(wanted(&mut a, newer.id()), Some(2));
    a.hears(part(&newer, 2, life)).expect_send(request_for(3));
    a.hears(part(&newer, 3, life)).expect_save(record(TERM, None)).then_is_silent();
    assert_eq!(a.record().voter_list(), Some(&newer));
    assert_eq!(wanted(&mut a, newer.id()), None);
    // R3: it never goes back.
    assert_eq!(wanted(&mut a, list_id(TERM, 1)), None);
    for place in 1..=3 {
        a.hears(part(&changed(TERM, 1, &["a", "l", "b"]), place, life)).expect_silence();
    }
    assert_eq!(present(&a), newer.id());
}

#[test]
fn r3_a_list_raises_the_term_to_its_own() {
    let newer = changed(TERM + 2, 1, &["a", "l", "b"]);
    let mut a = follower_on(&["a", "l", "b"], changed(TERM, 1, &["a", "l", "b"]));
    for place in 1..=2 {
        a.hears(part(&newer, place, Life::new(LIFE))).expect_send(request_for(place + 1));
    }
    a.hears(part(&newer, 3, Life::new(LIFE))).expect_save(record(TERM + 2, None)).then_is_silent();
    assert_eq!(a.term(), TERM + 2);
}

#[test]
fn r3_a_list_of_another_root_is_reported_and_not_asked_for_again() {
    let mut a = follower_on(&["a", "l", "b"], changed(TERM, 1, &["a", "l", "b"]));
    let other = replaced_in(TERM + 1, &ids(&["a", "l", "x"]));
    assert_eq!(wanted(&mut a, other.id()), Some(1));
    a.hears(part(&other, 1, Life::new(LIFE))).expect_silence();
    let mismatch = Report::ListMismatch { node: node_id("l"), list: other.id() };
    assert_eq!(a.report(), Some(&mismatch));
    assert_eq!(wanted(&mut a, other.id()), None);
}

#[test]
fn r3_who_campaigns_follows_once_it_has_learned() {
    let newer = changed(TERM, 2, &["a", "l", "d"]);
    let mut a = follower_on(&["a", "l", "b"], changed(TERM, 1, &["a", "l", "b"]));
    a.times_out().sends();
    assert_eq!(a.state(), State::PreCandidate);
    let deadline = a.deadline();
    for place in 1..=2 {
        a.hears(part(&newer, place, Life::new(LIFE))).expect_send(request_for(place + 1));
    }
    a.hears(part(&newer, 3, Life::new(LIFE))).expect_save(record(TERM, None)).then_is_silent();
    assert_eq!((a.state(), a.reason()), (State::Follower, Reason::ListLearned));
    assert_eq!(a.deadline(), deadline);
}

#[test]
fn r9_who_is_asked_tells_its_list() {
    let list = changed(TERM, 2, &["a", "l", "d"]);
    let mut a = follower_on(&["a", "l", "b"], list.clone());
    let (node, life) = (node_id("x"), Life::new(7).unwrap());
    for place in 1..=4 {
        let wanted = NonZeroU32::new(place).unwrap();
        let request = ListRequest { node: node.clone(), life, wanted };
        let heard = a.hears(Message::ListRequest(request));
        if place > 3 {
            heard.expect_silence();
            continue;
        }
        let Message::ListPart(told) = heard.sends() else { panic!("no part") };
        let Message::ListPart(expected) = part(&list, place, Some(life)) else { unreachable!() };
        assert_eq!(told, ListPart { sender: node_id("a"), ..expected });
    }
}

#[test]
fn r4_no_vote_goes_to_a_candidate_with_an_older_list() {
    let list = changed(TERM, 2, &["a", "l", "b"]);
    let mut a = follower_on(&["a", "l", "b"], list);
    let asks = |list| VoteRequest { list, ..plain_request("b", TERM + 1) };
    for older in [Some(list_id(TERM, 1)), None] {
        let asked = Message::PreVoteRequest(asks(older));
        a.hears(asked).expect_send(to("b", pre_vote("a", TERM, TERM + 1, false)));
        assert_eq!(a.refusal(), Some(Refusal::NotOneOfUs));
    }
    let asked = Message::PreVoteRequest(asks(Some(list_id(TERM, 2))));
    a.hears(asked).expect_send(to("b", pre_vote("a", TERM, TERM + 1, true)));
    // A newer one it may well have; the voter asks for it in its answer.
    let asked = Message::PreVoteRequest(asks(Some(list_id(TERM, 3))));
    let Message::PreVoteResponse(answer) = pre_vote("a", TERM, TERM + 1, true) else { return };
    let answer = PreVoteResponse { wanted: NonZeroU32::new(1), ..answer };
    a.hears(asked).expect_send(to("b", Message::PreVoteResponse(answer)));
}

#[test]
fn r10_a_strangers_term_is_not_adopted() {
    let mut a = committed_leader_of(&["a", "p1", "p2"]);
    let refused = HeartbeatResponse { list: None, ..plain_refusal("x", TERM + 9) };
    a.hears(Message::HeartbeatResponse(refused.clone())).expect_silence();
    assert_eq!((a.state(), a.term()), (State::Leader, TERM));
    // But if the leader was asked to add it, it has to be of one term with it.
    ask(&mut a, true, "x");
    a.hears(Message::HeartbeatResponse(refused)).expect_save(record(TERM + 9, None)).fails();
    assert_eq!(a.term(), TERM + 9);
}

#[test]
fn r11_who_is_no_voter_neither_campaigns_nor_votes() {
    let mut a = follower_on(&["a", "l", "b"], changed(TERM, 2, &["d", "l", "b"]));
    assert!(!a.is_voter());
    a.times_out().expect_silence();
    let request = VoteRequest { list: Some(list_id(TERM, 2)), ..plain_request("b", TERM + 1) };
    a.hears(Message::PreVoteRequest(request))
        .expect_send(to("b", pre_vote("a", TERM, TERM + 1, false)));
    assert_eq!(a.refusal(), Some(Refusal::NoVoter));
    a.hears(heartbeat_by(list_id(TERM, 2))).expect_silence();
    assert_eq!(a.leader(), Some(&node_id("l")));
}

/// A node that joins acknowledges, and asks for the list; it is a voter once it is on it.
#[test]
fn r11_who_joins_acknowledges_and_learns() {
    let mut d = Voter::start("a", &Config::joining("test"), VoteRecord::default());
    d.settles(T_MIN);
    d.times_out().expect_silence();
    let list = changed(TERM, 2, &["l", "b", "c"]);
    assert_eq!(wanted(&mut d, list.id()), Some(1));
    for place in 1..=2 {
        d.hears(part(&list, place, Life::new(LIFE))).expect_send(request_for(place + 1));
    }
    d.hears(part(&list, 3, Life::new(LIFE))).expect_save(record(TERM, None)).then_is_silent();
    d.hears(heartbeat_by(list.id())).expect_send(to("l", acknowledgement("a", TERM)));
    assert!(!d.is_voter());
    let stored = d.record().clone();
    assert!(Voter::try_start("a", &Config::joining("test"), stored).is_ok());
}

#[test]
fn r12_who_lost_its_record_does_not_join_as_if_it_were_new() {
    let mut d = Voter::start("a", &Config::joining("test"), VoteRecord::default());
    d.settles(T_MIN);
    let list = changed(TERM, 2, &["l", "b", "a"]);
    assert_eq!(wanted(&mut d, list.id()), Some(1));
    for place in 1..=2 {
        d.hears(part(&list, place, Life::new(LIFE))).expect_send(request_for(place + 1));
    }
    d.hears(part(&list, 3, Life::new(LIFE))).expect_silence();
    assert_eq!(d.report(), Some(&Report::RecordLost { list: list.id() }));
    assert_eq!(d.record().voter_list(), None);
    // It asks for that list no more, and doesn't acknowledge, as it would if it could be added.
    d.hears(heartbeat_by(list.id())).expect_silence();
}

/// A leader that is deposed runs again at once (H5), unless its disk is sick.
#[test]
fn c5_a_leader_that_failed_to_store_a_list_does_not_run_again() {
    let mut a = committed_leader_of(&["a", "p1", "p2"]);
    let (now, voter) = (a.now, node_id("p2"));
    drop(a.change_voters(now, &Change { adds: false, voter, list: None }));
    a.hears(refusal("p1", TERM + 1)).expect_save(record(TERM + 1, None)).then_is_silent();
    assert_eq!(a.state(), State::Follower);
}

fn request_to(a: &Voter, round: u32, action: ControlAction, voter: &str) -> Message {
    Message::ControlRequest(ControlRequest {
        term: a.term(),
        target: Some(node_id(voter)),
        round: operators_round(round),
        ..control(action)
    })
}

/// O4: a request that is repeated says how far the change is, and one of before changes nothing.
#[test]
fn o4_an_operator_repeats_a_change_until_it_is_done() {
    let mut a = leader_of(&["a", "p1", "p2"]);
    let remove = request_to(&a, 1, ControlAction::RemoveVoter, "p2");
    let outcome = |a: &mut Voter, request: &Message| {
        let now = a.now;
        let said = match a.hears_verbatim(request.clone()).output {
            Output::Send(outgoing) => outgoing.message,
            Output::Save(unsaved) => unsaved.saved(now).unwrap().message,
            Output::Idle => panic!("no answer"),
        };
        match said {
            Message::ControlResponse(response) => Some(response.outcome),
            Message::Heartbeat(_) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome(&mut a, &remove), None, "it seals");
    assert_eq!(outcome(&mut a, &remove), Some(NOT_YET));
    names(&mut a, "p1", list_id(TERM, 1));
    assert_eq!(outcome(&mut a, &remove), None, "it changes");
    assert_eq!(outcome(&mut a, &remove), Some(NOT_YET));
    a.times_out().sends();
    names(&mut a, "p1", list_id(TERM, 2));
    assert_eq!(outcome(&mut a, &remove), Some(ControlOutcome::Done));
    let late = request_to(&a, 2, ControlAction::AddVoter, "p2");
    assert_eq!(outcome(&mut a, &late), Some(ControlOutcome::Outdated));
    assert_eq!(a.record().voter_list().unwrap().voters(), ids(&["a", "p1"]));
}

/// O5: an operator asks for the list voter by voter.
#[test]
fn o4_nobody_changes_the_voters_of_a_node_that_does_not_allow_it() {
    let voters = ids(&["a", "p1", "p2"]);
    let config = Config { voters: &voters, ..extended_config(3) };
    let mut a = extended_leader_with("a", &config, TERM);
    let request = request_to(&a, 1, ControlAction::RemoveVoter, "p2");
    let said = a.hears_verbatim(request).sends();
    let is_refused = |it: &ControlResponse| it.outcome == ControlOutcome::Refused;
    assert!(matches!(&said, Message::ControlResponse(it) if is_refused(it)), "{said:?}");
    assert_eq!(a.record().voter_list().unwrap().voters(), voters);
}

#[test]
fn o5_a_node_tells_an_operator_its_list() {
    let list = changed(TERM, 2, &["a", "l", "d"]);
    let mut a = follower_on(&["a", "l", "b"], list.clone());
    let asks = |place| {
        let wanted = NonZeroU32::new(place);
        Message::ControlRequest(ControlRequest {
            life: None,
            wanted,
            ..control(ControlAction::Ask)
        })
    };
    let Message::ListPart(told) = a.hears_verbatim(asks(2)).sends() else { panic!("no part") };
    let Message::ListPart(expected) = part(&list, 2, None) else { unreachable!() };
    assert_eq!(told, ListPart { sender: node_id("a"), ..expected });
    let answer = a.hears_verbatim(asks(4)).sends();
    assert!(matches!(answer, Message::ControlResponse(it) if it.list == Some(list.id())));
}
