//! The times of an election, as `graft run` is given them.

use std::time::{Duration, SystemTime};

use humantime::parse_rfc3339;

use crate::process::{Line, Program, graft, text};

#[test]
fn times_that_no_election_can_keep_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (times, told) in [
        (["--election-timeout", "1s..1s"], "the least election timeout must be below the greatest"),
        (["--election-timeout", "1s"], "it has two times with .. between them, as in 500ms..1s"),
        (["--election-timeout", "500..900"], "\"500\" is no time with a unit, such as 500ms"),
        (["--heartbeat", "251ms"], "the heartbeat interval must be at most half the least"),
        (["--heartbeat", "0ms"], "the heartbeat interval must be at least 2 microseconds"),
    ] {
        let node = ["run", "--cluster", "c", "--size", "1", "--local", "."];
        let refused = graft(directory.path(), &[&node[..], &times].concat());
        assert!(!refused.status.success(), "{times:?}");
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_node_waits_as_long_as_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let node = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d"];
    let times = ["--election-timeout", "2s..2500ms", "--heartbeat", "1s"];
    // Before its first term it has promised nothing, and need not wait (C1).
    let mut program = Program::start(directory.path(), &[&node[..], &times].concat());
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    program.terminate();
    assert!(program.wait().success());
    let mut program = Program::start(directory.path(), &[&node[..], &times].concat());
    let start = at(&program.wait_for(|line| line.is("start", &[])));
    let campaign = program.wait_for(|line| line.is("state", &[("to", "Candidate")]));
    // The start is told a little after the node has begun to wait.
    assert!(at(&campaign).duration_since(start).unwrap() > Duration::from_millis(1_500));
    program.terminate();
    assert!(program.wait().success());
}

/// When it happened.
fn at(line: &Line) -> SystemTime {
    parse_rfc3339(line.str("ts")).unwrap()
}
