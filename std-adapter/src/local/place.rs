//! Where a node's socket is. Whatever else is there stays, and so does a socket of another process.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram as BlockingDatagram};
use std::path::{Path, PathBuf};

use graft_election_core::NodeId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::net::UnixDatagram;

use super::LocalError;

/// A path in a cluster's directory, and the socket that was bound there. Dropping it removes that.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    path: PathBuf,
    id: NodeId,
    own: Option<Identity>,
}

/// What tells a file from any other that may be at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Place {
    /// A place in `directory` for the socket of node `id`; nothing is there yet.
    pub(super) fn new(directory: PathBuf, path: PathBuf, id: NodeId) -> Self {
        Self { directory, path, id, own: None }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> &NodeId {
        &self.id
    }

    /// Binds a new socket, in place of one that no process listens to. Nodes that start do this one
    /// at a time, so that none takes a socket for a dead one that another has just bound.
    pub(super) fn bind(&mut self) -> Result<UnixDatagram, LocalError> {
        // Before the directory is made: this leaves no trace.
        if SocketAddr::from_pathname(&self.path).is_err() {
            return Err(LocalError::PathTooLong { path: self.path.clone() });
        }
        self.prepare_directory()?;
        let _locked = self.lock()?;
        self.remove_stale()?;
        let socket = UnixDatagram::bind(&self.path).map_err(|error| self.bind_error(error))?;
        self.own = identity(&self.path);
        Ok(socket)
    }

    /// Whether the socket that was bound last is still there.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some() && identity(&self.path) == self.own
    }

    fn prepare_directory(&self) -> Result<(), LocalError> {
        let path = &self.directory;
        let error = |error| LocalError::Directory { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error)?;
        let metadata = fs::metadata(path).map_err(error)?;
        let (user, own_user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if user != own_user {
            return Err(LocalError::NotOwned { path: path.clone(), user, own_user });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(LocalError::NotPrivate { path: path.clone(), mode });
        }
        Ok(())
    }

    /// Keeps other nodes from starting until the file is dropped.
    fn lock(&self) -> Result<File, LocalError> {
        let path = &self.directory;
        let error = |error| LocalError::Directory { path: path.clone(), error };
        let directory = File::open(path).map_err(error)?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(directory),
            Err(Errno::WOULDBLOCK) => Err(LocalError::Busy { path: path.clone() }),
            Err(errno) => Err(error(errno.into())),
        }
    }

    /// Removes the socket of a process that is gone; one that a process listens to is in use.
    fn remove_stale(&self) -> Result<(), LocalError> {
        let Ok(metadata) = fs::symlink_metadata(&self.path) else {
            return Ok(());
        };
        if !metadata.file_type().is_socket() {
            return Err(LocalError::NotASocket { path: self.path.clone() });
        }
        let probe = BlockingDatagram::unbound().map_err(|error| self.bind_error(error))?;
        match probe.connect(&self.path) {
            Ok(()) => Err(LocalError::InUse { id: self.id.clone(), path: self.path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(&self.path).map_err(|error| self.bind_error(error))
            }
            Err(error) => Err(self.bind_error(error)),
        }
    }

    fn bind_error(&self, error: io::Error) -> LocalError {
        LocalError::Bind { path: self.path.clone(), error }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_own() {
            // If this fails, the next node that binds it removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}
