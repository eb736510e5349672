//! Vote stores that misbehave on demand.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use graft_election::{MemoryVotes, StoredVote, VoteStore};
use graft_election::{NodeId, VoteRecord};

/// A store in memory whose saves the test can fail or hold up. Clones are the same store.
///
/// What a node stores when it starts doesn't count, since it is no vote: its id, and what is stored
/// already.
#[derive(Clone, Debug, Default)]
pub struct UnreliableVotes {
    kept: MemoryVotes,
    control: Arc<(Mutex<Control>, Condvar)>,
}

#[derive(Debug, Default)]
struct Control {
    fails: bool,
    is_held: bool,
    begun: usize,
    ended: usize,
    done: usize,
}

impl UnreliableVotes {
    /// Whether saves fail from now on.
    pub fn fail(&self, fails: bool) {
        self.change(|control| control.fails = fails);
    }

    /// Whether saves wait from now on until they no longer have to.
    pub fn hold(&self, is_held: bool) {
        self.change(|control| control.is_held = is_held);
    }

    /// How many saves have begun.
    pub fn begun(&self) -> usize {
        self.change(|control| control.begun)
    }

    /// Waits until a save has begun. It doesn't sleep, so that it goes in virtual time too, which
    /// stands still during a save.
    pub async fn wait_for_save(&self) {
        while self.begun() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until no save is under way but those that are held. It doesn't sleep either.
    pub async fn wait_for_saves(&self) {
        while self.change(|control| !control.is_held && control.ended < control.begun) {
            tokio::task::yield_now().await;
        }
    }

    /// How many saves have succeeded.
    pub fn done(&self) -> usize {
        self.change(|control| control.done)
    }

    /// What is kept.
    pub fn record(&self) -> VoteRecord {
        self.kept.clone().load().expect("memory can be read").record
    }

    fn change<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        let (control, changed) = &*self.control;
        let changes = change(&mut control.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
        changes
    }
}

impl VoteStore for UnreliableVotes {
    type Error = SaveRefused;

    fn load(&mut self) -> Result<StoredVote, SaveRefused> {
        Ok(self.kept.load()?)
    }

    fn save(&mut self, id: &NodeId, record: &VoteRecord) -> Result<(), SaveRefused> {
        if *record == VoteRecord::default() || *record == self.record() {
            return Ok(self.kept.save(id, record)?);
        }
        let (control, changed) = &*self.control;
        let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
        control.begun += 1;
        let mut control = changed
            .wait_while(control, |control| control.is_held)
            .unwrap_or_else(PoisonError::into_inner);
        control.ended += 1;
        if control.fails {
            return Err(SaveRefused);
        }
        control.done += 1;
        Ok(self.kept.save(id, record)?)
    }
}

/// The test has saves fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRefused;

impl fmt::Display for SaveRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the test says so")
    }
}

impl Error for SaveRefused {}

impl From<Infallible> for SaveRefused {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
