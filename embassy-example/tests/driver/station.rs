//! What surrounds one node: its antenna, its disk, its ear, and what is wrong with them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embassy_time::{Duration, MockDriver, Timer};
use graft_election_core::{Message, NodeId, Outgoing, Recipient, Report, State, VoteRecord};
use graft_election_embassy::{Link, Observer, SendError, StateChange, VoteStorage};

use crate::world::{POLLS_MAX, SharedLease, now};

/// All stations there are.
#[derive(Clone, Default)]
pub(crate) struct Air {
    pub(crate) stations: Rc<RefCell<BTreeMap<String, Rc<RefCell<Station>>>>>,
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

    /// That of the node in its present life.
    pub(crate) lease: Rc<SharedLease>,
    pub(crate) record: VoteRecord,
    pub(crate) saves: usize,
    pub(crate) cancelled_saves: usize,
    pub(crate) receives: usize,
    /// When what was sent.
    pub(crate) sent: Vec<(u64, Outgoing)>,
    /// What the observer was told.
    pub(crate) told: Vec<Told>,

    pub(crate) stop: bool,
    pub(crate) inbox: VecDeque<Message>,
    waker: Option<Waker>,
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
        self.sent.iter().map(|(_, outgoing)| &outgoing.message).collect()
    }

    pub(crate) fn count(&self, told: &Told) -> usize {
        self.told.iter().filter(|other| *other == told).count()
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

    /// I6: nothing leaves a node that its disk does not bear out.
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

/// A node's link: the air carries each message at once, to whom it is meant for.
pub(crate) struct Antenna(pub(crate) NodeId, pub(crate) Air);

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
            Health::Broken => {
                assert!(station.borrow().receives < POLLS_MAX, "a driver spins");
                Err(Broken)
            }
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
pub(crate) struct Disk(pub(crate) Rc<RefCell<Station>>);

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
pub(crate) struct Ear(pub(crate) Rc<RefCell<Station>>);

impl Ear {
    fn note(&self, told: Told) {
        self.0.borrow_mut().told.push(told);
    }
}

impl<L, V> Observer<L, V> for Ear {
    fn state_changed(&mut self, change: StateChange) {
        self.note(Told::State(change));
    }

    fn leader_changed(&mut self, leader: Option<&NodeId>, term: u64) {
        self.note(Told::Leader(leader.cloned(), term));
    }

    fn reported(&mut self, report: &Report) {
        self.note(Told::Report(report.clone()));
    }

    fn receive_failed(&mut self, _: L) {
        self.note(Told::ReceiveFailed);
    }

    fn send_failed(&mut self, error: SendError<L>) {
        let error = match error {
            SendError::Link(_) => SendError::Link(Broken),
            SendError::TimedOut => SendError::TimedOut,
        };
        self.note(Told::SendFailed(error));
    }

    fn save_failed(&mut self, _: V) {
        self.note(Told::SaveFailed);
    }
}
