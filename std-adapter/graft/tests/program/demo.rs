//! `graft demo`.

use std::path::Path;

use humantime::parse_rfc3339;
use serde_json::Value;

use crate::process::{graft, text};

fn demo(arguments: &[&str]) -> String {
    let output = graft(Path::new("."), &[&["demo"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout).to_owned()
}

#[test]
fn plain_text_is_printed_where_there_is_no_terminal() {
    let told = demo(&[]);
    assert!(!told.contains('\u{1b}'), "{told:?}");
    for words in ["3 nodes start (seed 1)", " is killed", "Summary", "and all 3 nodes agree"] {
        assert!(told.contains(words), "{words:?} is missing in {told}");
    }
}

#[test]
fn each_line_of_json_is_an_object_with_the_same_keys() {
    let told = demo(&["--json"]);
    let mut events = Vec::new();
    for line in told.lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        assert!(object["term"].is_u64(), "{line}");
        let at = object["ts"].as_str().unwrap();
        assert!(at.ends_with('Z') && parse_rfc3339(at).is_ok(), "{line}");
        for key in ["event", "id", "from", "to", "leader"] {
            assert!(object[key].is_string(), "{key} in {line}");
        }
        events.push(object["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(events[..3], ["start", "start", "start"]);
    assert_eq!(events.iter().filter(|event| *event == "killed").count(), 1);
    assert_eq!(events.last().unwrap(), "summary");
}

/// T1, V1: the killed node comes back with its vote, so no term has two leaders.
#[test]
fn clusters_of_any_size_outlive_their_leader() {
    for size in ["1", "2", "3", "5"] {
        let told = demo(&["--json", "--nodes", size, "--seed", "7"]);
        let summary: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        let term = |key: &str| summary[key].as_u64();
        assert!(term("last_term") >= term("next_term"), "{summary}");
        if ["1", "2"].contains(&size) {
            assert_eq!(summary["next_leader"], Value::Null, "{summary}");
            assert!(term("last_term") > term("first_term"), "{summary}");
        } else {
            assert!(term("next_term") > term("first_term"), "{summary}");
            assert_ne!(summary["next_leader"], summary["first_leader"], "{summary}");
        }
    }
}

/// A node that was killed is gone before it starts again, each time.
#[test]
fn a_cluster_of_one_comes_back_at_once() {
    for seed in 1..=10 {
        demo(&["--nodes", "1", "--seed", &seed.to_string()]);
    }
}

#[test]
fn wrong_numbers_are_refused_with_the_reason() {
    for (arguments, reason) in [
        (["--nodes", "0"], "0 is not in 1..=64"),
        (["--nodes", "65"], "65 is not in 1..=64"),
        (["--nodes", "three"], "invalid digit found in string"),
        (["--seed", "x"], "invalid digit found in string"),
        (["--speed", "1"], "unexpected argument '--speed'"),
    ] {
        let output = graft(Path::new("."), &[&["demo"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(text(&output.stderr).contains(reason), "{output:?}");
    }
}
