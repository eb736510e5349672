//! A cgroup of COMMAND's own, below the one of this process: the kernel kills all that is in it at
//! once, wherever it has gone and whoever owns it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::Pid;
use rustix::rand::GetRandomFlags;

use super::processes::{Process, named};

/// A cgroup (version 2) that can be killed.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    /// The one of this process.
    parent: PathBuf,
}

impl Cgroup {
    /// Makes one, if this system has such cgroups and lets this process make them.
    pub(super) fn create() -> io::Result<Self> {
        let parent = own_cgroup()?;
        // Whoever moves a process needs this permission for the cgroup above both.
        access(parent.join("cgroup.procs"), Access::WRITE_OK)?;
        // Programs in other namespaces of process ids may use the same directory, and killing one's
        // own COMMAND must not kill another's.
        let mut nonce = [0; 8];
        rustix::rand::getrandom(&mut nonce[..], GetRandomFlags::empty())?;
        let nonce = u64::from_ne_bytes(nonce);
        let path = parent.join(format!("graft-run-{}-{nonce:016x}", std::process::id()));
        fs::create_dir(&path)?;
        let cgroup = Self { path, parent };
        // Kernels before 5.14 have no such file.
        if let Err(error) = access(cgroup.path.join("cgroup.kill"), Access::WRITE_OK) {
            cgroup.remove();
            return Err(error.into());
        }
        Ok(cgroup)
    }

    /// One that another process has made.
    pub(super) fn at(path: PathBuf) -> Option<Self> {
        let parent = path.parent()?.to_owned();
        Some(Self { path, parent })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves this process into it. What it starts from then on stays there.
    pub(super) fn enter(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), "0")
    }

    /// Moves this process back to where it was.
    pub(super) fn leave(&self) -> io::Result<()> {
        fs::write(self.parent.join("cgroup.procs"), "0")
    }

    /// Kills all that is in it and below it.
    pub(super) fn kill(&self) {
        // If it is gone, so is all that was in it.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    /// Whether nothing runs in it or below it.
    pub(super) fn is_empty(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 0"),
            Err(_) => !self.path.exists(),
        }
    }

    /// What still runs in it, and can be named.
    pub(super) fn members(&self) -> Vec<Process> {
        let mut members = Vec::new();
        let mut cgroups = vec![self.path.clone()];
        while let Some(cgroup) = cgroups.pop() {
            let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            let pids = pids.lines().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw));
            members.extend(pids.filter_map(named));
            cgroups.extend(below(&cgroup));
        }
        members
    }

    /// Removes it, with what COMMAND may have made below it. One that is in use stays.
    pub(super) fn remove(&self) {
        let _ = remove(&self.path);
    }
}

fn remove(cgroup: &Path) -> io::Result<()> {
    for below in below(cgroup) {
        remove(&below)?;
    }
    fs::remove_dir(cgroup)
}

/// The cgroups below one.
fn below(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The directory of this process's cgroup.
fn own_cgroup() -> io::Result<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    directory_of(&own, &mounts).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Where the cgroup that `own` (`/proc/self/cgroup`) names is in what `mounts`
/// (`/proc/self/mountinfo`) lists. There may be cgroups of version 1 besides.
fn directory_of(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let below = Path::new(own).strip_prefix(root).ok()?;
        source.starts_with("cgroup2 ").then(|| point.join(below))
    })
}

/// A path as `mountinfo` has it, where `\040` is a space.
fn unescape(text: &str) -> PathBuf {
    let mut path = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let escaped = octal.and_then(|it| u8::from_str_radix(str::from_utf8(it).ok()?, 8).ok());
        path.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_wherever_it_is_mounted() {
        let unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let container = "40 31 0:38 /docker/1 /mnt/a\\040b rw - cgroup2 cgroup2 rw\n";
        for (own, mounts, expected) in [
            ("0::/a.slice/b\n", unified, Some("/sys/fs/cgroup/a.slice/b")),
            ("4:memory:/x\n0::/\n", hybrid, Some("/sys/fs/cgroup/unified/")),
            ("0::/docker/1/c\n", container, Some("/mnt/a b/c")),
            ("0::/elsewhere\n", container, None),
            ("4:memory:/x\n", hybrid, None),
            ("0::/\n", "", None),
        ] {
            assert_eq!(directory_of(own, mounts), expected.map(PathBuf::from), "{own:?}");
        }
    }

    #[test]
    fn paths_are_unescaped() {
        for (escaped, path) in
            [("/a", "/a"), ("/a\\040\\134b", "/a \\b"), ("/\\04", "/\\04"), ("\\777", "\\777")]
        {
            assert_eq!(unescape(escaped), Path::new(path));
        }
    }
}
