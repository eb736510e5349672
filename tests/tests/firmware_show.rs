//! The program behind `cargo xtask firmware`.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn show(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut show = Command::new(env!("CARGO_BIN_EXE_firmware-show"));
    show.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    show.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// V1, I1: the leader's power is cut, another board leads in a later term, and the first comes back
/// in the term of its vote.
#[test]
fn the_events_show_an_election_a_power_cut_and_a_successor() {
    let output = show(&["--json"], &[]);
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    let events: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut leaders = BTreeMap::new();
    for event in &events {
        for key in ["event", "id", "from", "to", "leader"] {
            assert!(event[key].is_string(), "{key} in {event}");
        }
        assert!(event["ts"].is_string() && event["term"].is_u64(), "{event}");
        assert!(event["error"].is_null(), "{event}");
        if event["event"] == "state" && event["to"] == "Leader" {
            assert_eq!(event["reason"], "won_election");
            let before = leaders.insert(event["term"].as_u64().unwrap(), event["id"].clone());
            assert_eq!(before, None, "I1: two leaders in {event}");
        }
    }
    let find = |from: usize, event: &str, to: &str| {
        let is_it = |line: &Value| line["event"] == event && line["to"] == to;
        let found = events[from..].iter().position(is_it);
        from + found.unwrap_or_else(|| panic!("no {event} to {to} after line {from}:\n{printed}"))
    };
    assert!(events[..3].iter().all(|event| event["event"] == "power" && event["to"] == "on"));
    let elected = find(3, "state", "Leader");
    let held = find(elected, "lease", "held");
    let lost = find(held, "power", "off");
    let succeeded = find(lost, "state", "Leader");
    let back = find(succeeded, "power", "on");
    let started = find(back, "start", "Follower");
    let [lost, succeeded, back, started, summary] =
        [lost, succeeded, back, started, events.len() - 1].map(|index| &events[index]);

    assert_eq!(lost["id"], lost["leader"], "it led");
    assert_eq!(events[held]["id"], events[held]["leader"], "it leads");
    assert!(succeeded["term"].as_u64() > lost["term"].as_u64(), "{succeeded} after {lost}");
    assert_ne!(succeeded["id"], lost["id"]);
    assert_eq!((&back["id"], &started["id"]), (&lost["id"], &lost["id"]));
    assert_eq!(started["term"], lost["term"], "it comes back with its vote");
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["first_leader"].as_str(), leaders[&term(summary, "first_term")].as_str());
    assert_eq!(summary["next_leader"].as_str(), leaders[&term(summary, "next_term")].as_str());
    assert!(term(summary, "last_term") >= term(summary, "next_term"), "{summary}");
    assert!(term(summary, "first_term") < term(summary, "next_term"), "{summary}");
}

fn term(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"))
}

#[test]
fn people_without_a_terminal_get_plain_text() {
    let output = show(&[], &[]);
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
    for words in [
        "3 boards are switched on",
        "Candidate -> Leader (won the election)",
        " loses its power",
        " has its power back",
        "starts with its vote for board-",
        "and all 3 boards with power agree",
    ] {
        assert!(printed.contains(words), "{words:?} is missing in {printed}");
    }
}

#[test]
fn firmware_that_does_not_run_is_reported_and_fails() {
    let output = show(&["--json"], &[("FIRMWARE", "no-such-firmware")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("the firmware ended by itself"), "{output:?}");
    assert!(text(&output.stderr).contains("no firmware runs any more"), "{output:?}");
}

#[test]
fn wrong_arguments_are_refused_with_the_reason() {
    for (arguments, reason) in [
        (["--seconds", "0"], "0 is not in 1.."),
        (["--seconds", "soon"], "invalid digit found in string"),
        (["--boards", "4"], "unexpected argument '--boards'"),
    ] {
        let output = show(&arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(reason), "{output:?}");
    }
}
