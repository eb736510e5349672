//! The handle of a running node.

mod builder;
#[cfg(feature = "http")]
mod reader;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graft_election_core::{Change, ControlOutcome, LeaderValue, Mode, NodeId, State};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::counts::Counts;
use crate::driver::{HandoverRequest, Request};
use crate::events::{ClusterInfo, Event, Events, Status};
use crate::leadership::{Leadership, Leases};
use crate::observer::{ClusterView, Hearsay};

pub use builder::NodeBuilder;
#[cfg(feature = "bridge")]
pub(crate) use builder::random_id;
#[cfg(feature = "http")]
pub(crate) use reader::Reader;

/// A running voter of a cluster.
///
/// All methods take `&self`: share it in an [`Arc`]. Dropping it closes the node as
/// [`close`](Self::close) does, but without waiting. When its runtime ends, a node is closed as
/// well, but can't hand over.
#[derive(Debug)]
pub struct Node {
    status: watch::Receiver<Arc<Status>>,
    counts: watch::Receiver<Counts>,
    hearsay: Arc<Mutex<Hearsay>>,
    leases: Leases,
    mode: Mode,
    election_timeout_max: Duration,
    /// No job begins before then.
    next_job_at: Mutex<Instant>,
    requests: mpsc::Sender<Request>,
    /// Taken by the first caller of [`events`](Self::events), which so misses nothing.
    first_events: Mutex<Option<Events>>,
    events: broadcast::Receiver<Arc<Event>>,
    closing: watch::Sender<bool>,
    /// Loses its sender when the driver is gone.
    finished: watch::Receiver<()>,
}

/// Why the voters are what they were (rule R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the voters are not changed: {0}")]
pub struct VotersUnchanged(pub ControlOutcome);

impl Node {
    /// The node's own id.
    pub fn id(&self) -> NodeId {
        self.status.borrow().id.clone()
    }

    /// The cluster's name and size.
    pub fn cluster_info(&self) -> ClusterInfo {
        (*self.status.borrow().cluster).clone()
    }

    /// The node's role.
    pub fn state(&self) -> State {
        self.status.borrow().state
    }

    /// The leader of the node's term, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.status.borrow().leader.clone()
    }

    /// The node's term.
    pub fn current_term(&self) -> u64 {
        self.status.borrow().term
    }

    /// Whom the node voted for in its term.
    pub fn current_vote(&self) -> Option<NodeId> {
        self.status.borrow().vote.clone()
    }

    /// All of the above at one instant.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// The node's status as a value to watch: always the latest; changes in between may be missed.
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// The node's events, in order and complete. The first call returns all since the start, later
    /// calls those from then on.
    pub fn events(&self) -> Events {
        let first = self.first_events.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| Events::new(self.events.resubscribe(), self.status()))
    }

    /// How often things have happened since the node's start.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone().until_now()
    }

    /// The cluster as this node knows it from what it has heard and said: a leader hears from all
    /// who follow it, a follower from its leader and from those who ask for votes.
    ///
    /// It is hearsay, as an [`Observer`](crate::Observer)'s view is, and must not be taken for a
    /// lease: that is [`leadership`](Self::leadership).
    pub fn view(&self) -> ClusterView {
        let mut hearsay = self.hearsay.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        hearsay.forget(now);
        hearsay.view(now)
    }

    /// The right to act as the leader, if the node has it at this moment by its clock (rule L3).
    ///
    /// `None` while the node doesn't lead, before a quorum has acknowledged it, from the moment
    /// that it hands over, and always in [`Mode::Graft`]. There is no lease in that mode: Go nodes
    /// promise nothing, so a leader can't know whether there is another.
    pub fn leadership(&self) -> Option<Leadership> {
        self.leases.current()
    }

    /// Waits until the node has a [`leadership`](Self::leadership) that isn't about to end; `None`
    /// if it closes. In [`Mode::Graft`] it never has one. Cancel-safe.
    ///
    /// [`run_while_leader`](Self::run_while_leader) does this, and what must follow.
    pub async fn wait_for_leadership(&self) -> Option<Leadership> {
        self.leases.next().await
    }

    /// Hands the leadership over to node `to` or, without one, to the follower that is fit to lead
    /// and answered last (rule H1). Returns true if this node led, and has said that it no longer
    /// does.
    ///
    /// It waits until every [`Leadership`] is dropped, though not beyond the end of the lease. Go
    /// nodes don't know this message, so among them it only stops this node from leading.
    pub async fn hand_over(&self, to: Option<NodeId>) -> bool {
        self.request_handover(to, None).await
    }

    /// Keeps the node from leading, or no longer does: while its program isn't fit to act as the
    /// leader, for example. One that leads hands over. It goes on voting. What an operator has
    /// asked is another matter, and neither ends the other (rule O3). Returns once the node has
    /// heard of it.
    pub async fn hold_back(&self, is_held_back: bool) {
        self.request(Request::HoldBack(is_held_back)).await;
    }

    /// Has the leader add a voter to the list, or remove one (rule R7), and waits until nobody can
    /// be elected by an older list any more. A leader that is to be removed hands over; its
    /// successor is to be asked then.
    ///
    /// # Errors
    ///
    /// Why nothing was done, or was not done to the end. Most reasons pass: the voter to be added
    /// is heard later, or a quorum comes back, so ask again.
    pub async fn change_voters(&self, change: &Change) -> Result<(), VotersUnchanged> {
        loop {
            let (done, outcome) = oneshot::channel();
            let request = Request::ChangeVoters(change.clone(), done);
            let is_taken = self.requests.send(request).await.is_ok();
            // A node that has closed no longer leads.
            let outcome = match outcome.await {
                Ok(outcome) if is_taken => outcome,
                _ => ControlOutcome::NotLeading,
            };
            match outcome {
                ControlOutcome::Done => return Ok(()),
                ControlOutcome::NotCommitted if self.status().state == State::Leader => {}
                ControlOutcome::NotCommitted => {
                    return Err(VotersUnchanged(ControlOutcome::NotLeading));
                }
                outcome => return Err(VotersUnchanged(outcome)),
            }
            sleep(self.heartbeat_interval() / 2).await;
        }
    }

    /// Has the node say this with its leadership, from its next heartbeat on, while it leads: an
    /// address at which clients find it, for example (rule L7). Followers have it in their
    /// [`status`](Self::status), and an [`Observer`](crate::Observer) sees it. It is not part of
    /// the election: a value of an earlier leadership is said again in a later one.
    pub async fn set_value(&self, value: LeaderValue) {
        self.request(Request::SetValue(value)).await;
    }

    /// Waits until the node has taken a request. One that has closed needs none.
    async fn request(&self, request: Request) {
        if self.requests.send(request).await.is_ok() {
            self.answers().await;
        }
    }

    /// Waits until the node comes around to answer, which it does not during a save, on a disk that
    /// hangs for example. Returns false if it has closed. A supervisor may take a node that doesn't
    /// answer for dead. Cancel-safe.
    pub async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Answer(answer)).await.is_ok() && answered.await.is_ok()
    }

    /// Hands the leadership of `token` over, because its job has ended.
    pub(crate) async fn give_up(&self, token: u64) {
        self.request_handover(None, Some(token)).await;
    }

    async fn request_handover(&self, to: Option<NodeId>, token: Option<u64>) -> bool {
        let (done, is_done) = oneshot::channel();
        let request = Request::HandOver(HandoverRequest { to, token, done });
        // A node that has closed no longer leads.
        self.requests.send(request).await.is_ok() && is_done.await.unwrap_or(false)
    }

    /// When the next job may begin.
    pub(crate) fn next_job_at(&self) -> Instant {
        *self.next_job_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rest_jobs_until(&self, at: Instant) {
        *self.next_job_at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.leases.heartbeat_interval
    }

    pub(crate) fn election_timeout_max(&self) -> Duration {
        self.election_timeout_max
    }

    /// Closes the node and waits until it is closed. A leader first waits until every
    /// [`Leadership`] is dropped, then hands over, which takes up to two heartbeat intervals
    /// (rule H3). A node that has just handed over stays as long for its successor.
    ///
    /// A save that has begun is finished; the node waits for it for a second at most, and a disk
    /// that hangs keeps only the vote file's lock. Subscriptions and otherwise the lock are given
    /// back; a connection that was handed in is left open. The stored vote stays: the node needs it
    /// when it comes back (rule V1). This may be called again and from several tasks; all of them
    /// wait.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let mut finished = self.finished.clone();
        // Nothing is ever sent: the driver's end drops the sender.
        while finished.changed().await.is_ok() {}
    }
}
