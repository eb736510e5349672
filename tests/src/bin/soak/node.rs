//! A node with a COMMAND, and where it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{all_in, children, signal};

/// Where the witnesses write.
pub(crate) const BEATS: &str = "beats";

/// How often what is left at the end is killed: what is killed late may have started others.
const CLEANUP_ROUNDS: u32 = 100;

/// Each of its witnesses writes its term and its node, again and again.
const WITNESSES: &str = r#"
    cat >beat <<'END'
while :; do echo "$GRAFT_TERM $GRAFT_ID" >>beats; sleep 0.05; done
END
    cat >chain <<'END'
echo "$GRAFT_TERM $GRAFT_ID" >>beats; sh ./chain & exit
END
    sh -c 'trap "" TERM INT HUP; . ./beat' &
    timeout 3600 sh ./beat &
    setsid sh -c 'trap "" TERM; . ./beat' &
    setsid sh -c '(setsid sh ./beat &) & exit' &
    bash -c 'set -m; sh ./beat & wait' &
    setsid sh -c 'while :; do . ./beat & kill $!; sleep 0.1; done' &
    setsid sh -c 'while :; do kill -STOP $$; . ./beat; done' &
    setsid sh ./chain &
    . ./beat"#;

/// A directory, and a cgroup in which no other can be made, if there are cgroups.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    graft: PathBuf,
    /// Without the right to make cgroups below it.
    cgroup: PathBuf,
}

impl Place {
    pub(crate) fn new(graft: PathBuf) -> Result<Self> {
        let directory = tempfile::tempdir().context("could not make a directory")?;
        let graft = fs::canonicalize(graft).context("there is no graft")?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let mount = mount.and_then(|line| line.split(' ').nth(1)).context("no cgroups")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup")?;
        let name = format!("graft-soak-{}", std::process::id());
        let cgroup = Path::new(mount).join(own).join(name);
        fs::create_dir(&cgroup)
            .context("could not make a cgroup: be root, or have one of yours")?;
        fs::write(cgroup.join("cgroup.max.descendants"), "0")?;
        Ok(Self { directory, graft, cgroup })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Place {
    /// Leaves nothing behind, whatever was found.
    fn drop(&mut self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        for _ in 0..CLEANUP_ROUNDS {
            all_in(self.directory()).into_iter().for_each(|pid| signal(pid, Signal::KILL));
        }
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// A node, which comes back each time that it has ended.
#[derive(Debug)]
pub(crate) struct Node {
    id: String,
    start: Command,
    process: Child,
}

impl Node {
    /// Node number `index`, on the server at `url`. The last one can make no cgroup.
    pub(crate) fn start(place: &Place, index: usize, url: String) -> Result<Self> {
        let id = format!("n{}", index + 1);
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(place.directory().join(format!("{id}.log")))?;
        let mut start = Command::new("sh");
        let enter = format!("echo 0 >{}/cgroup.procs; exec \"$@\"", place.cgroup.display());
        start.args(["-c", if index == 2 { &enter } else { "exec \"$@\"" }, "sh"]).arg(&place.graft);
        start.args(["run", "--json", "--cluster", "soak", "--size", "3", "--grace", "0.3"]);
        start.args(["--id", &id, "--vote-file", &format!("{id}.vote"), "--nats", &url]);
        start.args(["--", "sh", "-c", WITNESSES]).current_dir(place.directory());
        start.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = start.spawn().context("could not start a node")?;
        Ok(Self { id, start, process })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// Starts it again if it has ended.
    pub(crate) fn restart_if_ended(&mut self) -> Result<bool> {
        let has_ended = self.has_ended()?;
        if has_ended {
            self.process = self.start.spawn().context("could not start a node")?;
        }
        Ok(has_ended)
    }

    pub(crate) fn terminate(&self) -> Result<()> {
        signal(self.pid()?, Signal::TERM);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Result<i32> {
        Ok(self.process.id().try_into()?)
    }

    /// Its watchdog, if its COMMAND runs.
    pub(crate) fn watchdog(&self) -> Option<i32> {
        let own = self.pid().ok()?;
        children(own).into_iter().find(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("watchdog:")
        })
    }

    /// Its COMMAND, if that runs.
    pub(crate) fn command(&self) -> Option<i32> {
        // What it has adopted came later.
        children(self.watchdog()?).into_iter().min()
    }
}
