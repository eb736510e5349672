use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use super::error::{LoadError, OpenError};
use super::file_system::{FileSystem, HeldLock, LEN_MAX, MODE, NewFile};
use super::lock::Lock;

/// The file system of the machine.
#[derive(Debug)]
pub(super) struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn lock(&self, path: &Path) -> Result<Box<dyn HeldLock>, OpenError> {
        Ok(Box::new(Lock::acquire(path)?))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let failed = |reason: io::Error| match reason.kind() {
            io::ErrorKind::NotFound => LoadError::Missing { path: path.into() },
            _ => LoadError::Read { path: path.into(), reason },
        };
        // Asked before it is opened: opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(LoadError::NotAFile { path: path.into() });
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(LEN_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LEN_MAX {
            return Err(LoadError::TooLarge { path: path.into() });
        }
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        Ok(Box::new(options.open(path)?))
    }

    fn copy_owner(&self, from: &Path, to: &Path) -> io::Result<()> {
        copy_owner(from, to)?;
        match fs::metadata(from) {
            Ok(wanted) => fs::set_permissions(to, wanted.permissions()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// Gives the file at `to` the owner and group of that at `from`, if there is one and the system
/// permits it.
pub(super) fn copy_owner(from: &Path, to: &Path) -> io::Result<()> {
    let (wanted, found) = match (fs::metadata(from), fs::metadata(to)) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        (wanted, found) => (wanted?, found?),
    };
    if (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
        match chown(to, Some(wanted.uid()), Some(wanted.gid())) {
            // Only the superuser gives files away; another node's user could read it anyway.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            changed => changed?,
        }
    }
    Ok(())
}

impl NewFile for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}
