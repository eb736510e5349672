//! What surrounds one node: its transport, its disk, its observer, and what is wrong with them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_time::{Duration, MockDriver, Timer};
use graft_election_core::{Message, NodeId, Outgoing, Recipient, Report, State, VoteRecord};
use graft_election_embassy::{
    DuplicateId, Lease, Observer, SendError, StateChange, Transport, VoteStore,
};

/// How many voters there is room for.
pub(crate) const VOTERS: usize = 5;

/// A driver that is polled more often than this before time goes on, or that asks a broken
/// transport more often than this within one test, is spinning.
pub(crate) const POLLS_MAX: usize = 1_000;

/// A lease that the tasks of one executor share.
pub(crate) type SharedLease = Lease<NoopRawMutex>;

/// Virtual milliseconds since the world began.
pub(crate) fn now() -> u64 {
    embassy_time::Instant::now().as_millis()
}

/// What connects all machines.
#[derive(Clone, Default)]
pub(crate) struct Network {
    pub(crate) machines: Rc<RefCell<BTreeMap<String, Rc<RefCell<Machine>>>>>,
    /// How many milliseconds each message takes.
    pub(crate) delay: Rc<Cell<u64>>,
    /// Messages that are on their way, with their receivers and when they arrive.
    late: Rc<RefCell<VecDeque<Late>>>,
}

/// When a message arrives, and where.
type Late = (u64, Rc<RefCell<Machine>>, Message);

impl Network {
    fn carry(&self, to: &Rc<RefCell<Machine>>, message: Message) {
        match self.delay.get() {
            0 => to.borrow_mut().hear(message),
            delay => self.late.borrow_mut().push_back((now() + delay, Rc::clone(to), message)),
        }
    }

    /// Delivers what has been on its way for long enough.
    pub(crate) fn deliver_late(&self) {
        let mut late = self.late.borrow_mut();
        while late.front().is_some_and(|(at, ..)| *at <= now()) {
            let (_, to, message) = late.pop_front().unwrap();
            to.borrow_mut().hear(message);
        }
    }
}

/// A node's surroundings: its inbox, its disk, what it was seen to do, and what is wrong with it.
#[derive(Default)]
pub(crate) struct Machine {
    /// Whatever is sent to it or by it is lost, unnoticed.
    pub(crate) is_cut_off: bool,
    pub(crate) receiving: Health,
    pub(crate) sending: Health,
    pub(crate) saving: Health,
    pub(crate) loading: Health,
    /// How long a save takes, in milliseconds.
    pub(crate) save_takes: u64,
    /// How far time advances with each receive, in milliseconds.
    pub(crate) receive_takes: u64,

    /// The lease of the node, since the power came on.
    pub(crate) lease: Rc<SharedLease>,
    pub(crate) record: VoteRecord<VOTERS>,
    pub(crate) saves: usize,
    pub(crate) cancelled_saves: usize,
    pub(crate) receives: usize,
    /// What was sent, and when; questions of identity are only counted.
    pub(crate) sent: Vec<(u64, Outgoing)>,
    pub(crate) questions: usize,
    /// What the observer noticed.
    pub(crate) observed: Vec<Observed>,

    pub(crate) stop: bool,
    /// Why the driver ended without being stopped.
    pub(crate) gave_up: Option<DuplicateId>,
    pub(crate) inbox: VecDeque<Message>,
    waker: Option<Waker>,
}

/// How a part of a machine behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// It fails at once, every time.
    Broken,
    /// It never ends.
    Stuck,
}

/// What an observer can notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
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
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl Machine {
    pub(crate) fn state(&self) -> State {
        let last = self.changes().last().copied();
        last.map_or(State::Follower, |change| change.to)
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = &StateChange> {
        self.observed.iter().filter_map(|observed| match observed {
            Observed::State(change) => Some(change),
            _ => None,
        })
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let last = self.observed.iter().rev().find_map(|observed| match observed {
            Observed::Leader(leader, _) => Some(leader.clone()),
            _ => None,
        });
        last.flatten()
    }

    /// The messages sent, without their times.
    pub(crate) fn messages(&self) -> Vec<&Message> {
        self.sent.iter().map(|(_, outgoing)| &outgoing.message).collect()
    }

    pub(crate) fn count(&self, observed: &Observed) -> usize {
        self.observed.iter().filter(|other| *other == observed).count()
    }

    pub(crate) fn hear(&mut self, message: Message) {
        self.inbox.push_back(message);
        self.wake();
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn poll_stop(&mut self, context: &Context) -> Poll<()> {
        self.waker = Some(context.waker().clone());
        if self.stop { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_inbox(&mut self, context: &Context) -> Poll<Message> {
        self.waker = Some(context.waker().clone());
        self.inbox.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// I6: a node says nothing that contradicts its disk.
    #[track_caller]
    fn check(&self, name: &NodeId, outgoing: &Outgoing) {
        let record = &self.record;
        match (&outgoing.message, &outgoing.to) {
            (Message::VoteRequest(request), _) => {
                assert_eq!((request.term, Some(name)), (record.term, record.voted_for.as_ref()));
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

/// A node's transport: the network delivers each message at once to those it is meant for.
pub(crate) struct NetworkTransport(pub(crate) NodeId, pub(crate) Network);

impl NetworkTransport {
    fn machine(&self) -> Rc<RefCell<Machine>> {
        self.1.machines.borrow()[self.0.as_str()].clone()
    }
}

impl Transport for NetworkTransport {
    type Error = Broken;

    async fn receive(&mut self) -> Result<Message, Broken> {
        let machine = self.machine();
        machine.borrow_mut().receives += 1;
        let health = machine.borrow().receiving;
        match health {
            Health::Sound => {
                let message = poll_fn(|context| machine.borrow_mut().poll_inbox(context)).await;
                let takes = machine.borrow().receive_takes;
                MockDriver::get().advance(Duration::from_millis(takes));
                Ok(message)
            }
            Health::Broken => {
                assert!(machine.borrow().receives < POLLS_MAX, "a driver spins");
                Err(Broken)
            }
            Health::Stuck => pending().await,
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Broken> {
        let own = self.machine();
        own.borrow().check(&self.0, outgoing);
        let health = own.borrow().sending;
        match health {
            Health::Sound => {}
            Health::Broken => return Err(Broken),
            Health::Stuck => return pending().await,
        }
        match outgoing.message {
            Message::Who(_) => own.borrow_mut().questions += 1,
            _ => own.borrow_mut().sent.push((now(), outgoing.clone())),
        }
        if own.borrow().is_cut_off {
            return Ok(());
        }
        for (name, machine) in self.1.machines.borrow().iter() {
            let is_meant = match &outgoing.to {
                Recipient::Everyone => true,
                Recipient::Node(node) => node.as_str() == name,
            };
            if is_meant && !machine.borrow().is_cut_off {
                self.1.carry(machine, outgoing.message.clone());
            }
        }
        Ok(())
    }
}

/// A node's vote store.
pub(crate) struct Disk(pub(crate) Rc<RefCell<Machine>>);

impl VoteStore<VOTERS> for Disk {
    type Error = Broken;

    async fn load(&mut self) -> Result<VoteRecord<VOTERS>, Broken> {
        match self.0.borrow().loading {
            Health::Sound => Ok(self.0.borrow().record.clone()),
            Health::Broken | Health::Stuck => Err(Broken),
        }
    }

    async fn save(&mut self, record: &VoteRecord<VOTERS>) -> Result<(), Broken> {
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

/// Counts a save if it is dropped before its end.
struct Cancelled(Option<Rc<RefCell<Machine>>>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(machine) = &self.0 {
            machine.borrow_mut().cancelled_saves += 1;
        }
    }
}

/// A node's observer, which records everything.
pub(crate) struct Recorder(pub(crate) Rc<RefCell<Machine>>);

impl Recorder {
    fn record(&self, observed: Observed) {
        self.0.borrow_mut().observed.push(observed);
    }
}

impl<T, V> Observer<T, V> for Recorder {
    fn state_changed(&mut self, change: StateChange) {
        self.record(Observed::State(change));
    }

    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        self.record(Observed::Leader(leader.cloned(), term));
    }

    fn reported(&mut self, report: &Report) {
        self.record(Observed::Report(report.clone()));
    }

    fn receive_failed(&mut self, _: T) {
        self.record(Observed::ReceiveFailed);
    }

    fn send_failed(&mut self, error: SendError<T>) {
        let error = match error {
            SendError::Transport(_) => SendError::Transport(Broken),
            SendError::TimedOut => SendError::TimedOut,
        };
        self.record(Observed::SendFailed(error));
    }

    fn save_failed(&mut self, _: V) {
        self.record(Observed::SaveFailed);
    }
}
