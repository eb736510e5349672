//! `graft run --keep`: a COMMAND that ends is started again.

use crate::process::{Line, Program, graft, text};

#[test]
fn a_command_that_ends_is_started_again_until_the_node_hands_over() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d", "--keep"];
    let mut program = Program::start(directory.path(), &[&run[..], &["--", "false"]].concat());
    let mut wait_for_end = || program.wait_for(|line| line.is("command", &[("to", "ended")]));
    let pauses = [100, 200, 400, 800].map(|pause| {
        let ended = wait_for_end();
        assert_eq!(ended.number("code"), 1);
        assert_eq!(ended.number("restart_in_ms"), pause);
        ended.term()
    });
    assert_eq!(pauses, [1; 4]);
    assert_eq!(wait_for_end().str("reason"), "restart_limit");
    let hands_over = |line: &Line| line.is("state", &[("reason", "handed_over")]);
    let is_start = |line: &Line| line.is("command", &[("to", "running")]);
    let next = program.wait_for(|line| hands_over(line) || is_start(line));
    assert!(hands_over(&next), "{next:?}");
    // Nobody else is there, so it leads again, and tries again.
    let again = program.wait_for(|line| line.is("command", &[("to", "running")]));
    assert_eq!(again.term(), 2);
    program.terminate();
    assert!(program.wait().success());
}

/// A command that the node itself has ended doesn't count.
#[test]
fn a_command_is_not_started_again_when_the_node_is_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d", "--keep", "--"];
    let mut program = Program::start(directory.path(), &[&run[..], &["sleep", "120"]].concat());
    program.wait_for(|line| line.is("command", &[("to", "running")]));
    program.terminate();
    assert!(program.wait().success());
    let starts = program.lines.iter().filter(|line| line.is("command", &[("to", "running")]));
    assert_eq!(starts.count(), 1, "{:#?}", program.lines);
}

#[test]
fn without_a_command_there_is_nothing_to_keep() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", "--keep"];
    let output = graft(directory.path(), &run);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(text(&output.stderr).contains("-- <COMMAND>"), "{output:?}");
}
