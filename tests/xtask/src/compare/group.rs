//! Programs that end with whoever started them.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Waits until its input ends, which is when the one that started it closes it, or has died of
/// whatever signal. Then it kills the process group, and the PostgreSQL server whose data is in the
/// folder of the second argument, if there is one: the server has a group of its own. The next
/// server may want its port, so the guard waits until it has removed its file.
const GUARD: &str = r#"
read -r _
kill -KILL "-$0"
[ -n "$1" ] && [ -f "$1/postmaster.pid" ] || exit 0
kill -QUIT "$(head -n 1 "$1/postmaster.pid")"
for _ in $(seq 100); do [ ! -f "$1/postmaster.pid" ] || sleep 0.1; done
"#;

/// A program with all that it starts, which is killed with the value, and with this process.
pub(crate) struct Group {
    program: Child,
    guard: Child,
}

impl Group {
    /// Starts a program in this folder. `database` is where the data is of the PostgreSQL server
    /// that it starts, if it does.
    ///
    /// # Errors
    ///
    /// The program is not there.
    pub(crate) fn start(
        words: &[String],
        folder: &Path,
        output: Stdio,
        database: Option<&str>,
    ) -> Result<Self> {
        let (program, arguments) = words.split_first().context("there is no program")?;
        let child = in_folder(program, folder)
            .args(arguments)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::null())
            .stdout(output)
            .spawn();
        let mut child = child.with_context(|| format!("could not start {program}"))?;
        let guard = in_folder("sh", folder)
            .args(["-c", GUARD, &child.id().to_string()])
            .args(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Self { program: child, guard }),
            Err(error) => {
                child.kill()?;
                Err(error).context("could not start sh")
            }
        }
    }

    /// The number of the program's process.
    pub(crate) fn id(&self) -> u32 {
        self.program.id()
    }

    /// Strikes the program alone, and waits for nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended.
        let _ = kill_process(Pid::from_child(&self.program), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The program is waited for last: until then nobody else gets its number.
        let _ = self.guard.wait();
        let _ = self.program.wait();
    }
}

/// A program in a process group of its own, so that no key of the terminal ends it.
fn in_folder(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stderr(Stdio::null()).process_group(0);
    command
}
