use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{SaveError, SaveStep};
use super::file_system::{FileSystem, TEMPORARY_SUFFIX, with_suffix};

/// A file that is only ever replaced as a whole, so that neither a reader nor a crash finds it
/// empty or half-written (defect G2 of the Go original).
///
/// There must be one such value per file, since all use one name for the temporary file.
#[derive(Debug)]
pub(super) struct AtomicFile {
    files: Arc<dyn FileSystem>,
    path: PathBuf,
    temporary: PathBuf,
}

impl AtomicFile {
    pub(super) fn new(files: Arc<dyn FileSystem>, path: PathBuf) -> Self {
        let temporary = with_suffix(&path, TEMPORARY_SUFFIX);
        Self { files, path, temporary }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the temporary file is, from the start of a save to the rename or until the next save.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes durable that there is no such file, and goes through every step of a save except the
    /// rename. Afterwards there is no temporary file, not even one that a crash has left.
    pub(super) fn prepare(&self) -> Result<(), SaveError> {
        self.write_temporary(b"\n")?;
        self.files.remove(&self.temporary).map_err(self.failed(SaveStep::Create))?;
        self.sync_directory()
    }

    /// Replaces the file by one with these `contents`, durably.
    ///
    /// A new file is written each time. After a failed sync nobody knows how much of a file is on
    /// the disk, and the system takes it for written: another sync would succeed and do nothing.
    pub(super) fn replace(&self, contents: &[u8]) -> Result<(), SaveError> {
        self.write_temporary(contents)?;
        let renamed = self.files.rename(&self.temporary, &self.path);
        renamed.map_err(self.failed(SaveStep::Rename))?;
        self.sync_directory()
    }

    fn write_temporary(&self, contents: &[u8]) -> Result<(), SaveError> {
        // A new file rather than the old one emptied, which might have other permissions, or be
        // what an earlier run left.
        match self.files.remove(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed(SaveStep::Create)(error));
            }
            _ => {}
        }
        let created = self.files.create(&self.temporary);
        let mut file = created.map_err(self.failed(SaveStep::Create))?;
        // Whoever prepared the file chose who may read it, and as whom the node runs.
        let copied = self.files.copy_owner(&self.path, &self.temporary);
        copied.map_err(self.failed(SaveStep::Create))?;
        file.write_all(contents).map_err(self.failed(SaveStep::Write))?;
        file.sync().map_err(self.failed(SaveStep::Sync))
    }

    fn sync_directory(&self) -> Result<(), SaveError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let synced = self.files.sync_directory(directory);
        synced.map_err(self.failed(SaveStep::SyncDirectory))
    }

    fn failed(&self, step: SaveStep) -> impl Fn(io::Error) -> SaveError {
        move |reason| SaveError { path: self.path.clone(), step, reason }
    }
}
