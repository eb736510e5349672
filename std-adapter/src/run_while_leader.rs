//! A job that runs while this node leads, and never twice at once.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use graft_election_core::{Mode, Reason};
use tokio::time::{Instant, sleep_until};

use crate::leadership::Leadership;
use crate::node::Node;

/// Why no run of a job has come to its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The node is in Graft mode, where there is no lease: Go nodes promise nothing, so a leader
    /// can't know whether there is another.
    #[error("a node in Graft mode has no lease that a job could run under")]
    NoLease,
    /// The node has closed.
    #[error("the node has closed")]
    Closed,
    /// The node has closed by itself, since another running process uses its id (rule N5).
    #[error("another running process uses the node's id, so this node has closed")]
    DuplicateId,
}

impl Node {
    /// Runs `job` whenever this node leads, from the moment that its lease begins, until a run ends
    /// by itself. The result of that run is returned, and the leadership handed over to a follower
    /// that is fit to lead (rule H1).
    ///
    /// Each run receives its [`Leadership`]. If the lease is not renewed, [`Leadership::ending`]
    /// returns one heartbeat interval before its end, and the run's future is dropped when half an
    /// interval is left, or at once if the leadership is lost or handed over before. Runs never
    /// overlap: the future is polled in place, and the next run begins after the last was dropped,
    /// when the node leads again.
    ///
    /// The job decides whether it ends. An endless one needs no result. One that has failed, or
    /// that gives the leadership up though nothing is wrong, returns, with a result of any type. To
    /// have it run again when this node leads again, call this again:
    ///
    /// ```
    /// # use graft_election::{Leadership, Node, RunError};
    /// # async fn send_invoices(_: Leadership) -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn example(node: &Node) -> Result<(), RunError> {
    /// while let Err(error) = node.run_while_leader(send_invoices).await? {
    ///     eprintln!("could not send all invoices: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A run begins no sooner than the greatest election timeout after the last one that ended by
    /// itself began: a job that always fails at once doesn't keep the cluster electing. Who has no
    /// more work as the leader [closes](Self::close) the node or [holds it
    /// back](Self::hold_back), since it may be elected again.
    ///
    /// Three things can't be promised. A future that blocks its thread can't be dropped meanwhile,
    /// nor can tasks that it has spawned. A process can be paused between any two instructions. And
    /// timers stop while the machine is suspended, so a future whose lease ended meanwhile is only
    /// dropped with the next heartbeat, though [`Leadership::is_valid`] is right at once. So pass
    /// the [token](Leadership::token) along with every write, and have the store reject any token
    /// lower than the highest it has seen.
    ///
    /// Dropping the future that this returns drops the job, and the node keeps leading.
    ///
    /// # Errors
    ///
    /// [`RunError::NoLease`] in Graft mode, at once; [`RunError::Closed`] when the node closes, or
    /// [`RunError::DuplicateId`] if another process uses its id.
    ///
    /// # Panics
    ///
    /// If the job does. Its leadership is handed over first, unless it panics while it is dropped.
    pub async fn run_while_leader<T, F>(
        &self,
        mut job: impl FnMut(Leadership) -> F,
    ) -> Result<T, RunError>
    where
        // Not an `AsyncFnMut`: Rust has no way yet to require that its future can be sent to
        // another thread, as that of a spawned task must be.
        F: Future<Output = T>,
    {
        if self.mode() == Mode::Graft {
            return Err(RunError::NoLease);
        }
        loop {
            let leadership = self.wait_for_leadership().await.ok_or_else(|| self.run_error())?;
            tokio::select! {
                biased;
                () = leadership.ended() => continue,
                () = sleep_until(self.next_job_at()) => {}
            }
            let token = leadership.token();
            let began_at = Instant::now();
            let run = async { job(leadership.clone()).await };
            let run = AssertUnwindSafe(run).catch_unwind();
            let Some(ran) = leadership.outlasts(self.heartbeat_interval() / 2, run).await else {
                continue;
            };
            drop(leadership);
            self.rest_jobs_until(began_at + self.election_timeout_max());
            // When it returns, this leadership is over.
            self.give_up(token).await;
            return Ok(ran.unwrap_or_else(|panic| resume_unwind(panic)));
        }
    }
}

impl Node {
    /// Why the node, which has closed, runs no job any more.
    fn run_error(&self) -> RunError {
        match self.status().reason {
            Reason::DuplicateId => RunError::DuplicateId,
            _ => RunError::Closed,
        }
    }
}
