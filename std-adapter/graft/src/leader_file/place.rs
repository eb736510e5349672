//! Where a leader file is, and whether what is there may be replaced.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use graft_election::SmallFile;

use super::LeaderFile;

/// What a leader file begins with, also one that is not written to its end.
const BEGINNING: &[u8] = b"{\"cluster\":";

/// How the names of files end that are beside others: of locks, and of what takes another file's
/// place, as vote files have them, too. A leader file of such a name would get in the way of
/// another node.
const SUFFIXES_BESIDE: [&str; 3] = [".lock", ".new", ".tmp"];

/// The leader file, and the two files that are beside it.
#[derive(Clone, Debug)]
pub(crate) struct LeaderFilePlace {
    pub(crate) path: PathBuf,
    /// The next one, until it takes the place of the file.
    pub(crate) next_path: PathBuf,
    pub(crate) lock_path: PathBuf,
}

impl LeaderFilePlace {
    /// # Errors
    ///
    /// No leader file can have this path.
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        let name = path.file_name().context("the leader file has no name")?.to_owned();
        let is_beside = |suffix: &&str| name.as_encoded_bytes().ends_with(suffix.as_bytes());
        if let Some(suffix) = SUFFIXES_BESIDE.iter().find(|suffix| is_beside(suffix)) {
            bail!(
                "the leader file {} can't have a name that ends in {suffix}, as those of files \
                 beside others do",
                path.display()
            );
        }
        let beside = |suffix: &str| {
            let mut name = name.clone();
            name.push(suffix);
            path.with_file_name(name)
        };
        let (next_path, lock_path) = (beside(".new"), beside(".lock"));
        Ok(Self { path, next_path, lock_path })
    }

    /// Checks, without touching anything, that nobody would miss what is there: whatever is not
    /// certainly this program's stays.
    ///
    /// # Errors
    ///
    /// Somebody else's file is at one of the paths, or there is no such directory.
    pub(crate) fn check(&self) -> Result<()> {
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty());
        fs::read_dir(directory.unwrap_or(Path::new("."))).with_context(|| self.unwritable())?;
        let is_leader_file = |text: &[u8]| serde_json::from_slice::<LeaderFile>(text).is_ok();
        let is_begun = |text: &[u8]| text.starts_with(BEGINNING) || BEGINNING.starts_with(text);
        self.check_file(&self.path, is_leader_file)?;
        self.check_file(&self.next_path, is_begun)?;
        self.check_file(&self.lock_path, |_| false)
    }

    /// An empty file is nobody's loss.
    fn check_file(&self, path: &Path, is_own: fn(&[u8]) -> bool) -> Result<()> {
        let is_free = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            found => {
                let found = found.with_context(|| self.unwritable())?;
                found.is_file() && (found.len() == 0 || has(path, is_own)?)
            }
        };
        if !is_free {
            bail!("{}: {} is not this program's", self.unwritable(), path.display());
        }
        Ok(())
    }

    /// For errors.
    pub(super) fn unwritable(&self) -> String {
        format!("could not write the leader file {}", self.path.display())
    }
}

fn has(path: &Path, what: fn(&[u8]) -> bool) -> Result<bool> {
    let failed = || format!("could not read {}", path.display());
    let mut text = Vec::new();
    let read = SmallFile::open(path).and_then(|it| it.read_to_end(LeaderFile::LEN_MAX, &mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Ok(false),
        read => read.map(|()| what(&text)).with_context(failed),
    }
}
