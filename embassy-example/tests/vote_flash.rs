//! The vote record in flash, under power cuts, wear and strange contents (rules T1, V1, V3, V6, V9,
//! C4, N6; invariant I2).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod flash;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use graft_election_core::{ListId, NodeId, RecordedList, VoterList};
use graft_election_embassy::{ProvisionError, RegionError, VoteFlash, VoteFlashError, VoteStore};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sequential_storage::cache::Cache;
use sequential_storage::queue::{QueueConfig, QueueStorage};

use crate::flash::{Chip, Fault, PAGE, Torn};

const VOTES: u64 = 200;

type VoteRecord = graft_election_core::VoteRecord<7>;

#[test]
fn t1_a_node_that_never_saved_has_no_vote() {
    let chip = Chip::new(3, 1);
    assert_eq!(load(&chip), Some(Ok(VoteRecord::default())));
    assert_eq!(chip.look().operations, 0);
}

#[test]
fn v1_what_was_saved_last_is_loaded() {
    let chip = Chip::new(3, 1);
    for record in history() {
        assert_eq!(save(&chip, &record), Some(Ok(())));
        assert_eq!(load(&chip), Some(Ok(record)));
    }
    assert!(chip.look().erasures.iter().all(|erasures| *erasures >= 5));
}

#[test]
fn v1_the_longest_and_the_shortest_records_are_kept() {
    let chip = Chip::new(3, 1);
    let longest = id(&"n".repeat(NodeId::CAPACITY));
    let list = |term, version| Some(RecordedList::Id(ListId { term, version }));
    for (term, voted_for, list, bound_for, is_paused, starts) in [
        (0, None, None, 0, false, 0),
        (1, Some(longest), list(u64::MAX, u32::MAX), u32::MAX, true, u32::MAX),
        (u64::MAX - 1, None, None, 0, true, 0),
        (u64::MAX, Some(id("n")), list(0, 1), 1, false, 1),
    ] {
        let record = VoteRecord { term, voted_for, list, bound_for, is_paused, starts };
        assert_eq!(save(&chip, &record), Some(Ok(())));
        assert_eq!(load(&chip), Some(Ok(record)));
    }
}

#[test]
fn i2_after_a_power_cut_at_any_write_or_erasure_the_old_record_or_the_new_one_is_there() {
    let chip = Chip::new(3, 1);
    let mut old = VoteRecord::default();
    let (mut cuts, mut cuts_at_start) = (0, 0);
    for new in history() {
        let save_new = |chip: &Chip| save(chip, &new);
        cuts += at_every_cut(&chip, save_new, |chip| {
            let found = found(chip, &[&old, &new]);
            // Power may be lost again while the node starts.
            if new.bound_for != 250_000 {
                return;
            }
            cuts_at_start += at_every_cut(chip, load, |chip| {
                self::found(chip, &[&found]);
            });
        });
        assert_eq!(save(&chip, &new), Some(Ok(())));
        old = new;
    }
    assert!(cuts > 2_000 && cuts_at_start > 4_000, "only {cuts} and {cuts_at_start} cuts");
    assert!(chip.look().erasures.iter().all(|erasures| *erasures >= 3));
}

#[test]
fn i2_power_cuts_one_after_the_other_never_bring_an_older_record_back() {
    for seed in 0..50 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let chip = Chip::new(3, seed);
        let mut old = VoteRecord::default();
        for new in history() {
            cut_at_random(&chip, &mut rng);
            let saved = save(&chip, &new);
            assert!(matches!(saved, None | Some(Ok(()))), "seed {seed}: {saved:?}");
            let allowed = if saved.is_some() { [&new; 2] } else { [&old, &new] };
            while chip.is_off() {
                chip.power_on();
                cut_at_random(&chip, &mut rng);
                let _ = load(&chip);
            }
            chip.power_on();
            old = found(&chip, &allowed);
            if rng.random() {
                assert_eq!(load(&chip), Some(Ok(old.clone())), "seed {seed}");
            }
        }
    }
}

#[test]
fn c4_a_flash_that_fails_is_reported() {
    let failed = VoteFlashError::Flash(NorFlashErrorKind::Other);
    let chip = Chip::new(3, 1);
    chip.fail(Some(Fault::Read));
    assert_eq!(load(&chip), Some(Err(failed)));
    chip.fail(Some(Fault::Write));
    assert_eq!(save(&chip, &record(1)), Some(Err(failed)));
    chip.fail(Some(Fault::Erase));
    let result = (1..100).find_map(|term| save(&chip, &record(term)).unwrap().err());
    assert_eq!(result, Some(failed), "a page that has to be erased can't be");
    chip.fail(None);
    assert_eq!(save(&chip, &record(100)), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(record(100))));
}

#[test]
fn c4_a_flash_that_does_not_keep_what_is_written_is_reported() {
    let chip = Chip::new(3, 1);
    assert_eq!(save(&chip, &record(1)), Some(Ok(())));
    chip.fail(Some(Fault::Worn));
    for term in 2..100 {
        let result = save(&chip, &record(term)).unwrap();
        assert!(result.is_err(), "term {term}");
    }
}

#[test]
fn v9_pages_in_use_that_have_no_record_are_not_taken_for_new_ones() {
    let chip = Chip::new(3, 1);
    for term in [1, 2] {
        assert_eq!(save(&chip, &record(term)), Some(Ok(())));
    }
    for at in (0..3 * PAGE).filter(|at| at % PAGE >= 4) {
        chip.0.borrow_mut().bytes[at] &= 0x55;
    }
    assert_eq!(load(&chip), Some(Err(VoteFlashError::Lost)));
}

#[test]
fn v9_what_is_not_a_record_of_this_version_is_not_taken_for_an_old_one() {
    let chip = Chip::new(3, 1);
    assert_eq!(save(&chip, &record(1)), Some(Ok(())));
    let last_page = QueueConfig::new(2 * PAGE as u32..3 * PAGE as u32);
    let mut log = QueueStorage::new(chip.clone(), last_page, Cache::new_uncached());
    let of_version_4 = [4, 9, 0, 0, 0, 0, 0, 0, 0];
    powered(&chip, log.push(&of_version_4, false)).unwrap().unwrap();
    assert_eq!(load(&chip), Some(Err(VoteFlashError::Malformed)));
    assert_eq!(save(&chip, &record(2)), Some(Err(VoteFlashError::Malformed)));
}

#[test]
fn v3_v6_within_a_term_the_record_that_was_saved_last_counts() {
    let base = VoteRecord { term: 7, voted_for: Some(id("a")), ..VoteRecord::default() };
    let chip = Chip::new(3, 1);
    for bound_for in [0, 500, 1_000, 500, 0, 0, 700] {
        for list in [None, Some(RecordedList::Id(ListId { term: 0, version: 9 }))] {
            let record = VoteRecord { list, bound_for, ..base.clone() };
            assert_eq!(save(&chip, &record), Some(Ok(())));
            assert_eq!(load(&chip), Some(Ok(record)));
        }
    }
}

#[test]
fn v1_what_a_node_would_never_save_is_not_taken_for_later() {
    let chip = Chip::new(3, 1);
    let vote = VoteRecord { term: 7, voted_for: Some(id("a")), ..VoteRecord::default() };
    assert_eq!(save(&chip, &vote), Some(Ok(())));
    for earlier in [
        VoteRecord { term: 6, bound_for: 9, ..vote.clone() },
        VoteRecord { voted_for: None, bound_for: 9, ..vote.clone() },
    ] {
        let _ = save(&chip, &earlier);
        assert_eq!(load(&chip), Some(Ok(vote.clone())));
    }
}

#[test]
fn o3_the_records_of_layout_2_have_no_pause() {
    let chip = Chip::new(3, 1);
    let page = QueueConfig::new(0..PAGE as u32);
    let mut log = QueueStorage::new(chip.clone(), page, Cache::new_uncached());
    let of_layout_2 = b"\x02\x09\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x06\0\0\0\x01\0a";
    powered(&chip, log.push(of_layout_2, false)).unwrap().unwrap();
    let list = Some(RecordedList::Id(ListId { term: 3, version: 5 }));
    let voted_for = Some(id("a"));
    let old = VoteRecord { term: 9, voted_for, list, bound_for: 6, ..VoteRecord::default() };
    assert_eq!(load(&chip), Some(Ok(old.clone())));
    let new = VoteRecord { is_paused: true, ..old };
    assert_eq!(save(&chip, &new), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(new)));
}

#[test]
fn k2_the_records_of_layout_3_have_no_starts() {
    let chip = Chip::new(3, 1);
    let page = QueueConfig::new(0..PAGE as u32);
    let mut log = QueueStorage::new(chip.clone(), page, Cache::new_uncached());
    let of_layout_3 = b"\x03\x09\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x06\0\0\0\x01\x01\0a";
    powered(&chip, log.push(of_layout_3, false)).unwrap().unwrap();
    let list = Some(RecordedList::Id(ListId { term: 3, version: 5 }));
    let voted_for = Some(id("a"));
    let old = VoteRecord { term: 9, voted_for, list, bound_for: 6, is_paused: true, starts: 0 };
    assert_eq!(load(&chip), Some(Ok(old.clone())));
    let new = VoteRecord { starts: 1, ..old };
    assert_eq!(save(&chip, &new), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(new)));
}

#[cfg(feature = "seal")]
#[test]
fn k2_starts_are_counted_and_a_cut_repeats_none() {
    let chip = Chip::new(3, 1);
    let vote = VoteRecord { term: 9, voted_for: Some(id("a")), ..VoteRecord::default() };
    assert_eq!(save(&chip, &vote), Some(Ok(())));
    let count = |chip: &Chip| {
        powered(chip, VoteStore::<7>::count_start(&mut VoteFlash::new(chip.clone(), 0).unwrap()))
    };
    for starts in 1..=3 {
        let before = VoteRecord { starts: starts - 1, ..vote.clone() };
        let after = VoteRecord { starts, ..vote.clone() };
        at_every_cut(&chip, count, |chip| {
            found(chip, &[&before, &after]);
        });
        assert_eq!(count(&chip), Some(Ok(starts)));
        assert_eq!(load(&chip), Some(Ok(after)));
    }
}

#[test]
fn v3_v6_the_records_of_layout_1_have_no_list_and_no_promise() {
    let of_layout_1 =
        [(&b"\x01\x09\0\0\0\0\0\0\0a"[..], Some(id("a"))), (b"\x01\x09\0\0\0\0\0\0\0", None)];
    for (bytes, voted_for) in of_layout_1 {
        let chip = Chip::new(3, 1);
        let page = QueueConfig::new(0..PAGE as u32);
        let mut log = QueueStorage::new(chip.clone(), page, Cache::new_uncached());
        powered(&chip, log.push(bytes, false)).unwrap().unwrap();
        let old = VoteRecord { term: 9, voted_for, ..VoteRecord::default() };
        let new = VoteRecord { bound_for: 500, ..old.clone() };
        at_every_cut(&chip, load, |chip| {
            found(chip, &[&old]);
        });
        at_every_cut(
            &chip,
            |chip| save(chip, &new),
            |chip| {
                found(chip, &[&old, &new]);
            },
        );
        assert_eq!(load(&chip), Some(Ok(old)));
        assert_eq!(save(&chip, &new), Some(Ok(())));
        assert_eq!(load(&chip), Some(Ok(new)));
    }
}

#[test]
fn n6_a_first_record_is_made_once() {
    let chip = Chip::new(3, 1);
    let voters = [id("a"), id("b"), id("c")];
    assert_eq!(provision(&chip, &voters), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(first(&voters))));
    // Neither the same voters nor others replace it.
    for voters in [&voters[..], &voters[..2]] {
        assert_eq!(provision(&chip, voters), Some(Err(ProvisionError::InUse)));
    }
    assert_eq!(load(&chip), Some(Ok(first(&voters))));
}

#[test]
fn n6_a_node_that_was_in_use_undeclared_has_its_record_already() {
    let chip = Chip::new(3, 1);
    assert_eq!(save(&chip, &record(1)), Some(Ok(())));
    assert_eq!(provision(&chip, &[id("a")]), Some(Err(ProvisionError::InUse)));
    assert_eq!(load(&chip), Some(Ok(record(1))));
}

#[test]
fn n6_a_lost_record_is_not_replaced_by_a_first_one() {
    let chip = Chip::new(3, 1);
    for number in [1, 2] {
        assert_eq!(save(&chip, &record(number)), Some(Ok(())));
    }
    for at in (0..3 * PAGE).filter(|at| at % PAGE >= 4) {
        chip.0.borrow_mut().bytes[at] &= 0x55;
    }
    let lost = ProvisionError::Load(VoteFlashError::Lost);
    assert_eq!(provision(&chip, &[id("a")]), Some(Err(lost)));
}

#[test]
fn n6_power_may_be_cut_while_the_first_record_is_made() {
    let chip = Chip::new(3, 1);
    let voters = [id("a"), id("b"), id("c")];
    let (first, none) = (first(&voters), VoteRecord::default());
    let cuts = at_every_cut(
        &chip,
        |chip| provision(chip, &voters),
        |chip| {
            let is_made = found(chip, &[&none, &first]) == first;
            let again = if is_made { Err(ProvisionError::InUse) } else { Ok(()) };
            assert_eq!(provision(chip, &voters), Some(again));
            found(chip, &[&first]);
        },
    );
    assert!(cuts > 10);
}

#[test]
fn r1_a_list_is_found_again_with_whatever_page_the_latest_record_is_on() {
    let chip = Chip::new(3, 1);
    let bare = VoteRecord { term: 7, list: Some(RecordedList::Id(list(3).id())), ..record(0) };
    assert_eq!(save(&chip, &bare), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(bare.clone())));
    // A record of an earlier version is completed at the next start.
    let whole = VoteRecord { list: Some(RecordedList::Whole(list(3))), ..bare };
    assert_eq!(save(&chip, &whole), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(whole.clone())));
    for term in 8..40 {
        let next = VoteRecord { term, ..whole.clone() };
        assert_eq!(save(&chip, &next), Some(Ok(())));
        assert_eq!(load(&chip), Some(Ok(next)));
    }
}

#[test]
fn r1_a_list_that_no_page_has_room_for_is_refused() {
    let chip = Chip::new(3, 1);
    let ids = ["a", "b", "c"].map(|name| id(&name.repeat(NodeId::CAPACITY)));
    assert_eq!(save(&chip, &first(&ids)), Some(Err(VoteFlashError::NoRoom)));
    assert_eq!(save(&chip, &first(&ids[..1])), Some(Ok(())));
    assert_eq!(load(&chip), Some(Ok(first(&ids[..1]))));
}

#[test]
fn r1_a_program_with_less_room_refuses_a_longer_list() {
    let chip = Chip::new(3, 1);
    assert_eq!(save(&chip, &first(&["a", "b", "c"].map(id))), Some(Ok(())));
    let mut votes = VoteFlash::new(chip.clone(), 0).unwrap();
    let loaded = powered(&chip, VoteStore::<2>::load(&mut votes)).unwrap();
    assert_eq!(loaded, Err(VoteFlashError::TooManyVoters));
}

#[test]
fn regions_where_votes_cannot_be_kept_are_refused() {
    let new = |start: u32| VoteFlash::new(Chip::new(4, 1), start).err();
    let page = PAGE as u32;
    assert_eq!(new(0), None);
    assert_eq!(new(page), None);
    assert_eq!(new(1), Some(RegionError::WithinAPage));
    assert_eq!(new(2 * page), Some(RegionError::BeyondTheEnd));
    assert_eq!(new(page.wrapping_neg()), Some(RegionError::BeyondTheEnd));
    assert_eq!(VoteFlash::new(Unused::<64>, 0).err(), Some(RegionError::PagesTooSmall));
}

#[test]
fn the_flash_lasts_for_as_many_saves_as_is_stated() {
    const ERASE_CYCLES: u32 = 20;
    for voters in [0, 1, 3] {
        let ids = ["a", "b", "c"].map(id);
        let list = (voters > 0).then(|| VoterList::declared(&ids[..voters]).unwrap());
        let chip = Chip::new(3, 1);
        let mut saves = 0;
        while chip.look().erasures.iter().all(|erasures| *erasures <= ERASE_CYCLES) {
            saves += 1;
            let (voted_for, list) = (Some(id("a")), list.clone().map(RecordedList::Whole));
            let record = VoteRecord { term: saves, voted_for, list, ..VoteRecord::default() };
            assert_eq!(save(&chip, &record), Some(Ok(())));
        }
        let stated = VoteFlash::<Chip>::saves(ERASE_CYCLES, voters, 1);
        // The saves before the first erasure of each page come on top.
        let on_top = VoteFlash::<Chip>::saves(1, voters, 1);
        assert!((stated..=stated + on_top + 1).contains(&saves), "{stated} stated, {saves} done");
    }
}

#[test]
fn the_saves_that_the_readme_states_are_those_of_the_code() {
    const README: &str = include_str!("../README.md");
    let rows = [
        ("4 KiB", "100,000", VoteFlash::<Unused<4096>>::saves(100_000, 7, 8)),
        ("4 KiB", "10,000", VoteFlash::<Unused<4096>>::saves(10_000, 7, 8)),
        ("1 KiB", "10,000", VoteFlash::<Unused<1024>>::saves(10_000, 7, 8)),
    ];
    for (page, erase_cycles, saves) in rows {
        let row = format!("| {page} | {erase_cycles} | {:.1} million |", saves as f64 / 1e6);
        assert!(README.contains(&row), "{row}");
    }
}

/// Records as a node saves them: terms rise, and a vote is there at once, or later, or never.
/// Within a term the promise becomes longer or shorter, and voters are declared.
fn history() -> impl Iterator<Item = VoteRecord> {
    (1..=VOTES).map(record)
}

fn record(number: u64) -> VoteRecord {
    let term = number - number % 5;
    let voter = id(["a", "node-2", "a-node-with-a-long-name"][term as usize % 3]);
    let step = number % 5;
    VoteRecord {
        term,
        voted_for: (step >= term % 4).then_some(voter),
        list: (step >= term % 3).then(|| RecordedList::Whole(list(term / 50))),
        bound_for: [500_000, 250_000, 300_000, 1_000_000, 900_000][step as usize],
        is_paused: step % 2 == 1,
        starts: number as u32,
    }
}

/// The list that holds from `term` on: each is another, and has one voter more, up to five.
fn list(term: u64) -> VoterList<7> {
    let ids = ["a", "b-with-a-longer-name", "c", "d", "e"].map(id);
    let (root, id) = (ListId::declared(&ids[..1]), ListId { term, version: 7 });
    VoterList::restored(id, root, ids.into_iter().take(term as usize % 5 + 1)).unwrap()
}

fn first(voters: &[NodeId]) -> VoteRecord {
    VoteRecord::first(VoterList::declared(voters).unwrap())
}

/// Cuts power at each write and erasure that `run` makes, in every way, on a copy of the chip, and
/// calls `check` when power is back. Returns how many cuts there were.
fn at_every_cut<T>(chip: &Chip, run: impl Fn(&Chip) -> T, mut check: impl FnMut(&Chip)) -> usize {
    let whole = copy(chip);
    run(&whole);
    let operations = whole.look().operations - chip.look().operations;
    for operation in 0..operations {
        for torn in Torn::ALL {
            let copy = copy(chip);
            copy.cut_after(operation, torn);
            run(&copy);
            assert!(copy.is_off());
            copy.power_on();
            check(&copy);
        }
    }
    operations * Torn::ALL.len()
}

fn cut_at_random(chip: &Chip, rng: &mut SmallRng) {
    if rng.random() {
        let torn = Torn::ALL[rng.random_range(0..Torn::ALL.len())];
        chip.cut_after(rng.random_range(0..6), torn);
    }
}

/// The record that a node would find, which must be one of `allowed`, and the same after one more
/// power cycle.
#[track_caller]
fn found(chip: &Chip, allowed: &[&VoteRecord]) -> VoteRecord {
    let chip = copy(chip);
    let found = load(&chip).unwrap().unwrap();
    assert!(allowed.contains(&&found), "{found:?} is none of {allowed:?}");
    chip.power_on();
    assert_eq!(load(&chip), Some(Ok(found.clone())));
    found
}

/// None if power was lost before the end.
fn load(chip: &Chip) -> Option<Result<VoteRecord, VoteFlashError>> {
    powered(chip, VoteStore::<7>::load(&mut VoteFlash::new(chip.clone(), 0).unwrap()))
}

/// None if power was lost before the end.
fn save(chip: &Chip, record: &VoteRecord) -> Option<Result<(), VoteFlashError>> {
    powered(chip, VoteFlash::new(chip.clone(), 0).unwrap().save(record))
}

/// None if power was lost before the end.
fn provision(chip: &Chip, voters: &[NodeId]) -> Option<Result<(), ProvisionError<VoteFlashError>>> {
    powered(chip, VoteStore::<7>::provision(&mut VoteFlash::new(chip.clone(), 0).unwrap(), voters))
}

/// The result of the future; none if power was lost first.
fn powered<T>(chip: &Chip, future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => {
            assert!(chip.is_off(), "it waits for something other than power");
            None
        }
    }
}

/// Another chip in the same state.
fn copy(chip: &Chip) -> Chip {
    Chip(Rc::new(RefCell::new(chip.look().clone())))
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// A flash with pages of `PAGE` bytes, which is never read or written.
struct Unused<const PAGE: usize>;

impl<const PAGE: usize> ErrorType for Unused<PAGE> {
    type Error = NorFlashErrorKind;
}

impl<const PAGE: usize> ReadNorFlash for Unused<PAGE> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        unreachable!()
    }

    fn capacity(&self) -> usize {
        3 * PAGE
    }
}

impl<const PAGE: usize> NorFlash for Unused<PAGE> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, _: u32, _: u32) -> Result<(), NorFlashErrorKind> {
        unreachable!()
    }

    async fn write(&mut self, _: u32, _: &[u8]) -> Result<(), NorFlashErrorKind> {
        unreachable!()
    }
}
