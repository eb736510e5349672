//! A job that runs while this node leads, and never twice at once.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use graft_election_core::{Mode, Reason};
use tokio::time::{Instant, sleep_until};

use crate::events::Fault;
use crate::leadership::Leadership;
use crate::node::Node;

/// Why a job was ended before it succeeded.
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
    /// Runs `job` whenever this node leads, from the moment that its lease begins, until one run of
    /// it succeeds. That run's result is returned, and the leadership handed over (rule H1).
    ///
    /// Each run receives its [`Leadership`]. If the lease is not renewed, [`Leadership::ending`]
    /// returns one heartbeat interval before its end, and the run's future is dropped when half an
    /// interval is left, or at once if the leadership is lost or handed over before. Runs never
    /// overlap: the future is polled in place, and the next run begins after the last was dropped,
    /// when the node leads again.
    ///
    /// A run that returns an error or panics is reported as [`Fault::JobFailed`] or
    /// [`Fault::JobPanicked`]. The node hands its leadership over, since another node may fare
    /// better, and runs the job again in a later term, no sooner than the greatest election timeout
    /// after that run began: a job that always fails at once doesn't keep the cluster electing.
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
    /// If the job's future panics while it is dropped.
    pub async fn run_while_leader<T, E, F>(
        &self,
        mut job: impl FnMut(Leadership) -> F,
    ) -> Result<T, RunError>
    where
        // Not an `AsyncFnMut`: Rust has no way yet to require that its future can be sent to
        // another thread, as that of a spawned task must be.
        F: Future<Output = Result<T, E>>,
        E: Display,
    {
        if self.mode() == Mode::Graft {
            return Err(RunError::NoLease);
        }
        let mut rested_at = Instant::now();
        loop {
            let leadership = self.wait_for_leadership().await.ok_or_else(|| self.run_error())?;
            tokio::select! {
                biased;
                () = leadership.ended() => continue,
                () = sleep_until(rested_at) => {}
            }
            let token = leadership.token();
            let began_at = Instant::now();
            let run = async { job(leadership.clone()).await };
            let run = AssertUnwindSafe(run).catch_unwind();
            let Some(ran) = leadership.outlasts(self.heartbeat_interval() / 2, run).await else {
                continue;
            };
            drop(leadership);
            let fault = match ran {
                Ok(Ok(done)) => {
                    self.give_up(token, None).await;
                    return Ok(done);
                }
                // In this form an error may have its causes in its text; those of anyhow do.
                Ok(Err(error)) => Fault::JobFailed(format!("{error:#}")),
                Err(panic) => Fault::JobPanicked(message_of(&*panic)),
            };
            rested_at = began_at + self.election_timeout_max();
            // When it returns, this leadership is over.
            self.give_up(token, Some(fault)).await;
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

/// The message of a panic, if it has one.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
