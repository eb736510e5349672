//! `graft run --wait` and `--try`: a node that doesn't get to lead in time gives up.

use std::path::Path;

use crate::process::{Program, graft, text};

/// One of three voters, with these arguments too.
fn arguments<'a>(id: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let cluster = ["run", "--json", "--cluster", "c", "--size", "3", "--local", "d"];
    [&cluster[..], &["--id", id, "--vote-file", id], more].concat()
}

fn start(directory: &Path, id: &str) -> Program {
    Program::start(directory, &arguments(id, &[]))
}

#[test]
fn a_node_that_nobody_elects_gives_up() {
    let directory = tempfile::tempdir().unwrap();
    let output = graft(directory.path(), &arguments("a", &["--wait", "0.5", "--", "true"]));
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.ends_with("graft: gave up: no node led after 500ms\n"), "{output:?}");
    // It closes in order.
    assert!(told.contains("\"event\":\"closed\""), "{output:?}");
}

/// With --try it doesn't wait: for its own election timeouts that would be half an hour.
#[test]
fn a_node_gives_up_when_another_leads() {
    let slow = ["--election-timeout", "90s..180s"];
    for options in [[&["--try"][..], &slow].concat(), vec!["--wait=3"]] {
        let directory = tempfile::tempdir().unwrap();
        let mut programs = ["a", "b"].map(|id| start(directory.path(), id));
        let leader = programs[0].wait_for_leader().str("leader").to_owned();
        let options = [&options[..], &["--", "true"]].concat();
        let mut third = Program::start(directory.path(), &arguments("c", &options));
        assert_eq!(third.wait().code(), Some(73));
        let told = third.lines.last().unwrap().words();
        assert_eq!(told, format!("graft: gave up: node {leader} leads"));
        for program in &mut programs {
            program.terminate();
            assert!(program.wait().success());
        }
    }
}

#[test]
fn a_node_that_leads_in_time_runs_its_command() {
    for options in [&["--wait", "60"][..], &["--try"]] {
        let directory = tempfile::tempdir().unwrap();
        let run = ["run", "--cluster", "c", "--size", "1", "--local", "d"];
        let output =
            graft(directory.path(), &[&run, options, &["--", "sh", "-c", "exit 7"]].concat());
        assert_eq!(output.status.code(), Some(7), "{output:?}");
    }
}
