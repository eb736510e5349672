use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::file_system::{FileSystem, HeldLock, NewFile};
use super::choices::Choices;
use crate::{LoadError, OpenError};

/// A disk behind a cache, in one directory, that may lose its power before any operation, and on
/// which any operation may fail. Clones are the same disk.
///
/// Of what was written since the last sync, the loss of power leaves what POSIX permits: each name
/// refers to any of the files that it referred to since, independently of the other names, and each
/// file has any of the contents that it had since, or a torn one. A sync that fails leaves that
/// open for good, since it marks the cache as clean: later syncs succeed and write nothing. Reading
/// finds the cache.
///
/// The lock file is not on this disk: what a crash leaves of it has no meaning.
#[derive(Clone, Debug)]
pub(super) struct ModelDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    choices: Choices,
    limits: Limits,
    is_on: bool,
    is_locked: bool,
    /// Which file each name refers to.
    names: BTreeMap<PathBuf, Stored<Option<usize>>>,
    /// What each file holds.
    files: Vec<Stored<Vec<u8>>>,
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How often the power may be lost.
    pub(super) crashes: usize,
    /// How many operations may fail.
    pub(super) faults: usize,
}

/// Something that is stored on the disk, and of which the cache has the latest.
#[derive(Clone, Debug)]
struct Stored<T> {
    cached: T,
    /// What the disk may have.
    possible: Vec<T>,
    /// The next sync writes what the cache has.
    is_dirty: bool,
}

impl ModelDisk {
    /// An empty disk, on which things go as `choices` say.
    pub(super) fn new(choices: Choices, limits: Limits) -> Self {
        let (names, files) = (BTreeMap::new(), Vec::new());
        let state = State { choices, limits, is_on: true, is_locked: false, names, files };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Makes `name` refer to a file with the last of `contents`, of which the disk may have any.
    /// With `is_dirty`, a sync decides which.
    pub(super) fn put(&self, name: &Path, contents: &[&[u8]], is_dirty: bool) {
        let mut state = self.state();
        let first = state.files.len();
        state.files.extend(contents.iter().map(|content| Stored::durable(content.to_vec())));
        let possible: Vec<_> = (first..state.files.len()).map(Some).collect();
        let cached = possible[possible.len() - 1];
        state.names.insert(name.to_owned(), Stored { cached, possible, is_dirty });
    }

    /// Cuts the power.
    pub(super) fn switch_off(&self) {
        self.state().is_on = false;
    }

    pub(super) fn is_on(&self) -> bool {
        self.state().is_on
    }

    /// Switches the disk on again: the cache has what the disk has, and no process holds a lock.
    pub(super) fn switch_on(&self) {
        let State { choices, is_on, is_locked, names, files, .. } = &mut *self.state();
        for name in names.values_mut() {
            name.lose_power(choices);
            if let Some(file) = name.cached {
                files[file].lose_power(choices);
            }
        }
        *is_on = true;
        *is_locked = false;
    }

    pub(super) fn choose(&self, count: usize) -> usize {
        self.state().choices.choose(count)
    }

    /// What may still go wrong.
    pub(super) fn limits(&self) -> Limits {
        self.state().limits
    }

    pub(super) fn take_choices(self) -> Choices {
        std::mem::take(&mut self.state().choices)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// What becomes of an operation: none if it succeeds, or in which of `ways` it fails. If the
    /// power is lost or was, that is an error.
    fn fate(&mut self, ways: usize) -> io::Result<Option<usize>> {
        let no_power = || io::Error::other("there is no power");
        if !self.is_on {
            return Err(no_power());
        }
        let crashes = usize::from(self.limits.crashes > 0);
        let ways = if self.limits.faults > 0 { ways } else { 0 };
        match self.choices.choose(1 + crashes + ways) {
            0 => Ok(None),
            1 if crashes == 1 => {
                self.limits.crashes -= 1;
                self.is_on = false;
                Err(no_power())
            }
            way => {
                self.limits.faults -= 1;
                Ok(Some(way - 1 - crashes))
            }
        }
    }

    /// The fate of an operation that fails in one way: without any effect.
    fn attempt(&mut self) -> io::Result<()> {
        self.fate(1)?.map_or(Ok(()), |_| Err(sick()))
    }

    fn file_at(&self, path: &Path) -> io::Result<usize> {
        let file = self.names.get(path).and_then(|name| name.cached);
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_name(&mut self, path: &Path, file: Option<usize>) {
        let name = self.names.entry(path.to_owned());
        name.or_insert_with(|| Stored::durable(None)).set(file);
    }
}

impl<T: Clone + PartialEq> Stored<T> {
    fn durable(value: T) -> Self {
        Self { cached: value.clone(), possible: vec![value], is_dirty: false }
    }

    fn set(&mut self, value: T) {
        self.cached = value.clone();
        self.is_dirty = true;
        self.may_be(value);
    }

    fn may_be(&mut self, value: T) {
        if !self.possible.contains(&value) {
            self.possible.push(value);
        }
    }

    fn sync(&mut self) {
        if self.is_dirty {
            *self = Self::durable(self.cached.clone());
        }
    }

    /// The disk may have written anything or nothing, and won't be asked again.
    fn fail_to_sync(&mut self) {
        self.is_dirty = false;
    }

    fn lose_power(&mut self, choices: &mut Choices) {
        let left = choices.choose(self.possible.len());
        *self = Self::durable(self.possible[left].clone());
    }
}

impl FileSystem for ModelDisk {
    fn lock(&self, path: &Path) -> Result<Box<dyn HeldLock>, OpenError> {
        let mut state = self.state();
        let failed = |reason| OpenError::Lock { path: path.into(), reason };
        state.attempt().map_err(failed)?;
        assert!(!state.is_locked, "one process locks it twice");
        state.is_locked = true;
        Ok(Box::new(ModelLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let mut state = self.state();
        state.attempt().map_err(|reason| LoadError::Read { path: path.into(), reason })?;
        let file = state.file_at(path).map_err(|_| LoadError::Missing { path: path.into() })?;
        Ok(state.files[file].cached.clone())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut state = self.state();
        state.attempt()?;
        assert!(state.file_at(path).is_err(), "there is such a file");
        let file = state.files.len();
        state.files.push(Stored::durable(Vec::new()));
        state.set_name(path, Some(file));
        Ok(Box::new(ModelFile { disk: self.clone(), file }))
    }

    fn copy_owner(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        self.state().attempt()
    }

    /// It may fail and have happened nonetheless, as over a network.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let way_to_fail = state.fate(2)?;
        if way_to_fail != Some(0) {
            let file = state.file_at(from)?;
            state.set_name(to, Some(file));
            state.set_name(from, None);
        }
        way_to_fail.map_or(Ok(()), |_| Err(sick()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.attempt()?;
        state.file_at(path)?;
        state.set_name(path, None);
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fails = state.fate(1)?.is_some();
        for name in state.names.values_mut() {
            if fails { name.fail_to_sync() } else { name.sync() }
        }
        if fails { Err(sick()) } else { Ok(()) }
    }
}

/// A file that a process writes.
#[derive(Debug)]
struct ModelFile {
    disk: ModelDisk,
    file: usize,
}

impl Write for ModelFile {
    /// It may write half, and return either how much or that the disk is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let way_to_fail = state.fate(3)?;
        let written = match way_to_fail {
            None => bytes.len(),
            Some(0) => return Err(sick()),
            Some(_) => bytes.len() / 2,
        };
        let content = &mut state.files[self.file];
        let old = content.cached.clone();
        // What the disk may have in the end is the length without the bytes, or some of the bytes.
        let zeros = vec![0; written];
        let (front, back) = bytes[..written].split_at(written / 2);
        for torn in [zeros.clone(), front.to_vec(), [&zeros[..front.len()], back].concat()] {
            content.may_be([&old[..], &torn].concat());
        }
        content.set([&old, &bytes[..written]].concat());
        match way_to_fail {
            Some(1) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(written),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for ModelFile {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fails = state.fate(1)?.is_some();
        let content = &mut state.files[self.file];
        if fails {
            content.fail_to_sync();
            return Err(sick());
        }
        content.sync();
        Ok(())
    }
}

/// A lock that a process holds.
#[derive(Debug)]
struct ModelLock {
    disk: ModelDisk,
    path: PathBuf,
}

impl HeldLock for ModelLock {
    fn path(&self) -> &Path {
        &self.path
    }

    fn verify(&self) -> io::Result<()> {
        self.disk.state().attempt()
    }
}

impl Drop for ModelLock {
    fn drop(&mut self) {
        self.disk.state().is_locked = false;
    }
}

fn sick() -> io::Error {
    io::Error::other("the disk is sick")
}
