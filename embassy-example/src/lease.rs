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

/// The lease of this board's node, between its [`Driver`](crate::Driver) and the tasks that act as
/// the leader (rule L3).
///
/// While it is valid, no other node of the cluster has a valid one. `M` says who shares it:
/// `CriticalSectionRawMutex` of [`embassy_sync`] is for a `static`, which even interrupts may look
/// at; `NoopRawMutex` for tasks of one executor. In [`Mode::Graft`](election::Mode::Graft) there is
/// no lease: Go nodes promise nothing.
///
/// What nobody can promise: a task that doesn't await can't be stopped, and what it has sent may be
/// under way for long. So hand the [token](Leadership::token) on with each effect, and have it
/// refused by whoever has seen a higher one.
pub struct Lease<M: RawMutex>(Mutex<M, RefCell<Shared>>);

/// What the driver and those who act share.
struct Shared {
    /// What the driver has told last.
    told: Option<election::Leadership>,
    /// In microseconds.
    heartbeat_interval: u64,
    election_timeout_max: Duration,
    /// No job begins before that.
    rested_at: Instant,
    /// The token of a leadership that nobody wants any more: it is to be handed over.
    unwanted: Option<u64>,
    /// The end of a lease that was given up before it, and on which someone may still act.
    given_up_until: Option<Instant>,
    /// How many [`Leadership`]s there are.
    holders: usize,
    waiting: MultiWakerRegistration<WAITING_MAX>,
}

/// How many tasks wait for a change without waking each other in vain.
const WAITING_MAX: usize = 4;

impl<M: RawMutex> Lease<M> {
    /// The lease of a node that hasn't started yet: there is none.
    pub const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Shared {
            told: None,
            heartbeat_interval: 0,
            election_timeout_max: Duration::ZERO,
            rested_at: Instant::from_micros(0),
            unwanted: None,
            given_up_until: None,
            holders: 0,
            waiting: MultiWakerRegistration::new(),
        })))
    }

    /// The right to act as the leader, if the node has it at this moment. Ask just before an effect,
    /// and keep the answer until it is done.
    pub fn leadership(&self) -> Option<Leadership<'_, M>> {
        // Held before the clock is read, so that it can't be handed over in between.
        let token = self.with(|shared| {
            let token = shared.wanted()?.token;
            shared.holders += 1;
            Some(token)
        })?;
        let leadership = Leadership { lease: self, token };
        leadership.is_valid().then_some(leadership)
    }

    /// Runs `job` whenever this node leads, from the moment that its lease begins, until a run comes
    /// to an end of its own. The result of that run is returned, and the leadership handed over (rule
    /// H1). A job that failed may be run again: it begins in a later term, and no sooner than the
    /// greatest election timeout after its last beginning, so that a job that always fails at once
    /// doesn't wear out the memory that votes are kept in.
    ///
    /// The job's future is dropped when half a heartbeat interval is left of a lease that was not
    /// renewed, or at once if the leadership is lost or handed over before; the node says nothing of
    /// that until then. Runs never overlap: each is polled in place, and the next begins after the
    /// last was dropped, when the node leads again.
    ///
    /// It waits for ever if the node is closed, or in Graft mode. Dropping the future that this
    /// returns drops the job, and the node leads on.
    pub async fn run_while_leader<T>(
        &self,
        mut job: impl AsyncFnMut(&Leadership<'_, M>) -> T,
    ) -> T {
        loop {
            let leadership = self.next().await;
            let (margin, rested_at) =
                self.with(|shared| (shared.heartbeat_interval / 2, shared.rested_at));
            let run = async {
                Timer::at(clock::at_or_after(rested_at)).await;
                let began_at = clock::now();
                (job(&leadership).await, began_at)
            };
            let ran = select(leadership.ending_within(margin), run).await;
            if let Either::Second((done, began_at)) = ran {
                self.with(|shared| {
                    shared.rested_at = began_at.saturating_add(shared.election_timeout_max);
                });
                leadership.hand_over();
                return done;
            }
        }
    }

    /// Waits for a leadership that is worth beginning with: it isn't about to end.
    async fn next(&self) -> Leadership<'_, M> {
        loop {
            let (wanted, interval) =
                self.with(|shared| (shared.wanted(), shared.heartbeat_interval));
            if let Some(leadership) = self.leadership()
                && leadership.lasts_longer_than(interval)
            {
                return leadership;
            }
            self.until(|shared| shared.wanted() != wanted).await;
        }
    }

    /// The driver has a node with these times.
    pub(crate) fn begin(&self, heartbeat_interval: Duration, election_timeout_max: Duration) {
        let interval = Instant::default().saturating_add(heartbeat_interval).as_micros();
        self.with(|shared| {
            shared.heartbeat_interval = interval;
            shared.election_timeout_max = election_timeout_max;
        });
    }

    /// The driver's node has this lease, or none.
    pub(crate) fn tell(&self, leadership: Option<election::Leadership>) {
        self.with(|shared| {
            if shared.told == leadership {
                return;
            }
            let token = leadership.map(|leadership| leadership.token);
            if let Some(lost) = shared.told.filter(|told| token != Some(told.token)) {
                shared.given_up_until = Some(lost.valid_until);
            }
            shared.told = leadership;
            shared.waiting.wake();
        });
    }

    /// Waits until the leadership is to be handed over. Cancel-safe.
    pub(crate) fn unwanted(&self) -> impl Future<Output = ()> {
        self.until(|shared| shared.told.is_some() && shared.wanted().is_none())
    }

    /// A node that has given up its lease early says nothing, so that no other can lead, until those
    /// who act on the lease have let go of it, or it would have ended.
    pub(crate) async fn released(&self) {
        if let Some(until) = self.with(|shared| shared.given_up_until.take()) {
            let free = self.until(|shared| shared.holders == 0);
            select(free, Timer::at(clock::at_or_after(until))).await;
        }
    }

    /// Waits until it is so, which is looked at anew after each change.
    fn until(&self, is_so: impl Fn(&Shared) -> bool) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            self.with(|shared| {
                if is_so(shared) {
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
        f.debug_tuple("Lease").field(&self.with(|shared| shared.told)).finish()
    }
}

impl Shared {
    /// What the driver has told last, unless nobody wants that leadership any more.
    fn wanted(&self) -> Option<election::Leadership> {
        self.told.filter(|told| self.unwanted != Some(told.token))
    }
}

/// The right to act as the leader, while its lease lasts (rules L3, I4).
///
/// A leader in good health renews the lease with each heartbeat that a quorum acknowledges. Keep this
/// only while acting on it: a node that hands its leadership over waits for that before it says so,
/// at most until the lease would have ended.
pub struct Leadership<'l, M: RawMutex> {
    lease: &'l Lease<M>,
    token: u64,
}

impl<M: RawMutex> Leadership<'_, M> {
    /// The fencing token: the term. Any later leadership, of any node, has a higher one (rule I5).
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether the lease, as renewed so far, is valid at this moment.
    pub fn is_valid(&self) -> bool {
        self.lasts_longer_than(0)
    }

    /// Waits until the leadership is about to end, or has ended: one heartbeat interval at most is
    /// left of a lease that was not renewed in time. It is the moment to stop. Cancel-safe.
    pub async fn ending(&self) {
        let heartbeat_interval = self.lease.with(|shared| shared.heartbeat_interval);
        self.ending_within(heartbeat_interval).await;
    }

    /// Hands the leadership over, to the follower that is fit to lead and answered last (rule H1).
    /// From now on it isn't valid any more.
    pub fn hand_over(&self) {
        self.lease.with(|shared| {
            shared.unwanted = shared.unwanted.max(Some(self.token));
            shared.waiting.wake();
        });
    }

    async fn ending_within(&self, span: u64) {
        loop {
            let wanted = self.lease.with(|shared| shared.wanted());
            let Some(at) = self.end_of(wanted, span).filter(|at| clock::now() < *at) else {
                return;
            };
            let changed = self.lease.until(|shared| shared.wanted() != wanted);
            select(changed, Timer::at(clock::at_or_after(at))).await;
        }
    }

    fn lasts_longer_than(&self, span: u64) -> bool {
        let wanted = self.lease.with(|shared| shared.wanted());
        self.end_of(wanted, span).is_some_and(|at| clock::now() < at)
    }

    /// From when on no more than `span` microseconds of the lease are left, if it is this one.
    fn end_of(&self, wanted: Option<election::Leadership>, span: u64) -> Option<Instant> {
        let election::Leadership { token, valid_until } = wanted?;
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
