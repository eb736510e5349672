//! Which processes descend from one, and what they are called, as `/proc` tells.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::fs;
use std::io;

use graft_election::Printable;
use rustix::process::{Pid, getpid};
use serde::{Deserialize, Serialize};

/// A process that can be named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: i32,
    name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, Printable(&self.name))
    }
}

/// What `/proc/PID/stat` tells of a process.
struct Stat {
    name: String,
    state: char,
    parent: i32,
    threads: u32,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// A program's name may have spaces and parentheses in it.
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(" (")?.1.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let threads = fields.nth(15)?.parse().ok()?;
        Some(Self { name: name.to_owned(), state, parent, threads })
    }

    /// Whether it can still run. A zombie can't, unless only its first thread has ended.
    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X') || self.threads > 1
    }
}

/// Whether `/proc` tells of the process ids by which this process knows others. In a new namespace
/// of process ids it may be the one of the old.
pub(super) fn can_be_listed() -> bool {
    let own_pid = fs::read_link("/proc/self").ok();
    own_pid.is_some_and(|pid| pid.to_str() == Some(&getpid().as_raw_nonzero().to_string()))
}

/// Visits the processes that descend from `root`, zombies too, but neither those in `except` nor
/// what descends from them. Each is visited as soon as it is found: there may be thousands.
pub(super) fn visit_descendants(root: Pid, except: &BTreeSet<i32>, mut visit: impl FnMut(Pid)) {
    let mut parents = VecDeque::from([root.as_raw_nonzero().get()]);
    while let Some(parent) = parents.pop_front() {
        for child in children(parent).into_iter().filter(|child| !except.contains(child)) {
            parents.push_back(child);
            Pid::from_raw(child).into_iter().for_each(&mut visit);
        }
    }
}

/// The children of a process, zombies too. One that ends meanwhile may hide another.
pub(super) fn children(parent: i32) -> Vec<i32> {
    children_by_thread(parent).unwrap_or_else(|_| children_by_search(parent))
}

/// From a file that not every kernel has. It takes some microseconds, so that one who forks and
/// exits all the time can't stay ahead of its killer.
fn children_by_thread(parent: i32) -> io::Result<Vec<i32>> {
    let threads = match fs::read_dir(format!("/proc/{parent}/task")) {
        // It is gone, and its children have another parent.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        threads => threads?,
    };
    let mut children = Vec::new();
    for thread in threads {
        let list = match fs::read_to_string(thread?.path().join("children")) {
            Err(_) if Stat::of(parent).is_none() => return Ok(children),
            list => list?,
        };
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Ok(children)
}

fn children_by_search(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// The parent of a process.
pub(super) fn parent_of(pid: Pid) -> Option<Pid> {
    Stat::of(pid.as_raw_nonzero().get()).and_then(|stat| Pid::from_raw(stat.parent))
}

/// What the process is called, if it can still run.
pub(super) fn named(pid: Pid) -> Option<Process> {
    let pid = pid.as_raw_nonzero().get();
    let stat = Stat::of(pid).filter(Stat::is_alive)?;
    Some(Process { pid, name: stat.name })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_known_whatever_it_is_called() {
        let stat = "7 (a) (b) c) Z 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 2 0 500 0";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) (b) c", 'Z', 3));
        // Its second thread still runs.
        assert!(stat.is_alive());
        assert!(!Stat { threads: 1, ..stat }.is_alive());
        assert!(Stat::parse("7 (a").is_none());
    }

    #[test]
    fn descendants_are_found_in_both_ways() {
        // The shell stays, since it has something to do after the first `cat`.
        let mut shell =
            Command::new("sh").args(["-c", "cat; exit 0"]).stdin(Stdio::piped()).spawn().unwrap();
        let id = i32::try_from(shell.id()).unwrap();
        let cat = loop {
            if let [cat] = children(id)[..] {
                break cat;
            }
        };
        assert_eq!(children_by_search(id), [cat]);
        let descendants = |except: &[i32]| {
            let (root, except) = (Pid::from_raw(id).unwrap(), except.iter().copied().collect());
            let mut found = Vec::new();
            visit_descendants(root, &except, |pid| found.push(pid));
            found
        };
        let found = descendants(&[]);
        assert_eq!(found, [Pid::from_raw(cat).unwrap()]);
        let none = descendants(&[cat]);
        assert!(none.is_empty(), "{none:?}");
        let ours = children(getpid().as_raw_nonzero().get());
        assert!(ours.contains(&id), "{ours:?}");
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(children(id), Vec::<i32>::new());
        assert_eq!(named(Pid::from_raw(id).unwrap()), None);
    }
}
