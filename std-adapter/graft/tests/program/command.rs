//! COMMAND, under one node: when it starts, and how it ends.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::peer::Peer;
use crate::process::{
    COMMAND, DEAF_COMMAND, Program, children_of, graft, make_fifo, no_command_runs, text,
    wait_until, wait_until_no_command_runs,
};

/// Node `a` of cluster `c`, in Graft mode: its peers are the test's, and speak as Go nodes do.
fn start(directory: &Path, size: &str, grace: &str, command: &str) -> Program {
    let cluster =
        ["run", "--json", "--mode", "graft", "--cluster", "c", "--size", size, "--id", "a"];
    let local = ["--local", "d", "--vote-file", "vote", "--grace", grace];
    let command = ["--", "sh", "-c", command];
    let mut program = Program::start(directory, &[&cluster[..], &local, &command].concat());
    program.wait_for_start();
    program
}

#[test]
fn a_command_that_ends_by_itself_ends_the_node_with_its_status() {
    for (command, code) in [
        (&["sh", "-c", "exit 7"][..], 7),
        (&["sh", "-c", "exit 0"], 0),
        (&["sh", "-c", "kill -9 $$"], 137),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d", "--"];
        let output = graft(directory.path(), &[&run[..], command].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        // The standard output is COMMAND's.
        assert_eq!(text(&output.stdout), "", "{output:?}");
        let told = text(&output.stderr);
        assert!(told.ends_with("\"text\":\"was closed\"}\n"), "{output:?}");
    }
}

/// Where another node leads, nobody would notice before that one is gone.
#[test]
fn a_command_that_can_not_be_run_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("text"), "").unwrap();
    for (command, code, why) in [
        ("/", 126, "not an executable file"),
        ("./text", 126, "not an executable file"),
        ("./nonesuch", 127, "no such file"),
        ("nonesuch", 127, "no such program in PATH"),
        ("text", 127, "no such program in PATH"),
        ("--json", 127, "no such program in PATH"),
    ] {
        let run = ["run", "--cluster", "c", "--size", "3", "--local", "d", "--", command];
        let output = graft(directory.path(), &run);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(text(&output.stderr), format!("graft: could not run {command:?}: {why}\n"));
        // It leaves no trace.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

/// What is at its path may have become something else.
#[test]
fn a_command_that_can_not_be_run_any_more_ends_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/nonesuch\n").unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", "--", "./script"];
    let output = graft(directory.path(), &run);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let told = text(&output.stderr);
    let message = "graft: could not run \"./script\": ";
    assert_eq!(told.lines().filter(|line| line.starts_with(message)).count(), 1, "{output:?}");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_its_grace() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = start(directory.path(), "1", "1", DEAF_COMMAND);
    program.wait_for_command();
    let told_at = Instant::now();
    program.terminate();
    assert!(program.wait().success());
    assert!(told_at.elapsed() >= Duration::from_secs(1));
    assert!(no_command_runs(directory.path()));
}

/// A service manager that stops a service signals all of its processes, in any order.
#[test]
fn a_stop_that_reaches_the_command_first_is_a_success_all_the_same() {
    for ending in ["exec sleep 120", "trap 'exit 3' TERM; sleep 120 & wait"] {
        let directory = tempfile::tempdir().unwrap();
        let command = format!("echo \"COMMAND $$ alone 1 a c\"; {ending}");
        let mut program = start(directory.path(), "1", "10", &command);
        let pid = Pid::from_raw(program.wait_for_command().pid).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        program.wait_for(|line| line.is("command", &[("to", "ended")]));
        program.terminate();
        assert!(program.wait().success());
    }
}

/// The first process of a container is the parent of all orphans there.
#[test]
fn the_first_process_of_a_container_reaps() {
    let directory = tempfile::tempdir().unwrap();
    let graft = env!("CARGO_BIN_EXE_graft");
    let leave = "(sh -c 'read line; exit 0' <fifo &); exec \"$@\"";
    make_fifo(&directory.path().join("fifo"));
    let by = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", leave, "sh", graft];
    let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d"];
    let mut program = Program::start_words(directory.path(), &[&by[..], &run].concat());
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    let [first] = children_of(program.pid())[..] else { panic!("one process is the first") };
    assert_eq!(children_of(first).len(), 1);
    // The orphan ends now.
    drop(OpenOptions::new().write(true).open(directory.path().join("fifo")).unwrap());
    wait_until(|| children_of(first).is_empty());
    kill_process(Pid::from_raw(first.try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(program.wait().success());
}

/// The whole group is signalled: what the COMMAND has started, too.
#[test]
fn a_second_signal_ends_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let command = r#"
        trap 'echo "COMMAND $$ alone 2 told c"' TERM
        echo "COMMAND $$ alone 1 runs c"
        while :; do sleep 120 & wait; done"#;
    let mut program = start(directory.path(), "1", "3600", command);
    assert_eq!(program.wait_for_command().id, "runs");
    program.terminate();
    assert_eq!(program.wait_for_command().id, "told");
    program.terminate();
    assert!(program.wait().success());
}

/// The node loses its leadership and wins the next before the COMMAND of the first has ended.
#[test]
fn a_command_never_runs_twice_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::join(&directory.path().join("d"), "peer");
    let mut program = start(directory.path(), "2", "5", DEAF_COMMAND);
    let first_term = peer.elect("a");
    let first = program.wait_for_command();
    assert!(first.is_alone && first.term == first_term, "{first:?}");

    // T3
    peer.ask_for_vote("a", first_term + 1);
    program.wait_for(|line| line.is("state", &[("from", "Leader"), ("to", "Follower")]));
    let second_term = peer.elect("a");
    program.wait_for(|line| line.is("state", &[("to", "Leader")]) && line.term() == second_term);
    assert!(!no_command_runs(directory.path()));

    let second = program.wait_for_command();
    assert!(second.is_alone && second.term == second_term, "{second:?}");
}

#[test]
fn a_command_ends_with_the_leadership() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::join(&directory.path().join("d"), "peer");
    let mut program = start(directory.path(), "2", "3600", COMMAND);
    let term = peer.elect("a");
    program.wait_for_command();
    peer.ask_for_vote("a", term + 1);
    // It runs again in the next term that the node wins, which it can't before the first has ended.
    let next = peer.elect("a");
    assert_eq!(program.wait_for_command().term, next);
}

/// Neither COMMAND nor its node depends on a reader.
#[test]
fn a_command_has_its_grace_even_if_nobody_listens() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::join(&directory.path().join("d"), "peer");
    let mut program = start(directory.path(), "2", "1", DEAF_COMMAND);
    let term = peer.elect("a");
    program.wait_for_command();
    program.stop_listening();
    let deposed_at = Instant::now();
    peer.ask_for_vote("a", term + 1);
    // It leads again once the first COMMAND has ended.
    peer.elect("a");
    wait_until_no_command_runs(directory.path());
    assert!(deposed_at.elapsed() >= Duration::from_secs(1));
    program.terminate();
    assert!(program.wait_unheard().success());
    assert!(no_command_runs(directory.path()));
}

/// L3: COMMAND doesn't begin if its watchdog is gone before it is tied to it.
#[test]
fn a_command_whose_watchdog_is_gone_does_not_begin() {
    let mut watchdog = Command::new("true").spawn().unwrap();
    let gone = watchdog.id().to_string();
    watchdog.wait().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_graft"))
        .args(["__child", &gone, "--", "echo", "begun"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "");
}
