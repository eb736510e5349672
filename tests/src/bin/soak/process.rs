//! Processes, as `/proc` tells of them.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let lists: Vec<_> = lists.collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|it| it.parse().ok()).collect()
}

/// Those that work in a directory.
pub(crate) fn all_in(directory: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let there =
        entries.filter(|it| fs::read_link(it.path().join("cwd")).is_ok_and(|cwd| cwd == directory));
    there.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect()
}

/// Sends a signal. A process that is gone is no error.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
