use graft_election_core::{Message, Outgoing};

/// How messages reach the other nodes and come back: a serial line, a bus, a radio.
///
/// A transport may lose, repeat, delay and reorder messages, but it must not alter one: what a
/// checksum or the decoder rejects is dropped whole (rule V7), and that is not an error.
///
/// It is asynchronous, and needs neither `std` nor `Send`. The trait of the same name in
/// `graft-election` is the one for servers.
///
/// ```
/// use core::convert::Infallible;
///
/// use graft_election_core::{Message, Outgoing};
/// use graft_election_embassy::Transport;
///
/// struct Radio;
///
/// impl Transport for Radio {
///     type Error = Infallible;
///
///     async fn receive(&mut self) -> Result<Message, Infallible> {
///         // The next packet that can be decoded and is meant for this node.
/// #       core::future::pending().await
///     }
///
///     async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Infallible> {
///         // Encode `outgoing.message` and address it to `outgoing.to`.
/// #       Ok(())
///     }
/// }
/// ```
#[expect(
    async_fn_in_trait,
    reason = "a driver runs on one executor, so its futures need not be `Send`"
)]
pub trait Transport {
    /// What can go wrong with the hardware underneath.
    type Error: core::error::Error;

    /// Waits for the next message that was sent to this node or to everyone.
    ///
    /// A message to another node must not be returned, even though every node on the line can hear
    /// it: a vote does not name the candidate it is for. Nor must one of another cluster. What is
    /// said in the node's own name must be returned where it is for this id or for everyone, even
    /// if it looks like the node's own message coming back: it may be that of another node, which
    /// uses the id by mistake (rules V5, N3).
    ///
    /// **Cancel-safe**: the driver drops this future whenever the node's deadline comes first, and
    /// calls again. Bytes already taken from the line, half a frame for instance, therefore belong
    /// in the transport and not in the future.
    ///
    /// # Errors
    ///
    /// The hardware failed. The driver reports it and calls again after half a heartbeat interval;
    /// meanwhile the line should buffer what it can.
    async fn receive(&mut self) -> Result<Message, Self::Error>;

    /// Sends a message, or hands it to something that will send it soon.
    ///
    /// The driver waits for at most one heartbeat interval and then drops this future: a frame left
    /// unfinished must not spoil the one after it.
    ///
    /// # Errors
    ///
    /// The message was not sent. The driver reports it and forgets the message, as the election
    /// tolerates lost messages.
    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Self::Error>;
}
