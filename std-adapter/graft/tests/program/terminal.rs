//! COMMAND on a terminal, as the user of an interactive shell runs it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::process::PATIENCE;

const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";

/// A terminal with a shell on it, or with another program.
struct Terminal {
    shell: Child,
    keyboard: File,
    /// What was shown since somebody looked for something.
    shown: String,
    _directory: TempDir,
}

impl Terminal {
    /// One with an interactive shell.
    fn start() -> Self {
        let mut terminal =
            Self::start_with(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        // What is typed is shown too, and isn't what this looks for.
        terminal.type_line("PS1=; stty -echo; echo rea''dy");
        terminal.wait_for("ready");
        terminal
    }

    fn start_with(words: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let controller =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let no_ctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let open =
            || OpenOptions::new().read(true).write(true).custom_flags(no_ctty).open(&name).unwrap();
        let shell = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .args(words)
            .current_dir(&directory)
            .env("GRAFT", env!("CARGO_BIN_EXE_graft"))
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        Self { shell, keyboard, shown: String::new(), _directory: directory }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
    }

    /// Types a command: a cluster of one with this COMMAND, which the shell gets in quotes.
    fn run(&mut self, options: &str, command: &str) {
        let fixed = "$GRAFT run --cluster c --size 1 --local d";
        self.type_line(&format!("{fixed} {options} -- sh -c '{command}'; echo \"status $?\""));
    }

    /// Waits until something is shown, and forgets what was shown until then: what it returns.
    #[track_caller]
    fn wait_for(&mut self, words: &str) -> String {
        loop {
            if let Some((before, rest)) = self.shown.split_once(words) {
                let (before, rest) = (before.to_owned(), rest.to_owned());
                self.shown = rest;
                return before;
            }
            let mut ready = [PollFd::new(&self.keyboard, PollFlags::IN)];
            let ready = poll(&mut ready, Some(&PATIENCE.try_into().unwrap())).unwrap();
            assert_eq!(ready, 1, "{words:?} is missing in {}", self.shown);
            let mut bytes = [0; 4096];
            match self.keyboard.read(&mut bytes) {
                Ok(read) => self.shown.push_str(&String::from_utf8_lossy(&bytes[..read])),
                Err(error) => panic!("{words:?} is missing in {}, then: {error}", self.shown),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell is gone when its terminal is, and so are its jobs.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn a_command_can_read_from_the_terminal() {
    let mut terminal = Terminal::start();
    terminal.run("", "echo asks; read answer; echo \"got $answer\"; exit 3");
    terminal.wait_for("asks");
    terminal.type_line("this");
    terminal.wait_for("got this");
    terminal.wait_for("status 3");
}

#[test]
fn ctrl_c_ends_a_command_that_does_not_catch_it_and_the_node_hands_over() {
    let mut terminal = Terminal::start();
    let catch_once = "trap \"trap - INT; echo caught\" INT";
    terminal.run("", &format!("{catch_once}; echo works; while :; do sleep 120 & wait; done"));
    terminal.wait_for("works");
    // It is for COMMAND to say what it means.
    terminal.press(CTRL_C);
    terminal.wait_for("caught");
    terminal.press(CTRL_C);
    terminal.wait_for("SIGINT");
    terminal.wait_for("handed its leadership over");
    terminal.wait_for("status 0");
    // The shell has its terminal again.
    terminal.type_line("echo ba''ck");
    terminal.wait_for("back");
}

/// A node that is stopped can't keep its lease, but in Graft mode there is none.
#[test]
fn ctrl_z_suspends_a_command_and_its_node_and_fg_resumes_them() {
    let mut terminal = Terminal::start();
    terminal.run("--mode graft", "echo asks; read answer; echo \"got $answer\"");
    terminal.wait_for("asks");
    terminal.press(CTRL_Z);
    terminal.wait_for("the command was stopped by SIGTSTP, and this node with it");
    terminal.wait_for("Stopped");
    terminal.type_line("fg");
    terminal.wait_for("the command goes on");
    terminal.type_line("this");
    terminal.wait_for("got this");
}

/// L3.
#[test]
fn a_command_that_ctrl_z_suspends_ends_with_its_lease() {
    let mut terminal = Terminal::start();
    terminal.run("", "exec 9>>lock; flock --shared 9; echo asks; read answer");
    terminal.wait_for("asks");
    terminal.press(CTRL_Z);
    terminal.wait_for("Stopped");
    terminal.type_line("flock lock echo fr''ee");
    terminal.wait_for("free");
    terminal.type_line("fg");
    terminal.wait_for("the command ended (signal: 9 (SIGKILL))");
    // Under the next lease.
    terminal.wait_for("asks");
}

/// As a shell does it for any job.
#[test]
fn a_command_in_the_background_that_reads_is_suspended_with_its_node() {
    let mut terminal = Terminal::start();
    // It reports at once what jobs do.
    terminal.type_line("set -b");
    let run = "$GRAFT run --cluster c --size 1 --local d --mode graft";
    terminal.type_line(&format!("{run} -- sh -c 'read answer; echo \"got $answer\"' &"));
    terminal.wait_for("the command was stopped by SIGTTIN, and this node with it");
    terminal.wait_for("Stopped");
    terminal.type_line("fg");
    terminal.wait_for("the command goes on");
    terminal.type_line("this");
    terminal.wait_for("got this");
}

/// Jobs of its own, and its own way with Ctrl-C and Ctrl-Z.
#[test]
fn a_command_can_be_an_interactive_shell() {
    let mut terminal = Terminal::start();
    terminal.run("", "exec bash --norc --noediting -i");
    terminal.wait_for("runs the command");
    terminal.type_line("PS1=; echo in''ner");
    terminal.wait_for("inner");
    terminal.type_line("sh -c 'echo sle\"\"eps; exec sleep 120'");
    terminal.wait_for("sleeps");
    terminal.press(CTRL_Z);
    terminal.wait_for("Stopped");
    // The first time, it tells of its job.
    terminal.type_line("exit 5");
    terminal.type_line("exit 5");
    terminal.wait_for("status 5");
    terminal.type_line("echo out''er");
    terminal.wait_for("outer");
}

/// Nobody could continue what Ctrl-Z suspends.
#[test]
fn ctrl_z_has_no_effect_where_there_is_no_shell() {
    let run = "exec $GRAFT run --cluster c --size 1 --local d -- \
        sh -c 'echo asks; read answer; echo \"got $answer\"'";
    let mut terminal = Terminal::start_with(&["sh", "-c", run]);
    terminal.wait_for("asks");
    terminal.press(CTRL_Z);
    let told = terminal.wait_for("the command goes on");
    assert!(!told.contains("this node"), "{told}");
    terminal.type_line("this");
    terminal.wait_for("got this");
}
