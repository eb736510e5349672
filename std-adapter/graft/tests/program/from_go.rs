//! A node that takes the place of a Go node among Go nodes, and gives it back.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::inspect::golden;
use crate::peer::Peer;
use crate::process::Program;

#[test]
fn a_go_vote_file_is_taken_over_and_can_be_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("graft.log");
    // Go wrote it in term 128.
    fs::write(&log, golden("ok_t128")).unwrap();
    let base = directory.path().join("d");
    let (first, second) = (Peer::join(&base, "go-1"), Peer::join(&base, "go-2"));
    let arguments = ["--cluster", "c", "--size", "3", "--local", "d", "--vote-file", "graft.log"];
    let mut program =
        Program::start(directory.path(), &[&["run", "--json"], &arguments[..]].concat());
    let start = program.wait_for_start();
    assert_eq!(start.term(), 128);
    let id = start.str("id");

    first.lead(id, 128);
    assert_eq!(program.wait_for_leader().str("leader"), "go-1");
    // V1: its vote of term 128 is spent.
    assert!(!second.ask_for_vote(id, 128).granted);
    // V3: it helps to elect no one at first, since it has been a voter before.
    while !second.ask_for_vote(id, 129).granted {
        first.lead(id, 128);
    }
    assert!(!first.ask_for_vote(id, 129).granted);
    program.terminate();
    assert!(program.wait().success());

    // Read as a Go node does at its start.
    let envelope: Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
    let bytes = |key: &str| STANDARD.decode(envelope[key].as_str().unwrap()).unwrap();
    let data = bytes("Data");
    assert_eq!(bytes("SHA"), Sha1::digest(&data)[..]);
    let record: Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(record["CurrentTerm"], 129);
    assert_eq!(record["VotedFor"], "go-2");
}
