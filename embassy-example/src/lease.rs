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
use graft_election_core::{self as election, Instant};

use crate::clock;

/// How many tasks can wait for a change without waking each other in vain.
const WAITING_MAX: usize = 4;

/// The lease of this board's node, which its [`Driver`](crate::Driver) shares with the tasks that
/// act as the leader (rule L3).
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
    /// itself. The result of that run is returned, and the leadership handed over (rule H1). A job
    /// that failed may be run again: it begins in a later term, and at least the greatest election
    /// timeout after it last began, so that a job that always fails at once doesn't wear out the
    /// memory that holds the votes.
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

    /// Waits until the leadership is to be handed over. Cancel-safe.
    pub(crate) fn handover_requested(&self) -> impl Future<Output = ()> {
        self.until(|shared| shared.current.is_some() && shared.usable().is_none())
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
        poll_fn(move |context| {
            self.with(|shared| {
                if condition(shared) {
                    return Poll::Ready(());
                }
                shared.waiting.register(context.waker());
                Poll::Pending
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
        self.current.filter(|current| self.handing_over != Some(current.token))
    }
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
