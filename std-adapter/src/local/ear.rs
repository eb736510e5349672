//! The socket of somebody who only listens: nodes send a copy of all that they say to each.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::getpid;
use tokio::net::UnixDatagram;

use super::{DATAGRAM_MAX, DatagramReader, LocalError, arrival_of, is_gone};
use crate::codec::Codec;
use crate::transport::Arrival;

/// How its name begins: no id's file has such a name, since `%` only ever escapes.
const PREFIX: &str = "%ear-";

/// How many such sockets one process may have in a directory.
const NUMBERS: u32 = 1024;

/// A socket that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Ear {
    socket: UnixDatagram,
    path: PathBuf,
    codec: Codec,
}

impl Ear {
    /// Begins to listen in a cluster's directory. It must be there: whoever only listens makes no
    /// cluster.
    pub(super) fn open(directory: &Path, codec: &Codec) -> Result<Self, LocalError> {
        let read_error = |error| LocalError::Directory { path: directory.to_owned(), error };
        for entry in fs::read_dir(directory).map_err(read_error)? {
            remove_if_stale(&entry.map_err(read_error)?.path());
        }
        let mut path = directory.to_owned();
        for number in 0..NUMBERS {
            path = directory.join(format!("{PREFIX}{}-{number}", getpid().as_raw_nonzero()));
            match UnixDatagram::bind(&path) {
                Ok(socket) => {
                    let ear = Self { socket, path, codec: codec.clone() };
                    ear.let_others_speak();
                    return Ok(ear);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(LocalError::Bind { path, error }),
            }
        }
        Err(LocalError::Bind { path, error: io::ErrorKind::AddrInUse.into() })
    }

    /// The nodes may be another user's, whose directory root looks into. Whoever can't enter that
    /// can't get at the socket either.
    fn let_others_speak(&self) {
        // Otherwise it hears only nodes of its own user.
        let _ = fs::set_permissions(&self.path, Permissions::from_mode(0o666));
    }

    /// Judges what is heard, and writes what is asked.
    pub(super) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Where the sockets of the cluster are.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Whether such a socket is at this path.
    pub(super) fn is_at(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
    }

    /// Waits for what is said next. Cancel-safe.
    pub(super) async fn hear(&self) -> Arrival {
        let mut buffer = [0; DATAGRAM_MAX];
        let received = self.socket.recv(&mut buffer).await;
        let reader = DatagramReader { codec: &self.codec, reader: None };
        arrival_of(&reader, received, &buffer, &self.path)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        // One that stays is removed by the next who listens.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the socket of a listener that was killed.
fn remove_if_stale(path: &Path) {
    if !Ear::is_at(path) {
        return;
    }
    let probe = std::os::unix::net::UnixDatagram::unbound();
    if probe.and_then(|probe| probe.connect(path)).is_err_and(|error| is_gone(&error)) {
        let _ = fs::remove_file(path);
    }
}
