//! The program `graft`, as processes of their own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cluster::PATIENCE;

/// A running `graft run`; it is killed with the value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    events: mpsc::UnboundedReceiver<Value>,
}

impl Process {
    /// Runs one node of the cluster `c` on the server at `url`, with its votes in `directory`.
    pub fn run(name: &str, size: usize, url: &str, directory: &Path) -> Self {
        let mut child = Command::new(graft())
            .args(["run", "--json", "--cluster", "c", "--id", name, "--nats", url])
            .args(["--size", &size.to_string()])
            .arg("--log")
            .arg(directory.join(name))
            .stdout(Stdio::piped())
            .spawn()
            .expect("graft starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let (sender, events) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("each line is JSON");
                // The test may be over.
                let _ = sender.send(event);
            }
        });
        Self { child, events }
    }

    /// Waits for the first event that `is_it`.
    pub async fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            while let Some(event) = self.events.recv().await {
                if is_it(&event) {
                    return event;
                }
            }
            panic!("the process ended");
        };
        timeout(PATIENCE, found).await.expect("the event comes")
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, built from the code as it stands.
fn graft() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bin", "graft"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(built.success(), "graft can't be built");
        let test = std::env::current_exe().expect("the test has a path");
        // The test is in `target/debug/deps`; a test of another profile uses this one too.
        let target = test.ancestors().nth(3).expect("a target folder");
        target.join("debug/graft")
    })
}
