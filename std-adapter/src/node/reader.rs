//! What asks a node how it is, without keeping it running.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use graft_election_core::Mode;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Node;
use crate::counts::Counts;
use crate::driver::Request;
use crate::events::{Event, Status};
use crate::leadership::Leases;
use crate::observer::{ClusterView, Hearsay};

/// What asks a node how it is. The node closes when its handle is gone, though this is not.
#[derive(Debug)]
pub(crate) struct Reader {
    status: watch::Receiver<Arc<Status>>,
    counts: watch::Receiver<Counts>,
    hearsay: Arc<Mutex<Hearsay>>,
    leases: Leases,
    mode: Mode,
    requests: mpsc::Sender<Request>,
    events: broadcast::Receiver<Arc<Event>>,
}

impl Node {
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            status: self.status.clone(),
            counts: self.counts.clone(),
            hearsay: Arc::clone(&self.hearsay),
            leases: self.leases.clone(),
            mode: self.mode,
            requests: self.requests.clone(),
            events: self.events.resubscribe(),
        }
    }
}

impl Reader {
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.borrow().clone().until_now()
    }

    pub(crate) fn view(&self) -> ClusterView {
        let mut hearsay = self.hearsay.lock().unwrap_or_else(PoisonError::into_inner);
        let now = tokio::time::Instant::now();
        hearsay.forget(now);
        hearsay.view(now)
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The token of the lease that the node holds at this moment, and how long that lasts if it is
    /// not renewed.
    pub(crate) fn lease(&self) -> Option<(u64, Duration)> {
        let leadership = self.leases.current()?;
        let remaining = leadership.remaining();
        (!remaining.is_zero()).then(|| (leadership.token(), remaining))
    }

    /// The node's events from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.resubscribe()
    }

    /// Like [`Node::answers`].
    pub(crate) async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Answer(answer)).await.is_ok() && answered.await.is_ok()
    }
}
