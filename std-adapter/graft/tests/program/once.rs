//! `graft run --once`: a job that is done once in its cluster.

use std::fs;
use std::path::Path;

use crate::process::{Program, graft, text, wait_until};

/// One of three voters, with short times, whose COMMAND is a script.
fn start(directory: &Path, id: &str, script: &str) -> Program {
    let cluster = ["run", "--json", "--once", "--cluster", "c", "--size", "3", "--local", "d"];
    let times = ["--election-timeout", "300ms..600ms", "--heartbeat", "80ms"];
    let node = ["--id", id, "--vote-file", id, "--", "sh", "-c", script];
    Program::start(directory, &[&cluster[..], &times, &node].concat())
}

fn runs(directory: &Path) -> usize {
    fs::read_to_string(directory.join("runs")).unwrap().lines().count()
}

/// The third starts only when the job is done.
#[test]
fn a_job_is_done_once_and_all_exit_well() {
    let directory = tempfile::tempdir().unwrap();
    let job = "echo run >>runs";
    let mut programs: Vec<_> =
        ["a", "b"].iter().map(|id| start(directory.path(), id, job)).collect();
    for program in &mut programs {
        program.wait_for(|line| line.is("done", &[]));
    }
    programs.push(start(directory.path(), "c", job));
    for program in &mut programs {
        assert_eq!(program.wait().code(), Some(0));
        assert!(program.lines.iter().any(|line| line.is("done", &[])), "{:#?}", program.lines);
    }
    assert_eq!(runs(directory.path()), 1);
}

/// The first that tries fails.
#[test]
fn a_job_that_fails_is_tried_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let job = "echo run >>runs; mkdir first && exit 3; exit 0";
    let mut programs = ["a", "b", "c"].map(|id| start(directory.path(), id, job));
    let mut codes = programs.each_mut().map(|program| program.wait().code());
    codes.sort();
    assert_eq!(codes, [Some(0), Some(0), Some(3)]);
    assert_eq!(runs(directory.path()), 2);
}

/// It said that it was done because it was told to end.
#[test]
fn a_job_that_is_told_to_end_is_not_done() {
    let directory = tempfile::tempdir().unwrap();
    let job = "trap 'exit 0' TERM; echo $GRAFT_ID >>runs
        test -e stay || { touch stay; sleep 120 & wait; }";
    let ids = ["a", "b", "c"];
    let mut programs = ids.map(|id| start(directory.path(), id, job));
    wait_until(|| directory.path().join("stay").exists());
    let first = fs::read_to_string(directory.path().join("runs")).unwrap();
    let index = ids.iter().position(|id| *id == first.trim()).unwrap();
    programs[index].terminate();
    for program in &mut programs {
        assert_eq!(program.wait().code(), Some(0));
    }
    let has_told = programs.map(|it| it.lines.iter().any(|line| line.is("done", &[])));
    assert_eq!(has_told.iter().filter(|told| **told).count(), 2);
    assert_eq!(runs(directory.path()), 2);
}

#[test]
fn what_can_not_work_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", "--once"];
    for (arguments, code, why) in [
        (
            &["--mode", "graft", "--", "true"][..],
            78,
            "a job can be done once in Extended mode only",
        ),
        (&["--value", "x", "--", "true"], 64, "cannot be used with '--value <TEXT>'"),
        (&[], 64, "<COMMAND>"),
    ] {
        let output = graft(directory.path(), &[&run, arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
}
