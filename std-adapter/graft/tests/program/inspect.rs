//! `graft inspect`, on files that Go wrote.

use std::fs;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{graft, text};

/// Recorded by running the Go original; `tests/golden` says how.
const GOLDEN: &str = include_str!("../../../../tests/golden/logs.jsonl");

/// What `graft inspect` says about a file that Go wrote or read.
fn inspect_golden(name: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("vote"), golden(name)).unwrap();
    inspect(&directory)
}

fn inspect(directory: &TempDir) -> Output {
    graft(directory.path(), &["inspect", "vote"])
}

pub(crate) fn golden(name: &str) -> Vec<u8> {
    let lines = GOLDEN.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["file"] == format!("logs/{name}.log")).unwrap();
    let hex = line["hex"].as_str().unwrap();
    let digits = (0..hex.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    bytes.collect()
}

#[track_caller]
fn assert_told(output: &Output, code: i32, told: &str, complaint: &str) {
    assert_eq!(text(&output.stdout), told);
    assert_eq!(text(&output.stderr), complaint);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn a_file_that_go_wrote_is_sound() {
    assert_told(
        &inspect_golden("ok_t128"),
        0,
        "file       vote\n\
         term       128\n\
         voted for  \"6f1d2c3b4a5968778695a4b3c2\"\n\
         node id    none, as in a Go node's file\n\
         voters     not declared\n\
         promised   nothing\n\
         digest     SHA-1\n\
         sound      yes\n",
        "",
    );
}

#[test]
fn so_is_one_of_an_early_go_version() {
    assert_told(
        &inspect_golden("legacy_t1_empty"),
        0,
        "file       vote\n\
         term       1\n\
         voted for  nobody\n\
         node id    none, as in a Go node's file\n\
         voters     not declared\n\
         promised   nothing\n\
         digest     the data itself, as old Go nodes wrote it\n\
         sound      yes\n",
        "",
    );
}

/// V1: such a vote can't be repeated, so it is spent.
#[test]
fn v1_a_vote_for_no_node_id_is_told() {
    let output = inspect_golden("ok_lt_gt_amp");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("voted for  \"<a>&b\"\n"));
    assert!(text(&output.stderr).contains("so the next term is taken"));
}

/// G2, V9: Go takes an empty file for a new node's, and leaves one when it is killed in a save.
#[test]
fn g2_an_empty_file_may_be_a_lost_vote() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("vote"), "").unwrap();
    assert_told(
        &inspect(&directory),
        0,
        "file       vote\nstate      none yet\n",
        "graft: the file is empty, as a new Go node leaves it; \
         if this node has voted before, its vote is lost\n",
    );
}

#[test]
fn a_corrupt_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut file = golden("ok_t128");
    file[20] ^= 1;
    fs::write(directory.path().join("vote"), &file).unwrap();
    assert_told(
        &inspect(&directory),
        1,
        "file       vote\n",
        "graft: vote is corrupt: its digest does not match its data\n",
    );
}

#[test]
fn t4_no_node_starts_from_a_term_out_of_range() {
    let output = inspect_golden("ok_tmax");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).ends_with("sound      no\n"));
    assert_eq!(
        text(&output.stderr),
        "graft: no node can start from vote: term 18446744073709551615 is out of range\n"
    );
}

/// Go's users know the file as the log.
#[test]
fn the_go_word_for_the_command_works_too() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("vote"), golden("ok_t128")).unwrap();
    let output = graft(directory.path(), &["log", "vote"]);
    assert!(text(&output.stdout).ends_with("sound      yes\n"), "{output:?}");
}

#[test]
fn a_missing_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert_told(&inspect(&directory), 1, "file       vote\n", "graft: vote does not exist\n");
}

#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("vote"), golden("ok_t128")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_graft"))
        .args(["inspect", "vote"])
        .current_dir(directory.path())
        .stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "graft: No space left on device (os error 28)\n");
}
