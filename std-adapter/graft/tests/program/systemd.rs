//! `graft run` as a service of systemd, whose part a socket plays.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::process::{PATIENCE, Program};

/// What systemd would hear.
struct Heard(UnixDatagram);

impl Heard {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    #[track_caller]
    fn next(&self) -> String {
        let mut bytes = [0; 512];
        let length = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap().trim_end().to_owned()
    }

    /// Waits until this is said, and returns what came before.
    #[track_caller]
    fn wait_for(&self, words: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let next = self.next();
            if next == words {
                return before;
            }
            before.push(next);
        }
    }
}

/// Starts a node of a cluster of one under such a systemd.
fn start(directory: &Path, variables: &[&str], command: &[&str]) -> Program {
    let run = ["run", "--json", "--cluster", "c", "--size", "1", "--local", "d"];
    let graft = env!("CARGO_BIN_EXE_graft");
    Program::start_words(directory, &[&["env"], variables, &[graft], &run[..], command].concat())
}

#[test]
fn a_service_is_ready_tells_how_it_is_and_feeds_its_watchdog() {
    let directory = tempfile::tempdir().unwrap();
    let heard = Heard::at(&directory.path().join("notify"));
    let variables = ["NOTIFY_SOCKET=notify", "WATCHDOG_USEC=200000"];
    // What systemd gives the service is not COMMAND's.
    let command = ["--", "sh", "-c", "env | grep -E 'NOTIFY|WATCHDOG' && exit 9; exec sleep 120"];
    let program = start(directory.path(), &variables, &command);
    assert_eq!(heard.next(), "READY=1");
    assert_eq!(heard.next(), "STATUS=has no leader (term 0)");
    heard.wait_for("STATUS=leads in term 1");
    for _ in 0..3 {
        heard.wait_for("WATCHDOG=1");
    }
    program.terminate();
    let before = heard.wait_for("STOPPING=1");
    assert!(before.iter().all(|told| told == "WATCHDOG=1"), "{before:?}");
}

/// Nobody may be there any more.
#[test]
fn a_systemd_that_does_not_listen_holds_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = start(directory.path(), &["NOTIFY_SOCKET=nowhere"], &[]);
    program.wait_for(|line| line.is("lease", &[("to", "held")]));
    program.terminate();
    assert!(program.wait().success());
}
