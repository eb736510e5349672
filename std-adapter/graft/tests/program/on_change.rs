//! `graft run --on-change`: a script that learns who leads.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Program, make_fifo, parent_of, wait_until, wait_until_no_command_runs};

/// A node with this script, which has `timeout` seconds.
fn start(directory: &Path, id: &str, size: &str, script: &str, timeout: &str) -> Program {
    let cluster = ["run", "--json", "--cluster", "c", "--size", size, "--local", "d"];
    let node = ["--id", id, "--vote-file", &format!("{id}.vote")];
    let on_change = ["--on-change", script, "--on-change-timeout", timeout];
    Program::start(directory, &[&cluster[..], &node, &on_change].concat())
}

fn told(directory: &Path, id: &str) -> Vec<String> {
    let told = fs::read_to_string(directory.join(id)).unwrap_or_default();
    told.lines().map(str::to_owned).collect()
}

#[test]
fn the_script_learns_who_leads() {
    let directory = tempfile::tempdir().unwrap();
    let tell = r#"echo "$GRAFT_STATE [$GRAFT_LEADER] $GRAFT_TERM $GRAFT_CLUSTER" >>"$GRAFT_ID""#;
    let mut programs = ["a", "b"].map(|id| start(directory.path(), id, "2", tell, "60"));
    let leader = programs[0].wait_for_leader();
    let (leader, term) = (leader.str("leader").to_owned(), leader.term());
    for id in ["a", "b"] {
        let state = if id == leader { "leader" } else { "follower" };
        let last = format!("{state} [{leader}] {term} c");
        wait_until(|| told(directory.path(), id).last() == Some(&last));
    }
    for (program, id) in programs.iter_mut().zip(["a", "b"]) {
        program.terminate();
        assert!(program.wait().success());
        let told = told(directory.path(), id);
        assert_eq!(told[0], "no_leader [] 0 c");
        assert!(told.last().unwrap().starts_with("closed [] "), "{told:?}");
    }
}

/// The first one takes as long as the rest of the node's life, in which it led.
#[test]
fn one_script_runs_at_a_time_and_then_the_one_for_the_latest_change() {
    let directory = tempfile::tempdir().unwrap();
    make_fifo(&directory.path().join("fifo"));
    let mut program =
        start(directory.path(), "a", "1", r#"echo $GRAFT_STATE >>a; read l <fifo"#, "60");
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    program.terminate();
    program.wait_for(|line| line.is("closed", &[]));
    assert_eq!(told(directory.path(), "a"), ["no_leader"]);
    let go_on = || {
        let fifo = OpenOptions::new().write(true).open(directory.path().join("fifo"));
        writeln!(fifo.unwrap()).unwrap();
    };
    go_on();
    wait_until(|| told(directory.path(), "a") == ["no_leader", "closed"]);
    go_on();
    assert!(program.wait().success());
    assert_eq!(told(directory.path(), "a"), ["no_leader", "closed"]);
}

#[test]
fn a_script_that_fails_or_takes_too_long_is_reported() {
    for (script, timeout, why) in [
        ("exit 3", "60", "exit status: 3"),
        ("kill -9 $$", "60", "signal: 9 (SIGKILL)"),
        ("exec 9>>lock; flock 9; setsid sleep 120 & sleep 120", "0.2", "it took longer than 200ms"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut program = start(directory.path(), "a", "1", script, timeout);
        let told = program.wait_for(|line| line.is("error", &[("reason", "on_change_failed")]));
        assert_eq!(told.str("error"), format!("the script for changes failed: {why}"));
        program.wait_until_told(|line| line.is("lease", &[("to", "held")]));
        program.kill();
        wait_until_no_command_runs(directory.path());
    }
}

/// It dies with its watchdog; the node goes on.
#[test]
fn a_script_whose_watchdog_is_killed_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let script = "exec 9>>lock; flock 9; echo pid $$; sleep 120";
    let mut program = start(directory.path(), "a", "1", script, "60");
    let said = program.wait_for(|line| line.words().starts_with("pid "));
    let watchdog = parent_of(said.words()[4..].parse().unwrap());
    let watchdog = Pid::from_raw(watchdog.try_into().unwrap()).unwrap();
    kill_process(watchdog, Signal::KILL).unwrap();
    let told = program.wait_for(|line| line.is("error", &[("reason", "on_change_failed")]));
    assert_eq!(told.str("error"), "the script for changes failed: its watchdog is gone");
    program.wait_until_told(|line| line.is("lease", &[("to", "held")]));
}

/// A second signal says that there is no time for it.
#[test]
fn a_second_signal_ends_the_last_script() {
    let directory = tempfile::tempdir().unwrap();
    let script = "test $GRAFT_STATE != closed && exit; exec 9>>lock; flock 9; echo last; sleep 120";
    let mut program = start(directory.path(), "a", "1", script, "60");
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    program.terminate();
    program.wait_for(|line| line.words() == "last");
    program.terminate();
    assert!(program.wait().success());
}
