//! A copy of the project, to plant defects in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::list::{Defect, Edit};
use crate::workspace::{files, root, target_dir};

/// A copy of the project in cargo's target folder, with a target folder of its own.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// Where the copy is.
    pub(super) folder: PathBuf,
    /// Where it is built.
    pub(super) target: PathBuf,
}

impl Sandbox {
    /// Copies the project. What an earlier copy has in common with it stays, and needn't be built
    /// again.
    pub(super) fn new() -> Result<Self> {
        let here = target_dir()?.join("planted");
        let sandbox = Self { folder: here.join("project"), target: here.join("target") };
        fs::create_dir_all(&sandbox.folder)?;
        sandbox.reset(&BTreeMap::new())?;
        Ok(sandbox)
    }

    /// Makes the copy like the project, apart from this defect.
    ///
    /// # Errors
    ///
    /// A text to replace isn't there, or there more than once.
    pub(super) fn plant(&self, defect: &Defect) -> Result<()> {
        let mut changed = BTreeMap::new();
        for edit in &defect.edits {
            apply(edit, &mut changed)?;
        }
        self.reset(&changed)
    }

    /// Writes each file that is not yet as it should be: as in the project, unless it has changed.
    fn reset(&self, changed: &BTreeMap<PathBuf, String>) -> Result<()> {
        let mut kept = Vec::new();
        for path in files(root()?)? {
            let copy = self.folder.join(&path);
            let wanted = match changed.get(&path) {
                Some(text) => text.clone().into_bytes(),
                None => fs::read(root()?.join(&path))?,
            };
            if fs::read(&copy).ok().as_ref() != Some(&wanted) {
                let parent = copy.parent().context("a file is in no folder")?;
                fs::create_dir_all(parent)?;
                fs::write(&copy, wanted).with_context(|| copy.display().to_string())?;
            }
            kept.push(path);
        }
        // A file that was removed from the project may be a test that is found by its name.
        for path in files(&self.folder)? {
            if !kept.contains(&path) {
                fs::remove_file(self.folder.join(path))?;
            }
        }
        Ok(())
    }
}

/// Replaces a text in what the edits before have made of the project.
fn apply(edit: &Edit, changed: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let mut found = Vec::new();
    for path in files(root()?)? {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if !is_rust || !path.starts_with(&edit.folder) {
            continue;
        }
        let text = match changed.get(&path) {
            Some(text) => text.clone(),
            None => fs::read_to_string(root()?.join(&path))?,
        };
        found.extend(text.matches(&edit.text).map(|_| path.clone()));
    }
    let place = place(&found, edit)?;
    let text = match changed.remove(place) {
        Some(text) => text,
        None => fs::read_to_string(root()?.join(place))?,
    };
    changed.insert(place.to_owned(), text.replacen(&edit.text, &edit.with, 1));
    Ok(())
}

fn place<'f>(found: &'f [PathBuf], edit: &Edit) -> Result<&'f Path> {
    ensure!(!edit.text.is_empty(), "an edit replaces no text");
    let (folder, text) = (edit.folder.display(), &edit.text);
    match found {
        [place] => Ok(place),
        [] => bail!("no file in {folder} has this text any more:\n{text}"),
        _ => bail!("{folder} has this text {} times:\n{text}", found.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::list;

    #[test]
    fn every_defect_of_the_lists_can_be_planted() {
        for Defect { name, edits, .. } in list::read().unwrap() {
            let mut changed = BTreeMap::new();
            for edit in &edits {
                apply(edit, &mut changed).with_context(|| name.clone()).unwrap();
            }
            for (path, text) in changed {
                assert_ne!(text, fs::read_to_string(root().unwrap().join(path)).unwrap(), "{name}");
            }
        }
    }

    #[test]
    fn a_text_that_is_gone_or_stands_twice_is_an_error() {
        let edit =
            |text: &str| Edit { folder: "core/src".into(), text: text.into(), with: "x".into() };
        let plant = |text| apply(&edit(text), &mut BTreeMap::new()).unwrap_err().to_string();
        assert!(plant("no such text").contains("no file in core/src has this text any more"));
        assert!(plant("pub ").contains("times"));
    }
}
