//! Plays all scripts of a folder, and compares or writes their transcripts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::script;

/// What to do with the transcripts of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcripts {
    /// Compare them with those in the scripts.
    Compare,
    /// Write them into the scripts, for people to read.
    Write,
}

/// What came of all scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// How many scripts there are.
    pub scripts: usize,
    /// How many steps they have, lines such as `status` included.
    pub steps: usize,
    /// How many lines their transcripts have.
    pub lines: usize,
    /// For each script that doesn't hold: where it differs first, and how.
    pub differences: Vec<String>,
}

/// The scripts of a folder and its subfolders, in the order of their names.
///
/// # Errors
///
/// The folder can't be read.
pub fn scripts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let path = entry?.into_path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Plays all scripts of a folder.
///
/// # Errors
///
/// A file can't be read or written.
pub fn play(folder: &Path, transcripts: Transcripts) -> io::Result<Played> {
    let mut played = Played::default();
    for path in scripts(folder)? {
        let script = fs::read_to_string(&path)?;
        let outcome = script::run(&script).and_then(|written| match transcripts {
            Transcripts::Compare => script::compare(&script, &written).map(|()| written),
            Transcripts::Write => Ok(written),
        });
        played.scripts += 1;
        match outcome {
            Ok(written) => {
                played.count(&written);
                if transcripts == Transcripts::Write && written != script {
                    fs::write(&path, written)?;
                }
            }
            Err(error) => {
                let name = path.strip_prefix(folder).unwrap_or(&path).display();
                played.differences.push(format!("{name}:{}: {}", error.line, error.what));
            }
        }
    }
    Ok(played)
}

impl Played {
    fn count(&mut self, script: &str) {
        let is_transcript = |line: &&str| line.starts_with(' ');
        self.lines += script.lines().filter(is_transcript).count();
        let is_step = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase());
        let is_setup = |line: &str| script::is_setup(line);
        self.steps += script.lines().filter(is_step).filter(|line| !is_setup(line)).count();
    }
}
