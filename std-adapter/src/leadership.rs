use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use graft_election_core as core;
use tokio::sync::watch;

use crate::clock::Clock;

/// The right to act as the leader, while its lease lasts (rules L3, I4).
///
/// While it [is valid](Self::is_valid), no other node of the cluster has a valid one. The lease is
/// renewed with each heartbeat that a quorum acknowledges.
///
/// A process can be paused between a check and what the check permits. So check just before each
/// effect, pass the [`token`](Self::token) along with every write, and have the store reject any
/// token lower than the highest it has seen. That is called fencing; `examples/fencing.rs` shows
/// how to do it with a store that has no such tokens.
///
/// Keep it only while acting on it: a node that hands its leadership over waits until every one of
/// these is dropped, though not beyond the end of the lease.
#[derive(Clone, Debug)]
pub struct Leadership {
    token: u64,
    leases: Leases,
    _hold: watch::Receiver<()>,
}

impl Leadership {
    /// The fencing token: the term. Any later leadership, of any node, has a higher one (rule I5).
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether the lease, as renewed so far, is valid at this moment.
    pub fn is_valid(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// How long the lease lasts if it is not renewed again; zero once it is over.
    pub fn remaining(&self) -> Duration {
        match *self.leases.lease.borrow() {
            Some(lease) if lease.token == self.token => {
                self.leases.clock.time_until(lease.valid_until)
            }
            _ => Duration::ZERO,
        }
    }

    /// Waits until the leadership is about to end, or has ended: the lease was not renewed in time,
    /// and at most one heartbeat interval is left of it. That is the moment to stop. Cancel-safe.
    ///
    /// The lease may be renewed after all. It is shorter than the least election timeout, so if
    /// that is less than three heartbeat intervals, this returns although nothing is wrong.
    pub async fn ending(&self) {
        self.ending_within(self.leases.heartbeat_interval).await;
    }

    /// Waits until the leadership has ended. Cancel-safe.
    pub async fn ended(&self) {
        self.ending_within(Duration::ZERO).await;
    }

    /// Waits until at most `span` is left of the leadership. Cancel-safe.
    pub async fn ending_within(&self, span: Duration) {
        let mut lease = self.leases.lease.clone();
        loop {
            lease.mark_unchanged();
            let spare = self.remaining().saturating_sub(span);
            if spare.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(spare) => {}
                changed = lease.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// What `job` comes to, if more than `span` is left of the leadership all the while; otherwise
    /// `job` is dropped.
    ///
    /// Each time before it is polled, the clock is compared with the lease. The timer alone would
    /// come too late where another task has held up the worker that both wait for.
    pub(crate) async fn outlasts<T>(
        &self,
        span: Duration,
        job: impl Future<Output = T>,
    ) -> Option<T> {
        let (mut job, mut ending) = (pin!(job), pin!(self.ending_within(span)));
        poll_fn(|context| {
            if self.remaining() <= span || ending.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            job.as_mut().poll(context).map(Some)
        })
        .await
    }
}

/// The lease as the driver keeps it, and those who act on it.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    pub(crate) lease: watch::Receiver<Option<core::Leadership>>,
    pub(crate) holds: Arc<watch::Sender<()>>,
    pub(crate) clock: Clock,
    pub(crate) heartbeat_interval: Duration,
}

impl Leases {
    /// The leadership, if it is valid at this moment.
    pub(crate) fn current(&self) -> Option<Leadership> {
        // Subscribed before the lease is read, so that it can't be handed over in between.
        let hold = self.holds.subscribe();
        let token = (*self.lease.borrow())?.token;
        let leadership = Leadership { token, leases: self.clone(), _hold: hold };
        leadership.is_valid().then_some(leadership)
    }

    /// Waits for a leadership that isn't about to end; `None` if the node closes.
    pub(crate) async fn next(&self) -> Option<Leadership> {
        let mut lease = self.lease.clone();
        loop {
            lease.mark_unchanged();
            let lasts = |leadership: &Leadership| leadership.remaining() > self.heartbeat_interval;
            if let Some(leadership) = self.current().filter(lasts) {
                return Some(leadership);
            }
            lease.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::sync::{Notify, mpsc};
    use tokio::task::yield_now;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{ClusterInfo, MemoryNetwork, MemoryVotes, Node};

    /// The one node of a cluster, which always leads in the end.
    async fn start_alone() -> Node {
        let transport = MemoryNetwork::new().transport();
        let node = Node::builder(ClusterInfo::new("c", 1)).start(transport, MemoryVotes::new());
        node.await.unwrap()
    }

    /// L1, L4: timers stop meanwhile, but the heartbeat that is due finds the lease over.
    #[tokio::test(start_paused = true)]
    async fn a_job_is_dropped_within_one_heartbeat_after_its_machine_was_suspended() {
        let node = start_alone().await;
        let heartbeat = node.heartbeat_interval();
        let (runs, mut begun) = mpsc::unbounded_channel();
        let job = node.run_while_leader(async |_| {
            // It is dropped with the job.
            let (run, ended) = mpsc::channel::<()>(1);
            runs.send(ended).unwrap();
            pending::<()>().await;
            drop(run);
        });
        let scene = async {
            for part in [1, 4, 7] {
                let mut run = begun.recv().await.unwrap();
                let leadership = node.wait_for_leadership().await.unwrap();
                // Until some moment between two heartbeats.
                sleep(heartbeat * 10 + heartbeat * part / 8).await;
                assert!(leadership.is_valid() && !run.is_closed());
                leadership.leases.clock.suspend(Duration::from_secs(1));
                assert!(!leadership.is_valid());
                assert_eq!(timeout(heartbeat, run.recv()).await, Ok(None), "it is dropped");
            }
        };
        tokio::select! {
            ended = job => panic!("{ended:?}"),
            () = scene => {}
        }
    }

    /// L3: timers have yet to notice, and the driver too, when the job is woken.
    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_woken_after_its_lease_is_dropped_unpolled() {
        let node = start_alone().await;
        let (polls, wake) = (Cell::new(0), Notify::new());
        let job = node.run_while_leader(async |_| {
            let mut woken = pin!(wake.notified());
            poll_fn(|context| {
                polls.set(polls.get() + 1);
                woken.as_mut().poll(context)
            })
            .await;
        });
        let scene = async {
            let leadership = node.wait_for_leadership().await.unwrap();
            while polls.get() == 0 {
                yield_now().await;
            }
            leadership.leases.clock.suspend(Duration::from_secs(1));
            wake.notify_waiters();
            yield_now().await;
            assert_eq!(polls.get(), 1, "it isn't polled after its lease");
        };
        tokio::select! {
            biased;
            () = scene => {}
            ended = job => panic!("{ended:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn i5_an_old_leadership_is_not_valid_in_a_later_term() {
        let node = start_alone().await;
        let old = node.wait_for_leadership().await.unwrap();
        assert!(node.hand_over(None).await);
        let new = node.wait_for_leadership().await.unwrap();
        assert!(new.token() > old.token());
        assert!(new.is_valid() && !old.is_valid());
    }

    /// A job may end when its node has lost the leadership and won another.
    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_old_job_hands_over_no_newer_leadership() {
        let node = start_alone().await;
        let old = node.wait_for_leadership().await.unwrap().token();
        assert!(node.hand_over(None).await);
        let new = node.wait_for_leadership().await.unwrap();
        node.give_up(old).await;
        assert!(new.is_valid());
        node.give_up(new.token()).await;
        assert!(!new.is_valid());
    }
}
