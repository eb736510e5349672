//! A transport that misbehaves on demand.

use graft_election::core::Outgoing;
use graft_election::{Arrival, Member, MemoryTransport, Transport};
use tokio::sync::{mpsc, watch};

/// A memory transport that the test can hold up, and which hears what the test says.
#[derive(Debug)]
pub struct UnreliableTransport {
    inner: MemoryTransport,
    is_stuck: watch::Receiver<bool>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

/// What makes an [`UnreliableTransport`] misbehave.
#[derive(Debug)]
pub struct TransportControl {
    is_stuck: watch::Sender<bool>,
    arrivals: mpsc::UnboundedSender<Arrival>,
}

impl UnreliableTransport {
    /// A transport that does as `inner` does, until the test wants otherwise.
    pub fn new(inner: MemoryTransport) -> (Self, TransportControl) {
        let (stick, is_stuck) = watch::channel(false);
        let (sender, arrivals) = mpsc::unbounded_channel();
        let control = TransportControl { is_stuck: stick, arrivals: sender };
        (Self { inner, is_stuck, arrivals }, control)
    }
}

impl TransportControl {
    /// Whether sending and leaving take for ever from now on.
    pub fn stick(&self, is_stuck: bool) {
        self.is_stuck.send_replace(is_stuck);
    }

    /// Has the transport receive `arrival`, before all messages that wait.
    pub fn arrive(&self, arrival: Arrival) {
        self.arrivals.send(arrival).expect("the transport lives");
    }
}

impl Transport for UnreliableTransport {
    type Error = <MemoryTransport as Transport>::Error;

    async fn join(&mut self, member: &Member<'_>) -> Result<(), Self::Error> {
        self.inner.join(member).await
    }

    async fn receive(&mut self) -> Arrival {
        tokio::select! {
            biased;
            Some(arrival) = self.arrivals.recv() => arrival,
            arrival = self.inner.receive() => arrival,
        }
    }

    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Self::Error> {
        // The test may let go of the control; then nothing changes any more.
        let _ = self.is_stuck.wait_for(|is_stuck| !is_stuck).await;
        self.inner.send(outgoing).await
    }

    async fn leave(&mut self) {
        let _ = self.is_stuck.wait_for(|is_stuck| !is_stuck).await;
        self.inner.leave().await;
    }
}
