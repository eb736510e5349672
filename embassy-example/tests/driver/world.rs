//! A cluster of drivers in virtual time: a poller, stations in the air, and their disks.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use embassy_time::{Duration, MockDriver, Timer};
use graft_election_core::{
    AlwaysGrant, Config, Message, NodeId, Outgoing, Recipient, Report, State, VoteRecord,
};
use graft_election_embassy::{
    Board, Driver, Link, Observer, SendError, StartError, StateChange, VoteStorage,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// The mock clock is one for the whole program, so that one test at a time may have it.
static CLOCK: Mutex<()> = Mutex::new(());

/// A driver that wants to be polled again so often without time going on is spinning.
const POLLS_MAX: usize = 1_000;

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// Virtual milliseconds since the world began.
pub(crate) fn now() -> u64 {
    embassy_time::Instant::now().as_millis()
}

/// All that happens in one test.
pub(crate) struct World {
    air: Air,
    tasks: BTreeMap<String, Task>,
    seed: u64,
    _clock: MutexGuard<'static, ()>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        Self {
            air: Air::default(),
            tasks: BTreeMap::new(),
            seed: 1,
            _clock: clock,
        }
    }

    /// A world in which the nodes `names` are all the voters, and have just started.
    pub(crate) fn with_cluster(names: &[&str]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.start(name, names.len());
        }
        world
    }

    /// Starts or restarts a node; its station and disk are those of its name.
    pub(crate) fn start(&mut self, name: &str, size: usize) {
        self.try_start(name, &Config::new("test", size)).unwrap();
    }

    pub(crate) fn try_start(
        &mut self,
        name: &str,
        config: &Config,
    ) -> Result<(), StartError<Broken>> {
        self.seed += 1;
        let station = self.station(name);
        station.borrow_mut().inbox.clear();
        let board = Board {
            link: Antenna(id(name), self.air.clone()),
            storage: Disk(station.clone()),
            rng: SmallRng::seed_from_u64(self.seed),
            observer: Ear(station.clone()),
        };
        let start = Driver::<_, _, _, _, _, 5>::start(id(name), config, AlwaysGrant, board);
        let driver = ready(start)?;
        station.borrow_mut().stop = false;
        let stop = poll_fn(move |context| station.borrow_mut().poll_stop(context));
        self.tasks
            .insert(name.to_owned(), Task::new(driver.run(stop)));
        Ok(())
    }

    /// Pulls the plug.
    pub(crate) fn kill(&mut self, name: &str) {
        self.tasks.remove(name);
        self.station(name).borrow_mut().told.clear();
    }

    /// Asks the node to close.
    pub(crate) fn stop(&mut self, name: &str) {
        let station = self.station(name);
        station.borrow_mut().stop = true;
        station.borrow_mut().wake();
    }

    pub(crate) fn has_ended(&self, name: &str) -> bool {
        !self.tasks.contains_key(name)
    }

    /// Changes the station `name`.
    pub(crate) fn with(&mut self, name: &str, change: impl FnOnce(&mut Station)) {
        change(&mut self.station(name).borrow_mut());
    }

    /// Looks at the station `name`.
    pub(crate) fn look<T>(&self, name: &str, look: impl FnOnce(&Station) -> T) -> T {
        look(&self.air.stations.borrow()[name].borrow())
    }

    /// Lets `name` hear a message as if it had come from outside.
    pub(crate) fn deliver(&mut self, name: &str, message: Message) {
        self.station(name).borrow_mut().hear(message);
    }

    /// Lets `millis` milliseconds go by.
    pub(crate) fn run_for(&mut self, millis: u64) {
        for _ in 0..millis {
            self.poll_all();
            MockDriver::get().advance(Duration::from_millis(1));
        }
        self.poll_all();
    }

    /// Lets time go by until the condition holds, at most for `millis_max`; returns how long it
    /// took.
    #[track_caller]
    pub(crate) fn run_until(&mut self, millis_max: u64, condition: impl Fn(&Self) -> bool) -> u64 {
        let start = now();
        while !condition(self) {
            assert!(now() - start < millis_max, "it takes too long");
            self.run_for(1);
        }
        now() - start
    }

    /// The running nodes whose observers were last told that they lead.
    pub(crate) fn leaders(&self) -> Vec<String> {
        self.tasks
            .keys()
            .filter(|name| self.look(name, |station| station.state() == State::Leader))
            .cloned()
            .collect()
    }

    /// The one leader, once all running nodes agree on it.
    #[track_caller]
    pub(crate) fn elect(&mut self) -> String {
        self.run_until(10_000, |world| world.agreed_leader().is_some());
        self.agreed_leader().unwrap()
    }

    fn agreed_leader(&self) -> Option<String> {
        let leaders = self.leaders();
        let [leader] = leaders.as_slice() else {
            return None;
        };
        let agree = |name: &String| self.look(name, |s| s.leader() == Some(id(leader)));
        self.tasks.keys().all(agree).then(|| leader.clone())
    }

    fn station(&self, name: &str) -> Rc<RefCell<Station>> {
        let mut stations = self.air.stations.borrow_mut();
        stations.entry(name.to_owned()).or_default().clone()
    }

    fn poll_all(&mut self) {
        for _ in 0..POLLS_MAX {
            let is_woken = |task: &Task| task.flag.0.load(Ordering::Relaxed);
            if !self.tasks.values().any(is_woken) {
                return;
            }
            self.tasks.retain(|_, task| task.poll().is_pending());
        }
        panic!("a driver spins");
    }
}

/// The end of a future that never has to wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            flag: Arc::new(Flag(AtomicBool::new(true))),
        }
    }

    fn poll(&mut self) -> Poll<()> {
        if !self.flag.0.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.flag.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// A bare waker: it marks its task.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All stations there are.
#[derive(Clone, Default)]
struct Air {
    stations: Rc<RefCell<BTreeMap<String, Rc<RefCell<Station>>>>>,
}

/// A node's surroundings: its antenna, its disk, its ear, and what is wrong with them.
#[derive(Default)]
pub(crate) struct Station {
    /// Nothing comes in or goes out, unnoticed.
    pub(crate) is_cut_off: bool,
    pub(crate) receiving: Health,
    pub(crate) sending: Health,
    pub(crate) saving: Health,
    pub(crate) loading: Health,
    /// What a save takes, in milliseconds.
    pub(crate) save_takes: u64,
    /// Time that goes by in the very moment of each receive, in milliseconds.
    pub(crate) receive_takes: u64,

    pub(crate) record: VoteRecord,
    pub(crate) saves: usize,
    pub(crate) cancelled_saves: usize,
    pub(crate) receives: usize,
    /// When what was sent.
    pub(crate) sent: Vec<(u64, Outgoing)>,
    /// What the observer was told.
    pub(crate) told: Vec<Told>,

    inbox: VecDeque<Message>,
    waker: Option<Waker>,
    stop: bool,
}

/// How a part of a station behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// It fails at once, every time.
    Broken,
    /// It never comes to an end.
    Stuck,
}

/// What an observer can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    State(StateChange),
    Leader(Option<NodeId>, u64),
    Report(Report),
    ReceiveFailed,
    SendFailed(SendError<Broken>),
    SaveFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is broken")
    }
}

impl std::error::Error for Broken {}

impl Station {
    pub(crate) fn state(&self) -> State {
        let last = self.changes().last().copied();
        last.map_or(State::Follower, |change| change.to)
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = &StateChange> {
        self.told.iter().filter_map(|told| match told {
            Told::State(change) => Some(change),
            _ => None,
        })
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let last = self.told.iter().rev().find_map(|told| match told {
            Told::Leader(leader, _) => Some(leader.clone()),
            _ => None,
        });
        last.flatten()
    }

    /// The messages sent, without their times.
    pub(crate) fn messages(&self) -> Vec<&Message> {
        self.sent
            .iter()
            .map(|(_, outgoing)| &outgoing.message)
            .collect()
    }

    pub(crate) fn count(&self, told: &Told) -> usize {
        self.told.iter().filter(|other| *other == told).count()
    }

    fn hear(&mut self, message: Message) {
        self.inbox.push_back(message);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_stop(&mut self, context: &Context) -> Poll<()> {
        self.waker = Some(context.waker().clone());
        if self.stop {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_inbox(&mut self, context: &Context) -> Poll<Message> {
        self.waker = Some(context.waker().clone());
        self.inbox.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// I6: nothing leaves a node that its disk does not bear out.
    #[track_caller]
    fn check(&self, name: &NodeId, outgoing: &Outgoing) {
        let record = &self.record;
        match (&outgoing.message, &outgoing.to) {
            (Message::VoteRequest(request), _) => {
                assert_eq!(
                    (request.term, Some(name)),
                    (record.term, record.voted_for.as_ref())
                );
            }
            (Message::VoteResponse(response), Recipient::Node(candidate)) if response.granted => {
                let vote = (record.term, record.voted_for.as_ref());
                assert_eq!((response.term, Some(candidate)), vote);
            }
            (Message::PreVoteRequest(_), _) => {}
            (message, _) => assert!(message.term() <= record.term, "I6: {message:?}"),
        }
    }
}

/// A node's link: the air carries each message at once, to whom it is meant for.
struct Antenna(NodeId, Air);

impl Antenna {
    fn station(&self) -> Rc<RefCell<Station>> {
        self.1.stations.borrow()[self.0.as_str()].clone()
    }
}

impl Link for Antenna {
    type Error = Broken;

    async fn receive(&mut self) -> Result<Message, Broken> {
        let station = self.station();
        station.borrow_mut().receives += 1;
        let health = station.borrow().receiving;
        match health {
            Health::Sound => {
                let message = poll_fn(|context| station.borrow_mut().poll_inbox(context)).await;
                let takes = station.borrow().receive_takes;
                MockDriver::get().advance(Duration::from_millis(takes));
                Ok(message)
            }
            Health::Broken => Err(Broken),
            Health::Stuck => pending().await,
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Broken> {
        let own = self.station();
        own.borrow().check(&self.0, outgoing);
        let health = own.borrow().sending;
        match health {
            Health::Sound => {}
            Health::Broken => return Err(Broken),
            Health::Stuck => return pending().await,
        }
        own.borrow_mut().sent.push((now(), outgoing.clone()));
        if own.borrow().is_cut_off {
            return Ok(());
        }
        for (name, station) in self.1.stations.borrow().iter() {
            let is_meant = match &outgoing.to {
                Recipient::Everyone => true,
                Recipient::Node(node) => node.as_str() == name,
            };
            let mut station = station.borrow_mut();
            if is_meant && !station.is_cut_off {
                station.hear(outgoing.message.clone());
            }
        }
        Ok(())
    }
}

/// A node's vote storage.
struct Disk(Rc<RefCell<Station>>);

impl VoteStorage for Disk {
    type Error = Broken;

    async fn load(&mut self) -> Result<VoteRecord, Broken> {
        match self.0.borrow().loading {
            Health::Sound => Ok(self.0.borrow().record.clone()),
            Health::Broken | Health::Stuck => Err(Broken),
        }
    }

    async fn save(&mut self, record: &VoteRecord) -> Result<(), Broken> {
        let mut cancelled = Cancelled(Some(self.0.clone()));
        self.0.borrow_mut().saves += 1;
        let takes = self.0.borrow().save_takes;
        if takes > 0 {
            Timer::after_millis(takes).await;
        }
        cancelled.0 = None;
        let health = self.0.borrow().saving;
        match health {
            Health::Sound => {
                self.0.borrow_mut().record = record.clone();
                Ok(())
            }
            Health::Broken | Health::Stuck => Err(Broken),
        }
    }
}

/// Counts a save that is dropped before its end.
struct Cancelled(Option<Rc<RefCell<Station>>>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(station) = &self.0 {
            station.borrow_mut().cancelled_saves += 1;
        }
    }
}

/// A node's observer: it writes everything down.
struct Ear(Rc<RefCell<Station>>);

impl Ear {
    fn note(&self, told: Told) {
        self.0.borrow_mut().told.push(told);
    }
}

impl Observer<Broken, Broken> for Ear {
    fn state_changed(&mut self, change: StateChange) {
        self.note(Told::State(change));
    }

    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        self.note(Told::Leader(leader.cloned(), term));
    }

    fn reported(&mut self, report: &Report) {
        self.note(Told::Report(report.clone()));
    }

    fn receive_failed(&mut self, _: Broken) {
        self.note(Told::ReceiveFailed);
    }

    fn send_failed(&mut self, error: SendError<Broken>) {
        self.note(Told::SendFailed(error));
    }

    fn save_failed(&mut self, _: Broken) {
        self.note(Told::SaveFailed);
    }
}
