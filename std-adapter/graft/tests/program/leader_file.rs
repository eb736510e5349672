//! The leader file of `graft run`, and `graft is-leader`, which judges it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Program, graft, text, wait_until};

/// A node of a cluster of `size` that keeps the file `run/ID`.
fn start(directory: &Path, id: &str, size: &str) -> Program {
    let leader_file = format!("run/{id}");
    fs::create_dir_all(directory.join("run")).unwrap();
    Program::start(directory, &arguments(id, size, &leader_file))
}

fn arguments<'a>(id: &'a str, size: &'a str, leader_file: &'a str) -> Vec<&'a str> {
    let cluster = ["run", "--json", "--cluster", "c", "--size", size, "--local", "d"];
    [&cluster[..], &["--id", id, "--leader-file", leader_file]].concat()
}

/// A node that leads alone, and has said so in its file.
fn lead(directory: &Path) -> Program {
    let mut program = start(directory, "a", "1");
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    wait_until(|| directory.join("run/a").exists());
    program
}

/// The exit status, and the token.
fn ask(directory: &Path, id: &str) -> (Option<i32>, String) {
    let output = graft(directory, &["is-leader", "--token", &format!("run/{id}")]);
    assert_eq!(text(&output.stderr), "");
    (output.status.code(), text(&output.stdout).to_owned())
}

fn read(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("run/a")).unwrap()).unwrap()
}

#[test]
fn the_file_tells_who_leads_and_is_gone_when_nobody_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = lead(directory.path());
    assert_eq!(ask(directory.path(), "a"), (Some(0), "1\n".to_owned()));
    let first = read(directory.path());
    assert_eq!(
        (&first["cluster"], &first["id"], &first["token"]),
        (&json!("c"), &json!("a"), &json!(1))
    );
    // It is renewed as the lease is.
    wait_until(|| {
        let until = |file: &Value| file["until_uptime_us"].as_u64().unwrap();
        until(&read(directory.path())) > until(&first)
    });
    program.terminate();
    assert!(program.wait().success());
    assert_eq!(ask(directory.path(), "a"), (Some(1), String::new()));
    let left = fs::read_dir(directory.path().join("run")).unwrap();
    assert_eq!(left.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["a.lock"]);
}

/// Whoever kept it is killed, or does nothing any more.
#[test]
fn a_file_that_is_left_behind_is_not_believed() {
    for signal in [Signal::KILL, Signal::STOP] {
        let directory = tempfile::tempdir().unwrap();
        let program = lead(directory.path());
        program.signal(signal);
        wait_until(|| ask(directory.path(), "a").0 == Some(1));
        assert!(directory.path().join("run/a").exists(), "{signal:?}");
    }
}

/// The other voter is silent, so the lease ends.
#[test]
fn the_file_is_removed_with_the_lease() {
    let directory = tempfile::tempdir().unwrap();
    let mut programs = ["a", "b"].map(|id| start(directory.path(), id, "2"));
    let id = programs[0].wait_for_leader().str("leader").to_owned();
    let [a, b] = &mut programs;
    let (leader, follower) = if id == "a" { (a, b) } else { (b, a) };
    leader.wait_for(|line| line.is("lease", &[("to", "held")]));
    let path = directory.path().join("run").join(&id);
    wait_until(|| path.exists());
    follower.stop();
    leader.wait_for(|line| line.is("lease", &[("from", "held")]));
    assert_eq!(ask(directory.path(), &id), (Some(1), String::new()));
    wait_until(|| !path.exists());
}

/// One that is started by mistake takes nothing from the leader, not even for a moment.
#[test]
fn the_file_of_a_process_that_lives_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let program = lead(directory.path());
    program.signal(Signal::STOP);
    let before = read(directory.path());
    for id in ["a", "b"] {
        let output = graft(directory.path(), &arguments(id, "1", "run/a"));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = "graft: another process keeps the leader file run/a\n";
        assert_eq!(text(&output.stderr), said);
    }
    assert_eq!(read(directory.path()), before);
}

/// Somebody took the lock for a leftover. It is made again, as long as nobody else has it.
#[test]
fn a_lock_that_is_removed_is_taken_again_or_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = lead(directory.path());
    let lock = directory.path().join("run/a.lock");
    fs::remove_file(&lock).unwrap();
    wait_until(|| lock.exists());
    let output = graft(directory.path(), &arguments("b", "1", "run/a"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    program.signal(Signal::STOP);
    fs::remove_file(&lock).unwrap();
    // Of another cluster, so that they share nothing but the file.
    let other = ["run", "--json", "--cluster", "other", "--size", "1", "--local", "d"];
    let other = [&other[..], &["--id", "b", "--leader-file", "run/a"]].concat();
    let mut other = Program::start(directory.path(), &other);
    other.wait_for(|line| line.is("lease", &[("to", "held")]));
    let is_of_b = |text: String| text.contains(r#""id":"b""#);
    wait_until(|| fs::read_to_string(directory.path().join("run/a")).is_ok_and(is_of_b));
    program.signal(Signal::CONT);
    program.wait_for(|line| line.is("error", &[("reason", "leader_file_failed")]));
    assert_eq!(read(directory.path())["id"], "b");
}

/// The names of all files and what is in them; of a directory, nothing.
fn snapshot(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let read = |path| fs::read(path).unwrap_or_default();
    entries.map(|it| (it.file_name().into_string().unwrap(), read(it.path()))).collect()
}

/// It would take the place of a vote, a key, or whatever else somebody needs.
#[test]
fn nothing_that_is_not_a_leader_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (id, file) in [("a", "vote"), ("b", "other.vote")] {
        let made = graft(directory.path(), &["voters", file, "--init", "--id", id, "--set", "a,b"]);
        assert!(made.status.success(), "{made:?}");
    }
    for (name, text) in [("text", "text"), ("x.lock", "x"), ("y.new", "{}"), ("none", "")] {
        fs::write(path(name), text).unwrap();
    }
    fs::write(path("config"), "size = 2\nvoters = [\"a\", \"b\"]\n").unwrap();
    fs::hard_link(path("none"), path("hard")).unwrap();
    symlink("absent", path("link")).unwrap();
    let before = snapshot(directory.path());
    let node = ["run", "--cluster", "c", "--local", "d", "--id", "a", "--config", "config"];
    for (files, why) in [
        (&["--vote-file", "vote", "--leader-file", "vote"][..], "are the same file: vote"),
        (&["--vote-file", "none", "--leader-file", "hard"], "are the same file: hard"),
        (&["--vote-file", "link", "--leader-file", "absent"], "are the same file: absent"),
        (&["--vote-file", "x.new", "--leader-file", "x"], "are the same file: x.new"),
        (&["--leader-file", "c.2.vote"], "the vote file and the leader file are the same"),
        (&["--leader-file", "config"], "config and the leader file are the same file: config"),
        (&["--json=none", "--leader-file", "none"], "the leader file and the file of --json are"),
        (&["--json=l.lock", "--leader-file", "l"], "the leader file's lock and the file of --json"),
        (&["--vote-file", "v", "--json=v.tmp"], "the vote file's next version and the file of"),
        (&["--vote-file", "v", "--json=other.vote"], "which must stay as it is: other.vote"),
        (&["--leader-file", "other.vote"], "leader file other.vote: other.vote is not this pro"),
        (&["--leader-file", "text"], "the leader file text: text is not this program's"),
        (&["--leader-file", "link"], "the leader file link: link is not this program's"),
        (&["--leader-file", "x"], "the leader file x: x.lock is not this program's"),
        (&["--leader-file", "y"], "the leader file y: y.new is not this program's"),
        (&["--leader-file", "z.lock"], "can't have a name that ends in .lock"),
    ] {
        let output = graft(directory.path(), &[&node[..], files].concat());
        assert_eq!(output.status.code(), Some(78), "{files:?}: {output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
        assert_eq!(snapshot(directory.path()), before, "{files:?}");
    }
}

/// The file of a process that was killed, of whose place this one knows nothing yet.
#[test]
fn a_node_that_does_not_start_touches_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = lead(directory.path());
    program.kill();
    program.wait();
    fs::remove_file(directory.path().join("run/a.lock")).unwrap();
    let before = snapshot(&directory.path().join("run"));
    // A declared voter has no vote file yet.
    let more = ["--voters", "a", "--vote-file", "v"];
    let output = graft(directory.path(), &[&arguments("a", "1", "run/a")[..], &more].concat());
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert_eq!(snapshot(&directory.path().join("run")), before);
}

/// The clock that it goes by began again.
#[test]
fn a_file_from_before_the_machine_was_started_is_not_believed_but_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = lead(directory.path());
    program.kill();
    program.wait();
    let path = directory.path().join("run/a");
    let mut file = read(directory.path());
    file["until_uptime_us"] = json!(u64::MAX);
    fs::write(&path, file.to_string()).unwrap();
    assert_eq!(ask(directory.path(), "a").0, Some(0));
    file["boot_id"] = json!("another");
    fs::write(&path, file.to_string()).unwrap();
    assert_eq!(ask(directory.path(), "a").0, Some(1));
    let mut program = start(directory.path(), "a", "2");
    program.wait_for_start();
    assert!(!path.exists());
}

#[test]
fn what_can_not_work_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("text"), "").unwrap();
    let run = ["run", "--cluster", "c", "--size", "1", "--local", "d", "--leader-file"];
    for (arguments, why) in [
        ([&run[..], &["no/leader"]].concat(), "could not write the leader file no/leader: "),
        ([&run[..], &["/"]].concat(), "the leader file has no name"),
        ([&run[..], &["l", "--mode", "graft"]].concat(), "a leader file needs the lease of "),
        ([&run[..], &["l", "--heartbeat", "200ms"]].concat(), "with a leader file, the heartbeat "),
        (vec!["is-leader", "text"], "text is not a leader file: "),
        (vec!["is-leader", "."], "could not read .: "),
        (vec!["is-leader", "/dev/zero"], "could not read /dev/zero: it has more than 4096 bytes"),
    ] {
        let output = graft(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).starts_with(&format!("graft: {why}")), "{output:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_that_can_not_be_written_any_more_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = lead(directory.path());
    fs::rename(directory.path().join("run"), directory.path().join("gone")).unwrap();
    let told = program.wait_for(|line| line.is("error", &[("reason", "leader_file_failed")]));
    assert!(told.str("error").starts_with("could not write the leader file run/a: "));
}
