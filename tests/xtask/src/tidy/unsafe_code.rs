//! Every library and program of the workspace forbids unsafe code: only a test may need it, to
//! count allocations for instance.

use anyhow::Result;
use cargo_metadata::{MetadataCommand, TargetKind};

use super::{Complaint, File};
use crate::workspace::root;

/// What a crate that can't have unsafe code says.
const FORBID_UNSAFE: &str = "#![forbid(unsafe_code)]";

pub(super) fn check() -> Result<Vec<Complaint>> {
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
    use crate::tidy::file;

    #[test]
    fn a_crate_forbids_unsafe_code_itself() {
        let forbids = format!("//! A crate.\n\n{FORBID_UNSAFE}\n");
        assert!(check_crate_root(&file("core/src/lib.rs", forbids)).is_none());
        let comments = format!("//! A crate.\n// {FORBID_UNSAFE}\n");
        assert!(check_crate_root(&file("core/src/lib.rs", comments)).is_some());
    }
}
