use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::task::Poll;
use core::time::Duration;

use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::waitqueue::MultiWakerRegistration;
use embassy_time::Timer;
use graft_election_core::{self as election, Instant, LeaderValue};

use crate::clock;

/// How many tasks can wait for a change without waking each other in vain.
const WAITING_MAX: usize = 4;

/// The lease of this board's node, which its [`Driver`](crate::Driver) shares with the tasks that
/// act as the leader (rule L3); and their handle of the node, to [hold it back](Self::hold_back) or
/// to [say something](Self::set_value) with its leadership.
///
/// While it is valid, no other node of the cluster has a valid one. `M` says who may share it:
/// `CriticalSectionRawMutex` of [`embassy_sync`] is for a `static`, which even interrupts may read;
/// `NoopRawMutex` is for the tasks of one executor. In [`Mode::Graft`](election::Mode::Graft) there
/// is no lease, as Go nodes promise nothing.
///
/// A lease has its limits: a task that doesn't await can't be stopped, and what it has sent may
/// arrive late. So pass the [token](Leadership::token) along with each command, and have whatever
/// receives it reject any token lower than the highest it has seen.
pub struct Lease<M: RawMutex>(Mutex<M, RefCell<Shared>>);

/// What the driver and the acting tasks share.
struct Shared {
    /// The node's leadership, as of its latest input.
    current: Option<election::Leadership>,
    /// In microseconds.
    heartbeat_interval: u64,
    election_timeout_max: Duration,
    /// No job begins before then.
    next_job_at: Instant,
    /// The token of the leadership that is to be handed over.
    handing_over: Option<u64>,
    /// Whether the node is kept from leading, and whether it was the last time that it was told.
    is_held_back: bool,
    was_held_back: bool,
    /// What the node is to say while it leads, until the driver has taken it.
    next_value: Option<LeaderValue>,
    /// What the leader says.
    leader_value: LeaderValue,
    /// The end of a lease that was given up early, and on which a task may still be acting.
    given_up_until: Option<Instant>,
    /// How many [`Leadership`]s exist.
    holders: usize,
    waiting: MultiWakerRegistration<WAITING_MAX>,
}

impl<M: RawMutex> Lease<M> {
    /// The lease of a node that hasn't started yet, which is not valid.
    pub const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Shared {
            current: None,
            heartbeat_interval: 0,
            election_timeout_max: Duration::ZERO,
            next_job_at: Instant::from_micros(0),
            handing_over: None,
            is_held_back: false,
            was_held_back: false,
            next_value: None,
            leader_value: LeaderValue::EMPTY,
            given_up_until: None,
            holders: 0,
            waiting: MultiWakerRegistration::new(),
        })))
    }

    /// The right to act as the leader, if the node has it at this moment. Ask for it just before
    /// you act, and keep it until you are done.
    pub fn leadership(&self) -> Option<Leadership<'_, M>> {
        // Counted before the clock is read, so that it can't be handed over in between.
        let token = self.with(|shared| {
            let token = shared.usable()?.token;
            shared.holders += 1;
            Some(token)
        })?;
        let leadership = Leadership { lease: self, token };
        leadership.is_valid().then_some(leadership)
    }

    /// Runs `job` whenever this node leads, from the moment its lease begins, until a run ends by
    /// itself. The result of that run is returned, and the leadership handed over (rule H1). So a
    /// job that has failed, or gives the leadership up though nothing is wrong, returns; an endless
    /// one needs no result. Call this again to have it run again: it begins in a later term, and at
    /// least the greatest election timeout after it last began, so that a job that always fails at
    /// once doesn't wear out the memory that holds the votes.
    ///
    /// The job's future is dropped when half a heartbeat interval is left of a lease that was not
    /// renewed, or at once if the leadership is lost or handed over earlier; the other nodes learn
    /// of that only afterwards. Runs never overlap: each is polled in place, and the next begins
    /// after the last was dropped, when the node leads again.
    ///
    /// In Graft mode, or once the node is closed, this waits for ever. Dropping the returned future
    /// drops the job, and the node keeps leading.
    pub async fn run_while_leader<T>(
        &self,
        mut job: impl AsyncFnMut(&Leadership<'_, M>) -> T,
    ) -> T {
        loop {
            let leadership = self.next().await;
            let (margin, begin_at) =
                self.with(|shared| (shared.heartbeat_interval / 2, shared.next_job_at));
            let run = async {
                Timer::at(clock::at_or_after(begin_at)).await;
                let began_at = clock::now();
                (job(&leadership).await, began_at)
            };
            let ran = select(leadership.ending_within(margin), run).await;
            if let Either::Second((done, began_at)) = ran {
                self.with(|shared| {
                    shared.next_job_at = began_at.saturating_add(shared.election_timeout_max);
                });
                leadership.hand_over();
                return done;
            }
        }
    }

    /// Keeps the node from leading, or no longer does: while the board isn't fit to act as the
    /// leader, for example. One that leads has no lease from now on, and hands over. It goes on
    /// voting. What an operator has asked is another matter, and neither ends the other (rule O3).
    /// A driver that starts later obeys as well, but this isn't stored.
    pub fn hold_back(&self, is_held_back: bool) {
        self.with(|shared| {
            shared.is_held_back = is_held_back;
            shared.waiting.wake();
        });
    }

    /// Has the node say this with its leadership, from its next heartbeat on, while it leads, in
    /// place of what its [`Application`](election::Application) would say: an address at which
    /// others find it, for example (rule L7).
    pub fn set_value(&self, value: LeaderValue) {
        self.with(|shared| {
            shared.next_value = Some(value);
            shared.waiting.wake();
        });
    }

    /// What the leader says with its leadership, this node included (rule L7); empty if it says
    /// nothing, or none is known.
    pub fn leader_value(&self) -> LeaderValue {
        self.with(|shared| shared.leader_value.clone())
    }

    /// Waits for a leadership that is not about to end.
    async fn next(&self) -> Leadership<'_, M> {
        loop {
            let (usable, interval) =
                self.with(|shared| (shared.usable(), shared.heartbeat_interval));
            if let Some(leadership) = self.leadership()
                && leadership.lasts_longer_than(interval)
            {
                return leadership;
            }
            self.until(|shared| shared.usable() != usable).await;
        }
    }

    /// Takes the times of the driver's node.
    pub(crate) fn begin(&self, heartbeat_interval: Duration, election_timeout_max: Duration) {
        let interval = Instant::default().saturating_add(heartbeat_interval).as_micros();
        self.with(|shared| {
            shared.heartbeat_interval = interval;
            shared.election_timeout_max = election_timeout_max;
            shared.was_held_back = false;
        });
    }

    /// Takes the leadership of the driver's node, if it has one.
    pub(crate) fn update(&self, leadership: Option<election::Leadership>) {
        self.with(|shared| {
            if shared.current == leadership {
                return;
            }
            let token = leadership.map(|leadership| leadership.token);
            if let Some(lost) = shared.current.filter(|current| token != Some(current.token)) {
                shared.given_up_until = Some(lost.valid_until);
            }
            shared.current = leadership;
            shared.waiting.wake();
        });
    }

    /// Takes what the leader of the driver's node says.
    pub(crate) fn hear(&self, value: LeaderValue) {
        self.with(|shared| shared.leader_value = value);
    }

    /// Waits until a task wants something of the node. Cancel-safe.
    pub(crate) fn next_request(&self) -> impl Future<Output = Request> {
        self.take(Shared::next_request)
    }

    /// Waits until nobody acts on a lease that was given up early, or until it would have ended.
    /// The node sends nothing before that, so that no other node can lead meanwhile.
    pub(crate) async fn released(&self) {
        if let Some(until) = self.with(|shared| shared.given_up_until.take()) {
            let free = self.until(|shared| shared.holders == 0);
            select(free, Timer::at(clock::at_or_after(until))).await;
        }
    }

    /// Waits until the condition holds, which is checked after each change.
    fn until(&self, condition: impl Fn(&Shared) -> bool) -> impl Future<Output = ()> {
        self.take(move |shared| condition(shared).then_some(()))
    }

    /// Waits until there is something to take, for which it looks after each change.
    fn take<T>(&self, look: impl Fn(&mut Shared) -> Option<T>) -> impl Future<Output = T> {
        poll_fn(move |context| {
            self.with(|shared| {
                let taken = look(shared);
                if taken.is_none() {
                    shared.waiting.register(context.waker());
                }
                taken.map_or(Poll::Pending, Poll::Ready)
            })
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut Shared) -> T) -> T {
        self.0.lock(|shared| access(&mut shared.borrow_mut()))
    }
}

impl<M: RawMutex> Default for Lease<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: RawMutex> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.with(|shared| shared.current)).finish()
    }
}

impl Shared {
    /// The node's leadership, unless it is to be handed over.
    fn usable(&self) -> Option<election::Leadership> {
        let is_given_up = |token| self.is_held_back || self.handing_over == Some(token);
        self.current.filter(|current| !is_given_up(current.token))
    }

    fn next_request(&mut self) -> Option<Request> {
        if self.was_held_back != self.is_held_back {
            self.was_held_back = self.is_held_back;
            return Some(Request::HoldBack(self.is_held_back));
        }
        if let Some(value) = self.next_value.take() {
            return Some(Request::SetValue(value));
        }
        (self.current.is_some() && self.usable().is_none()).then_some(Request::HandOver)
    }
}

/// What a task wants of the driver's node.
pub(crate) enum Request {
    /// That it hand its leadership over (rule H1).
    HandOver,
    /// That it doesn't lead, or may again (rule O3).
    HoldBack(bool),
    /// What it is to say while it leads (rule L7).
    SetValue(LeaderValue),
}

/// The right to act as the leader, for as long as its lease lasts (rules L3, I4).
///
/// A healthy leader renews the lease with each heartbeat that a quorum acknowledges. Keep this
/// value only while you act on it: a node that hands its leadership over first waits until all of
/// these are dropped, or until the lease would have ended.
pub struct Leadership<'l, M: RawMutex> {
    lease: &'l Lease<M>,
    token: u64,
}

impl<M: RawMutex> Leadership<'_, M> {
    /// The fencing token, which is the term. Every later leadership of any node has a higher one
    /// (rule I5).
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether the lease, as renewed so far, is valid at this moment.
    pub fn is_valid(&self) -> bool {
        self.lasts_longer_than(0)
    }

    /// Waits until the leadership is about to end, or has ended: at most one heartbeat interval is
    /// left of a lease that was not renewed in time. This is the moment to stop. Cancel-safe.
    pub async fn ending(&self) {
        let heartbeat_interval = self.lease.with(|shared| shared.heartbeat_interval);
        self.ending_within(heartbeat_interval).await;
    }

    /// Hands the leadership over to the follower that answered last and is fit to lead (rule H1).
    /// From now on it is no longer valid.
    pub fn hand_over(&self) {
        self.lease.with(|shared| {
            shared.handing_over = shared.handing_over.max(Some(self.token));
            shared.waiting.wake();
        });
    }

    async fn ending_within(&self, span: u64) {
        loop {
            let usable = self.lease.with(|shared| shared.usable());
            let Some(at) = self.end_of(usable, span).filter(|at| clock::now() < *at) else {
                return;
            };
            let changed = self.lease.until(|shared| shared.usable() != usable);
            select(changed, Timer::at(clock::at_or_after(at))).await;
        }
    }

    fn lasts_longer_than(&self, span: u64) -> bool {
        let usable = self.lease.with(|shared| shared.usable());
        self.end_of(usable, span).is_some_and(|at| clock::now() < at)
    }

    /// The instant at which `span` microseconds of the lease are left, if it is still this one.
    fn end_of(&self, usable: Option<election::Leadership>, span: u64) -> Option<Instant> {
        let election::Leadership { token, valid_until } = usable?;
        let end = Instant::from_micros(valid_until.as_micros().saturating_sub(span));
        (token == self.token).then_some(end)
    }
}

impl<M: RawMutex> Drop for Leadership<'_, M> {
    fn drop(&mut self) {
        self.lease.with(|shared| {
            shared.holders -= 1;
            shared.waiting.wake();
        });
    }
}

impl<M: RawMutex> fmt::Debug for Leadership<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leadership").field(&self.token).finish()
    }
}
