//! What a supervisor can tell from the exit status. Those of arguments and servers that are wrong
//! are tested with them.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::process::{Program, graft, text};

/// One of two voters.
fn start(directory: &Path, id: &str) -> Program {
    let vote_file = format!("{id}.vote");
    let cluster = ["run", "--json", "--cluster", "c", "--size", "2", "--local", "d"];
    let node = ["--id", id, "--vote-file", &vote_file, "--election-timeout", "100ms..200ms"];
    let beat = ["--heartbeat", "50ms"];
    Program::start(directory, &[&cluster[..], &node, &beat].concat())
}

/// The one that is left for long has lost its quorum. One that never had a leader lost nothing, and
/// one whose leader has just gone may elect another.
#[test]
fn a_node_that_lost_its_quorum_for_good_says_so_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = start(directory.path(), "a");
    first.wait_for_start();
    first.terminate();
    assert_eq!(first.wait().code(), Some(0));

    let (mut first, mut second) = (start(directory.path(), "a"), start(directory.path(), "b"));
    first.wait_for_leader();
    second.wait_for_leader();
    first.kill();
    first.wait();
    second.wait_for(|line| line.is("leader", &[("leader", "")]));
    // More than ten times its greatest election timeout.
    sleep(Duration::from_millis(2_500));
    second.terminate();
    assert_eq!(second.wait().code(), Some(75));
    assert!(second.lines.iter().any(|line| line.is("closed", &[])), "{:#?}", second.lines);
}

#[test]
fn settings_that_can_not_work_are_told_from_what_may_pass() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bad.creds"), "nothing").unwrap();
    let node = ["--cluster", "c", "--size", "1"];
    for (arguments, code) in [
        (&["run", "--creds", "bad.creds"][..], 78),
        (&["run", "--nats", "nats://127.0.0.1:1"], 69),
        (&["run", "--local", "d", "--voters", "a"], 78),
        (&["run", "--serial", "unix:nonesuch"], 69),
        (&["run", "--local", "d", "--vote-file", "no/v"], 1),
        (&["run", "--local", "d", "--json=no/j"], 78),
        (&["run", "--nonesuch"], 64),
    ] {
        let output = graft(directory.path(), &[arguments, &node].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(!text(&output.stderr).is_empty());
    }
}

#[test]
fn what_is_wrong_with_an_argument_is_said_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let node = ["run", "--cluster", "c", "--size", "1", "--local", "d"];
    for (arguments, told) in [
        (&["--json=no/j"][..], "graft: could not open the file of --json, no/j: "),
        (&["--voters", "a,a"], "graft: voter a is declared twice\n"),
        // Hidden names are not what is suggested.
        (&["--tlsc", "x"], "a similar argument exists: '--tls-ca'"),
    ] {
        let output = graft(directory.path(), &[&node[..], arguments].concat());
        assert!(text(&output.stderr).contains(told), "{output:?}");
    }
    for (arguments, told) in [
        (&["logs"][..], "'inspect'"),
        (&["status", "--serial", "unix:x"], "say which one is meant"),
    ] {
        let output = graft(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(text(&output.stderr).contains(told), "{output:?}");
    }
}

#[test]
fn help_and_manual_list_the_same_statuses() {
    let directory = tempfile::tempdir().unwrap();
    let page = include_str!("../../../../docs/run.md");
    for arguments in [&["--help"][..], &["run", "--help"], &["bridge", "--help"]] {
        let output = graft(directory.path(), arguments);
        assert!(output.status.success(), "{output:?}");
        let (_, listed) = text(&output.stdout).split_once("Exit statuses:\n").unwrap();
        let listed: Vec<_> = listed.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        assert_eq!(listed.len(), 7, "{listed:?}");
        for line in listed {
            let (status, _) = line.split_once(' ').unwrap();
            assert!(page.contains(&format!("\n| {status} |")), "{line} is not in docs/run.md");
        }
    }
}
