//! Three nodes that run as programs.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::process::{Program, graft};

/// Three nodes of a cluster, in a directory of their own.
pub(crate) struct Cluster {
    pub(crate) directory: TempDir,
    pub(crate) nodes: Vec<Program>,
}

impl Cluster {
    /// Starts them, and waits until they follow one of them. `medium` is where they speak.
    pub(crate) fn start(name: &str, medium: &[&str]) -> Self {
        Self::start_with(name, medium, &[])
    }

    /// The same, with more arguments.
    pub(crate) fn start_with(name: &str, medium: &[&str], more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let start = |id: &&str| {
            let vote_file = format!("{id}.vote");
            let node = ["--cluster", name, "--size", "3", "--id", id, "--vote-file", &vote_file];
            let words = [&["run", "--json"], &node[..], medium, more].concat();
            Program::start(directory.path(), &words)
        };
        let mut nodes: Vec<_> = ["n0", "n1", "n2"].iter().map(start).collect();
        for node in &mut nodes {
            node.wait_for_leader();
        }
        Self { directory, nodes }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn graft(&self, arguments: &[&str]) -> Output {
        graft(self.path(), arguments)
    }
}
