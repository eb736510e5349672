use core::ops::Range;

use embedded_storage_async::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};
use graft_election_core::{ListId, NodeId, RecordedList, VoteRecord, VoterList};
use heapless::Vec;
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

/// The bytes of a list's id: its term and its version.
const LIST_ID_LEN: usize = 8 + 4;

/// How a record says that it has no list: no list has the version 0.
const NO_LIST: ListId = ListId { term: 0, version: 0 };

/// What an item begins with: one of the voters of a list.
const VOTER: u8 = 5;

/// A record. Only nodes with a key write it in this layout.
const RECORD_4: u8 = 4;

/// A record that doesn't count the starts: that of a node without a key.
const RECORD_3: u8 = 3;

/// One that doesn't say whether the node is paused.
const RECORD_2: u8 = 2;

/// One that has neither the list nor the promise.
const RECORD_1: u8 = 1;

/// The vote record in NOR flash, safe from power cuts during any write and any erasure.
///
/// It takes three pages, each with its own log of records. A save goes to the page whose latest
/// record is the oldest, and is read back before it counts. So whatever a power cut leaves on that
/// page, half an erasure for instance, the latest record and the one before it are untouched. The
/// latest record is the one with the highest term, and within a term the one with a vote (rules T1,
/// V1), so the remains of an older one can't be mistaken for it. What else may change within a term
/// (the list of voters, the longest promise) is numbered.
///
/// The ids of the voters are written before the first record on a page that needs them, and not
/// with each record: so the flash lasts for many more elections.
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
        if Self::saves(1, 0, NodeId::CAPACITY) == 0 {
            return Err(RegionError::PagesTooSmall);
        }
        Ok(Self { flash, start })
    }

    /// How many saves the flash lasts for, at least, if each page endures `erase_cycles` erasures,
    /// so many `voters` are declared, and no id in the cluster has more than `id_len` bytes.
    ///
    /// A node saves once when it starts, at most twice per term, and once more when it is given
    /// other timeouts or declared voters. A power cut during a save costs at most two more
    /// erasures. With a cluster's key a save takes four bytes more.
    pub const fn saves(erase_cycles: u32, voters: usize, id_len: usize) -> u64 {
        let list_len = voters * Self::item_len(Encoded::VOTER_LEN_WITHOUT_ID + id_len);
        let record_len = Self::item_len(Encoded::RECORD_LEN_WITHOUT_ID + id_len);
        let on_page = Self::CONTENT_LEN.saturating_sub(list_len) / record_len;
        PAGES as u64 * on_page as u64 * erase_cycles as u64
    }

    /// How many bytes of a page are for records; its first and its last word keep its state.
    const CONTENT_LEN: usize = F::ERASE_SIZE.saturating_sub(2 * Self::WORD);

    /// The bytes of the unit in which flash is written and read.
    const WORD: usize = if F::WRITE_SIZE > F::READ_SIZE { F::WRITE_SIZE } else { F::READ_SIZE };

    /// How many bytes of a page an item of `len` bytes takes.
    const fn item_len(len: usize) -> usize {
        HEADER_LEN.next_multiple_of(Self::WORD) + len.next_multiple_of(Self::WORD)
    }

    /// The latest record of all pages, and the page whose latest record is the oldest.
    async fn survey(&mut self) -> Result<(Option<Numbered>, u32), VoteFlashError> {
        let (mut latest, mut oldest) = (None, (None, 0));
        for page in 0..PAGES {
            let record = self.latest_in(page, &mut |_| {}).await?;
            let rank = record.as_ref().map(Numbered::rank);
            if page == 0 || rank < oldest.0 {
                oldest = (rank, page);
            }
            if rank > latest.as_ref().map(Numbered::rank) {
                latest = record;
            }
        }
        Ok((latest, oldest.1))
    }

    /// The latest record of a page. A page that a power cut left in disorder has none.
    async fn latest_in(
        &mut self,
        page: u32,
        on_voter: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Numbered>, VoteFlashError> {
        match self.read(page, on_voter).await {
            Err(VoteFlashError::Corrupted) => Ok(None),
            result => result,
        }
    }

    /// The latest record of a page; what the page has of lists is for `on_voter`.
    async fn read(
        &mut self,
        page: u32,
        on_voter: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Numbered>, VoteFlashError> {
        let mut buffer = Buffer::EMPTY;
        let mut latest = None;
        let mut len = 0_usize;
        let mut log = self.log(page)?;
        let mut items = log.iter().await?;
        while let Some(bytes) = items.next(&mut buffer.0).await? {
            len = len.saturating_add(Self::item_len(bytes.len()));
            if bytes.first() == Some(&VOTER) {
                on_voter(&bytes);
                continue;
            }
            let record = decode_record(&bytes).ok_or(VoteFlashError::Malformed)?;
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

    /// The list that the latest record names, if it is anywhere in full. Which page it is on makes
    /// no difference: an id never names two lists.
    async fn find_list<const VOTERS: usize>(
        &mut self,
        id: ListId,
    ) -> Result<RecordedList<VOTERS>, VoteFlashError> {
        for page in 0..PAGES {
            let mut list = KeptList::EMPTY;
            if self.latest_in(page, &mut |bytes| list.add(id, bytes)).await?.is_none() {
                continue;
            }
            if let Some(list) = list.whole(id)? {
                return Ok(RecordedList::Whole(list));
            }
        }
        Ok(RecordedList::Id(id))
    }

    /// Writes a record to a page, after the voters that it needs, and reads both back. A page in
    /// disorder is erased first, and so is one that is full.
    async fn write<const VOTERS: usize>(
        &mut self,
        page: u32,
        record: &Numbered,
        list: Option<&VoterList<VOTERS>>,
    ) -> Result<(), VoteFlashError> {
        let encoded = Encoded::record(record);
        let mut known = 0;
        let mut count = |bytes: &[u8]| known += usize::from(is_voter(bytes, list, known));
        let is_in_order = match self.read(page, &mut count).await {
            Err(VoteFlashError::Corrupted) => false,
            result => result.map(|_| true)?,
        };
        let len = |known| Self::item_len(encoded.len).saturating_add(Self::list_len(list, known));
        if !is_in_order || len(known) > self.log(page)?.space_left().await? as usize {
            known = 0;
            if len(known) > Self::CONTENT_LEN {
                return Err(VoteFlashError::NoRoom);
            }
            self.log(page)?.erase_all().await?;
        }
        let voters = list.map_or(0, |list| list.voters().len());
        for place in known..=voters {
            let voter = Encoded::voter(list, place);
            let item = voter.as_ref().unwrap_or(&encoded);
            self.log(page)?.push(item.as_bytes(), false).await?;
        }
        let mut kept = 0;
        let mut count = |bytes: &[u8]| kept += usize::from(is_voter(bytes, list, kept));
        let latest = self.latest_in(page, &mut count).await?;
        let is_kept = kept == voters && latest.as_ref() == Some(record);
        if is_kept { Ok(()) } else { Err(VoteFlashError::NotKept) }
    }

    /// How many bytes of a page the voters of the list take, but for the first `known`.
    fn list_len<const VOTERS: usize>(list: Option<&VoterList<VOTERS>>, known: usize) -> usize {
        let ids = list.map_or(&[][..], VoterList::voters).get(known..).unwrap_or_default();
        let len = |id: &NodeId| Encoded::VOTER_LEN_WITHOUT_ID + id.as_bytes().len();
        ids.iter().map(|id| Self::item_len(len(id))).sum()
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

impl<F: NorFlash, const VOTERS: usize> VoteStore<VOTERS> for VoteFlash<F> {
    type Error = VoteFlashError;

    async fn load(&mut self) -> Result<VoteRecord<VOTERS>, VoteFlashError> {
        match self.survey().await? {
            (Some(latest), oldest) => {
                let id = latest.record.list.as_ref().map(RecordedList::id);
                let list = match id {
                    Some(id) => Some(self.find_list(id).await?),
                    None => None,
                };
                let record = with_list(&latest.record, list);
                self.write(oldest, &latest, record.voter_list()).await?;
                Ok(record)
            }
            // The other pages are not written to before the first one holds a record.
            (None, _) if !self.is_blank(1).await? || !self.is_blank(2).await? => {
                Err(VoteFlashError::Lost)
            }
            (None, _) => Ok(VoteRecord::default()),
        }
    }

    async fn save(&mut self, record: &VoteRecord<VOTERS>) -> Result<(), VoteFlashError> {
        let (latest, oldest) = self.survey().await?;
        let id = record.list.as_ref().map(RecordedList::id);
        let bare = with_list(record, id.map(RecordedList::Id));
        let next = Numbered::after(latest.as_ref(), bare);
        self.write(oldest, &next, record.voter_list()).await
    }
}

/// A record that names its list, and has none of its voters.
type BareRecord = VoteRecord<0>;

/// The same record, with another list.
fn with_list<const FROM: usize, const TO: usize>(
    record: &VoteRecord<FROM>,
    list: Option<RecordedList<TO>>,
) -> VoteRecord<TO> {
    let VoteRecord { term, voted_for, list: _, bound_for, is_paused, starts } = record.clone();
    VoteRecord { term, voted_for, list, bound_for, is_paused, starts }
}

/// A record, and how many others of its term had the same vote, or none as well.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbered {
    record: BareRecord,
    number: u16,
}

impl Numbered {
    /// The record that is saved after `latest`.
    fn after(latest: Option<&Self>, record: BareRecord) -> Self {
        let next = Self { record, number: 0 };
        match latest {
            Some(latest) if latest.record == next.record => latest.clone(),
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

/// What a page has of a list: its voters from the first one on, if not all of them.
struct KeptList<const VOTERS: usize> {
    root: ListId,
    count: u8,
    voters: Vec<NodeId, VOTERS, u8>,
    /// There are more than there is room for.
    is_too_long: bool,
}

impl<const VOTERS: usize> KeptList<VOTERS> {
    const EMPTY: Self = Self { root: NO_LIST, count: 0, voters: Vec::new(), is_too_long: false };

    /// Adds a voter, if it is the next one of this list. One that is there twice was written again
    /// after a power cut.
    fn add(&mut self, id: ListId, bytes: &[u8]) {
        let Some(voter) = decode_voter(bytes).filter(|voter| voter.list == id) else {
            return;
        };
        if usize::from(voter.place) == self.voters.len() {
            (self.root, self.count) = (voter.root, voter.count);
            self.is_too_long |= self.voters.push(voter.id).is_err();
        }
    }

    /// The list, if all of it is there.
    fn whole(self, id: ListId) -> Result<Option<VoterList<VOTERS>>, VoteFlashError> {
        if self.is_too_long {
            return Err(VoteFlashError::TooManyVoters);
        }
        let is_whole = self.voters.len() == usize::from(self.count);
        let list = is_whole.then(|| VoterList::restored(id, self.root, self.voters));
        Ok(list.and_then(Result::ok))
    }
}

/// Whether these bytes are the voter at this place of the list.
fn is_voter<const VOTERS: usize>(
    bytes: &[u8],
    list: Option<&VoterList<VOTERS>>,
    place: usize,
) -> bool {
    Encoded::voter(list, place).is_some_and(|voter| voter.as_bytes() == bytes)
}

/// Room for an item, in whole words of any flash, and aligned as some flashes require.
#[repr(align(4))]
struct Buffer([u8; Encoded::LEN_MAX.next_multiple_of(WORD_MAX)]);

impl Buffer {
    const EMPTY: Self = Self([0; _]);
}

/// A record, or one of the voters of a list, as it is in flash. Numbers are in little-endian order.
/// sequential-storage adds the length and checksums.
struct Encoded {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
}

impl Encoded {
    const RECORD_LEN_WITHOUT_ID: usize = 1 + 8 + LIST_ID_LEN + 4 + 1 + 2;
    const VOTER_LEN_WITHOUT_ID: usize = 1 + 2 * LIST_ID_LEN + 1 + 1;
    const STARTS_LEN: usize = 4;
    const LEN_MAX: usize = Self::RECORD_LEN_WITHOUT_ID + Self::STARTS_LEN + NodeId::CAPACITY;

    /// The version of this layout; the term; the list's term and its version, which is 0 if no list
    /// is declared; the promise; whether the node is paused; how often it has started with a key;
    /// the record's number; and the id of the node voted for, or nothing.
    fn record(Numbered { record, number }: &Numbered) -> Self {
        let list = record.list.as_ref().map_or(NO_LIST, RecordedList::id);
        let id = record.voted_for.as_ref().map_or(&[][..], NodeId::as_bytes);
        // Flash lasts longer where there is no key.
        let starts = record.starts.to_le_bytes();
        let (version, starts) =
            if record.starts == 0 { (RECORD_3, &[][..]) } else { (RECORD_4, &starts[..]) };
        Self::concatenated(&[
            &[version],
            &record.term.to_le_bytes(),
            &list.term.to_le_bytes(),
            &list.version.to_le_bytes(),
            &record.bound_for.to_le_bytes(),
            &[record.is_paused.into()],
            starts,
            &number.to_le_bytes(),
            id,
        ])
    }

    /// The voter at this place of the list: what says that it is one; the list's id and its root's,
    /// each as term and version; the place, from 0 on, and how many voters there are; and its id.
    fn voter<const VOTERS: usize>(list: Option<&VoterList<VOTERS>>, place: usize) -> Option<Self> {
        let list = list?;
        let id = list.voters().get(place)?;
        let count = u8::try_from(list.voters().len()).ok()?;
        Some(Self::concatenated(&[
            &[VOTER],
            &list.id().term.to_le_bytes(),
            &list.id().version.to_le_bytes(),
            &list.root().term.to_le_bytes(),
            &list.root().version.to_le_bytes(),
            &[u8::try_from(place).ok()?, count],
            id.as_bytes(),
        ]))
    }

    /// The parts, one after the other.
    fn concatenated(parts: &[&[u8]]) -> Self {
        let (mut bytes, mut len) = ([0; Self::LEN_MAX], 0);
        for (to, from) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
            (*to, len) = (*from, len + 1);
        }
        Self { bytes, len }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The inverse of [`Encoded::record`]; none if the bytes are not a record. Layout 1 has the term
/// and the id alone; layout 2 knows of no pause, and layout 3 of no starts.
fn decode_record(bytes: &[u8]) -> Option<Numbered> {
    let (version, rest) = bytes.split_first()?;
    let (term, mut rest) = rest.split_first_chunk()?;
    let mut record = BareRecord { term: u64::from_le_bytes(*term), ..BareRecord::default() };
    let mut number = 0;
    match *version {
        RECORD_1 => {}
        RECORD_2 | RECORD_3 | RECORD_4 => {
            let (list, after) = decode_list_id(rest)?;
            let (bound_for, after) = after.split_first_chunk()?;
            let (is_paused, after) = match *version {
                RECORD_2 => (&0, after),
                _ => after.split_first()?,
            };
            let (starts, after) = match *version {
                RECORD_4 => after.split_first_chunk()?,
                _ => (&[0; 4], after),
            };
            let (number_bytes, id) = after.split_first_chunk()?;
            record.list = (list != NO_LIST).then_some(RecordedList::Id(list));
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

/// One of the voters of a list.
struct Voter {
    list: ListId,
    root: ListId,
    place: u8,
    count: u8,
    id: NodeId,
}

/// The inverse of [`Encoded::voter`].
fn decode_voter(bytes: &[u8]) -> Option<Voter> {
    let (_, rest) = bytes.split_first()?;
    let (list, rest) = decode_list_id(rest)?;
    let (root, rest) = decode_list_id(rest)?;
    let ([place, count], id) = rest.split_first_chunk()?;
    let id = NodeId::from_bytes(id).ok()?;
    Some(Voter { list, root, place: *place, count: *count, id })
}

fn decode_list_id(bytes: &[u8]) -> Option<(ListId, &[u8])> {
    let (term, rest) = bytes.split_first_chunk()?;
    let (version, rest) = rest.split_first_chunk()?;
    let (term, version) = (u64::from_le_bytes(*term), u32::from_le_bytes(*version));
    Some((ListId { term, version }, rest))
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
    /// The ids of all voters don't fit into a page beside a record.
    #[error("the pages of the flash are too small for the list of voters")]
    NoRoom,
    /// The pages hold the list of a cluster that has more voters than this program has room for.
    #[error("the flash has more voters than there is room for")]
    TooManyVoters,
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
