use graft_election_core::{NodeId, VoteRecord, VoterList, VoterListError};
#[cfg(feature = "seal")]
use graft_election_proto::seal::next_start;

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
/// impl VoteStore<7> for Fram {
///     type Error = Infallible;
///
///     async fn load(&mut self) -> Result<VoteRecord<7>, Infallible> {
///         // The latest record, or the default one if none was ever saved.
/// #       Ok(VoteRecord::default())
///     }
///
///     async fn save(&mut self, record: &VoteRecord<7>) -> Result<(), Infallible> {
///         // Write to the older of two copies, with a checksum.
/// #       Ok(())
///     }
/// }
/// ```
#[expect(
    async_fn_in_trait,
    reason = "a driver runs on one executor, so its futures need not be `Send`"
)]
pub trait VoteStore<const VOTERS: usize> {
    /// What can go wrong with the memory underneath.
    type Error: core::error::Error;

    /// Reads the record that was saved last, or the default record if none ever was.
    ///
    /// # Errors
    ///
    /// The memory can't be read, or its content makes no sense. Never return a default record
    /// instead: the node would vote a second time in its term (rule V1).
    async fn load(&mut self) -> Result<VoteRecord<VOTERS>, Self::Error>;

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
    async fn save(&mut self, record: &VoteRecord<VOTERS>) -> Result<(), Self::Error>;

    /// Makes the first record of a board that is one of the declared `voters`; without it such a
    /// node does not start (rule N6).
    ///
    /// Whoever calls this vouches that the board's id has never voted. It could vote a second time
    /// in a term in which it has voted already, and a second leader would be elected. So it belongs
    /// into the program or the order with which a board is set up, and not into every start: there
    /// it would replace a record that was lost, without a word. Left there by mistake, it shows at
    /// the second start, which fails with [`ProvisionError::InUse`].
    ///
    /// If power is cut during the call, call it again.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`]; nothing has been changed, unless the save failed.
    async fn provision(&mut self, voters: &[NodeId]) -> Result<(), ProvisionError<Self::Error>> {
        let list = VoterList::declared(voters).map_err(ProvisionError::List)?;
        let record = self.load().await.map_err(ProvisionError::Load)?;
        if record != VoteRecord::default() {
            return Err(ProvisionError::InUse);
        }
        self.save(&VoteRecord::first(list)).await.map_err(ProvisionError::Save)
    }

    /// Counts a start with a cluster's key, and returns the count, with which the seals are made
    /// (rule K2): call it once at each start, before the node says anything. If power is cut during
    /// the call, the next one counts again.
    ///
    /// A board whose record is lost counts from 1 again, and is not heard by those that remember a
    /// higher count, which is right for an id that may have voted (rule V9).
    ///
    /// # Errors
    ///
    /// [`CountError`]; then the board must not speak.
    #[cfg(feature = "seal")]
    async fn count_start(&mut self) -> Result<u32, CountError<Self::Error>> {
        let mut record = self.load().await.map_err(CountError::Load)?;
        record.starts = next_start(record.starts).ok_or(CountError::NoneLeft)?;
        self.save(&record).await.map_err(CountError::Save)?;
        Ok(record.starts)
    }
}

/// Why a start can't be counted.
#[cfg(feature = "seal")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CountError<E> {
    /// There were 2^28 of them.
    #[error("this board has started 2^28 times with a key")]
    NoneLeft,
    /// The memory can't be read, or its content makes no sense.
    #[error("could not load the vote record")]
    Load(#[source] E),
    /// The count was not saved.
    #[error("could not save the count of starts")]
    Save(#[source] E),
}

/// Why a first record can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ProvisionError<E> {
    /// There is a record already. It stays.
    #[error("this board has a vote record; a first one is made once, when the board is set up")]
    InUse,
    /// The voters are not a list: one of them is there twice, for example.
    #[error("no list of voters")]
    List(#[source] VoterListError),
    /// The memory can't be read, or its content makes no sense.
    #[error("could not load the vote record")]
    Load(#[source] E),
    /// The record was not saved.
    #[error("could not save the first vote record")]
    Save(#[source] E),
}
