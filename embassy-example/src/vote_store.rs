use graft_election_core::VoteRecord;

/// Where a node keeps its vote record across resets and power cuts: flash, FRAM, EEPROM.
///
/// Each node has its own, and nothing is ever deleted from it. A node whose store was lost or
/// replaced must come back under another id (rule V9).
///
/// It is asynchronous, and needs neither `std` nor `Send`. The trait of the same name in
/// `graft-election` is the one for servers.
///
/// ```
/// use core::convert::Infallible;
///
/// use graft_election_core::VoteRecord;
/// use graft_election_embassy::VoteStore;
///
/// struct Fram;
///
/// impl VoteStore for Fram {
///     type Error = Infallible;
///
///     async fn load(&mut self) -> Result<VoteRecord, Infallible> {
///         // The latest record, or the default one if none was ever saved.
/// #       Ok(VoteRecord::default())
///     }
///
///     async fn save(&mut self, record: &VoteRecord) -> Result<(), Infallible> {
///         // Write to the older of two copies, with a checksum.
/// #       Ok(())
///     }
/// }
/// ```
#[expect(
    async_fn_in_trait,
    reason = "a driver runs on one executor, so its futures need not be `Send`"
)]
pub trait VoteStore {
    /// What can go wrong with the memory underneath.
    type Error: core::error::Error;

    /// Reads the record that was saved last, or the default record if none ever was.
    ///
    /// # Errors
    ///
    /// The memory can't be read, or its content makes no sense. Never return a default record
    /// instead: the node would vote a second time in its term (rule V1).
    async fn load(&mut self) -> Result<VoteRecord, Self::Error>;

    /// Makes `record` durable in place of all earlier ones.
    ///
    /// If power is cut at any moment during the save, [`load`](Self::load) finds either the old
    /// record or the new one, whole. Once this has returned `Ok`, it finds the new one.
    ///
    /// **Never cancelled**: the driver waits for the end however long it takes, and receives and
    /// sends nothing meanwhile. A write that might never finish must give up with an error.
    ///
    /// # Errors
    ///
    /// The record may or may not be durable. The driver reports it, and the node stays silent and
    /// asks for the save again with its next input (rule C4).
    async fn save(&mut self, record: &VoteRecord) -> Result<(), Self::Error>;
}
