//! The house rules that no other tool knows.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{MetadataCommand, TargetKind};

use crate::workspace::root;
use crate::{citations, workspace};

/// The most lines of a source file, its tests not counted.
const LINES_MAX: usize = 400;

/// What a crate that can't have unsafe code says.
const FORBID_UNSAFE: &str = "#![forbid(unsafe_code)]";

/// Folders in which only one machine has what a path names.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "tmp", "Users"];

/// Registries, by name and domain: they are not named, because a mirror has other hosts.
const REGISTRIES: [[&str; 2]; 4] =
    [["crates", "io"], ["npmjs", "com"], ["pypi", "org"], ["pythonhosted", "org"]];

/// A text file of the project.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it is in the project.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Complaint {
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
    let places = places()?;
    let mut complaints: Vec<Complaint> = files.iter().filter_map(check_length).collect();
    for file in &files {
        complaints.extend(check_names(file, &places));
    }
    complaints.extend(check_unsafe()?);
    complaints.extend(citations::check(&files)?);
    let list: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    ensure!(list.is_empty(), "house rules are broken:\n{}", list.join("\n"));
    println!("{} files keep the house rules", files.len());
    Ok(())
}

impl File {
    /// How many lines of a source file come before its tests: all, if it has none.
    pub(crate) fn lines_before_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_tests = |pair: &[&str]| pair == ["#[cfg(test)]", "mod tests {"];
        lines.windows(2).position(is_tests).unwrap_or(lines.len())
    }

    pub(crate) fn complaint(&self, line: usize, what: impl Into<String>) -> Complaint {
        Complaint { path: self.path.clone(), line, what: what.into() }
    }

    fn is_rust_in(&self, folder: &str) -> bool {
        let is_rust = self.path.extension().is_some_and(|extension| extension == "rs");
        is_rust && self.path.iter().any(|part| part == folder)
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
        // What is no text, a picture for instance, has no lines to complain of.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

/// A file that is longer without its tests is asking to be two.
fn check_length(file: &File) -> Option<Complaint> {
    let lines = file.lines_before_tests();
    let is_tests = file.path.file_name().is_some_and(|name| name == "tests.rs");
    let is_too_long = file.is_rust_in("src") && !is_tests && lines > LINES_MAX;
    is_too_long.then(|| {
        let what = format!("{lines} lines without the tests, and {LINES_MAX} are the most");
        file.complaint(LINES_MAX + 1, what)
    })
}

/// What no file may name, and why.
fn places() -> Result<Vec<(String, &'static str)>> {
    let mut folders: Vec<String> = MACHINE_FOLDERS.map(|folder| format!("/{folder}/")).into();
    let here = root()?;
    // A project right under `/` has a path that may be part of any other.
    if here.components().count() > 2 {
        folders.push(format!("{}/", here.display()));
    }
    let folders = folders.into_iter().map(|path| (path, "a path that only one machine has"));
    let registries = REGISTRIES.map(|[name, domain]| format!("{name}.{domain}"));
    let registries = registries.into_iter().map(|host| (host, "the host of a registry"));
    Ok(folders.chain(registries).collect())
}

fn check_names(file: &File, places: &[(String, &str)]) -> Vec<Complaint> {
    if file.path.file_name().is_some_and(|name| name == "Cargo.lock") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for (place, reason) in places {
            if line.contains(place) {
                complaints.push(file.complaint(number, format!("{place} is {reason}")));
            }
        }
    }
    complaints
}

/// Every library and program of the workspace forbids unsafe code: only a test may need it, to
/// count allocations for instance.
fn check_unsafe() -> Result<Vec<Complaint>> {
    let root = root()?;
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let crates = targets.filter(|target| {
        let is_ours = |kind: &TargetKind| matches!(kind, TargetKind::Lib | TargetKind::Bin);
        target.kind.iter().any(is_ours)
    });
    let mut complaints = Vec::new();
    for target in crates {
        let path = target.src_path.as_std_path();
        let file = File {
            path: path.strip_prefix(root).unwrap_or(path).to_owned(),
            text: std::fs::read_to_string(path)?,
        };
        complaints.extend(check_crate_root(&file));
    }
    Ok(complaints)
}

fn check_crate_root(file: &File) -> Option<Complaint> {
    let forbids = file.text.lines().any(|line| line == FORBID_UNSAFE);
    (!forbids).then(|| file.complaint(1, format!("the crate lacks {FORBID_UNSAFE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: impl Into<String>) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_source_file_has_400_lines_at_most_and_any_number_of_tests() {
        let code = "fn f() {}\n".repeat(LINES_MAX);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &code;
        assert!(check_length(&file("core/src/a.rs", code.clone() + &tests)).is_none());
        assert!(check_length(&file("core/src/a.rs", code.clone() + "\n")).is_some());
        assert!(check_length(&file("core/src/a/tests.rs", code.clone() + "\n")).is_none());
        assert!(check_length(&file("core/tests/a.rs", code + "\n")).is_none());
    }

    #[test]
    fn no_file_names_a_machine_or_a_registry() {
        let complaints =
            |text: String| check_names(&file("README.md", text), &places().unwrap()).len();
        assert_eq!(complaints("See docs/protocol.md and /var/lib/graft.".to_owned()), 0);
        assert_eq!(complaints(format!("one\ntwo /{}/ada/graft", "home")), 1);
        assert_eq!(complaints(format!("from https://{}.{}/", "crates", "io")), 1);
    }

    #[test]
    fn a_complaint_says_where() {
        let file = file("README.md", format!("one\ntwo /{}/x", "Users"));
        let complaints = check_names(&file, &places().unwrap());
        let words: Vec<_> = complaints.iter().map(Complaint::to_string).collect();
        assert!(words[0].starts_with("README.md:2: "), "{words:?}");
    }

    #[test]
    fn a_crate_forbids_unsafe_code_itself() {
        let forbids = format!("//! A crate.\n\n{FORBID_UNSAFE}\n");
        assert!(check_crate_root(&file("core/src/lib.rs", forbids)).is_none());
        let comments = format!("//! A crate.\n// {FORBID_UNSAFE}\n");
        assert!(check_crate_root(&file("core/src/lib.rs", comments)).is_some());
    }
}
