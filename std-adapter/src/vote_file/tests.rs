//! The vote file on a disk that loses its power and fails, in every way that there is.
//!
//! Processes that are killed, and files of the real file system, are in `tests/vote_file.rs`.

mod choices;
mod model_disk;

use super::file_system::with_suffix;
use super::*;
use choices::Choices;
use model_disk::{Limits, ModelDisk};

#[test]
fn i2_after_any_one_crash_and_fault_there_is_the_old_record_or_the_new() {
    try_everything(&[(2, 1, 0), (2, 0, 1), (1, 1, 1)]);
}

#[test]
#[ignore = "takes minutes; `cargo xtask crash-files` runs it"]
fn i2_after_any_crashes_and_faults_there_is_the_old_record_or_the_new() {
    try_everything(&[(2, 2, 0), (2, 1, 1), (2, 0, 2)]);
}

/// Tries all that can happen to a node, whatever it finds at first, within each of the `limits`:
/// how many records it saves before it ends well, how often the power is lost, and how many
/// operations fail.
fn try_everything(limits: &[(u64, usize, usize)]) {
    let mut runs = 0_u64;
    for &(saves, crashes, faults) in limits {
        for found in [Found::Nothing, Found::Unsynced, Found::UnsyncedForGood] {
            let mut choices = Choices::default();
            loop {
                let disk = ModelDisk::new(choices, Limits { crashes, faults });
                History::begin(disk.clone(), found, saves).run();
                runs += 1;
                choices = disk.take_choices();
                if !choices.next_run() {
                    break;
                }
            }
        }
    }
    println!("\nfigures: {runs} sequences of crashes and faults on a model disk");
}

/// What is on the disk before a node's first start.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// No file.
    Nothing,
    /// What a node left that was killed between the rename and the sync of the directory; and a
    /// temporary file.
    Unsynced,
    /// The same of a node that was killed after the sync had failed.
    UnsyncedForGood,
}

/// A node's starts, one after the other, and what its vote file must remember between them.
#[derive(Debug)]
struct History {
    disk: ModelDisk,
    path: PathBuf,
    /// The last record that others may have heard of.
    confirmed: VoteRecord,
    /// What the node has tried to save since.
    attempted: Vec<VoteRecord>,
    saves: u64,
    starts: u64,
}

/// Why a start of the node came to its end.
enum End {
    /// All is saved.
    Done,
    /// Its operator starts it again.
    Failed,
    PowerLoss,
}

impl History {
    fn begin(disk: ModelDisk, found: Found, saves: u64) -> Self {
        let path = PathBuf::from("/votes/vote");
        let (old, new) = (vote(1, "old"), vote(2, "new"));
        let mut history = Self {
            disk,
            path,
            confirmed: VoteRecord::default(),
            attempted: Vec::new(),
            saves,
            starts: 0,
        };
        let encoded = |record: &VoteRecord| format::encode(record, &id()).unwrap();
        if !matches!(found, Found::Nothing) {
            let contents = [encoded(&old), encoded(&new)];
            let is_dirty = matches!(found, Found::Unsynced);
            history.disk.put(&history.path, &contents.each_ref().map(String::as_bytes), is_dirty);
            history.disk.put(&with_suffix(&history.path, ".tmp"), &[b"{\"SHA"], is_dirty);
            history.confirmed = old;
            history.attempted.push(new);
        }
        history
    }

    /// Starts the node until it is done, and then once more, after a last loss of power.
    fn run(mut self) {
        loop {
            match self.start() {
                End::Done => break,
                End::Failed => {}
                End::PowerLoss => self.disk.switch_on(),
            }
        }
        self.disk.switch_off();
        self.disk.switch_on();
        self.attempted.clear();
        while !matches!(self.start(), End::Done) {
            self.disk.switch_on();
        }
    }

    fn start(&mut self) -> End {
        self.starts += 1;
        let faults = self.disk.limits().faults;
        let mut votes = match VoteFile::open_on(Arc::new(self.disk.clone()), self.path.clone()) {
            Ok(votes) => votes,
            Err(_) if !self.disk.is_on() => return End::PowerLoss,
            // A refusal to start is an answer, but only to a fault.
            Err(OpenError::Lock { .. } | OpenError::Unwritable(_))
            | Err(OpenError::Load(LoadError::Read { .. }))
                if self.disk.limits().faults < faults =>
            {
                return End::Failed;
            }
            Err(error) => panic!("{error}: {self:#?}"),
        };
        match votes.load() {
            Ok(stored) => self.check(stored),
            Err(_) if !self.disk.is_on() => return End::PowerLoss,
            Err(VoteFileError::Load(LoadError::Read { .. })) => return End::Failed,
            Err(error) => panic!("{error}: {self:#?}"),
        }
        for _ in 0..self.saves {
            // Each start votes for another, so that a vote twice in a term would show.
            let record = vote(self.confirmed.term + 1, &format!("start-{}", self.starts));
            while votes.save(&id(), &record).is_err() {
                self.attempted.push(record.clone());
                if !self.disk.is_on() {
                    return End::PowerLoss;
                }
                // Rule C4: it tries again, unless it is ended before.
                if self.disk.choose(2) == 1 {
                    return End::Failed;
                }
            }
            self.confirmed = record;
            self.attempted.clear();
        }
        End::Done
    }

    /// Rules T1 and V1, and I2. From now on others may hear of what was loaded.
    fn check(&mut self, stored: StoredVote) {
        let StoredVote { record, id: kept_id, warnings } = stored;
        let is_known = record == self.confirmed || self.attempted.contains(&record);
        assert!(is_known && warnings.is_empty(), "found {record:?} {warnings:?}: {self:#?}");
        let has_saved = record != VoteRecord::default();
        assert_eq!(kept_id, has_saved.then(id));
        self.confirmed = record;
        self.attempted.clear();
    }
}

fn id() -> NodeId {
    NodeId::new("node").unwrap()
}

fn vote(term: u64, candidate: &str) -> VoteRecord {
    VoteRecord { term, voted_for: Some(NodeId::new(candidate).unwrap()), ..VoteRecord::default() }
}
