//! `graft run --check`: a node that isn't fit to lead doesn't.

use std::fs::{self, File};
use std::path::Path;

use crate::process::{Program, graft, no_command_runs, text, wait_until_no_command_runs};

/// A node of a cluster of one with this check.
fn start(directory: &Path, check: &str, timeout: &str, command: &[&str]) -> Program {
    let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d", "--check", check];
    let times = ["--check-interval", "0.05", "--check-timeout", timeout];
    Program::start(directory, &[&run[..], &times, command].concat())
}

#[test]
fn a_node_leads_while_its_check_passes() {
    let directory = tempfile::tempdir().unwrap();
    let ok = directory.path().join("ok");
    let command = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let command = ["--", "sh", "-c", command];
    let mut program = start(directory.path(), "test -e ok", "60", &command);
    for term in 1..3 {
        let failed = program.wait_for(|line| line.is("check", &[("to", "failed")]));
        assert_eq!(failed.str("error"), "exit status: 1");
        if term > 1 {
            // COMMAND ends in order, and doesn't end the node.
            let ended = program.wait_for(|line| line.is("command", &[("to", "ended")]));
            assert_eq!((ended.number("code"), &ended.object()["by_itself"]), (3, &false.into()));
            program.wait_for(|line| line.is("lease", &[("from", "held")]));
        }
        File::create(&ok).unwrap();
        program.wait_for(|line| line.is("check", &[("to", "passed")]));
        // "running" is said of a shell that may not have come to its trap yet.
        program.wait_for(|line| line.words() == "ready");
        fs::remove_file(&ok).unwrap();
    }
    program.terminate();
    assert!(program.wait().success());
    let mut is_fit = false;
    for line in &program.lines {
        is_fit = line.is("check", &[("to", "passed")])
            || is_fit && !line.is("check", &[("to", "failed")]);
        let acts = line.is("command", &[("to", "running")]) || line.is("lease", &[("to", "held")]);
        assert!(is_fit || !acts, "{:#?}", program.lines);
    }
}

/// It and all that it has started are killed.
#[test]
fn a_check_that_takes_too_long_has_failed() {
    let directory = tempfile::tempdir().unwrap();
    let check = "exec 9>>lock; flock --nonblock 9 || echo together; setsid sleep 120 & sleep 120";
    let mut program = start(directory.path(), check, "0.3", &[]);
    let failed = program.wait_for(|line| line.is("check", &[("to", "failed")]));
    assert_eq!(failed.str("error"), "it took longer than 300ms");
    program.kill();
    wait_until_no_command_runs(directory.path());
    program.wait();
    assert!(!program.lines.iter().any(|line| line.words() == "together"), "{:?}", program.lines);
    assert!(no_command_runs(directory.path()));
}

/// What it prints is not in the way of COMMAND's output.
#[test]
fn a_check_prints_to_the_errors_and_reads_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", "--check", "cat; echo fit"];
    let output = graft(directory.path(), &[&run[..], &["--", "echo", "run"]].concat());
    assert_eq!(text(&output.stdout), "run\n");
    assert!(text(&output.stderr).lines().any(|line| line == "fit"), "{output:?}");
}
