//! Vote files of the Go original's format, and what only looks like one: nothing panics, and what a
//! node may start from survives the start, a save and another start.

#![no_main]

use std::cell::LazyCell;
use std::fs;

use arbitrary::Arbitrary;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graft_election::{NodeId, VoteFile, VoteStore};
use libfuzzer_sys::fuzz_target;
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

/// What a vote file holds.
#[derive(Arbitrary, Debug)]
enum Contents<'a> {
    /// Anything.
    Raw(&'a [u8]),
    /// Data with the right digest, which no fuzzer finds, and other members of the envelope.
    Signed(&'a [u8], &'a str),
}

thread_local! {
    /// In memory, if there is such a place: the format is tried here, not the disk.
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
    });
}

fuzz_target!(|contents: Contents<'_>| {
    let path = FOLDER.with(|folder| folder.path().join("vote"));
    fs::write(&path, contents.bytes()).expect("a file");
    let Ok(Some(inspected)) = VoteFile::inspect(&path) else {
        return;
    };
    let usable = inspected.to_stored_vote();
    let Ok(mut votes) = VoteFile::open(&path) else {
        // Every record that a node may start from opens.
        assert!(usable.is_err());
        return;
    };
    let stored = votes.load().expect("what was opened loads");
    assert_eq!(Ok(&stored), usable.as_ref());

    let id = stored.id.unwrap_or_else(|| NodeId::new("node").expect("an id"));
    votes.save(&id, &stored.record).expect("what was opened can be saved");
    drop(votes);
    let mut votes = VoteFile::open(&path).expect("what was saved opens");
    let again = votes.load().expect("what was saved loads");
    assert_eq!((again.record, again.id), (stored.record, Some(id)));
    assert_eq!(again.warnings, []);
});

impl Contents<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.to_vec(),
            Self::Signed(data, more) => {
                let sha = STANDARD.encode(Sha1::digest(data));
                let data = STANDARD.encode(data);
                format!(r#"{{"SHA":"{sha}","Data":"{data}"{more}}}"#).into()
            }
        }
    }
}
