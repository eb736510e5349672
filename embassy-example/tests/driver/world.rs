//! A cluster of drivers in virtual time: the poller, and what a test does to its nodes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use embassy_time::{Duration, MockDriver};
use graft_election_core::{AlwaysGrant, Config, Message, NodeId, State};
use graft_election_embassy::{Board, Driver, StartError, Transport, VoteStore};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::machine::{
    Broken, Disk, Machine, Network, NetworkTransport, POLLS_MAX, Recorder, SharedLease, VOTERS, now,
};
use crate::messages::id;

/// The program has only one mock clock, so only one test at a time may use it.
static CLOCK: Mutex<()> = Mutex::new(());

/// Everything that exists in one test.
pub(crate) struct World {
    pub(crate) network: Network,
    /// The drivers, by their nodes' names.
    tasks: BTreeMap<String, Task>,
    /// The tasks that act on a node's lease, by the nodes' names.
    jobs: BTreeMap<String, Task>,
    /// The random source of the node that starts next.
    seed: u64,
    /// All nodes have the same random source.
    pub(crate) has_equal_seeds: bool,
    _clock: MutexGuard<'static, ()>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        let (tasks, jobs) = (BTreeMap::new(), BTreeMap::new());
        let network = Network::default();
        Self { network, tasks, jobs, seed: 1, has_equal_seeds: false, _clock: clock }
    }

    /// Starts the node `name`, and waits until it may help to elect others (rule N5).
    pub(crate) fn start_and_settle(&mut self, name: &str, size: usize) {
        self.start(name, size);
        self.run_for(501);
        assert_eq!(self.look(name, |machine| machine.sent.len()), 0, "it has begun to campaign");
    }

    /// A world in which the nodes `names` are all the voters, and have just started.
    pub(crate) fn with_cluster(names: &[&str]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.start(name, names.len());
        }
        world
    }

    /// Starts or restarts the node `name`, on the machine of that name.
    pub(crate) fn start(&mut self, name: &str, size: usize) {
        self.try_start(name, &Config::new("test", size)).unwrap();
    }

    pub(crate) fn try_start(
        &mut self,
        name: &str,
        config: &Config,
    ) -> Result<(), StartError<Broken>> {
        let machine = self.machine(name);
        let transport = NetworkTransport(id(name), self.network.clone());
        let board = self.board(name, transport, Disk(machine.clone()));
        let start = Driver::<_, _, _, _, _, VOTERS>::start(id(name), config, AlwaysGrant, board);
        let mut driver = ready(start)?;
        let lease = machine.borrow().lease.clone();
        let stop = poll_fn(move |context| machine.borrow_mut().poll_stop(context));
        let run = async move { driver.run(&lease, stop).await.unwrap() };
        self.tasks.insert(name.to_owned(), Task::new(run));
        Ok(())
    }

    /// Starts a task that acts on the lease of the node `name`.
    pub(crate) fn employ<F>(&mut self, name: &str, job: impl FnOnce(Rc<SharedLease>) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let lease = self.machine(name).borrow().lease.clone();
        self.jobs.insert(name.to_owned(), Task::new(job(lease)));
    }

    /// Switches on a node that may not get as far as starting. It has this transport and this vote
    /// store, and the rest from its machine.
    pub(crate) fn boot<T, V>(&mut self, name: &str, config: Config<'static>, transport: T, votes: V)
    where
        T: Transport + 'static,
        V: VoteStore<VOTERS> + 'static,
    {
        self.boot_as(id(name), name, config, transport, votes);
    }

    /// Likewise, and the node has an id of its own, which its machine's name may not be.
    pub(crate) fn boot_as<T, V>(
        &mut self,
        id: NodeId,
        name: &str,
        config: Config<'static>,
        transport: T,
        votes: V,
    ) where
        T: Transport + 'static,
        V: VoteStore<VOTERS> + 'static,
    {
        let board = self.board(name, transport, votes);
        let machine = self.machine(name);
        let lease = machine.borrow().lease.clone();
        self.tasks.insert(
            name.to_owned(),
            Task::new(async move {
                let start = Driver::<_, _, _, _, _, VOTERS>::start(id, &config, AlwaysGrant, board);
                if let Ok(mut driver) = start.await {
                    let ended = driver.run(&lease, pending()).await;
                    machine.borrow_mut().gave_up = ended.err();
                }
            }),
        );
    }

    fn board<T, V>(
        &mut self,
        name: &str,
        transport: T,
        votes: V,
    ) -> Board<T, V, SmallRng, Recorder> {
        self.seed += u64::from(!self.has_equal_seeds);
        let machine = self.machine(name);
        // A driver that has ended in order leaves its lease to the next one.
        if self.tasks.contains_key(name) {
            machine.borrow_mut().lease = Rc::default();
        }
        machine.borrow_mut().inbox.clear();
        machine.borrow_mut().stop = false;
        let rng = SmallRng::seed_from_u64(self.seed);
        Board { transport, votes, rng, observer: Recorder(machine) }
    }

    /// Pulls the plug.
    pub(crate) fn kill(&mut self, name: &str) {
        self.tasks.remove(name);
        self.jobs.remove(name);
        self.machine(name).borrow_mut().observed.clear();
        self.machine(name).borrow_mut().lease = Rc::default();
    }

    /// Asks the node to close.
    pub(crate) fn stop(&mut self, name: &str) {
        let machine = self.machine(name);
        machine.borrow_mut().stop = true;
        machine.borrow_mut().wake();
    }

    pub(crate) fn has_ended(&self, name: &str) -> bool {
        !self.tasks.contains_key(name)
    }

    /// Changes the machine `name`.
    pub(crate) fn with(&mut self, name: &str, change: impl FnOnce(&mut Machine)) {
        change(&mut self.machine(name).borrow_mut());
    }

    /// Looks at the machine `name`.
    pub(crate) fn look<T>(&self, name: &str, look: impl FnOnce(&Machine) -> T) -> T {
        look(&self.network.machines.borrow()[name].borrow())
    }

    /// Delivers a message to `name` as if it came from outside the cluster.
    pub(crate) fn deliver(&mut self, name: &str, message: Message) {
        self.machine(name).borrow_mut().hear(message);
    }

    /// Lets `millis` milliseconds go by.
    pub(crate) fn run_for(&mut self, millis: u64) {
        for _ in 0..millis {
            self.network.deliver_late();
            self.poll_all();
            MockDriver::get().advance(Duration::from_millis(1));
        }
        self.poll_all();
    }

    /// Lets time go by until the condition holds, for at most `millis_max` milliseconds; returns
    /// how many it took.
    #[track_caller]
    pub(crate) fn run_until(&mut self, millis_max: u64, condition: impl Fn(&Self) -> bool) -> u64 {
        let start = now();
        while !condition(self) {
            assert!(now() - start < millis_max, "it takes too long");
            self.run_for(1);
        }
        now() - start
    }

    /// The running nodes whose observers last noticed that they lead.
    pub(crate) fn leaders(&self) -> Vec<String> {
        self.tasks
            .keys()
            .filter(|name| self.look(name, |machine| machine.state() == State::Leader))
            .cloned()
            .collect()
    }

    /// Waits until all running nodes agree on one leader, and returns it.
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

    pub(crate) fn machine(&self, name: &str) -> Rc<RefCell<Machine>> {
        let mut machines = self.network.machines.borrow_mut();
        machines.entry(name.to_owned()).or_default().clone()
    }

    fn poll_all(&mut self) {
        for _ in 0..POLLS_MAX {
            let is_woken = |task: &Task| task.flag.0.load(Ordering::Relaxed);
            if !self.tasks.values().chain(self.jobs.values()).any(is_woken) {
                return;
            }
            self.tasks.retain(|_, task| task.poll().is_pending());
            self.jobs.retain(|_, task| task.poll().is_pending());
        }
        panic!("a driver spins");
    }
}

/// The result of a future that never has to wait.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
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
        Self { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))) }
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
