//! The files of a node, which must be different ones: those that it writes would take the place of
//! the others, and a vote that is lost can elect a second leader (rule V9).

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use graft_election::VoteFile;

use crate::file_identity::{FileIdentity, end_of_links};
use crate::leader_file::LeaderFilePlace;

/// Those of one node. Not all need to be there.
#[derive(Debug, Default)]
pub(super) struct NodeFiles {
    files: Vec<NodeFile>,
}

#[derive(Debug)]
struct NodeFile {
    /// For errors.
    name: &'static str,
    path: PathBuf,
    is_written: bool,
}

impl NodeFiles {
    /// Adds one that the node reads.
    pub(super) fn read(&mut self, name: &'static str, path: Option<PathBuf>) {
        self.files.extend(path.map(|path| NodeFile { name, path, is_written: false }));
    }

    fn write(&mut self, name: &'static str, path: PathBuf) {
        self.files.push(NodeFile { name, path, is_written: true });
    }

    /// Adds those in which the vote may be stored, and what is beside them.
    pub(super) fn write_votes(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            let path = end_of_links(&path);
            self.write("the vote file's lock", with_suffix(&path, ".lock"));
            self.write("the vote file's next version", with_suffix(&path, ".tmp"));
            self.write("the vote file", path);
        }
    }

    /// Adds the leader file and what is beside it, if there is one.
    pub(super) fn write_leader_file(&mut self, place: Option<&LeaderFilePlace>) {
        let Some(LeaderFilePlace { path, next_path, lock_path }) = place else { return };
        self.write("the leader file", path.clone());
        self.write("the leader file's next version", next_path.clone());
        self.write("the leader file's lock", lock_path.clone());
    }

    /// Adds the file to whose end the events are written, if it is one.
    ///
    /// # Errors
    ///
    /// It has a vote, which another node may need.
    pub(super) fn write_json(&mut self, path: Option<&PathBuf>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        if path.is_file() && matches!(VoteFile::inspect(path), Ok(Some(_))) {
            bail!(
                "the file of --json is a vote file, which must stay as it is: {}",
                path.display()
            );
        }
        self.write("the file of --json", path.clone());
        Ok(())
    }

    /// # Errors
    ///
    /// One that is written is the same as another, by whatever name.
    pub(super) fn check(&self) -> Result<()> {
        let mut seen: HashMap<FileIdentity, &NodeFile> = HashMap::new();
        for file in &self.files {
            let Some(identity) = FileIdentity::of(&file.path) else { continue };
            if let Some(other) = seen.insert(identity, file)
                && (file.is_written || other.is_written)
            {
                let (name, other) = (file.name, other.name);
                bail!("{other} and {name} are the same file: {}", file.path.display());
            }
        }
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
