//! Whether two paths lead to one file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many symbolic links lead to a file at most, as on Linux.
const LINKS_MAX: usize = 40;

/// What tells a file from all others.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileIdentity {
    /// One that is there, whatever its names are: its device, and its number there.
    Inode(u64, u64),
    /// One that is not.
    Path(PathBuf),
}

impl FileIdentity {
    /// None for a pipe, a terminal and `/dev/null`, where nothing takes another's place.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Some(Self::Inode(found.dev(), found.ino())),
            Ok(_) => None,
            Err(_) => Some(Self::Path(end_of_links(path))),
        }
    }
}

/// Where the file itself is or would be, however many symbolic links lead there.
pub(crate) fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = fs::canonicalize(directory.unwrap_or(Path::new(".")));
        if let (Ok(directory), Some(name)) = (directory, path.file_name()) {
            path = directory.join(name);
        }
        match fs::read_link(&path) {
            Ok(target) => path = path.with_file_name(target),
            Err(_) => break,
        }
    }
    path
}
