//! COMMAND, and all that it has started: each way to get away from it, and each way in which it
//! ends.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use rustix::process::{Pid, Signal, getsid, kill_process};
use tempfile::TempDir;

use crate::process::{PATIENCE, Program, parent_of, wait_until};
use crate::surroundings::Surroundings;

/// All of them share one lock, which is free when none of them is left. Each says that it is there.
const ESCAPERS: &str = r#"
    exec 9>>lock; flock --shared 9
    # One that stays, but listens to nobody.
    sh -c 'trap "" TERM INT HUP; echo up; while :; do sleep 120; done' &
    # Another process group, by way of a program and of a shell.
    timeout 120 sh -c 'trap "" TERM; echo up; while :; do sleep 120; done' &
    bash -c 'set -m; { echo up; exec sleep 120; } & wait' &
    # Another session, there and then as a daemon that has lost its parent.
    setsid sh -c 'trap "" TERM; echo up; while :; do sleep 120; done' &
    setsid sh -c '(setsid sh -c "echo up; exec sleep 120" &) & exit' &
    # One that is stopped.
    setsid sh -c 'echo up; kill -STOP $$; exec sleep 120' &
    # Some that start others all the time: as parents that stay, and as parents that exit.
    setsid sh -c 'echo up; while :; do sleep 120 & sleep 0.01; done' &
    echo 'sh ./chain & exit' >chain; setsid sh -c 'echo up; sh ./chain' &
"#;

/// A user who may do nothing that others may not.
const NOBODY: u32 = 65534;

/// How many they are.
const ESCAPERS_COUNT: usize = 8;

/// A node with a COMMAND that runs.
struct Running {
    // Before the others: it goes first.
    program: Program,
    directory: TempDir,
    surroundings: Surroundings,
    command: Pid,
    watchdog: Pid,
}

impl Running {
    /// A cluster of one with this COMMAND.
    fn start(surroundings: Surroundings, options: &[&str], command: &str) -> Self {
        let graft = [env!("CARGO_BIN_EXE_graft")];
        let command = [options, &["--", "sh", "-c", command]].concat();
        Self::start_by(surroundings, tempfile::tempdir().unwrap(), &graft, &command)
    }

    /// One whose program is started by these words, and has these arguments too.
    fn start_by(
        surroundings: Surroundings,
        directory: TempDir,
        by: &[&str],
        arguments: &[&str],
    ) -> Self {
        let enter = surroundings.by();
        let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
        let fixed = ["run", "--json", "--cluster", "c", "--size", "1", "--id", "a", "--local", "d"];
        let words = [&enter[..], by, &fixed, arguments].concat();
        let mut program = Program::start_words(directory.path(), &words);
        let running = program.wait_for(|line| line.is("command", &[("to", "running")]));
        assert_eq!(running.str("contained_by"), surroundings.contained_by);
        let command = running.number("pid").try_into().unwrap();
        let watchdog = parent_of(command).try_into().unwrap();
        let command = Pid::from_raw(command.try_into().unwrap()).unwrap();
        let watchdog = Pid::from_raw(watchdog).unwrap();
        Self { program, directory, surroundings, command, watchdog }
    }

    /// One with all the [`ESCAPERS`], which are up, and what COMMAND itself does after that.
    fn escapers(surroundings: Surroundings, options: &[&str], then: &str) -> Self {
        let mut running = Self::start(surroundings, options, &format!("{ESCAPERS}\n{then}"));
        running.wait_for_ups(ESCAPERS_COUNT);
        running
    }

    /// Waits until so many are up. Some of them may have said it before COMMAND was reported.
    #[track_caller]
    fn wait_for_ups(&mut self, count: usize) {
        while self.program.lines.iter().filter(|line| line.words() == "up").count() < count {
            assert!(self.program.next_line().is_some(), "the program ended");
        }
    }

    /// Waits until nothing is left of COMMAND, the program and the watchdog.
    #[track_caller]
    fn wait_until_all_are_gone(&mut self) {
        wait_for_lock(self.directory.path());
        self.program.wait_unheard();
        // The last one to go is the watchdog, or what adopted what it left.
        wait_until(|| self.surroundings.processes().is_empty());
    }
}

/// Waits until nobody has the lock.
#[track_caller]
fn wait_for_lock(directory: &Path) {
    let lock = File::create(directory.join("lock")).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(lock.lock()));
    receiver.recv_timeout(PATIENCE).expect("somebody has the lock still").unwrap();
}

#[test]
fn all_that_a_command_has_started_ends_with_it() {
    for surroundings in Surroundings::KINDS {
        for mode in ["graft", "extended"] {
            let options = ["--mode", mode];
            let mut running = Running::escapers(surroundings(), &options, "read line; exit 7");
            running.program.say("end");
            let ended = running.program.wait_for(|line| line.is("command", &[("to", "ended")]));
            assert_eq!(ended.number("code"), 7);
            running.wait_until_all_are_gone();
        }
    }
}

#[test]
fn all_that_a_command_has_started_ends_when_the_node_is_told_to() {
    for surroundings in Surroundings::KINDS {
        let mut running = Running::escapers(surroundings(), &["--grace", "0.1"], "wait");
        running.program.terminate();
        running.wait_until_all_are_gone();
    }
}

#[test]
fn all_that_a_command_has_started_ends_with_a_node_that_is_killed() {
    for surroundings in Surroundings::KINDS {
        let mut running = Running::escapers(surroundings(), &["--mode", "graft"], "wait");
        running.program.kill();
        running.wait_until_all_are_gone();
    }
}

/// L3.
#[test]
fn all_that_a_command_has_started_ends_with_the_lease_of_a_node_that_is_stopped() {
    for surroundings in Surroundings::KINDS {
        let mut running = Running::escapers(surroundings(), &[], "wait");
        running.program.stop();
        wait_for_lock(running.directory.path());
        running.program.go_on();
        running.program.terminate();
        running.wait_until_all_are_gone();
    }
}

/// Nor does a COMMAND run whose watchdog doesn't watch.
#[test]
fn all_that_a_command_has_started_ends_with_its_watchdog_and_so_does_the_leadership() {
    for surroundings in Surroundings::KINDS {
        for signal in [Signal::KILL, Signal::STOP] {
            let mut running = Running::escapers(surroundings(), &["--mode", "graft"], "wait");
            kill_process(running.watchdog, signal).unwrap();
            let ended = running.program.wait_for(|line| line.is("command", &[("to", "ended")]));
            let error = "the command's watchdog is gone, so the command was killed";
            assert_eq!(ended.str("error"), error);
            running.program.wait_for(|line| line.is("state", &[("from", "Leader")]));
            assert_eq!(running.program.wait_unheard().code(), Some(1));
            running.wait_until_all_are_gone();
        }
    }
}

/// What hits COMMAND, its process group or its session doesn't hit the watchdog, and people can see
/// what it is.
#[test]
fn a_watchdog_outlives_all_that_can_be_outlived() {
    let mut running = Running::start(Surroundings::with_cgroups(), &[], "read line; exit 7");
    let watchdog = running.watchdog;
    assert_eq!(getsid(Some(watchdog)).unwrap(), watchdog);
    let pid = watchdog.as_raw_nonzero();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "watchdog:c\n");
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().replace('\0', " ");
    assert!(words.starts_with("graft watchdog --cluster c --id a "), "{words}");

    let signals = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1];
    for signal in signals.into_iter().chain([Signal::TSTP, Signal::ALARM, Signal::PIPE]) {
        kill_process(watchdog, signal).unwrap();
    }
    running.program.say("end");
    let ended = running.program.wait_for(|line| line.is("command", &[("to", "ended")]));
    assert_eq!(ended.number("code"), 7);
    running.wait_until_all_are_gone();
}

#[test]
fn a_command_that_is_stopped_is_reported_and_can_be_told_to_end() {
    let mut running = Running::start(Surroundings::without_cgroups(), &[], "exec sleep 120");
    let (program, command) = (&mut running.program, running.command);
    kill_process(command, Signal::STOP).unwrap();
    let stopped = program.wait_for(|line| line.is("command", &[("to", "stopped")]));
    assert_eq!(stopped.str("signal"), "SIGSTOP");
    kill_process(command, Signal::CONT).unwrap();
    program.wait_for(|line| line.is("command", &[("from", "stopped"), ("to", "running")]));
    kill_process(command, Signal::STOP).unwrap();
    program.wait_for(|line| line.is("command", &[("to", "stopped")]));
    // It goes on, so that it gets the signal.
    program.terminate();
    let ended = program.wait_for(|line| line.is("command", &[("to", "ended")]));
    assert_eq!(ended.str("signal"), "SIGTERM");
    assert!(program.wait().success());
}

/// A process of another user, which COMMAND became by a program that may: only a cgroup reaches it.
#[test]
fn what_can_not_be_killed_is_named_and_nobody_waits_for_it() {
    for surroundings in Surroundings::KINDS {
        let surroundings = surroundings();
        surroundings.delegate(NOBODY);
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
        let copy = |from: &str, to: &str, mode| {
            let to = directory.path().join(to);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(to, PermissionsExt::from_mode(mode)).unwrap();
        };
        copy(env!("CARGO_BIN_EXE_graft"), "graft", 0o755);
        copy("/usr/bin/setpriv", "become-root", 0o4755);
        let user = NOBODY.to_string();
        let by = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "./graft"];
        let command = "(trap '' TERM; echo up; exec sleep 120) & ./become-root --reuid 0 sleep 120";
        let command = ["--grace", "0.1", "--", "sh", "-c", command];
        let is_reached = surroundings.contained_by == "cgroup";
        let mut running = Running::start_by(surroundings, directory, &by, &command);
        running.wait_for_ups(1);
        wait_until(|| root_sleeps(&running.surroundings));
        let program = &mut running.program;
        program.terminate();
        let end = if is_reached { "ended" } else { "unkillable" };
        let ended = program.wait_for(|line| line.is("command", &[("to", end)]));
        if !is_reached {
            let error = ended.str("error");
            let names = error.strip_prefix("can't kill what the command has started: ").unwrap();
            assert!(names.ends_with(" (sleep)") && !names.contains(','), "{error}");
        }
        // It doesn't go on leading meanwhile.
        program.wait_for(|line| line.is("closed", &[]));
        assert_eq!(program.wait_unheard().success(), is_reached);
    }
}

/// Whether a process of root sleeps.
fn root_sleeps(surroundings: &Surroundings) -> bool {
    surroundings.processes().iter().any(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("Name:\tsleep") && status.contains("Uid:\t0\t0\t0")
    })
}
