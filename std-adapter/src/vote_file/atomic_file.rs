use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::{SaveError, SaveStep};
use super::{MODE, with_suffix};

/// A file that is only ever replaced as a whole, so that neither a reader nor a crash finds it
/// empty or half-written (defect G2 of the Go original).
///
/// There must be one such value for a file, as all use one name for the temporary file.
#[derive(Debug)]
pub(super) struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl AtomicFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let temporary = with_suffix(&path, ".tmp");
        Self { path, temporary }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the temporary file is, from the start of a save to the rename or until the next save.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Goes through the steps of a save, but for the rename, and leaves no temporary file, not even
    /// one that a crash has left.
    ///
    /// What the file holds is durable then. It may not have been: its writer may have been killed
    /// between rename and sync, or be a Go node, which never syncs. A node that answered from such
    /// a record could lose it to a power failure (rule T1).
    pub(super) fn prepare(&self) -> Result<(), SaveError> {
        self.write_temporary(b"\n")?;
        fs::remove_file(&self.temporary).map_err(self.failed(SaveStep::Create))?;
        self.sync_file().map_err(self.failed(SaveStep::Sync))?;
        self.sync_directory()
    }

    /// Puts `contents` in the place of the file, durably.
    pub(super) fn replace(&self, contents: &[u8]) -> Result<(), SaveError> {
        self.write_temporary(contents)?;
        fs::rename(&self.temporary, &self.path).map_err(self.failed(SaveStep::Rename))?;
        self.sync_directory()
    }

    fn write_temporary(&self, contents: &[u8]) -> Result<(), SaveError> {
        let mut file = self.create_temporary().map_err(self.failed(SaveStep::Create))?;
        file.write_all(contents).map_err(self.failed(SaveStep::Write))?;
        file.sync_all().map_err(self.failed(SaveStep::Sync))
    }

    /// A new file rather than an old one made empty: that one's permissions might be others.
    fn create_temporary(&self) -> io::Result<File> {
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        options.open(&self.temporary)
    }

    fn sync_file(&self) -> io::Result<()> {
        match File::open(&self.path) {
            Ok(file) => file.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_directory(&self) -> Result<(), SaveError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(self.failed(SaveStep::SyncDirectory))
    }

    fn failed(&self, step: SaveStep) -> impl Fn(io::Error) -> SaveError {
        move |reason| SaveError { path: self.path.clone(), step, reason }
    }
}
