//! What the program traces, if `RUST_LOG` asks for it.

use std::path::Path;
use std::process::{Command, Output};

use humantime::parse_rfc3339;
use serde_json::Value;

use crate::process::text;

/// A cluster of one, whose COMMAND ends when it has begun.
fn run(directory: &Path, wanted: Option<&str>, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_graft"));
    program
        .args(["run", "--cluster", "c", "--size", "1", "--local", "d", "--id", "a"])
        .args(arguments)
        .args(["--", "true"])
        .current_dir(directory)
        .env_remove("RUST_LOG");
    if let Some(wanted) = wanted {
        program.env("RUST_LOG", wanted);
    }
    program.output().unwrap()
}

#[test]
fn traces_of_json_say_which_cluster_node_and_term_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), Some("graft_election=info"), &["--json=events"]);
    assert!(output.status.success(), "{output:?}");
    let traces: Vec<Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for trace in &traces {
        assert!(trace["cluster"] == "c" && trace["id"] == "a", "{trace}");
        assert!(trace["term"].is_u64(), "{trace}");
        let at = trace["timestamp"].as_str().unwrap();
        assert!(at.ends_with('Z') && parse_rfc3339(at).is_ok(), "{trace}");
    }
    let find = |event: &str| traces.iter().find(|it| it["event"] == event).unwrap();
    assert_eq!(find("state_changed")["reason"], "election_timeout");
    assert_eq!(find("leader_changed")["leader"], "a");
    assert_eq!(find("leadership_gained")["token"], 1);
}

#[test]
fn there_are_none_unless_they_are_asked_for() {
    for (wanted, is_traced) in
        [(None, false), (Some(""), false), (Some("off"), false), (Some("info"), true)]
    {
        let directory = tempfile::tempdir().unwrap();
        let output = run(directory.path(), wanted, &[]);
        assert!(output.status.success(), "{output:?}");
        let told = text(&output.stderr);
        assert_eq!(told.contains("event=\"leader_changed\""), is_traced, "{wanted:?}: {told}");
    }
}

#[test]
fn a_filter_that_can_not_be_read_is_a_wrong_setting() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), Some("graft=loud"), &[]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(text(&output.stderr).starts_with("graft: RUST_LOG can't be read: "), "{output:?}");
}
