//! A node's disk: what is stored there, and how it behaves.

use crate::setup::VoteRecord;

/// A node's disk. At most one record is on it, and at most one save is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// What a node would read on its next start; `None` if a save was cut short and left a torn
    /// record.
    record: Option<VoteRecord>,
    /// The last record that the node knows to be durable. It may rely on no other.
    confirmed: VoteRecord,
    writing: Option<VoteRecord>,
    pub(crate) mode: DiskMode,
}

/// How a disk answers a save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskMode {
    /// Each save succeeds at once.
    #[default]
    Works,
    /// Each save fails at once.
    Fails,
    /// Each save lasts until a step ends it.
    Holds,
}

/// What is on a disk after a save was cut short by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// The record as it was before.
    Old,
    /// The new record: the node just didn't live to know it.
    New,
    /// A torn record, with which the node refuses to start.
    Torn,
}

impl Disk {
    pub(crate) fn new(record: VoteRecord) -> Self {
        Self { confirmed: record.clone(), record: Some(record), ..Self::default() }
    }

    /// What a node would read on its next start, unless it is torn.
    pub(crate) fn record(&self) -> Option<&VoteRecord> {
        self.record.as_ref()
    }

    /// The last record that the node knows to be durable.
    pub(crate) fn confirmed(&self) -> &VoteRecord {
        &self.confirmed
    }

    pub(crate) fn begin_save(&mut self, record: VoteRecord) {
        self.writing = Some(record);
    }

    /// The save succeeds: the record is durable, and the node will know.
    pub(crate) fn complete_save(&mut self) {
        if let Some(record) = self.writing.take() {
            self.confirmed = record.clone();
            self.record = Some(record);
        }
    }

    /// The save fails. The record may have been `written` all the same, which the node can't know.
    pub(crate) fn fail_save(&mut self, written: bool) {
        if let Some(record) = self.writing.take().filter(|_| written) {
            self.record = Some(record);
        }
    }

    /// The node crashes. Returns whether a save was under way.
    pub(crate) fn crash(&mut self, remains: Remains) -> bool {
        let Some(record) = self.writing.take() else { return false };
        match remains {
            Remains::Old => {}
            Remains::New => self.record = Some(record),
            Remains::Torn => self.record = None,
        }
        true
    }

    /// An empty disk of the same kind takes its place.
    pub(crate) fn replace(&mut self) {
        *self = Self { mode: self.mode, ..Self::new(VoteRecord::default()) };
    }

    /// A command of the operator rewrites the record.
    pub(crate) fn rewrite(&mut self, change: impl FnOnce(&VoteRecord) -> VoteRecord) {
        if let Some(record) = &mut self.record {
            *record = change(record);
        }
    }

    /// Reads the record for a start, unless it is torn.
    pub(crate) fn read(&mut self) -> Option<VoteRecord> {
        let record = self.record.clone()?;
        self.confirmed = record.clone();
        Some(record)
    }
}
