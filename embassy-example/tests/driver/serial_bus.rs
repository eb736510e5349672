//! Nodes on one serial bus, on which each hears everything, itself included.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use embassy_time::{Duration, MockDriver};
use embedded_io_async::{ErrorType, Read, Write};
use graft_election_core::{Config, Message, NodeId, Outgoing, Reason, Recipient, Report, State};
use graft_election_embassy::{DuplicateId, SendError, SerialTransport};
use graft_election_proto::frame::{ClusterTag, FRAME_MAX, FrameErrors, encode_frame};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::machine::{Disk, Observed, now};
use crate::messages::{heartbeat, id};
use crate::world::World;

const THREE: [&str; 3] = ["a", "b", "c"];

const CLUSTER: &str = "test";

#[test]
fn i1_three_nodes_on_a_bus_elect_one_leader_and_keep_it() {
    let (mut world, bus) = cluster();
    let leader = world.elect();
    world.run_for(10_000);
    assert_eq!(world.leaders(), [leader]);
    assert_eq!(bus.errors(), [FrameErrors::NONE; 3]);
}

#[test]
fn a1_a_leader_on_a_bus_that_is_killed_is_followed_by_another() {
    let (mut world, bus) = cluster();
    let first = world.elect();
    world.kill(&first);
    assert_ne!(world.elect(), first);
    bus.start(&mut world, &first, 3);
    world.elect();
}

#[test]
fn v7_noise_on_the_bus_is_counted_and_deposes_nobody() {
    let (mut world, bus) = cluster();
    let leader = world.elect();
    let changes = world.look(&leader, |machine| machine.changes().count());
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..6_000 {
        let mut noise = vec![0; rng.random_range(0..40)];
        rng.fill_bytes(&mut noise);
        bus.carry(&noise);
        world.run_for(10);
        assert_eq!(world.leaders(), std::slice::from_ref(&leader));
    }
    assert_eq!(world.look(&leader, |machine| machine.changes().count()), changes);
    assert!(bus.errors().iter().all(|errors| errors.total() > 1_000));
}

#[test]
fn v7_a_talker_that_never_stops_keeps_no_node_from_its_timer() {
    let (mut world, bus) = (World::new(), Bus::default());
    bus.start(&mut world, "a", 1);
    world.elect();
    bus.heard.borrow_mut().clear();
    // Each read takes a millisecond, and never has to wait.
    bus.endless_reads.set(900);
    bus.carry(&[1]);
    let start = now();
    world.run_for(0);
    assert_eq!(now() - start, 900);
    let heartbeats = bus.heard.borrow().len();
    assert!((9..=10).contains(&heartbeats), "one each 100 ms, not {heartbeats}");
    assert_eq!(bus.errors(), [FrameErrors { too_long: 1, ..FrameErrors::NONE }]);
}

#[test]
fn what_is_addressed_to_another_node_is_skipped() {
    let (mut world, bus) = cluster();
    let leader = world.elect();
    let observed = world.look(&leader, |machine| machine.observed.len());
    let Message::Heartbeat(mut message) = heartbeat("z", 50) else { unreachable!() };
    message.size = core::num::NonZeroU32::new(7);
    for to in [Recipient::Node(id("z")), Recipient::Node(id("other"))] {
        bus.frame("z", to, Message::Heartbeat(message.clone()));
    }
    world.run_for(500);
    assert_eq!(world.leaders(), std::slice::from_ref(&leader));
    assert_eq!(world.look(&leader, |machine| machine.observed.len()), observed);
    bus.frame("z", Recipient::Node(id(&leader)), Message::Heartbeat(message));
    world.run_for(1);
    let report = Observed::Report(Report::SizeMismatch { node: id("z"), size: 7 });
    assert_eq!(world.look(&leader, |machine| machine.count(&report)), 1);
}

#[test]
fn n3_a_leader_that_hears_a_message_in_its_name_asks_and_goes_on_if_nobody_answers() {
    let (mut world, bus) = cluster();
    let leader = world.elect();
    bus.frame(&leader, Recipient::Everyone, heartbeat(&leader, 50));
    world.run_for(1);
    assert_eq!(world.leaders(), [""; 0]);
    let last = world.look(&leader, |machine| machine.changes().last().copied().unwrap());
    assert_eq!((last.to, last.reason), (State::Follower, Reason::DuplicateId));
    // Nobody answered: it was an echo, or the work of a stranger.
    world.elect();
    let report = Observed::Report(Report::DuplicateId);
    assert_eq!(world.look(&leader, |machine| machine.count(&report)), 0);
}

#[test]
fn n5_a_board_with_the_id_of_another_is_told_so_and_gives_up() {
    let (mut world, bus) = cluster();
    let leader = world.elect();
    bus.start_as(&mut world, "copy", id(&leader), Config::new(CLUSTER, 3));
    world.run_until(3_000, |world| world.has_ended("copy"));
    world.look("copy", |machine| {
        assert!(machine.count(&Observed::Report(Report::DuplicateId)) > 0);
        assert_eq!(machine.gave_up, Some(DuplicateId(id(&leader))));
        assert_eq!(machine.state(), State::Closed);
    });
    let error = DuplicateId(id("pump-1")).to_string();
    assert_eq!(error, "another board uses the id pump-1; each needs an id of its own");
    // The first has not even noticed.
    assert_eq!(world.leaders(), [leader]);
}

#[test]
fn n5_of_two_boards_with_one_id_that_start_together_one_takes_part() {
    let (mut world, bus) = (World::new(), Bus::default());
    for name in ["a", "copy of a"] {
        bus.start_as(&mut world, name, id("a"), Config::new(CLUSTER, 2));
    }
    bus.start(&mut world, "b", 2);
    let ended = |world: &World, name| world.look(name, |machine| machine.gave_up.is_some());
    world.run_until(3_000, |world| ended(world, "a") || ended(world, "copy of a"));
    world.elect();
    world.run_for(10_000);
    assert_ne!(ended(&world, "a"), ended(&world, "copy of a"));
    assert_eq!(world.leaders().len(), 1);
}

/// They would elect each other's candidates and depose each other's leaders otherwise.
#[test]
fn n1_two_clusters_of_the_same_ids_share_a_bus_and_know_nothing_of_each_other() {
    let (mut world, bus) = (World::new(), Bus::default());
    for (cluster, copy) in [("lamps", ""), ("doors", "'")] {
        for name in THREE {
            let config = Config::new(cluster, 3);
            bus.start_as(&mut world, &format!("{name}{copy}"), id(name), config);
        }
    }
    let of = |world: &World, copy: bool| -> Vec<String> {
        world.leaders().into_iter().filter(|name| name.ends_with('\'') == copy).collect()
    };
    world.run_until(5_000, |world| [false, true].iter().all(|copy| of(world, *copy).len() == 1));
    let leaders = world.leaders();
    world.run_for(10_000);
    assert_eq!(world.leaders(), leaders);
    for errors in bus.errors() {
        assert!(errors.other_cluster > 100);
        assert_eq!(errors.total(), 0);
    }
    for name in THREE.iter().flat_map(|name| [name.to_string(), format!("{name}'")]) {
        let is_report = |observed: &&Observed| matches!(observed, Observed::Report(_));
        assert_eq!(
            world.look(&name, |machine| machine.observed.iter().find(is_report).cloned()),
            None
        );
    }
}

#[test]
fn a_send_that_was_given_up_spoils_only_its_own_frame() {
    let (mut world, bus) = cluster();
    let leader = world.elect();
    bus.stuck_after.set(Some(9));
    world.run_for(300);
    bus.stuck_after.set(None);
    let timed_out = Observed::SendFailed(SendError::TimedOut);
    assert!(world.look(&leader, |machine| machine.count(&timed_out)) > 0);
    world.run_for(5_000);
    assert_eq!(world.leaders(), [leader]);
    let cut_off: u32 = bus.errors().iter().map(|errors| errors.cut_off).sum();
    assert!(cut_off > 0);
    let others = bus.errors().iter().map(|errors| errors.total()).sum::<u32>() - cut_off;
    assert_eq!(others, 0);
}

fn cluster() -> (World, Bus) {
    let (mut world, bus) = (World::new(), Bus::default());
    for name in THREE {
        bus.start(&mut world, name, 3);
    }
    (world, bus)
}

/// A line that nodes are connected to.
#[derive(Clone, Default)]
struct Bus {
    taps: Rc<RefCell<Vec<Tapped>>>,
    /// For this many reads there is always something to read, and never a frame.
    endless_reads: Rc<Cell<usize>>,
    /// Writes never end once this many bytes of a frame have been written.
    stuck_after: Rc<Cell<Option<usize>>>,
    /// The frames that were flushed whole.
    heard: Rc<RefCell<Vec<Vec<u8>>>>,
}

struct Tapped {
    name: String,
    unread: VecDeque<u8>,
    waker: Waker,
    errors: &'static Cell<FrameErrors>,
}

impl Bus {
    fn start(&self, world: &mut World, name: &str, size: usize) {
        self.start_as(world, name, id(name), Config::new(CLUSTER, size));
    }

    /// Starts a node on the machine `name`, which may not be its id.
    fn start_as(&self, world: &mut World, name: &str, id: NodeId, config: Config<'static>) {
        // As on a board, where nothing is ever freed.
        let errors: &Cell<FrameErrors> = Box::leak(Box::default());
        let (unread, waker) = (VecDeque::new(), Waker::noop().clone());
        let mut taps = self.taps.borrow_mut();
        taps.retain(|tap| tap.name != name);
        taps.push(Tapped { name: name.to_owned(), unread, waker, errors });
        drop(taps);
        let tap = Tap { bus: self.clone(), name: name.to_owned(), written: Vec::new() };
        let cluster = ClusterTag::of(config.cluster);
        let transport = SerialTransport::new(cluster, id.clone(), tap.clone(), tap, errors);
        let disk = Disk(world.machine(name));
        world.boot_as(id, name, config, transport, disk);
    }

    fn carry(&self, bytes: &[u8]) {
        for tap in self.taps.borrow_mut().iter_mut() {
            tap.unread.extend(bytes);
            tap.waker.wake_by_ref();
        }
    }

    fn frame(&self, sender: &str, to: Recipient, message: Message) {
        let mut buffer = [0; FRAME_MAX];
        let cluster = ClusterTag::of(CLUSTER);
        self.carry(
            encode_frame(cluster, &id(sender), &Outgoing { to, message }, &mut buffer).unwrap(),
        );
    }

    fn errors(&self) -> Vec<FrameErrors> {
        self.taps.borrow().iter().map(|tap| tap.errors.get()).collect()
    }
}

/// One half of a node's access to the bus.
#[derive(Clone)]
struct Tap {
    bus: Bus,
    name: String,
    /// What was written since the last flush.
    written: Vec<u8>,
}

impl ErrorType for Tap {
    type Error = Infallible;
}

impl Read for Tap {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            let mut taps = self.bus.taps.borrow_mut();
            let tap = taps.iter_mut().find(|tap| tap.name == self.name).unwrap();
            if let Some(left) = self.bus.endless_reads.get().checked_sub(1) {
                self.bus.endless_reads.set(left);
                MockDriver::get().advance(Duration::from_millis(1));
                buffer.fill(1);
                return Poll::Ready(Ok(buffer.len()));
            }
            tap.waker = context.waker().clone();
            let len = tap.unread.len().min(buffer.len()).min(5);
            buffer.iter_mut().zip(tap.unread.drain(..len)).for_each(|(to, byte)| *to = byte);
            if len > 0 { Poll::Ready(Ok(len)) } else { Poll::Pending }
        })
        .await
    }
}

impl Write for Tap {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, Infallible> {
        if self.bus.stuck_after.get().is_some_and(|after| self.written.len() >= after) {
            self.written.clear();
            std::future::pending::<()>().await;
        }
        let len = buffer.len().min(3);
        self.written.extend(&buffer[..len]);
        self.bus.carry(&buffer[..len]);
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        self.bus.heard.borrow_mut().push(std::mem::take(&mut self.written));
        Ok(())
    }
}
