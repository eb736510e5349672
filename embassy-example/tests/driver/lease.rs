//! Who may act as the leader, and until when.

use std::cell::RefCell;
use std::future::pending;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use embassy_time::Timer;
use graft_election_core::{
    Config, Heartbeat, HeartbeatResponse, LeaderValue, Message, Mode, Position, Reason, State,
};

use crate::machine::{Machine, SharedLease, now};
use crate::messages::{id, plain_heartbeat, vote_request};
use crate::world::World;

const THREE: [&str; 3] = ["a", "b", "c"];

const H: u64 = Config::HEARTBEAT_INTERVAL.as_millis() as u64;

/// How long a lease lasts at most (rule L3), not counting the clock's tick.
const LEASE_MAX: u64 = Config::ELECTION_TIMEOUT_MIN.as_millis() as u64 * 9 / 10;

/// What jobs record: their token, what happened, and when.
type Notes = Rc<RefCell<Vec<(u64, Note, u64)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    Began,
    /// The leadership was about to end.
    Ending,
    /// The job was dropped, while its lease was valid or after that.
    Dropped {
        valid: bool,
    },
}

/// Records what happens to the job that owns it.
struct Witness {
    lease: Rc<SharedLease>,
    token: u64,
    notes: Notes,
}

impl Witness {
    fn note(&self, note: Note) {
        self.notes.borrow_mut().push((self.token, note, now()));
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let leadership = self.lease.leadership();
        let valid = leadership.is_some_and(|leadership| leadership.token() == self.token);
        self.note(Note::Dropped { valid });
    }
}

impl World {
    /// Gives the node `name` a job that never ends by itself.
    fn employ_for_ever(&mut self, name: &str, notes: &Notes) {
        let notes = notes.clone();
        self.employ(name, async move |lease: Rc<SharedLease>| {
            let job = lease.run_while_leader(async |leadership| {
                let (lease, token, notes) = (lease.clone(), leadership.token(), notes.clone());
                let witness = Witness { lease, token, notes };
                witness.note(Note::Began);
                leadership.ending().await;
                witness.note(Note::Ending);
                pending::<()>().await;
            });
            job.await;
        });
    }

    /// The token of the node's lease, if it has one.
    fn token(&self, name: &str) -> Option<u64> {
        self.look(name, |machine| Some(machine.lease.leadership()?.token()))
    }

    /// Waits until one of three nodes has a lease, and returns its name.
    #[track_caller]
    fn wait_for_lease(&mut self) -> &'static str {
        self.run_until(10_000, |world| THREE.iter().any(|name| world.token(name).is_some()));
        THREE.into_iter().find(|name| self.token(name).is_some()).unwrap()
    }
}

/// When the node asked another to take over.
fn handed_over_at(machine: &Machine) -> Option<u64> {
    let is_handover = |message: &Message| matches!(message, Message::Handover(_));
    machine.sent.iter().find(|(_, sent)| is_handover(&sent.message)).map(|(at, _)| *at)
}

#[test]
fn i4_one_node_at_most_has_a_lease_whoever_is_cut_off() {
    let mut world = World::with_cluster(&THREE);
    let mut tokens = Vec::new();
    for _ in 0..10 {
        let leader = world.wait_for_lease();
        tokens.push(world.token(leader).unwrap());
        world.with(leader, |machine| machine.is_cut_off = true);
        world.run_until(3_000, |world| {
            let leases = THREE.iter().filter_map(|name| world.token(name)).collect::<Vec<_>>();
            assert!(leases.len() < 2, "I4: {leases:?}");
            world.token(leader).is_none() && leases.len() == 1
        });
        world.with(leader, |machine| machine.is_cut_off = false);
    }
    assert!(tokens.is_sorted_by(|earlier, later| earlier < later), "I5: {tokens:?}");
}

#[test]
fn l3_a_lease_is_over_at_its_end_and_renewed_before_it() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.wait_for_lease();
    let token = world.token(leader);
    for _ in 0..10 * LEASE_MAX {
        world.run_for(1);
        assert_eq!(world.token(leader), token);
    }
    world.with(leader, |machine| machine.is_cut_off = true);
    let lasted = world.run_until(LEASE_MAX + 1, |world| world.token(leader).is_none());
    assert!(lasted >= LEASE_MAX - H - 1, "{lasted}");
}

#[test]
fn a_job_is_warned_one_heartbeat_before_the_lease_ends_and_dropped_half_a_heartbeat_before() {
    let (mut world, notes) = (World::with_cluster(&THREE), Notes::default());
    for name in THREE {
        world.employ_for_ever(name, &notes);
    }
    let leader = world.wait_for_lease();
    world.run_for(5_000);
    let token = world.token(leader).unwrap();
    // While the leader is healthy, its job is not warned.
    assert!(matches!(notes.borrow()[..], [(began, Note::Began, _)] if began == token));

    world.with(leader, |machine| machine.is_cut_off = true);
    world.run_until(LEASE_MAX + 1, |world| world.token(leader).is_none());
    let ended_at = now();
    world.run_until(3_000, |_| notes.borrow().len() == 4);
    let notes = notes.borrow();
    let [_, ending, dropped, (next_token, next, _)] = notes[..] else { panic!("{notes:?}") };
    assert_eq!(ending, (token, Note::Ending, ended_at - H));
    assert_eq!(dropped, (token, Note::Dropped { valid: true }, ended_at - H / 2));
    assert!(next == Note::Began && next_token > token, "{notes:?}");
}

#[test]
fn h1_the_end_of_a_job_hands_the_leadership_over_and_it_begins_again_in_a_later_term() {
    let (mut world, runs) = (World::with_cluster(&THREE), Rc::new(RefCell::new(Vec::new())));
    for name in THREE {
        let runs = runs.clone();
        world.employ(name, async move |lease: Rc<SharedLease>| {
            loop {
                // It fails as soon as it begins.
                let job = lease.run_while_leader(async |leadership| (leadership.token(), now()));
                let (token, began_at) = job.await;
                runs.borrow_mut().push((name, token, began_at));
                assert!(lease.leadership().is_none());
            }
        });
    }
    world.run_until(20_000, |_| runs.borrow().len() >= 30);
    let runs = runs.borrow();
    assert!(runs.is_sorted_by(|(_, earlier, _), (_, later, _)| earlier < later), "I5: {runs:?}");
    // Each run has a successor on another node.
    assert!(runs.windows(2).all(|pair| pair[0].0 != pair[1].0), "{runs:?}");
    for name in THREE {
        let lost = world.look(name, |machine| {
            machine.changes().find(|change| change.from == State::Leader).copied()
        });
        assert_eq!(lost.map(|change| change.reason), Some(Reason::HandedOver));
        // Every term wears the flash.
        let own = runs.iter().filter(|(node, ..)| *node == name).map(|(.., began_at)| *began_at);
        let timeout_max = Config::ELECTION_TIMEOUT_MAX.as_millis() as u64;
        assert!(own.is_sorted_by(|earlier, later| earlier + timeout_max <= *later), "{runs:?}");
    }
}

#[test]
fn o3_a_board_that_its_program_holds_back_hands_over_at_once_and_votes_on() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.wait_for_lease();
    world.look(leader, |machine| {
        machine.lease.hold_back(true);
        assert!(machine.lease.leadership().is_none(), "from that moment on");
    });
    let took = world.run_until(3_000, |world| THREE.iter().any(|name| world.token(name).is_some()));
    assert!(took < Config::ELECTION_TIMEOUT_MIN.as_millis() as u64, "{took}: it said nothing");
    let lost = world.look(leader, |machine| machine.changes().last().copied());
    assert_eq!(lost.map(|change| change.reason), Some(Reason::HandedOver));

    // The others need its vote, and it doesn't lead in place of one that is cut off.
    let [second, third] = [1, 2]
        .map(|offset| THREE[(THREE.iter().position(|name| *name == leader).unwrap() + offset) % 3]);
    world.with(second, |machine| machine.is_cut_off = true);
    world.run_for(3_000);
    assert!(world.token(third).is_some());
    world.look(third, |machine| machine.lease.hold_back(true));
    world.run_for(5_000);
    assert!(THREE.iter().all(|name| world.token(name).is_none()));
    world.look(leader, |machine| machine.lease.hold_back(false));
    world.run_until(3_000, |world| world.token(leader).is_some());
}

#[test]
fn o3_a_board_that_is_held_back_before_it_starts_does_not_lead() {
    let has_never_led = |world: &World| {
        world.look("a", |machine| machine.changes().all(|change| change.to != State::Leader))
    };
    let mut world = World::new();
    world.machine("a").borrow().lease.hold_back(true);
    world.start("a", 1);
    world.run_for(5_000);
    assert!(has_never_led(&world));
    // The next driver of the same tasks obeys as well.
    world.stop("a");
    world.run_until(2 * H + 1, |world| world.has_ended("a"));
    world.start("a", 1);
    world.run_for(5_000);
    assert!(has_never_led(&world));
    world.look("a", |machine| machine.lease.hold_back(false));
    world.run_until(3_000, |world| world.token("a").is_some());
}

#[test]
fn l7_what_a_board_says_with_its_leadership_is_known_to_all_for_as_long_as_it_leads() {
    let value = |name: &str| LeaderValue::new(name.as_bytes()).unwrap();
    let heard = |world: &World, name: &str| world.look(name, |m| m.lease.leader_value());
    let mut world = World::with_cluster(&THREE);
    for name in THREE {
        world.look(name, |machine| machine.lease.set_value(value(name)));
    }
    let leader = world.wait_for_lease();
    world.run_for(H);
    assert!(THREE.iter().all(|name| heard(&world, name) == value(leader)));
    // It may change.
    world.look(leader, |machine| machine.lease.set_value(value("elsewhere")));
    world.run_for(0);
    assert_eq!(heard(&world, leader), value("elsewhere"));
    world.run_for(H);
    assert!(THREE.iter().all(|name| heard(&world, name) == value("elsewhere")));

    world.with(leader, |machine| machine.is_cut_off = true);
    world.run_until(3_000, |world| {
        world.token(leader).is_none() && THREE.iter().any(|name| world.token(name).is_some())
    });
    world.run_for(H);
    let next = THREE.into_iter().find(|name| world.token(name).is_some()).unwrap();
    assert_eq!(heard(&world, leader), LeaderValue::EMPTY, "it is forgotten with its leader");
    let others = THREE.iter().filter(|name| **name != leader);
    assert!(others.into_iter().all(|name| heard(&world, name) == value(next)));
}

#[test]
fn a_handover_is_not_announced_before_every_acting_task_has_stopped() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.wait_for_lease();
    world.employ(leader, async |lease: Rc<SharedLease>| {
        let slow = lease.leadership().unwrap();
        Timer::after_millis(20).await;
        lease.leadership().unwrap().hand_over();
        assert!(!slow.is_valid() && lease.leadership().is_none());
        Timer::after_millis(50).await;
        drop(slow);
    });
    let began = now();
    world.run_until(LEASE_MAX, |world| world.look(leader, |s| handed_over_at(s).is_some()));
    assert_eq!(world.look(leader, handed_over_at), Some(began + 70));
}

#[test]
fn a_task_that_never_stops_delays_a_handover_until_the_lease_would_have_ended() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.wait_for_lease();
    world.employ(leader, async |lease: Rc<SharedLease>| {
        let held = lease.leadership().unwrap();
        held.hand_over();
        pending::<()>().await;
        drop(held);
    });
    let waited = world.run_until(LEASE_MAX + 2, |world| {
        world.look(leader, |machine| handed_over_at(machine).is_some())
    });
    assert!(waited >= LEASE_MAX - H - 1, "{waited}");
    world.run_until(3_000, |world| THREE.iter().any(|name| world.token(name).is_some()));
    assert_eq!(world.token(leader), None);
}

#[test]
fn h3_a_job_is_dropped_before_its_node_says_that_it_closes() {
    let (mut world, notes) = (World::with_cluster(&THREE), Notes::default());
    let leader = world.wait_for_lease();
    world.employ_for_ever(leader, &notes);
    world.run_for(1_000);
    let token = world.token(leader).unwrap();
    world.stop(leader);
    let closed_at = now();
    world.run_until(2 * H + 1, |world| world.has_ended(leader));
    let expected = [Note::Began, Note::Dropped { valid: false }];
    assert!(notes.borrow().iter().map(|(_, note, _)| *note).eq(expected), "{notes:?}");
    assert_eq!(notes.borrow()[1], (token, Note::Dropped { valid: false }, closed_at));
    assert_eq!(world.look(leader, handed_over_at), Some(closed_at));
}

#[test]
fn t3_a_deposed_leader_has_no_lease_while_it_stores_the_higher_term() {
    let mut world = World::with_cluster(&THREE);
    let leader = world.wait_for_lease();
    world.run_for(1_000);
    world.with(leader, |machine| machine.save_takes = 50);
    let follower = THREE.into_iter().find(|name| *name != leader).unwrap();
    let round = world.look(leader, |machine| machine.messages().last().unwrap().round());
    let refusal = HeartbeatResponse {
        term: world.token(leader).unwrap() + 1,
        follower: id(follower),
        position: Position::EMPTY,
        sent_at: None,
        priority: 1,
        bound_for: None,
        round,
        list: None,
        life: None,
        is_paused: false,
        is_full: false,
        wanted: None,
    };
    let saves = world.look(leader, |machine| machine.saves);
    world.deliver(leader, Message::HeartbeatResponse(refusal));
    world.run_for(1);
    assert_eq!(world.look(leader, |machine| machine.saves), saves + 1);
    assert_eq!(world.token(leader), None);
}

#[test]
fn i5_an_old_leadership_is_not_valid_in_a_later_term() {
    let (mut world, done) = (World::new(), Rc::new(RefCell::new(false)));
    world.start("a", 1);
    let is_done = done.clone();
    world.employ("a", async move |lease: Rc<SharedLease>| {
        while lease.leadership().is_none() {
            Timer::after_millis(10).await;
        }
        let old = lease.leadership().unwrap();
        old.hand_over();
        // It leads again once the lease that is still acted on would have ended.
        while lease.leadership().is_none() {
            Timer::after_millis(10).await;
        }
        assert!(lease.leadership().unwrap().token() > old.token());
        assert!(!old.is_valid());
        *is_done.borrow_mut() = true;
    });
    world.run_until(10_000, |_| *done.borrow());
}

/// What the clock shows may be older than the truth by a tick, whatever the configuration says.
#[test]
fn v2_a_promise_lasts_one_tick_of_the_drivers_clock_longer() {
    let mut world = World::new();
    let config = Config { clock_tick: Duration::ZERO, ..Config::new("test", 3) };
    world.try_start("a", &config).unwrap();
    world.run_for(501);
    let promise = Heartbeat { sent_at: NonZeroU64::new(7), ..plain_heartbeat("l", 1) };
    world.deliver("a", Message::Heartbeat(promise));
    world.run_for(Config::ELECTION_TIMEOUT_MIN.as_millis() as u64);
    world.deliver("a", vote_request("b", 2));
    world.run_for(0);
    let answer =
        world.look("a", |machine| machine.messages().last().map(|message| (*message).clone()));
    let Some(Message::VoteResponse(answer)) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.granted, answer.term), (false, 1));
}

#[test]
fn graft_mode_has_no_lease() {
    let mut world = World::new();
    let config = Config { mode: Mode::Graft, ..Config::new("test", 1) };
    world.try_start("a", &config).unwrap();
    world.elect();
    world.run_for(2_000);
    assert_eq!(world.leaders(), ["a"]);
    assert_eq!(world.token("a"), None);
}
