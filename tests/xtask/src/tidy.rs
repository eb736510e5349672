//! `cargo xtask tidy`: the house rules that no other tool knows. How long a function may be is
//! clippy's to say.

mod citations;
mod columns;
mod constants;
mod macros;
mod names;
mod numbers;
mod unsafe_code;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::workspace::{self, root};

/// A text file of the project.
#[derive(Debug)]
struct File {
    /// Where it is in the project.
    path: PathBuf,
    text: String,
}

/// What is wrong, and where.
#[derive(Debug)]
struct Complaint {
    path: PathBuf,
    line: usize,
    what: String,
}

/// Checks the house rules.
///
/// # Errors
///
/// Lists all that break one, with file and line.
pub(crate) fn tidy() -> Result<()> {
    let files = files(root()?)?;
    let mut complaints = Vec::new();
    for file in &files {
        complaints.extend(columns::check(file));
        complaints.extend(constants::check(file)?);
        complaints.extend(macros::check(file));
    }
    complaints.extend(names::check(&files)?);
    complaints.extend(unsafe_code::check()?);
    complaints.extend(citations::check(&files)?);
    complaints.extend(numbers::check(&files)?);
    let list: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    let count = list.len();
    ensure!(list.is_empty(), "house rules are broken:\n{}\n{count} in all", list.join("\n"));
    println!("{} files keep the house rules", files.len());
    Ok(())
}

impl File {
    /// How many lines of a source file come before its tests: all, if it has none.
    fn lines_before_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_tests = |pair: &[&str]| pair == ["#[cfg(test)]", "mod tests {"];
        lines.windows(2).position(is_tests).unwrap_or(lines.len())
    }

    fn complaint(&self, line: usize, what: impl Into<String>) -> Complaint {
        Complaint { path: self.path.clone(), line, what: what.into() }
    }

    /// How the file's name ends; empty if there is nothing to tell by.
    fn extension(&self) -> &str {
        self.path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }

    /// The lines, each with its number.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// All text files of the project, whether git knows them yet or not.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in workspace::files(root)? {
        let bytes = std::fs::read(root.join(&path));
        let bytes = bytes.with_context(|| format!("can't read {}", path.display()))?;
        // A file that is not text, a picture for instance, has no lines to complain of.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

#[cfg(test)]
fn file(path: &str, text: impl Into<String>) -> File {
    File { path: path.into(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_says_where() {
        let complaint = file("docs/a.md", "one\ntwo").complaint(2, "it is wrong");
        assert_eq!(complaint.to_string(), "docs/a.md:2: it is wrong");
    }
}
