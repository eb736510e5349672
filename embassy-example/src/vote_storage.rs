use graft_election_core::VoteRecord;

/// The place that keeps the vote record over resets and power cuts: flash, FRAM, EEPROM.
///
/// Each node has one of its own. Nothing is ever deleted from it; a node whose storage was lost or
/// replaced comes back under another id (rule V9).
#[expect(
    async_fn_in_trait,
    reason = "a driver runs on one executor, so its futures need not be `Send`"
)]
pub trait VoteStorage {
    /// What can go wrong with the memory underneath.
    type Error: core::error::Error;

    /// Reads the record that was saved last, or the default record if none ever was.
    ///
    /// # Errors
    ///
    /// The memory can't be read, or what it holds makes no sense. That must not pass for a default
    /// record: the node would vote a second time in its term (rule V1).
    async fn load(&mut self) -> Result<VoteRecord, Self::Error>;

    /// Makes `record` durable in place of all earlier ones.
    ///
    /// After a power cut at any moment of it, [`load`](Self::load) finds either the old record or
    /// the new one, whole. Once this has returned `Ok` it finds the new one.
    ///
    /// **Never cancelled**: the driver always waits for the end, however long it takes; nothing is
    /// received or sent meanwhile. A write that never ends is to be given up with an error.
    ///
    /// # Errors
    ///
    /// The record may or may not be durable. The driver reports it, and the node stays silent and
    /// asks again with its next input (rule C4).
    async fn save(&mut self, record: &VoteRecord) -> Result<(), Self::Error>;
}
