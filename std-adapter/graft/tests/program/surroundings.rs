//! Surroundings in which the program can make cgroups, and in which it can't.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::process::PATIENCE;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A cgroup in which a program is started.
pub(crate) struct Surroundings {
    cgroup: PathBuf,
    /// What the program says of its COMMAND there.
    pub(crate) contained_by: &'static str,
}

impl Surroundings {
    /// All kinds of them.
    pub(crate) const KINDS: [fn() -> Self; 2] = [Self::with_cgroups, Self::without_cgroups];

    pub(crate) fn with_cgroups() -> Self {
        Self { cgroup: make_cgroup(), contained_by: "cgroup" }
    }

    pub(crate) fn without_cgroups() -> Self {
        let cgroup = make_cgroup();
        fs::write(cgroup.join("cgroup.max.descendants"), "0").unwrap();
        Self { cgroup, contained_by: "descent" }
    }

    /// The program by way of which to start another in these surroundings.
    pub(crate) fn by(&self) -> Vec<String> {
        let enter = format!("echo 0 >{}/cgroup.procs && exec \"$@\"", self.cgroup.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).into()
    }

    /// Lets another user make cgroups there, if anybody may.
    pub(crate) fn delegate(&self, user: u32) {
        for file in ["", "cgroup.procs"] {
            chown(self.cgroup.join(file), Some(user), None).unwrap();
        }
    }

    /// What runs there, and below.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let below = fs::read_dir(&self.cgroup).unwrap().map(|entry| entry.unwrap().path());
        let cgroups = below.filter(|path| path.is_dir()).chain([self.cgroup.clone()]);
        // One of them may be removed at any time.
        let lists = cgroups.filter_map(|it| fs::read_to_string(it.join("cgroup.procs")).ok());
        lists
            .flat_map(|list| list.lines().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let began = Instant::now();
        while fs::remove_dir(&self.cgroup).is_err() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn make_cgroup() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let mount = mounted.and_then(|line| line.split(' ').nth(1)).expect("cgroups of version 2");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("graft-test-{}-{number}", std::process::id());
    let cgroup = PathBuf::from(mount).join(own).join(name);
    let made = fs::create_dir(&cgroup);
    made.expect("run these tests as root, or with a cgroup that is delegated to you");
    cgroup
}
