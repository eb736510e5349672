//! The vote file, its directory, and how long the disk takes.

use std::path::Path;
use std::time::{Duration, Instant};

use graft_election::{ErrorChain, ListContents, NodeId, VoteFile, VoteRecord, VoteStore};

use super::finding::Finding;

/// How often a save is tried: the slowest counts.
const SAVES: u32 = 5;

/// Looks at a node's vote file without touching it.
pub(super) fn examine(
    file: &Path,
    id: Option<&NodeId>,
    election_timeout_min: Duration,
) -> Vec<Finding> {
    let mut findings = vec![examine_record(file, id)];
    findings.extend(examine_directory(file, election_timeout_min));
    findings
}

/// The list of voters in the node's record, if there is one that can be read.
pub(super) fn list(file: &Path) -> Option<ListContents> {
    VoteFile::inspect(file).ok()??.list
}

fn examine_record(file: &Path, id: Option<&NodeId>) -> Finding {
    let shown = file.display();
    if !file.exists() {
        let advice = "that is right for a node that never ran; one that lost its file must come \
            back under another id";
        return Finding::warning("vote_file", format!("there is no {shown} yet"), advice);
    }
    let contents = match VoteFile::inspect(file) {
        Ok(Some(contents)) => contents,
        Ok(None) => {
            let advice = "if this node has voted before, its vote is lost: give it another id";
            return Finding::warning("vote_file", format!("{shown} is empty"), advice);
        }
        Err(error) => {
            let advice = "give the node another id and another file";
            return Finding::failure("vote_file", ErrorChain(&error), advice);
        }
    };
    if let Err(error) = contents.to_stored_vote() {
        let advice = "no node can start from it: give the node another id and another file";
        return Finding::failure("vote_file", ErrorChain(&error), advice);
    }
    match (&contents.id, id) {
        (Some(kept), Some(id)) if kept != id.as_str() => Finding::failure(
            "vote_file",
            format!("{shown} is that of node {kept:?}"),
            format!("start the node with --id {kept}, or give {id} a file of its own"),
        ),
        _ if contents.is_paused => Finding::warning(
            "vote_file",
            format!("{shown} says that the node is paused, so it doesn't lead"),
            "graft resume, once it runs",
        ),
        _ => Finding::fine("vote_file", format!("{shown} is sound, in term {}", contents.term)),
    }
}

/// Saves votes beside the file, under another name.
fn examine_directory(file: &Path, election_timeout_min: Duration) -> Vec<Finding> {
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let trial = directory.join(format!(".graft-doctor-{}", std::process::id()));
    let slowest = try_saves(&trial);
    let max = election_timeout_min / 5;
    let shown = directory.display();
    match slowest {
        Err(error) => vec![Finding::failure(
            "directory",
            format!("a vote can't be stored in {shown}: {}", ErrorChain(&*error)),
            "let the node's user write there, on a disk with room",
        )],
        Ok(slowest) => vec![
            Finding::fine("directory", format!("votes can be stored in {shown}")),
            if slowest <= max {
                Finding::fine("disk", format!("storing a vote takes {slowest:.0?}"))
            } else {
                Finding::warning(
                    "disk",
                    format!("storing a vote takes {slowest:.0?}, and {max:?} would be quick"),
                    "take a faster disk, or longer election timeouts on all nodes",
                )
            },
        ],
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn try_saves(trial: &Path) -> Result<Duration, AnyError> {
    let mut votes = VoteFile::open(trial)?;
    let id = NodeId::new("doctor")?;
    let mut save = |term| {
        let began = Instant::now();
        votes.save(&id, &VoteRecord { term, ..VoteRecord::default() }).map(|()| began.elapsed())
    };
    let slowest = (1..=SAVES)
        .try_fold(Duration::ZERO, |slowest, term| save(term.into()).map(|took| slowest.max(took)));
    votes.delete()?;
    Ok(slowest?)
}
