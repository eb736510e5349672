//! No file names what only one machine has, or a registry that may have another host elsewhere.

use anyhow::Result;

use super::{Complaint, File};
use crate::workspace::root;

/// Folders in which only one machine has what a path names.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "tmp", "Users"];

/// Registries, by name and domain: they are not named, because a mirror has other hosts.
const REGISTRIES: [[&str; 2]; 4] =
    [["crates", "io"], ["npmjs", "com"], ["pypi", "org"], ["pythonhosted", "org"]];

pub(super) fn check(files: &[File]) -> Result<Vec<Complaint>> {
    let forbidden = forbidden()?;
    Ok(files.iter().flat_map(|file| check_file(file, &forbidden)).collect())
}

/// What no file may name, and why.
fn forbidden() -> Result<Vec<(String, &'static str)>> {
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

fn check_file(file: &File, forbidden: &[(String, &str)]) -> Vec<Complaint> {
    if file.path.file_name().is_some_and(|name| name == "Cargo.lock") {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in file.lines() {
        for (name, reason) in forbidden {
            if line.contains(name) {
                complaints.push(file.complaint(number, format!("{name} is {reason}")));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    #[test]
    fn no_file_names_a_machine_or_a_registry() {
        let count =
            |text: String| check_file(&file("README.md", text), &forbidden().unwrap()).len();
        assert_eq!(count("See docs/protocol.md and /var/lib/graft.".to_owned()), 0);
        assert_eq!(count(format!("one\ntwo /{}/ada/graft", "home")), 1);
        assert_eq!(count(format!("from https://{}.{}/", "crates", "io")), 1);
    }
}
