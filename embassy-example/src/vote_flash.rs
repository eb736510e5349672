use core::ops::Range;

use embedded_storage_async::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};
use graft_election_core::{ListId, NodeId, VoteRecord};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

use crate::VoteStore;

/// One to write to; one with the latest record; and one with the record before it, in case the
/// write of the latest was cut short.
const PAGES: u32 = 3;

/// The widest words that sequential-storage takes.
const WORD_MAX: usize = 32;

/// The bytes that sequential-storage puts before each item: two checksums and a length.
const HEADER_LEN: usize = 8;

const ERASED: u8 = 0xff;

/// Of the layout in which the records of nodes with a key are written.
const VERSION: u8 = 4;

/// Of the layout that doesn't count the starts: that of nodes without a key.
const VERSION_3: u8 = 3;

/// Of the layout that doesn't say whether the node is paused.
const VERSION_2: u8 = 2;

/// Of the layout that has neither the list nor the promise.
const VERSION_1: u8 = 1;

/// The vote record in NOR flash, safe from power cuts during any write and any erasure.
///
/// It takes three pages, each with its own log of records. A save goes to the page whose latest
/// record is the oldest, and is read back before it counts. So whatever a power cut leaves on that
/// page, half an erasure for instance, the latest record and the one before it are untouched. The
/// latest record is the one with the highest term, and within a term the one with a vote (rules T1,
/// V1), so the remains of an older one can't be mistaken for it. What else may change within a term
/// (the list of voters, the longest promise) is numbered.
///
/// A node that starts saves the record it found once more, since a write that was cut short may
/// read back correctly once and wrongly the next time. A bit that decays later goes unnoticed, and
/// brings the record before it back; preventing that is the job of the flash's own error
/// correction.
///
/// The pages must hold nothing else, and must have been erased before their first use.
#[derive(Debug)]
pub struct VoteFlash<F> {
    flash: F,
    /// Where the pages begin.
    start: u32,
}

type Log<'f, F> = QueueStorage<&'f mut F, Cache<Uncached, Uncached, Uncached>>;

impl<F: NorFlash> VoteFlash<F> {
    /// How many bytes of flash it takes: three pages.
    pub const LEN: u32 = PAGES * F::ERASE_SIZE as u32;

    /// Keeps the votes in `flash`, in the [`LEN`](Self::LEN) bytes from `start` on.
    ///
    /// # Errors
    ///
    /// [`RegionError`] if they can't be kept there.
    pub fn new(flash: F, start: u32) -> Result<Self, RegionError> {
        if !start.is_multiple_of(F::ERASE_SIZE as u32) {
            return Err(RegionError::WithinAPage);
        }
        let end = start.checked_add(Self::LEN);
        if end.is_none_or(|end| end as usize > flash.capacity()) {
            return Err(RegionError::BeyondTheEnd);
        }
        if Self::saves(1, NodeId::CAPACITY) == 0 {
            return Err(RegionError::PagesTooSmall);
        }
        Ok(Self { flash, start })
    }

    /// How many saves the flash lasts for, at least, if each page endures `erase_cycles` erasures
    /// and no id in the cluster has more than `id_len` bytes.
    ///
    /// A node saves once when it starts, at most twice per term, and once more when it is given
    /// other timeouts or declared voters. A power cut during a save costs at most two more
    /// erasures. With a cluster's key a save takes four bytes more.
    pub const fn saves(erase_cycles: u32, id_len: usize) -> u64 {
        let on_page = Self::CONTENT_LEN / Self::item_len(Encoded::LEN_WITHOUT_ID + id_len);
        PAGES as u64 * on_page as u64 * erase_cycles as u64
    }

    /// How many bytes of a page are for records; its first and its last word keep its state.
    const CONTENT_LEN: usize = F::ERASE_SIZE.saturating_sub(2 * Self::WORD);

    /// The bytes of the unit in which flash is written and read.
    const WORD: usize = if F::WRITE_SIZE > F::READ_SIZE { F::WRITE_SIZE } else { F::READ_SIZE };

    /// How many bytes of a page a record of `len` bytes takes.
    const fn item_len(len: usize) -> usize {
        HEADER_LEN.next_multiple_of(Self::WORD) + len.next_multiple_of(Self::WORD)
    }

    /// The latest record of all pages, and the page whose latest record is the oldest.
    async fn survey(&mut self) -> Result<(Option<Numbered>, u32), VoteFlashError> {
        let mut latest = self.latest_in(0).await?;
        let (mut oldest, mut page) = (latest.as_ref().map(Numbered::rank), 0);
        for other in 1..PAGES {
            let record = self.latest_in(other).await?;
            let rank = record.as_ref().map(Numbered::rank);
            if rank < oldest {
                (oldest, page) = (rank, other);
            }
            if rank > latest.as_ref().map(Numbered::rank) {
                latest = record;
            }
        }
        Ok((latest, page))
    }

    /// The latest record of a page. A page that a power cut left in disorder has none.
    async fn latest_in(&mut self, page: u32) -> Result<Option<Numbered>, VoteFlashError> {
        match self.read(page).await {
            Err(VoteFlashError::Corrupted) => Ok(None),
            result => result,
        }
    }

    async fn read(&mut self, page: u32) -> Result<Option<Numbered>, VoteFlashError> {
        let mut buffer = Buffer::EMPTY;
        let mut latest = None;
        let mut len = 0_usize;
        let mut log = self.log(page)?;
        let mut records = log.iter().await?;
        while let Some(bytes) = records.next(&mut buffer.0).await? {
            len = len.saturating_add(Self::item_len(bytes.len()));
            let record = decode(&bytes).ok_or(VoteFlashError::Malformed)?;
            if latest.as_ref().map(Numbered::rank) < Some(record.rank()) {
                latest = Some(record);
            }
        }
        let free = log.space_left().await? as usize;
        // A write that was cut short leaves a gap. Once its bits read as something else, it could
        // hide what comes after it; so could the mark at the start of a page without records.
        let is_in_order = match latest {
            Some(_) => len.saturating_add(free) == Self::CONTENT_LEN,
            None => self.is_blank(page).await?,
        };
        if is_in_order { Ok(latest) } else { Err(VoteFlashError::Corrupted) }
    }

    /// Writes a record to a page, and reads it back. A page in disorder is erased first; a full one
    /// is overwritten.
    async fn write(&mut self, page: u32, record: &Numbered) -> Result<(), VoteFlashError> {
        match self.read(page).await {
            Err(VoteFlashError::Corrupted) => self.log(page)?.erase_all().await?,
            result => {
                result?;
            }
        }
        self.log(page)?.push(Encoded::of(record).as_bytes(), true).await?;
        let is_kept = self.latest_in(page).await?.as_ref() == Some(record);
        if is_kept { Ok(()) } else { Err(VoteFlashError::NotKept) }
    }

    fn log(&mut self, page: u32) -> Result<Log<'_, F>, VoteFlashError> {
        // `new` has checked that the page is aligned and large enough.
        let config =
            QueueConfig::try_new(self.range(page)).map_err(|_| VoteFlashError::Corrupted)?;
        Ok(QueueStorage::new(&mut self.flash, config, Cache::new_uncached()))
    }

    /// Whether nothing has been written to a page since it was erased.
    async fn is_blank(&mut self, page: u32) -> Result<bool, VoteFlashError> {
        for at in self.range(page).step_by(F::READ_SIZE) {
            let mut buffer = Buffer::EMPTY;
            let word = buffer.0.get_mut(..F::READ_SIZE).ok_or(VoteFlashError::Corrupted)?;
            let read = self.flash.read(at, word).await;
            read.map_err(|error| VoteFlashError::Flash(error.kind()))?;
            if word.iter().any(|byte| *byte != ERASED) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn range(&self, page: u32) -> Range<u32> {
        let len = F::ERASE_SIZE as u32;
        let start = self.start.saturating_add(page.saturating_mul(len));
        start..start.saturating_add(len)
    }
}

impl<F: NorFlash> VoteStore for VoteFlash<F> {
    type Error = VoteFlashError;

    async fn load(&mut self) -> Result<VoteRecord, VoteFlashError> {
        match self.survey().await? {
            (Some(record), oldest) => {
                self.write(oldest, &record).await?;
                Ok(record.record)
            }
            // The other pages are not written to before the first one holds a record.
            (None, _) if !self.is_blank(1).await? || !self.is_blank(2).await? => {
                Err(VoteFlashError::Lost)
            }
            (None, _) => Ok(VoteRecord::default()),
        }
    }

    async fn save(&mut self, record: &VoteRecord) -> Result<(), VoteFlashError> {
        let (latest, oldest) = self.survey().await?;
        self.write(oldest, &Numbered::after(latest.as_ref(), record)).await
    }
}

/// A record, and how many others of its term had the same vote, or none as well.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbered {
    record: VoteRecord,
    number: u16,
}

impl Numbered {
    /// The record that is saved after `latest`.
    fn after(latest: Option<&Self>, record: &VoteRecord) -> Self {
        let next = Self { record: record.clone(), number: 0 };
        match latest {
            Some(latest) if latest.record == *record => latest.clone(),
            Some(latest) if latest.rank() >= next.rank() => {
                Self { number: latest.number.saturating_add(1), ..next }
            }
            _ => next,
        }
    }

    /// Orders records by age: terms never fall, and within a term a vote is never taken back (rules
    /// T1, V1), nor do starts (K2). Whatever a number were to say, an older vote could not come
    /// back.
    fn rank(&self) -> (u64, bool, u32, u16) {
        let VoteRecord { term, voted_for, starts, .. } = &self.record;
        (*term, voted_for.is_some(), *starts, self.number)
    }
}

/// Room for a record, in whole words of any flash, and aligned as some flashes require.
#[repr(align(4))]
struct Buffer([u8; Encoded::LEN_MAX.next_multiple_of(WORD_MAX)]);

impl Buffer {
    const EMPTY: Self = Self([0; _]);
}

/// A record as it is in flash: the version of this layout; the term; the list's term and its
/// version, which is 0 if no list is declared; the promise; whether the node is paused; how often
/// it has started with a key; the record's number; and the id of the node voted for, or nothing.
/// Numbers are in little-endian order. sequential-storage adds the length and checksums.
struct Encoded {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
}

impl Encoded {
    const LEN_WITHOUT_ID: usize = 1 + 8 + 8 + 4 + 4 + 1 + 2;
    const STARTS_LEN: usize = 4;
    const LEN_MAX: usize = Self::LEN_WITHOUT_ID + Self::STARTS_LEN + NodeId::CAPACITY;

    fn of(Numbered { record, number }: &Numbered) -> Self {
        let (list_term, list_version) =
            record.list.map_or((0, 0), |list| (list.term, list.version));
        let id = record.voted_for.as_ref().map_or("", NodeId::as_str);
        // Flash lasts longer where there is no key.
        let starts = record.starts.to_le_bytes();
        let (version, starts) =
            if record.starts == 0 { (VERSION_3, &[][..]) } else { (VERSION, &starts[..]) };
        let parts = [
            &[version][..],
            &record.term.to_le_bytes(),
            &list_term.to_le_bytes(),
            &list_version.to_le_bytes(),
            &record.bound_for.to_le_bytes(),
            &[record.is_paused.into()],
            starts,
            &number.to_le_bytes(),
            id.as_bytes(),
        ];
        let mut bytes = [0; Self::LEN_MAX];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        let len = Self::LEN_WITHOUT_ID.saturating_add(starts.len()).saturating_add(id.len());
        Self { bytes, len }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The inverse of [`Encoded::of`]; none if the bytes are not a record. Layout 1 has the term and
/// the id alone; layout 2 knows of no pause, and layout 3 of no starts.
fn decode(bytes: &[u8]) -> Option<Numbered> {
    let (version, rest) = bytes.split_first()?;
    let (term, mut rest) = rest.split_first_chunk()?;
    let mut record = VoteRecord { term: u64::from_le_bytes(*term), ..VoteRecord::default() };
    let mut number = 0;
    match *version {
        VERSION_1 => {}
        VERSION_2 | VERSION_3 | VERSION => {
            let (list_term, after) = rest.split_first_chunk()?;
            let (list_version, after) = after.split_first_chunk()?;
            let (bound_for, after) = after.split_first_chunk()?;
            let (is_paused, after) = match *version {
                VERSION_2 => (&0, after),
                _ => after.split_first()?,
            };
            let (starts, after) = match *version {
                VERSION => after.split_first_chunk()?,
                _ => (&[0; 4], after),
            };
            let (number_bytes, id) = after.split_first_chunk()?;
            let (term, version) =
                (u64::from_le_bytes(*list_term), u32::from_le_bytes(*list_version));
            record.list = (version != 0).then_some(ListId { term, version });
            record.bound_for = u32::from_le_bytes(*bound_for);
            record.is_paused = *is_paused != 0;
            record.starts = u32::from_le_bytes(*starts);
            number = u16::from_le_bytes(*number_bytes);
            rest = id;
        }
        _ => return None,
    }
    record.voted_for = if rest.is_empty() { None } else { Some(NodeId::from_bytes(rest).ok()?) };
    Some(Numbered { record, number })
}

/// Why a [`VoteFlash`] can't load or save. The node then does not start, or stays silent (rule C4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VoteFlashError {
    /// The flash itself reports a failure.
    #[error("the flash failed: {0}")]
    Flash(NorFlashErrorKind),
    /// The pages hold something that no save put there, and erasing them doesn't help.
    #[error("the flash is corrupted")]
    Corrupted,
    /// The pages hold a whole item that is not a vote record of this version.
    #[error("the flash holds something other than vote records")]
    Malformed,
    /// The pages are in use, but hold no record. A node that lost its vote must not vote again
    /// under its id (rule V9).
    #[error("the vote record is lost")]
    Lost,
    /// The record does not read back as it was written: the flash is worn out.
    #[error("the flash does not keep what is written")]
    NotKept,
}

impl<E: NorFlashError> From<sequential_storage::Error<E>> for VoteFlashError {
    fn from(error: sequential_storage::Error<E>) -> Self {
        match error {
            sequential_storage::Error::Storage { value } => Self::Flash(value.kind()),
            // All the others mean that the pages hold something that no save has written.
            _ => Self::Corrupted,
        }
    }
}

/// Why votes can't be kept in a region of a flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RegionError {
    /// The region does not begin where a page does.
    #[error("the votes must begin at the start of a page")]
    WithinAPage,
    /// The flash ends before the region does.
    #[error("the votes take three pages, and the flash ends before the last of them")]
    BeyondTheEnd,
    /// A page is too small for a record.
    #[error("the pages of the flash are too small for a vote")]
    PagesTooSmall,
}
