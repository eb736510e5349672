//! A terminal, and what is typed and shown on it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::process::PATIENCE;

pub(crate) const CTRL_C: &str = "\u{3}";
pub(crate) const CTRL_Z: &str = "\u{1a}";

/// A terminal with a shell on it, or with another program.
pub(crate) struct Terminal {
    shell: Child,
    keyboard: File,
    /// What was shown since somebody looked for something.
    shown: String,
    _directory: TempDir,
}

impl Terminal {
    /// One with an interactive shell.
    pub(crate) fn start() -> Self {
        let mut terminal =
            Self::start_with(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        // What is typed is shown too, and isn't what this looks for.
        terminal.type_line("PS1=; stty -echo; echo rea''dy");
        terminal.wait_for("ready");
        terminal
    }

    pub(crate) fn start_with(words: &[&str]) -> Self {
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
            .env("TERM", "xterm")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        Self { shell, keyboard, shown: String::new(), _directory: directory }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
    }

    /// Waits until something is shown, and forgets what was shown until then: what it returns.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "{words:?} is missing in {}", self.shown);
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
