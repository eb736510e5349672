use graft_election_core::{Message, Outgoing};

/// The node's way to the others: a serial line, a bus, a radio.
///
/// It may lose, repeat, delay and reorder messages. It must not change one: bytes that a check sum
/// or the decoder rejects are dropped whole (rule V7), and that is no error of the link.
#[expect(
    async_fn_in_trait,
    reason = "a driver runs on one executor, so its futures need not be `Send`"
)]
pub trait Link {
    /// What can go wrong with the hardware underneath.
    type Error: core::error::Error;

    /// Waits for the next message that was sent to this node or to everyone.
    ///
    /// What was sent to another node must not come out here, though all may hear it: a vote does
    /// not say for whom it is. The node's own messages may come back (rule V5).
    ///
    /// **Cancel-safe**: the driver drops this future whenever the node's deadline comes first, and
    /// calls again. Bytes already taken from the line, half a frame for instance, therefore live in
    /// the link and not in the future.
    ///
    /// # Errors
    ///
    /// The line itself failed. The driver reports it and calls again after half a heartbeat
    /// interval; meanwhile the line should buffer what it can.
    async fn receive(&mut self) -> Result<Message, Self::Error>;

    /// Sends a message, or hands it to something that will soon.
    ///
    /// The driver waits no longer than one heartbeat interval and then drops this future: a frame
    /// that stayed unfinished must not spoil the one after it.
    ///
    /// # Errors
    ///
    /// The message was not sent. The driver reports it and forgets the message; the election is
    /// made for lost ones.
    async fn send(&mut self, outgoing: &Outgoing) -> Result<(), Self::Error>;
}
