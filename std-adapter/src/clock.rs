use std::time::Duration;

use graft_election_core::Instant;

/// The node's clock: monotonic, and tokio's own, so that tests can run it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Waits until `deadline`; for ever if the clock doesn't reach that far.
    pub(crate) async fn sleep_until(&self, deadline: Instant) {
        match self.origin.checked_add(Duration::from_micros(deadline.as_micros())) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
